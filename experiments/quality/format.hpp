#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include <quire/engine/compatible.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::quality {

/// One change from a baseline in full precision; blocks of 32 tokens, as groups along tokens need.
template <class KvFormatType>
struct Variant : presets::Vllm {
  static constexpr std::string_view name = KvFormatType::name;
  using BlockSize = quire::BlockSize<32>;
  using Offload = offload::Recompute;
  using KvFormat = KvFormatType;
  using WeightFormat = weight_format::Fp32;
};

/// A KV format of the axis, by value: variants differ in nothing else, so all run in one engine.
struct Format {
  const kv_format::KvCodec* codec = nullptr;
  double (*token_bytes)(std::size_t layers, std::size_t kv_heads, std::size_t head_dim) = nullptr;
};
template <KvFormatPolicy F>
[[nodiscard]] Format format() {
  static_assert(incompatible_because<Variant<F>>.empty(),
                "quire: kv_format: the format does not go together with blocks of 32 tokens");
  return {&kv_format::codec_of<F>(), &kv_format::token_bytes<F>};
}

/// The laboratory's main over a list of formats: a user's own program is
///   int main(int argc, char** argv) { return quire::quality::run(argc, argv, {format<Mine>()}); }
/// Without `whole`, what no claim or figure needs is left to `--scale full` and `--axis`.
[[nodiscard]] int run(int argc, char** argv, const std::vector<Format>& formats, bool whole = true);

}  // namespace quire::quality
