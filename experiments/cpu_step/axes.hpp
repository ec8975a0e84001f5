#pragma once

#include <array>
#include <cstdint>

#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/q4_0.hpp>
#include <quire/kv_format/q8_0.hpp>
#include <quire/model/shape.hpp>

namespace quire::experiment {

/// Weights and keys and values of 16,384 tokens are beyond any cache; a step is a few milliseconds.
inline const model::Shape step_llama{.name = "random_llama",
                                     .layers = 8,
                                     .hidden = 768,
                                     .heads = 12,
                                     .kv_heads = 4,
                                     .head_dim = 64,
                                     .ffn = 2048,
                                     .vocab = 8192,
                                     .max_length = 20000,
                                     .tied_embedding = true};

inline const std::array step_formats{&kv_format::codec_of<kv_format::Fp32>(),
                                     &kv_format::codec_of<kv_format::Bf16>(),
                                     &kv_format::codec_of<kv_format::Int8PerTokenHead>(),
                                     &kv_format::codec_of<kv_format::Q80>(),
                                     &kv_format::codec_of<kv_format::Int4PerTokenHead>(),
                                     &kv_format::codec_of<kv_format::Q40>()};
inline constexpr std::array<std::int64_t, 4> step_depths{0, 1024, 4096, 16384};
inline constexpr std::array<std::int64_t, 6> step_batches{1, 2, 4, 8, 16, 32};
inline constexpr std::int64_t batch_depth = 512, thread_depth = 1024;
inline constexpr std::int64_t prefix_depth = 2048, prefix_sequences = 16;

}  // namespace quire::experiment
