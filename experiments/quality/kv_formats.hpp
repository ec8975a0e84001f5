#pragma once

#include <span>

#include <experiments/quality/format.hpp>

namespace quire::quality {

/// Every KV format of the house: the axis of the laboratory, and what `quire` chooses from by name.
/// Compiled once, in kv_formats.cpp.
[[nodiscard]] std::span<const Format> kv_formats();

}  // namespace quire::quality
