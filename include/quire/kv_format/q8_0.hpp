#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values in blocks of 32 signed bytes with an fp16 scale, 8.5 bits a value.
/// \source llama.cpp, --cache-type-k q8_0; bytes as ggml lays them out.
struct Q80 : BlockRows<blockwise::Q8_0> {
  static constexpr std::string_view name = "q8_0";
};
static_assert(KvFormatPolicy<Q80>);

}  // namespace quire::kv_format
