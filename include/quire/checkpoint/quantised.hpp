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

#include <quire/checkpoint/low_rank.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/weight_format/grouped.hpp>

/// Checkpoints whose linear layers are integers, in the layouts of GPTQ's and AWQ's tools; other tools have
/// headers of their own, bitsandbytes.hpp and compressed_tensors.hpp.
/// \source AutoGPTQ, nn_modules/qlinear; AutoAWQ, modules/linear/gemm.py.
namespace quire::checkpoint {

/// Whether a model's linear layers can be rounded to a layout here. \errors usage when not; `where`: who asks
inline void check_roundable(const ModelConfig& c, const TensorSet& tensors,
                            std::string_view where) {
  const bool factored = has_low_rank(tensors);
  if (!c.quantisation && !c.packed && !c.transposed_linear && !factored && c.shape.experts == 0) {
    return;
  }
  throw usage_error(where,
                    "of a model that is " + std::string(c.packed ? "an image, packed already"
                                                        : c.quantisation      ? "quantised already"
                                                        : c.transposed_linear ? "stored transposed"
                                                        : factored ? "stored as factors of low rank"
                                                                   : "a mixture of experts"),
                    "a dense model in floats");
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

/// Reads the integers of one linear layer. \pre a layout of GPTQ or AWQ \errors data, with the tensor, when one is missing or has
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
  Words codes =
      awq ? elements_of<std::uint32_t>(tensors, name + ".qweight", DType::i32, {k, row_words})
          : elements_of<std::uint32_t>(tensors, name + ".qweight", DType::i32, {k * bits / 32, n});
  Words zeros = elements_of<std::uint32_t>(tensors, name + ".qzeros", DType::i32, {g, row_words});
  const auto scales = elements_of<Fp16>(tensors, name + ".scales", DType::f16, {g, n});
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
    const auto group_of = elements_of<std::int32_t>(tensors, name + ".g_idx", DType::i32, {k});
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

/// The same in compressed-tensors' words: codes of neighbouring inputs, zero points of neighbouring outputs.
/// CompressedMatrix reads it. \errors usage for groups that are no neighbours
inline void add_packed(TensorList& out, const Quantisation& q, const std::string& name,
                       const weight_format::Grouped& m) {
  if (!m.group_of.empty()) {
    throw usage_error(in_quotes(name, 120), "its groups are no neighbours", "gptq or gptq_v2");
  }
  const std::size_t words = (m.inputs * q.bits + 31) / 32, groups = m.groups();
  const std::size_t zero_words = (m.outputs * q.bits + 31) / 32;
  std::vector<std::uint32_t> codes(m.outputs * words), zeros(zero_words * groups);
  for (std::size_t o = 0; o < m.outputs; ++o) {
    detail::WordCodes row(&codes[o * words], 1, q.bits);
    for (std::size_t i = 0; i < m.inputs; ++i) row.put(i, m.codes[o * m.inputs + i]);
    for (std::size_t g = 0; g < groups; ++g) {
      detail::WordCodes(&zeros[g], groups, q.bits).put(o, m.zeros[o * groups + g]);
    }
  }
  using Shape = std::vector<std::int64_t>;
  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  const Shape shape{size(m.outputs), size(m.inputs)};
  out.add(name + ".weight_packed", DType::i32, Shape{shape[0], size(words)}, std::move(codes));
  out.add(name + ".weight_scale", DType::f16, Shape{shape[0], size(groups)}, m.scales);
  out.add(name + ".weight_shape", DType::i64, Shape{2}, shape);
  if (q.symmetric) return;
  out.add(name + ".weight_zero_point", DType::i32, Shape{size(zero_words), size(groups)},
          std::move(zeros));
}

/// Adds the integers of one linear layer in a layout; read_grouped gives the same back.
/// \pre not a layout of bitsandbytes
/// \errors usage when the layout has no room for a zero point, or for groups that are no neighbours
inline void add_grouped(TensorList& out, const Quantisation& q, const std::string& name,
                        const weight_format::Grouped& m) {
  if (q.layout == Quantisation::Layout::compressed_packed) {
    return add_packed(out, q, name, m);
  }
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
