#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::experiment {

/// The name that was probably meant: one that begins with what was given, else one that is a few
/// letters away. Empty when nothing is near: a wild guess misleads.
template <class Names>
[[nodiscard]] std::string probable_name(std::string_view given, const Names& names) {
  std::string best;
  std::size_t distance = 0;
  bool best_begins = false;
  for (const auto& name : names) {
    const std::string_view candidate(name);
    const bool begins = !given.empty() && candidate.starts_with(given);
    const std::size_t longer = std::max(given.size(), candidate.size());
    const std::size_t d = edit_distance(given.substr(0, 256), candidate.substr(0, 256));
    if (!begins && (d > std::max<std::size_t>(1, longer / 3) || d == longer)) continue;
    if (best.empty() || begins > best_begins || (begins == best_begins && d < distance)) {
      best = candidate;
      distance = d;
      best_begins = begins;
    }
  }
  return best;
}

/// The error for a name that nothing has: says which one was probably meant and which there are.
template <class Names>
[[nodiscard]] Error unknown_name(std::string_view where, std::string_view kind,
                                 std::string_view given, const Names& names) {
  const std::string nearest = probable_name(given, names);
  std::string expected = nearest.empty() ? "" : nearest + " (the nearest)";
  std::size_t count = 0;
  for (const auto& name : names) {
    if (!nearest.empty() && std::string_view(name) == nearest) continue;
    if (++count > 24) {
      expected += ", ...";
      break;
    }
    expected += count > 1 ? ", " : nearest.empty() ? "one of " : " or one of ";
    expected += name;
  }
  return usage_error(where, "unknown " + std::string(kind) + " " + in_quotes(given), expected);
}

}  // namespace quire::experiment
