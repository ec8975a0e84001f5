// mechanism: the hyperparameters of a GGUF file as the files of a Hugging Face directory
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quire/checkpoint/generation_config.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json.hpp>

namespace quire::checkpoint {

namespace detail {

/// Members of a JSON object, one a line; numbers so that reading gives them back bit for bit.
class JsonMembers {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(std::string_view key, T value) { put(key, digits_of(value)); }
  void add_flag(std::string_view key, bool value) { put(key, value ? "true" : "false"); }
  void add_null(std::string_view key) { put(key, "null"); }
  void add_text(std::string_view key, std::string_view value) { put(key, json::quote(value)); }
  template <class T>
  void add(std::string_view key, const std::optional<T>& value) {
    if (value) add(key, *value);
  }
  template <class T>
  void add_list(std::string_view key, const std::vector<T>& values) {
    std::string list;
    for (const T value : values) list += (list.empty() ? "" : ", ") + digits_of(value);
    put(key, "[" + list + "]");
  }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  [[nodiscard]] std::string text() const { return "{" + text_ + "\n}\n"; }

 private:
  template <class T>
  [[nodiscard]] static std::string digits_of(T value) {
    char digits[40];
    return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
  }
  void put(std::string_view key, std::string_view value) {
    text_.append(text_.empty() ? "\n  " : ",\n  ").append(json::quote(key)).append(": ");
    text_.append(value);
  }
  std::string text_;
};

}  // namespace detail

/// A config.json from which read_config makes the same hyperparameters. Beside Hugging Face's keys it may
/// have `quire_rope_divisors`, the factors of rotary frequencies that GGUF files hold as a tensor.
/// \pre as gguf::config_of gives it
/// \errors data for biases that no family of Hugging Face's has
[[nodiscard]] inline std::string config_text(const ModelConfig& config, const std::string& where) {
  using model::Family;
  const model::Shape& s = config.shape;
  const std::int64_t window = config.windows.empty() ? 0 : config.windows.front();
  const bool llama = s.family == Family::llama, qwen2 = s.family == Family::qwen2;
  // what ggml calls a llama may have a window: that is a mistral
  const bool mistral = s.family == Family::mistral || (llama && window > 0);
  const bool biases = config.qkv_bias || config.output_bias || config.mlp_bias;
  if (qwen2 ? !config.qkv_bias || config.output_bias || config.mlp_bias
            : config.qkv_bias != config.output_bias || (mistral && biases)) {
    throw data_error(where, "has biases that no config.json of its family can say",
                     "those of Hugging Face's llama, mistral or qwen2");
  }
  detail::JsonMembers out;
  out.add_text("model_type", mistral ? "mistral" : config.model_type);
  out.add("vocab_size", s.vocab);
  out.add("hidden_size", s.hidden);
  out.add("intermediate_size", config.dense_ffn > 0 ? config.dense_ffn : s.ffn);
  out.add("num_hidden_layers", s.layers);
  out.add("num_attention_heads", s.heads);
  out.add("num_key_value_heads", s.kv_heads);
  out.add("head_dim", s.head_dim);
  out.add("max_position_embeddings", s.max_length.value);
  out.add_text("hidden_act", "silu");
  out.add("rms_norm_eps", config.norm_eps);
  out.add("rope_theta", config.rope_theta);
  if (!config.rope_divisors.empty()) out.add_list("quire_rope_divisors", config.rope_divisors);
  if (!mistral && s.family != Family::mixtral) out.add_flag("attention_bias", config.qkv_bias);
  if (llama && !mistral) out.add_flag("mlp_bias", config.mlp_bias);
  if (window > 0) {
    out.add("sliding_window", window);
  } else if (mistral) {
    out.add_null("sliding_window");  // left out, it would be 4096
  }
  if (s.experts > 0) {
    out.add(s.family == Family::mixtral ? "num_local_experts" : "num_experts", s.experts);
    out.add("num_experts_per_tok", s.experts_per_token);
    if (s.family == Family::qwen3_moe) {
      out.add("moe_intermediate_size", s.ffn);
      out.add_flag("norm_topk_prob", config.normalize_expert_weights);
    }
  }
  out.add_flag("tie_word_embeddings", s.tied_embedding);
  out.add("bos_token_id", config.bos);
  out.add("pad_token_id", config.pad);
  if (!config.eos.empty()) out.add_list("eos_token_id", config.eos);
  return out.text();
}

/// A generation_config.json of the sampling that a GGUF file recommends; empty where it is silent.
[[nodiscard]] inline std::string generation_text(const GenerationConfig& g) {
  detail::JsonMembers out;
  out.add("temperature", g.temperature);
  out.add("top_p", g.top_p);
  out.add("min_p", g.min_p);
  out.add("top_k", g.top_k);
  out.add("repetition_penalty", g.repetition_penalty);
  return out.empty() ? std::string() : out.text();
}

}  // namespace quire::checkpoint
