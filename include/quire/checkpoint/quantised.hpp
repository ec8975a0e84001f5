#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json_field.hpp>
#include <quire/weight_format/grouped.hpp>

/// Checkpoints whose linear layers are integers, in the layouts of GPTQ's and AWQ's tools.
/// \source AutoGPTQ, nn_modules/qlinear; AutoAWQ, modules/linear/gemm.py.
namespace quire::checkpoint {

/// Reads quantization_config of a config.json. \errors data for what the models here cannot compute
[[nodiscard]] inline Quantisation read_quantisation(const json::Field& field) {
  Quantisation q;
  const json::Field method = field.at("quant_method");
  if (method.string() == "awq") {
    q.layout = Quantisation::Layout::awq;
    const auto version = field.find_set("version");
    if (version && version->string() != "gemm" && version->string() != "GEMM") {
      throw version->error("AWQ's layout " + in_quotes(version->string()), "gemm");
    }
  } else if (method.string() == "gptq") {
    const auto format = field.find_set("checkpoint_format");
    const std::string name = format ? format->string() : "gptq";
    if (name != "gptq" && name != "gptq_v2") {
      throw format->error("GPTQ's layout " + in_quotes(name), "gptq or gptq_v2");
    }
    q.layout = name == "gptq" ? Quantisation::Layout::gptq : Quantisation::Layout::gptq_v2;
  } else {
    throw method.error("quantisation " + in_quotes(method.string()) + " is not supported",
                       "gptq or awq");
  }
  const json::Field bits = field.at("bits");
  q.bits = static_cast<unsigned>(bits.integer(2, 8));
  const bool known = q.layout == Quantisation::Layout::awq
                         ? q.bits == 4
                         : q.bits == 2 || q.bits == 3 || q.bits == 4 || q.bits == 8;
  if (!known) {
    throw bits.error(std::to_string(q.bits) + " bits",
                     q.layout == Quantisation::Layout::awq ? "4" : "2, 3, 4 or 8");
  }
  const json::Field group = field.at("group_size");
  const std::int64_t size = group.integer(-1, 1 << 20);
  if (size == 0) throw group.error("groups of 0 inputs", "-1 for whole rows, or more than 0");
  q.group = size < 0 ? 0 : static_cast<std::size_t>(size);
  if (const auto symmetric = field.find_set("sym")) q.symmetric = symmetric->boolean();
  return q;
}

/// The same, written: the value of quantization_config.
[[nodiscard]] inline std::string quantisation_text(const Quantisation& q) {
  const bool awq = q.layout == Quantisation::Layout::awq;
  std::string out = std::string("{\"quant_method\":\"") + (awq ? "awq" : "gptq") + "\"";
  out += ",\"bits\":" + std::to_string(q.bits);
  out += ",\"group_size\":" + (q.group == 0 ? "-1" : std::to_string(q.group));
  if (awq) return out + ",\"version\":\"gemm\",\"zero_point\":true}";
  out += std::string(",\"desc_act\":false,\"sym\":") + (q.symmetric ? "true" : "false");
  const bool second = q.layout == Quantisation::Layout::gptq_v2;
  return out + ",\"checkpoint_format\":\"" + (second ? "gptq_v2" : "gptq") + "\"}";
}

namespace detail {

/// Codes of a few bits one after the other in 32-bit words that lie `stride` words apart.
class WordCodes {
 public:
  WordCodes(std::uint32_t* words, std::size_t stride, unsigned bits)
      : words_(words), stride_(stride), bits_(bits) {}
  [[nodiscard]] unsigned get(std::size_t i) const {
    const std::size_t bit = i * bits_, word = bit / 32, shift = bit % 32;
    std::uint64_t both = words_[word * stride_];
    if (shift + bits_ > 32) both |= std::uint64_t{words_[(word + 1) * stride_]} << 32;
    return static_cast<unsigned>(both >> shift) & ((1u << bits_) - 1u);
  }
  /// \pre the code's bits are 0 so far
  void put(std::size_t i, unsigned code) {
    const std::size_t bit = i * bits_, word = bit / 32, shift = bit % 32;
    const std::uint64_t both = std::uint64_t{code} << shift;
    words_[word * stride_] |= static_cast<std::uint32_t>(both);
    if (shift + bits_ > 32) words_[(word + 1) * stride_] |= static_cast<std::uint32_t>(both >> 32);
  }

 private:
  std::uint32_t* words_;
  std::size_t stride_;
  unsigned bits_;
};

/// Place of output n among the codes of a row in AWQ's words: even ones first, then odd ones.
[[nodiscard]] constexpr std::size_t awq_place(std::size_t n) {
  const std::size_t i = n % 8;
  return n - i + (i % 2 == 0 ? i / 2 : 4 + i / 2);
}

template <class T>
[[nodiscard]] std::vector<T> elements_of(const TensorSet& tensors, const std::string& name,
                                         DType dtype, std::initializer_list<std::int64_t> shape) {
  const TensorView& view = tensors.at(name, shape);
  if (view.dtype != dtype) {
    throw data_error(tensors.where(),
                     "tensor " + in_quotes(name, 120) + " is " + std::string(name_of(view.dtype)),
                     std::string(name_of(dtype)));
  }
  std::vector<T> out(view.bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), view.bytes.data(), view.bytes.size());
  return out;
}

/// Inputs of a group, and that words hold whole numbers of codes. \errors data
[[nodiscard]] inline std::size_t group_inputs(const std::string& where, const Quantisation& q,
                                              std::size_t outputs, std::size_t inputs) {
  const std::size_t group = q.group == 0 ? inputs : q.group;
  const bool whole = outputs * q.bits % 32 == 0 && inputs * q.bits % 32 == 0;
  if (group == 0 || inputs % group != 0 || !whole) {
    throw data_error(where,
                     "a matrix (" + std::to_string(outputs) + ", " + std::to_string(inputs) +
                         ") in groups of " + std::to_string(group),
                     "sizes that fill 32-bit words, and whole groups");
  }
  return group;
}

}  // namespace detail

/// Reads the integers of one linear layer. \errors data, with the tensor, when one is missing or has
/// another shape or type, and for a group that does not exist
[[nodiscard]] inline weight_format::Grouped read_grouped(const TensorSet& tensors,
                                                         const Quantisation& q,
                                                         const std::string& name,
                                                         std::size_t outputs, std::size_t inputs) {
  const std::string where = tensors.where() + ": " + in_quotes(name, 120);
  const std::size_t group = detail::group_inputs(where, q, outputs, inputs);
  const std::size_t groups = inputs / group;
  const bool awq = q.layout == Quantisation::Layout::awq;
  const auto n = static_cast<std::int64_t>(outputs), k = static_cast<std::int64_t>(inputs);
  const auto g = static_cast<std::int64_t>(groups), bits = static_cast<std::int64_t>(q.bits);
  const std::int64_t row_words = n * bits / 32;
  using Words = std::vector<std::uint32_t>;
  Words codes = awq ? detail::elements_of<std::uint32_t>(tensors, name + ".qweight", DType::i32,
                                                         {k, row_words})
                    : detail::elements_of<std::uint32_t>(tensors, name + ".qweight", DType::i32,
                                                         {k * bits / 32, n});
  Words zeros =
      detail::elements_of<std::uint32_t>(tensors, name + ".qzeros", DType::i32, {g, row_words});
  const auto scales = detail::elements_of<Fp16>(tensors, name + ".scales", DType::f16, {g, n});
  // Only now is it known that the file is as large as the matrix.
  weight_format::Grouped m(outputs, inputs, q.bits, group);
  const auto words = static_cast<std::size_t>(row_words);
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t o = 0; o < outputs; ++o) {
      const unsigned code =
          awq ? detail::WordCodes(&codes[i * words], 1, q.bits).get(detail::awq_place(o))
              : detail::WordCodes(&codes[o], outputs, q.bits).get(i);
      m.codes[o * inputs + i] = static_cast<std::uint8_t>(code);
    }
  }
  const unsigned more = q.layout == Quantisation::Layout::gptq ? 1 : 0;
  for (std::size_t j = 0; j < groups; ++j) {
    const detail::WordCodes row(&zeros[j * words], 1, q.bits);
    for (std::size_t o = 0; o < outputs; ++o) {
      const unsigned zero = row.get(awq ? detail::awq_place(o) : o) + more;
      if (zero > 255) throw data_error(where, "a zero point of 256", "at most 255");
      m.zeros[o * groups + j] = static_cast<std::uint8_t>(zero);
      m.scales[o * groups + j] = scales[j * outputs + o];
    }
  }
  if (!awq && tensors.contains(name + ".g_idx")) {
    const auto group_of =
        detail::elements_of<std::int32_t>(tensors, name + ".g_idx", DType::i32, {k});
    bool neighbours = true;
    for (std::size_t i = 0; i < inputs; ++i) {
      if (group_of[i] < 0 || group_of[i] >= g) {
        throw data_error(
            tensors.where() + ": " + in_quotes(name + ".g_idx", 120),
            "input " + std::to_string(i) + " is in group " + std::to_string(group_of[i]),
            "a group below " + std::to_string(groups));
      }
      neighbours = neighbours && static_cast<std::size_t>(group_of[i]) == i / group;
    }
    if (!neighbours) m.group_of.assign(group_of.begin(), group_of.end());
  }
  return m;
}

/// Tensors that are made rather than read, and the memory that they lie in.
class TensorList {
 public:
  template <class T>
  void add(std::string name, DType dtype, std::vector<std::int64_t> shape, std::vector<T> values) {
    auto memory = std::make_shared<const std::vector<T>>(std::move(values));
    entries_.push_back(
        {std::move(name), dtype, std::move(shape), std::as_bytes(std::span(*memory))});
    owners_.push_back(std::move(memory));
  }
  /// Takes a tensor over from a set that is kept. \pre keep(set) is called too
  void add(const TensorView& t) {
    entries_.push_back({std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}, t.bytes});
  }
  void keep(const TensorSet& set) { owners_.push_back(std::make_shared<const TensorSet>(set)); }
  [[nodiscard]] TensorSet set(std::string where) {
    return TensorSet(std::move(where), std::move(entries_), std::move(owners_));
  }

 private:
  std::vector<TensorSet::Entry> entries_;
  std::vector<std::shared_ptr<const void>> owners_;
};

/// Adds the integers of one linear layer in a layout; read_grouped gives the same back.
/// \errors usage when the layout has no room for a zero point, or for groups that are no neighbours
inline void add_grouped(TensorList& out, const Quantisation& q, const std::string& name,
                        const weight_format::Grouped& m) {
  (void)detail::group_inputs(in_quotes(name, 120), q, m.outputs, m.inputs);
  const bool awq = q.layout == Quantisation::Layout::awq;
  const std::size_t words = m.outputs * q.bits / 32, groups = m.groups();
  std::vector<std::uint32_t> codes(m.inputs * m.outputs * q.bits / 32), zeros(groups * words);
  std::vector<Fp16> scales(groups * m.outputs);
  for (std::size_t i = 0; i < m.inputs; ++i) {
    for (std::size_t o = 0; o < m.outputs; ++o) {
      const unsigned code = m.codes[o * m.inputs + i];
      if (awq) {
        detail::WordCodes(&codes[i * words], 1, q.bits).put(detail::awq_place(o), code);
      } else {
        detail::WordCodes(&codes[o], m.outputs, q.bits).put(i, code);
      }
    }
  }
  const unsigned less = q.layout == Quantisation::Layout::gptq ? 1 : 0;
  for (std::size_t j = 0; j < groups; ++j) {
    detail::WordCodes row(&zeros[j * words], 1, q.bits);
    for (std::size_t o = 0; o < m.outputs; ++o) {
      const unsigned zero = m.zeros[o * groups + j];
      if (zero < less || zero - less > static_cast<unsigned>(m.most_code())) {
        throw usage_error(in_quotes(name, 120),
                          "zero point " + std::to_string(zero) + " has no place in this layout",
                          less == 1 ? "gptq_v2" : "gptq");
      }
      row.put(awq ? detail::awq_place(o) : o, zero - less);
      scales[j * m.outputs + o] = m.scales[o * groups + j];
    }
  }
  const auto n = static_cast<std::int64_t>(m.outputs), k = static_cast<std::int64_t>(m.inputs);
  const auto g = static_cast<std::int64_t>(groups), bits = static_cast<std::int64_t>(q.bits);
  using Shape = std::vector<std::int64_t>;
  out.add(name + ".qweight", DType::i32, awq ? Shape{k, n * bits / 32} : Shape{k * bits / 32, n},
          std::move(codes));
  out.add(name + ".qzeros", DType::i32, Shape{g, n * bits / 32}, std::move(zeros));
  out.add(name + ".scales", DType::f16, Shape{g, n}, std::move(scales));
  if (awq) {
    if (m.group_of.empty()) return;
    throw usage_error(in_quotes(name, 120), "its groups are no neighbours", "gptq or gptq_v2");
  }
  std::vector<std::int32_t> group_of(m.inputs);
  for (std::size_t i = 0; i < m.inputs; ++i) {
    group_of[i] = static_cast<std::int32_t>(m.group_of.empty() ? i / m.group : m.group_of[i]);
  }
  out.add(name + ".g_idx", DType::i32, Shape{k}, std::move(group_of));
}

}  // namespace quire::checkpoint
