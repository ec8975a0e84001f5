#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/concepts.hpp>
#include <quire/retention/limits.hpp>

namespace quire::retention {

/// Drops nothing: a decoding query attends to `budget` tokens' worth of pages alone, those whose keys
/// could score highest, judged by the smallest and largest value of each of their dimensions. A page
/// is a block; the last one is always among them; the first `dense_layers` layers attend to all.
/// \complexity O(pages x head_dim) a query, head and layer. \source Tang et al., "Quest", ICML '24.
/// Deviation: query heads that share a KV head choose together, by the highest of their scores.
class Quest {
 public:
  static constexpr std::string_view name = "quest";
  static constexpr bool keeps_all = true;
  static constexpr bool selects_pages = true;

  Quest(const RetentionLimits& limits, Tokens page_tokens)
      : pages_(std::max<std::int64_t>(1, limits.budget.value / page_tokens.value)),
        dense_layers_(limits.dense_layers) {}

  /// What a device needs to choose by itself: as many of the highest scores, by this bound.
  static constexpr bool chooses_highest = true;
  [[nodiscard]] std::int64_t pages() const { return pages_; }

  /// Whether a query in this layer attends to every page, of `pages` there are.
  [[nodiscard]] bool attends_to_all(std::int64_t layer, std::size_t pages) const {
    return layer < dense_layers_ || static_cast<std::int64_t>(pages) <= pages_;
  }

  /// The highest score that any key of a page can have.
  /// \shape query, smallest, largest (head_dim)
  [[nodiscard]] static float bound(std::span<const float> query, const float* smallest,
                                   const float* largest) {
    float sum = 0;
    for (std::size_t i = 0; i < query.size(); ++i) {
      sum += std::max(query[i] * smallest[i], query[i] * largest[i]);
    }
    return sum;
  }

  /// The pages to attend to, in rising order; among equals the latest. \shape bounds (pages)
  void choose(std::span<const float> bounds, std::vector<std::uint32_t>& pages) const {
    const std::size_t last = bounds.size() - 1;
    pages.resize(last);
    for (std::size_t i = 0; i < last; ++i) pages[i] = static_cast<std::uint32_t>(i);
    const auto count = std::min(last, static_cast<std::size_t>(pages_ - 1));
    const auto better = [&](std::uint32_t a, std::uint32_t b) {
      return bounds[a] != bounds[b] ? bounds[a] > bounds[b] : a > b;
    };
    if (count > 0 && count < last) {
      std::nth_element(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count),
                       pages.end(), better);
    }
    pages.resize(count);
    pages.push_back(static_cast<std::uint32_t>(last));
    std::sort(pages.begin(), pages.end());
  }

 private:
  std::int64_t pages_;
  std::int64_t dense_layers_;
};
static_assert(PageSelectingPolicy<Quest>);

}  // namespace quire::retention
