#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/gguf/config.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

/// Tensors between ggml's names and layouts and those of Hugging Face.
namespace quire::checkpoint::gguf {

/// One tensor's name on both sides, without .weight or .bias; of a layer where it begins with a dot.
struct TensorName {
  std::string_view ggml, hugging_face;
};
inline constexpr TensorName whole_model_names[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
inline constexpr TensorName layer_names[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"}};
/// Of a mixture: the router, and matrices of all experts in one tensor.
struct ExpertName {
  std::string_view ggml, mixtral, qwen3_moe;
};
inline constexpr ExpertName expert_names[] = {{"ffn_gate_exps", "w1", "gate_proj"},
                                              {"ffn_up_exps", "w3", "up_proj"},
                                              {"ffn_down_exps", "w2", "down_proj"}};

/// What stands before an expert's number, and the router's name.
[[nodiscard]] constexpr std::string_view experts_prefix(model::Family family) {
  return family == model::Family::mixtral ? "block_sparse_moe.experts." : "mlp.experts.";
}
[[nodiscard]] constexpr std::string_view router_name(model::Family family) {
  return family == model::Family::mixtral ? "block_sparse_moe.gate" : "mlp.gate";
}

/// Where row r of q or k lies in a file whose neighbours turn together: there, values i and
/// i + head_dim / 2 of a head are neighbours.
[[nodiscard]] constexpr std::int64_t row_among_neighbours(std::int64_t r, std::int64_t head_dim) {
  const std::int64_t inside = r % head_dim, half = head_dim / 2;
  return r - inside + inside % half * 2 + inside / half;
}

namespace detail {

/// Gives tensors the names, and where it must the order of rows, that models here have.
class TensorReader {
 public:
  TensorReader(const File& file, const ModelConfig& config)
      : file_(file), config_(config), arch_(architecture_of(file.metadata)) {}

  [[nodiscard]] TensorSet read() {
    owners_.assign(file_.owners.begin(), file_.owners.end());
    for (const TensorSet::Entry& t : file_.tensors) add(t);
    return TensorSet(file_.metadata.path(), std::move(entries_), std::move(owners_), file_.paths);
  }

 private:
  void add(const TensorSet::Entry& t) {
    const std::size_t dot = t.name.rfind('.');
    const std::string kind = dot == std::string::npos ? "" : t.name.substr(dot);
    std::string_view name = std::string_view(t.name).substr(0, dot);
    for (const TensorName& n : whole_model_names) {
      if (n.ggml == name) return put(std::string(n.hugging_face) + kind, t);
    }
    if (!name.starts_with("blk.")) return;  // nothing that the models here use
    const std::size_t end = name.find('.', 4);
    if (end == std::string_view::npos) return;
    const std::string layer = "model.layers." + std::string(name.substr(4, end - 4)) + ".";
    name.remove_prefix(end + 1);
    for (const ExpertName& n : expert_names) {
      if (n.ggml == name) return put_experts(layer, n, kind, t);
    }
    if (name == "ffn_gate_inp") {
      return put(layer + std::string(router_name(config_.shape.family)) + kind, t);
    }
    for (const TensorName& n : layer_names) {
      if (n.ggml != name) continue;
      const bool turned = arch_.neighbours_turn && (name == "attn_q" || name == "attn_k");
      std::string as = layer;
      as.append(n.hugging_face).append(kind);
      if (!turned) return put(as, t);
      return put_halves(as, t, name == "attn_q" ? config_.shape.heads : config_.shape.kv_heads);
    }
  }
  /// Weights are floats or blocks of codes; ggml's plain integers hold other things.
  void refuse_integers(const TensorSet::Entry& t) const {
    switch (t.dtype) {
      case DType::i8:
      case DType::i16:
      case DType::i32:
      case DType::i64:
        throw data_error(file_.metadata.path(),
                         "tensor " + in_quotes(t.name, 120) + " holds integers, " +
                             std::string(name_of(t.dtype)),
                         "F32, F16, BF16, F64 or blocks");
      default:
        return;
    }
  }
  void put(std::string name, const TensorSet::Entry& t) {
    refuse_integers(t);
    entries_.push_back({std::move(name), t.dtype, t.shape, t.bytes});
  }

  /// Rows in the order whose halves turn together; the one copy that loading makes.
  void put_halves(std::string name, const TensorSet::Entry& t, std::int64_t heads) {
    refuse_integers(t);
    const std::int64_t rows = heads * config_.shape.head_dim;
    if (t.shape.front() != rows) {
      throw data_error(file_.metadata.path(),
                       "tensor " + in_quotes(t.name, 120) + " has shape " + shape_text(t.shape),
                       std::to_string(rows) + " rows");
    }
    const std::size_t bytes = t.bytes.size() / static_cast<std::size_t>(rows);
    auto copy = std::make_shared<std::vector<std::byte>>(t.bytes.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto from = static_cast<std::size_t>(row_among_neighbours(r, config_.shape.head_dim));
      std::memcpy(copy->data() + static_cast<std::size_t>(r) * bytes, t.bytes.data() + from * bytes,
                  bytes);
    }
    entries_.push_back({std::move(name), t.dtype, t.shape, std::span<const std::byte>(*copy)});
    owners_.push_back(std::move(copy));
  }

  void put_experts(const std::string& layer, const ExpertName& n, const std::string& kind,
                   const TensorSet::Entry& t) {
    refuse_integers(t);
    const std::int64_t experts = config_.shape.experts;
    if (t.shape.size() != 3 || t.shape.front() != experts) {
      throw data_error(file_.metadata.path(),
                       "tensor " + in_quotes(t.name, 120) + " has shape " + shape_text(t.shape),
                       std::to_string(experts) + " matrices");
    }
    const bool mixtral = config_.shape.family == model::Family::mixtral;
    const std::size_t bytes = t.bytes.size() / static_cast<std::size_t>(experts);
    for (std::int64_t e = 0; e < experts; ++e) {
      std::string name = layer;
      name.append(experts_prefix(config_.shape.family)).append(std::to_string(e)).append(".");
      name.append(mixtral ? n.mixtral : n.qwen3_moe).append(kind);
      entries_.push_back({std::move(name),
                          t.dtype,
                          {t.shape[1], t.shape[2]},
                          t.bytes.subspan(static_cast<std::size_t>(e) * bytes, bytes)});
    }
  }

  const File& file_;
  const ModelConfig& config_;
  const Architecture& arch_;
  std::vector<TensorSet::Entry> entries_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace detail

/// A file's tensors as models here look for them, without those that they do not use.
/// \errors data where a tensor has not the rows that the hyperparameters call for
[[nodiscard]] inline TensorSet tensors_of(const File& file, const ModelConfig& config) {
  return detail::TensorReader(file, config).read();
}

}  // namespace quire::checkpoint::gguf
