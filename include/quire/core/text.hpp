#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quire {

/// Quotes outside text for an error line: control bytes become '?', long text is cut.
[[nodiscard]] inline std::string in_quotes(std::string_view text, std::size_t longest = 60) {
  std::string out = "\"";
  for (char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(byte < 0x20 || byte == 0x7f ? '?' : c);
  }
  while (text.size() > longest && !out.empty() && (out.back() & 0xC0) == 0x80) out.pop_back();
  out.append(text.size() > longest ? "...\"" : "\"");
  return out;
}

/// Counts the single-character insertions, removals and replacements that turn a into b.
/// \complexity O(|a| |b|) time, O(|b|) memory.
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

/// Lists the `count` candidates nearest to `wanted` by edit distance, nearest first.
/// Names over 256 bytes are compared by their first 256, so that outside text stays cheap.
template <class Range>
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view wanted, const Range& names,
                                                     std::size_t count = 3) {
  constexpr std::size_t longest = 256;
  struct Scored {
    std::size_t distance;
    std::string_view name;
  };
  std::vector<Scored> scored;
  for (const auto& name : names) {
    const std::string_view view(name);
    scored.push_back({edit_distance(wanted.substr(0, longest), view.substr(0, longest)), view});
  }
  std::stable_sort(scored.begin(), scored.end(),
                   [](const Scored& a, const Scored& b) { return a.distance < b.distance; });
  std::vector<std::string> out;
  for (std::size_t i = 0; i < scored.size() && i < count; ++i) out.emplace_back(scored[i].name);
  return out;
}

}  // namespace quire
