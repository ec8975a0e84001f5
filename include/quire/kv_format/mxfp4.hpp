#pragma once

#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Keys and values as FP4, 32 to a power of two, 4.25 bits a value.
/// \source OCP Microscaling Formats (MX) Specification, MXFP4.
struct Mxfp4 : BlockRows<blockwise::Mxfp4> {
  static constexpr std::string_view name = "mxfp4";
};
static_assert(KvFormatPolicy<Mxfp4>);

}  // namespace quire::kv_format
