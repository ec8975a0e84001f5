#pragma once

#include <cstdint>
#include <string>

#include <quire/core/units.hpp>

namespace quire::model {

/// Architectures that differ in block structure, not only in numbers.
enum class Family { llama, mistral, qwen2, qwen3, mixtral, qwen3_moe, opt, gpt2 };

/// Everything about a decoder that decides its memory and its arithmetic, as plain numbers.
struct Shape {
  std::string name;
  Family family = Family::llama;
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;     // query heads
  std::int64_t kv_heads = 0;  // key/value heads; heads % kv_heads == 0
  std::int64_t head_dim = 0;  // usually hidden / heads, but not in qwen3
  std::int64_t ffn = 0;       // intermediate width of one MLP or one expert
  std::int64_t vocab = 0;
  Tokens max_length = 2048;  // positions the model was made for
  bool gated_mlp = true;     // SwiGLU (three matrices) or two matrices
  bool tied_embedding = false;
  bool biased = false;             // linear layers carry biases (opt, gpt2)
  bool learned_positions = false;  // a position table in place of rotary embedding
  std::int64_t experts = 0;        // 0: dense
  std::int64_t experts_per_token = 0;

  /// Scalars of K and V that one token adds, over all layers.
  [[nodiscard]] constexpr std::int64_t kv_values_per_token() const {
    return 2 * layers * kv_heads * head_dim;
  }
  /// Weights of one layer's attention: Q, K, V and output projections.
  [[nodiscard]] constexpr std::int64_t attention_weights() const {
    return hidden * head_dim * (2 * heads + 2 * kv_heads);
  }
  /// Weights of one MLP, or of one expert.
  [[nodiscard]] constexpr std::int64_t mlp_weights() const {
    return (gated_mlp ? 3 : 2) * hidden * ffn;
  }
  /// All parameters in matrices and embeddings (norms and biases, under 0.1 %, are left out).
  [[nodiscard]] constexpr std::int64_t parameters() const {
    const std::int64_t mlps =
        experts > 0 ? experts * mlp_weights() + hidden * experts : mlp_weights();
    return layers * (attention_weights() + mlps) + vocab * hidden * (tied_embedding ? 1 : 2) +
           (learned_positions ? max_length.value * hidden : 0);
  }
};

}  // namespace quire::model
