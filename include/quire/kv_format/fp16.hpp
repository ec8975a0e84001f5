#pragma once

#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/plain.hpp>

namespace quire::kv_format {

/// Keys and values as IEEE half precision, rounded to nearest even, 2 bytes a value.
struct Fp16 : Plain<quire::Fp16> {
  static constexpr std::string_view name = "fp16";
};
static_assert(PlainKvFormat<Fp16>);

}  // namespace quire::kv_format
