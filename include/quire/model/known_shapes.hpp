#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <quire/model/shape.hpp>

/// Published models as shapes, for simulation and sizing. Numbers are those of each model's
/// config.json; OPT-175B's are Table 1 of Zhang et al., "OPT", 2022.
namespace quire::model {

namespace detail {
inline Shape opt(const char* name, std::int64_t layers, std::int64_t hidden, std::int64_t heads) {
  return {.name = name,
          .family = Family::opt,
          .layers = layers,
          .hidden = hidden,
          .heads = heads,
          .kv_heads = heads,
          .head_dim = hidden / heads,
          .ffn = 4 * hidden,
          .vocab = 50272,
          .max_length = 2048,
          .gated_mlp = false,
          .tied_embedding = true,
          .biased = true,
          .learned_positions = true};
}
inline Shape llama(const char* name, std::int64_t layers, std::int64_t hidden, std::int64_t heads,
                   std::int64_t kv_heads, std::int64_t ffn, std::int64_t vocab,
                   std::int64_t max_length) {
  return {.name = name,
          .family = Family::llama,
          .layers = layers,
          .hidden = hidden,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = hidden / heads,
          .ffn = ffn,
          .vocab = vocab,
          .max_length = max_length};
}
inline Shape qwen3(const char* name, std::int64_t layers, std::int64_t hidden, std::int64_t heads,
                   std::int64_t ffn) {
  Shape s = llama(name, layers, hidden, heads, 8, ffn, 151936, 40960);
  s.family = Family::qwen3;
  s.head_dim = 128;
  return s;
}
}  // namespace detail

inline const Shape opt_125m = detail::opt("opt_125m", 12, 768, 12);
inline const Shape opt_13b = detail::opt("opt_13b", 40, 5120, 40);
inline const Shape opt_66b = detail::opt("opt_66b", 64, 9216, 72);
inline const Shape opt_175b = detail::opt("opt_175b", 96, 12288, 96);
/// TinyLlama's shape, and a llama a ninth of that, on which processors are compared with other engines.
inline const Shape llama_1_1b = detail::llama("llama_1_1b", 22, 2048, 32, 4, 5632, 32000, 32768);
inline const Shape llama_125m = detail::llama("llama_125m", 12, 768, 12, 12, 2048, 32000, 32768);
inline const Shape llama_7b = detail::llama("llama_7b", 32, 4096, 32, 32, 11008, 32000, 2048);
inline const Shape llama_13b = detail::llama("llama_13b", 40, 5120, 40, 40, 13824, 32000, 2048);
inline const Shape llama2_70b = detail::llama("llama2_70b", 80, 8192, 64, 8, 28672, 32000, 4096);
inline const Shape llama3_8b = detail::llama("llama3_8b", 32, 4096, 32, 8, 14336, 128256, 8192);
inline const Shape llama3_1_8b =
    detail::llama("llama3_1_8b", 32, 4096, 32, 8, 14336, 128256, 131072);
inline const Shape llama3_1_70b =
    detail::llama("llama3_1_70b", 80, 8192, 64, 8, 28672, 128256, 131072);
inline const Shape mistral_7b = [] {
  Shape s = detail::llama("mistral_7b", 32, 4096, 32, 8, 14336, 32768, 32768);
  s.family = Family::mistral;
  return s;
}();
inline const Shape qwen3_8b = detail::qwen3("qwen3_8b", 36, 4096, 32, 12288);
inline const Shape qwen3_14b = detail::qwen3("qwen3_14b", 40, 5120, 40, 17408);
inline const Shape qwen3_32b = detail::qwen3("qwen3_32b", 64, 5120, 64, 25600);
inline const Shape mixtral_8x7b = [] {
  Shape s = detail::llama("mixtral_8x7b", 32, 4096, 32, 8, 14336, 32000, 32768);
  s.family = Family::mixtral;
  s.experts = 8;
  s.experts_per_token = 2;
  return s;
}();

inline const std::array known_shapes{
    &opt_125m,   &opt_13b,   &opt_66b,    &opt_175b,  &llama_1_1b,  &llama_125m,
    &llama_7b,   &llama_13b, &llama2_70b, &llama3_8b, &llama3_1_8b, &llama3_1_70b,
    &mistral_7b, &qwen3_8b,  &qwen3_14b,  &qwen3_32b, &mixtral_8x7b};

/// The shape of that name, or nothing.
[[nodiscard]] inline const Shape* find_shape(std::string_view name) {
  for (const Shape* shape : known_shapes) {
    if (shape->name == name) return shape;
  }
  return nullptr;
}

}  // namespace quire::model
