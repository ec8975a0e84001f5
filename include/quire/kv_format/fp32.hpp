#pragma once

#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/plain.hpp>

namespace quire::kv_format {

/// Keys and values in full precision, 4 bytes a value: the reference of every other format.
struct Fp32 : Plain<float> {
  static constexpr std::string_view name = "fp32";
};
static_assert(PlainKvFormat<Fp32>);

}  // namespace quire::kv_format
