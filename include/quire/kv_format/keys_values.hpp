#pragma once

#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys in one format, values in another. \source llama.cpp, --cache-type-k and --cache-type-v.
template <KvFormatPolicy KeyFormat, KvFormatPolicy ValueFormat>
struct KeysValues {
  static constexpr auto text =
      Name<112>().add("k_").add(KeyFormat::name).add("_v_").add(ValueFormat::name);
  static constexpr std::string_view name = text;
  using Keys = keys_of<KeyFormat>;
  using Values = values_of<ValueFormat>;
};
static_assert(KvFormatPolicy<KeysValues<Fp16, Fp32>>);

}  // namespace quire::kv_format
