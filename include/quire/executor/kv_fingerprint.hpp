#pragma once

#include <bit>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/load.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/units.hpp>
#include <quire/model/shape.hpp>

namespace quire::executor {

/// Hash of all that the bytes of a block depend on, beside its text: who finds it on disk may use it.
/// layout: what of the executor matters, its name and whatever changes how it computes or lays out
/// \cost reads the whole model
[[nodiscard]] inline std::uint64_t kv_fingerprint(const checkpoint::Checkpoint& model,
                                                  std::string_view kv_format,
                                                  std::string_view weight_format,
                                                  Tokens block_tokens, std::string_view layout) {
  const model::Shape& m = model.config.shape;
  std::uint64_t h = 0;
  for (const std::string_view text : {kv_format, weight_format, layout}) {
    h = hash_span(std::span<const char>(text), h);
  }
  for (const std::int64_t n :
       {m.layers, m.hidden, m.heads, m.kv_heads, m.head_dim, m.ffn, m.vocab, block_tokens.value}) {
    h = hash_combine(h, static_cast<std::uint64_t>(n));
  }
  const checkpoint::ModelConfig& config = model.config;
  h = hash_combine(h, std::bit_cast<std::uint64_t>(config.rope_theta));
  h = hash_combine(h, std::bit_cast<std::uint64_t>(config.norm_eps));
  h = hash_span(std::span<const float>(config.rope_divisors), h);
  h = hash_span(std::span<const std::int64_t>(config.windows), h);
  std::ifstream file(model.directory + "/config.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  h = hash_span(std::span<const char>(text), h);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    h = hash_bytes(t.bytes, hash_span(std::span<const char>(t.name), h));
  }
  return h;
}

}  // namespace quire::executor
