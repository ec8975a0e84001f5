#pragma once

#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::experiment {

/// The error for a name that nothing has: says which one was probably meant and which there are.
template <class Names>
[[nodiscard]] Error unknown_name(std::string_view where, std::string_view kind,
                                 std::string_view given, const Names& names) {
  const auto nearest = nearest_names(given, names, 1);
  std::string expected;
  if (!nearest.empty()) expected = nearest.front() + " (the nearest)";
  std::size_t count = 0;
  for (const auto& name : names) {
    if (!nearest.empty() && std::string_view(name) == nearest.front()) continue;
    if (++count > 24) {
      expected += ", ...";
      break;
    }
    expected.append(expected.empty() ? "" : count == 1 ? " or one of " : ", ").append(name);
  }
  return usage_error(where, "unknown " + std::string(kind) + " " + in_quotes(given), expected);
}

}  // namespace quire::experiment
