#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as FP8 E4M3, 32 to a power of two, 8.25 bits a value.
/// \source OCP Microscaling Formats (MX) Specification, MXFP8.
struct Mxfp8 : BlockRows<blockwise::Mxfp8> {
  static constexpr std::string_view name = "mxfp8";
};
static_assert(KvFormatPolicy<Mxfp8>);

}  // namespace quire::kv_format
