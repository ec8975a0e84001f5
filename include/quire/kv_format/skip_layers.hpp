#pragma once

#include <cstddef>
#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// A format in which the first and the last layers of a model are stored in another one.
/// \source vLLM, kv_cache_dtype_skip_layers; KVQuant and others keep the first layers precise.
template <KvFormatPolicy Format, KvFormatPolicy Precise, std::size_t first, std::size_t last>
struct SkipLayers {
  static constexpr auto text =
      Name<112>().add(Format::name).add("_skip").add(first).add("_").add(last);
  static constexpr std::string_view name = text;
  using Keys = keys_of<Format>;
  using Values = values_of<Format>;
  using Skipped = Precise;

  static constexpr bool skips(std::size_t layer, std::size_t layers) {
    return layer < first || layer + last >= layers;
  }
};
static_assert(KvFormatPolicy<SkipLayers<Fp16, Fp32, 1, 1>>);

}  // namespace quire::kv_format
