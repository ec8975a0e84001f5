// mechanism: which entries of a lane go, given their scores
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <quire/retention/lane.hpp>

namespace quire::retention {

/// Names entries [first, first + count) in `drop`.
inline void drop_range(std::size_t first, std::size_t count, std::vector<std::uint32_t>& drop) {
  for (std::size_t i = first; i < first + count; ++i) {
    drop.push_back(static_cast<std::uint32_t>(i));
  }
}

/// Names the `count` entries of [0, end) with the lowest scores in `drop`, in rising order; among
/// equals the oldest. \pre count <= end; drop is empty \complexity O(end)
inline void drop_lowest(std::span<const Entry> entries, std::size_t end, std::size_t count,
                        std::vector<std::uint32_t>& drop) {
  if (count == 0) return;
  if (count == 1) {  // a step of one token
    std::size_t worst = 0;
    for (std::size_t i = 1; i < end; ++i) {
      if (entries[i].score < entries[worst].score) worst = i;
    }
    drop.push_back(static_cast<std::uint32_t>(worst));
    return;
  }
  drop.resize(end);
  std::iota(drop.begin(), drop.end(), 0u);
  const auto worse = [&](std::uint32_t a, std::uint32_t b) {
    return entries[a].score != entries[b].score ? entries[a].score < entries[b].score : a < b;
  };
  if (count < end) {
    std::nth_element(drop.begin(), drop.begin() + static_cast<std::ptrdiff_t>(count), drop.end(),
                     worse);
    drop.resize(count);
  }
  std::sort(drop.begin(), drop.end());
}

/// Adds votes to the scores. \shape votes (entries) or empty
inline void add_votes(Lane& lane, std::span<const std::int64_t> votes) {
  for (std::size_t i = 0; i < votes.size(); ++i) lane.entries[i].score += votes[i];
}

/// Entries beyond a budget.
[[nodiscard]] inline std::size_t excess(const Lane& lane, Tokens budget) {
  const auto most = static_cast<std::size_t>(std::max<std::int64_t>(budget.value, 0));
  return lane.entries.size() > most ? lane.entries.size() - most : 0;
}

}  // namespace quire::retention
