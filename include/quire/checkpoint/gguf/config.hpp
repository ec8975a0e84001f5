#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/generation_config.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/core/text.hpp>

/// What a GGUF file says about the model in it.
namespace quire::checkpoint::gguf {

/// An architecture by ggml's name.
struct Architecture {
  std::string_view name;
  model::Family family;
  /// Rows of q and k are stored in the order that turns neighbours together, not halves.
  bool neighbours_turn = false;
};
inline constexpr Architecture architectures[] = {{"llama", model::Family::llama, true},
                                                 {"qwen2", model::Family::qwen2},
                                                 {"qwen3", model::Family::qwen3},
                                                 {"qwen3moe", model::Family::qwen3_moe}};

[[nodiscard]] inline const Architecture& architecture_of(const Metadata& metadata) {
  const std::string_view name = metadata.text("general.architecture");
  for (const Architecture& a : architectures) {
    if (a.name == name) return a;
  }
  throw metadata.error("general.architecture",
                       "models of kind " + in_quotes(name) + " are not supported",
                       "llama (with Mistral and Mixtral), qwen2, qwen3 or qwen3moe");
}

namespace detail {

/// Reads the hyperparameters; every one that would change a result and is not known is refused.
class ConfigReader {
 public:
  explicit ConfigReader(const File& file)
      : file_(file), metadata_(file.metadata), arch_(architecture_of(metadata_)) {}

  [[nodiscard]] ModelConfig read() {
    using model::Family;
    model::Shape& s = config_.shape;
    s.family = arch_.family;
    if (arch_.name == "llama" && metadata_.find_integer(key("expert_count"), 0, 4096) > 0) {
      s.family = Family::mixtral;
    }
    config_.model_type = s.family == Family::mixtral     ? "mixtral"
                         : s.family == Family::qwen3_moe ? "qwen3_moe"
                                                         : std::string(arch_.name);
    if (metadata_.find("general.name") != nullptr) s.name = metadata_.text("general.name");
    s.layers = metadata_.integer(key("block_count"), 1, 4096);
    s.hidden = metadata_.integer(key("embedding_length"), 1, most_width);
    s.heads = metadata_.integer(key("attention.head_count"), 1, 4096);
    s.kv_heads = metadata_.find_integer(key("attention.head_count_kv"), 1, 4096).value_or(s.heads);
    s.max_length = metadata_.integer(key("context_length"), 1, std::int64_t{1} << 30);
    read_heads();
    read_experts();
    config_.norm_eps = metadata_.number(key("attention.layer_norm_rms_epsilon"), 1e-12, 0.1);
    s.vocab = tensor("token_embd.weight").shape.front();
    s.tied_embedding = find("output.weight") == nullptr;
    config_.embedding_width = s.hidden;
    config_.qkv_bias = find("blk.0.attn_q.bias") != nullptr;
    config_.output_bias = find("blk.0.attn_output.bias") != nullptr;
    config_.mlp_bias = find("blk.0.ffn_gate.bias") != nullptr;
    config_.query_key_norm = s.family == Family::qwen3 || s.family == Family::qwen3_moe;
    read_rope();
    const std::int64_t window =
        metadata_.find_integer(key("attention.sliding_window"), 0, std::int64_t{1} << 30)
            .value_or(0);
    if (window > 0 && arch_.name != "llama") refuse("attention.sliding_window");
    config_.windows.assign(static_cast<std::size_t>(s.layers), window);
    for (const char* name :
         {"attn_logit_softcapping", "final_logit_softcapping", "attention.clamp_kqv",
          "attention.max_alibi_bias", "logit_scale", "residual_scale", "embedding_scale",
          "expert_shared_count", "leading_dense_block_count", "attention.scale"}) {
      if (metadata_.find(key(name)) != nullptr && metadata_.number(key(name), -1e30, 1e30) != 0) {
        refuse(name);
      }
    }
    check_size();
    read_tokens();
    return std::move(config_);
  }

 private:
  static constexpr std::int64_t most_width = std::int64_t{1} << 22;

  [[nodiscard]] std::string key(std::string_view name) const {
    return std::string(arch_.name) + "." + std::string(name);
  }
  [[noreturn]] void refuse(std::string_view name) const {
    throw metadata_.error(key(name), "it is not supported for this architecture",
                          "it to be absent or 0");
  }
  [[nodiscard]] const TensorSet::Entry* find(std::string_view name) const {
    const auto at =
        std::lower_bound(file_.tensors.begin(), file_.tensors.end(), name,
                         [](const auto& t, std::string_view wanted) { return t.name < wanted; });
    return at != file_.tensors.end() && at->name == name ? &*at : nullptr;
  }
  [[nodiscard]] const TensorSet::Entry& tensor(std::string_view name) const {
    if (const auto* found = find(name)) return *found;
    throw data_error(metadata_.path(), "there is no tensor " + in_quotes(name), "it to be there");
  }

  void read_heads() {
    model::Shape& s = config_.shape;
    if (s.heads % s.kv_heads != 0) {
      throw metadata_.error(key("attention.head_count_kv"),
                            std::to_string(s.heads) + " heads do not split over " +
                                std::to_string(s.kv_heads) + " key/value heads",
                            "a divisor");
    }
    const auto length = metadata_.find_integer(key("attention.key_length"), 1, 4096);
    if (!length && s.hidden % s.heads != 0) {
      throw metadata_.error(key("attention.head_count"),
                            "width " + std::to_string(s.hidden) + " does not split into " +
                                std::to_string(s.heads) + " heads",
                            "a divisor, or attention.key_length");
    }
    s.head_dim = length.value_or(s.hidden / s.heads);
    for (const char* name : {"attention.value_length", "rope.dimension_count"}) {
      const auto other = metadata_.find_integer(key(name), 1, 4096);
      if (!other || *other == s.head_dim) continue;
      throw metadata_.error(key(name), "value " + std::to_string(*other),
                            std::to_string(s.head_dim) + ", the length of keys");
    }
    if (s.head_dim % 2 != 0 || s.head_dim > 4096) {
      throw metadata_.error(key("attention.key_length"), "heads of " + std::to_string(s.head_dim),
                            "an even number up to 4096");
    }
  }
  void read_experts() {
    using model::Family;
    model::Shape& s = config_.shape;
    const bool mixture = s.family == Family::mixtral || s.family == Family::qwen3_moe;
    if (!mixture) {
      s.ffn = metadata_.integer(key("feed_forward_length"), 1, most_width);
      return;
    }
    s.experts = metadata_.integer(key("expert_count"), 1, 4096);
    s.experts_per_token = metadata_.integer(key("expert_used_count"), 1, s.experts);
    const char* width =
        s.family == Family::mixtral ? "feed_forward_length" : "expert_feed_forward_length";
    s.ffn = metadata_.integer(key(width), 1, most_width);
  }
  void read_rope() {
    config_.rope_theta = metadata_.find_number(key("rope.freq_base"), 1, 1e15).value_or(10000);
    if (metadata_.find(key("rope.scaling.type")) != nullptr &&
        metadata_.text(key("rope.scaling.type")) != "none") {
      throw metadata_.error(key("rope.scaling.type"),
                            "positions scaled by " +
                                in_quotes(metadata_.text(key("rope.scaling.type"))) +
                                " are not supported",
                            "none, or rope_freqs.weight");
    }
    const TensorSet::Entry* divisors = find("rope_freqs.weight");
    if (divisors == nullptr) return;
    const TensorView view{divisors->name, divisors->dtype, divisors->shape, divisors->bytes};
    config_.rope_divisors.resize(static_cast<std::size_t>(config_.shape.head_dim / 2));
    if (view.dtype != DType::f32 || view.shape.size() != 1 ||
        view.shape[0] != config_.shape.head_dim / 2) {
      throw data_error(
          metadata_.path() + ": rope_freqs.weight",
          "it is " + std::string(checkpoint::name_of(view.dtype)) + " " + shape_text(view.shape),
          "F32 [" + std::to_string(config_.shape.head_dim / 2) + "]");
    }
    read_floats(view, 0, config_.rope_divisors);
    for (const float x : config_.rope_divisors) {
      if (x >= 1e-6f && x <= 1e6f) continue;
      throw data_error(metadata_.path() + ": rope_freqs.weight",
                       "a divisor of " + std::to_string(x), "1e-6 to 1e6");
    }
  }
  void check_size() const {
    const model::Shape& s = config_.shape;
    const auto real = [](std::int64_t n) { return static_cast<double>(n); };
    const double layer =
        2.0 * real(s.hidden) * real(s.head_dim) * real(s.heads + s.kv_heads) +
        3.0 * real(s.hidden) * real(s.ffn) * real(std::max<std::int64_t>(1, s.experts));
    if (real(s.layers) * layer + 2.0 * real(s.vocab) * real(s.hidden) < 1e16) return;
    throw data_error(metadata_.path(), "the sizes multiply to over 10^16 weights", "fewer");
  }
  void read_tokens() {
    const auto id = [this](std::string_view name) -> std::optional<TokenId> {
      const auto found = metadata_.find_integer(name, -1, 0xffffffff);
      if (!found || *found < 0 || *found == 0xffffffff) return std::nullopt;
      return static_cast<TokenId>(*found);
    };
    config_.bos = id("tokenizer.ggml.bos_token_id");
    config_.pad = id("tokenizer.ggml.padding_token_id");
    for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      const auto end = id(name);
      if (end && std::find(config_.eos.begin(), config_.eos.end(), *end) == config_.eos.end()) {
        config_.eos.push_back(*end);
      }
    }
  }

  const File& file_;
  const Metadata& metadata_;
  const Architecture& arch_;
  ModelConfig config_;
};

}  // namespace detail

/// The model's hyperparameters. \errors data, with the key, for those that are missing, out of range,
/// or not supported
[[nodiscard]] inline ModelConfig config_of(const File& file) {
  return detail::ConfigReader(file).read();
}

/// Sampling that the file recommends.
[[nodiscard]] inline GenerationConfig generation_of(const Metadata& m) {
  GenerationConfig out;
  out.temperature = m.find_number("general.sampling.temp", 0, 1e6);
  out.top_p = m.find_number("general.sampling.top_p", 1e-12, 1);
  out.min_p = m.find_number("general.sampling.min_p", 0, 1);
  if (const auto k = m.find_integer("general.sampling.top_k", 0, 0x7fffffff)) {
    out.top_k = static_cast<std::int32_t>(*k);
  }
  out.repetition_penalty = m.find_number("general.sampling.penalty_repeat", 1e-6, 1e6);
  return out;
}

}  // namespace quire::checkpoint::gguf
