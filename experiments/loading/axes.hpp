#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include <quire/model/shape.hpp>

namespace quire::experiment {

/// What a start begins with.
enum class From {
  checkpoint,  // bfloat16 as published: packed at the start
  image,       // packed by an earlier start
};
[[nodiscard]] constexpr std::string_view to_string(From from) {
  return from == From::image ? "image" : "checkpoint";
}

inline constexpr std::array<std::string_view, 3> loaded_formats{"bf16_w16a16", "q8_0", "q4_0"};

/// 0.7 GB in bfloat16; a smoke run takes a small one.
inline const model::Shape loaded_llama{.name = "llama_350m",
                                       .layers = 12,
                                       .hidden = 1536,
                                       .heads = 12,
                                       .kv_heads = 4,
                                       .head_dim = 128,
                                       .ffn = 4096,
                                       .vocab = 32000,
                                       .max_length = 1024,
                                       .tied_embedding = true};
/// What the same weights are written in: the last two belong to whole models, the others are
/// checkpoint::tensor_files().
inline constexpr std::array<std::string_view, 7> file_formats{
    "json_text", "protobuf", "protobuf_chunked", "flatbuffers", "safetensors", "gguf", "image"};

/// 0.1 GB in bfloat16, six times that as text.
inline const model::Shape formatted_llama{.name = "llama_57m",
                                          .layers = 8,
                                          .hidden = 768,
                                          .heads = 12,
                                          .kv_heads = 4,
                                          .head_dim = 64,
                                          .ffn = 2048,
                                          .vocab = 8000,
                                          .max_length = 512,
                                          .tied_embedding = true};
inline const model::Shape small_llama{.name = "llama_3m",
                                      .layers = 2,
                                      .hidden = 256,
                                      .heads = 4,
                                      .kv_heads = 2,
                                      .head_dim = 64,
                                      .ffn = 768,
                                      .vocab = 4000,
                                      .max_length = 256,
                                      .tied_embedding = true};

/// A mixture of which a token asks two experts of 32 in each of six layers: 0.6 GB of experts.
inline const model::Shape loaded_mixtral{.name = "mixtral_32",
                                         .family = model::Family::mixtral,
                                         .layers = 6,
                                         .hidden = 512,
                                         .heads = 8,
                                         .kv_heads = 2,
                                         .head_dim = 64,
                                         .ffn = 1024,
                                         .vocab = 4000,
                                         .max_length = 512,
                                         .experts = 32,
                                         .experts_per_token = 2};
inline const model::Shape small_mixtral{.name = "mixtral_8",
                                        .family = model::Family::mixtral,
                                        .layers = 2,
                                        .hidden = 256,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .head_dim = 64,
                                        .ffn = 512,
                                        .vocab = 512,
                                        .max_length = 256,
                                        .experts = 8,
                                        .experts_per_token = 2};

}  // namespace quire::experiment
