#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values in blocks of 32 codes of 4 bits with an fp16 scale, 4.5 bits a value.
/// \source llama.cpp, --cache-type-k q4_0; bytes as ggml lays them out.
struct Q40 : BlockRows<blockwise::Q4_0> {
  static constexpr std::string_view name = "q4_0";
};
static_assert(KvFormatPolicy<Q40>);

}  // namespace quire::kv_format
