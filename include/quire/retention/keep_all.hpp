#pragma once

#include <string_view>

#include <quire/retention/concepts.hpp>

namespace quire::retention {

/// Keeps every token of a sequence until the sequence ends.
struct KeepAll {
  static constexpr std::string_view name = "keep_all";
  static constexpr bool keeps_all = true;
};
static_assert(RetentionPolicy<KeepAll>);

}  // namespace quire::retention
