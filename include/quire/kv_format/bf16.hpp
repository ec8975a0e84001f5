#pragma once

#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/plain.hpp>

namespace quire::kv_format {

/// Keys and values as bfloat16, rounded to nearest even, 2 bytes a value.
struct Bf16 : Plain<quire::Bf16> {
  static constexpr std::string_view name = "bf16";
};
static_assert(PlainKvFormat<Bf16>);

}  // namespace quire::kv_format
