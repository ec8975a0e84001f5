#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include <quire/attention/causal.hpp>
#include <quire/core/hd.hpp>

namespace quire::attention {

/// Causal attention to the last `window` tokens, the query's own included.
/// \source Beltagy et al., "Longformer", 2020; Jiang et al., "Mistral 7B", 2023.
struct SlidingWindow : Causal {
  static constexpr std::string_view name = "sliding_window";
  std::int64_t window = std::numeric_limits<std::int64_t>::max();  // >= 1

  constexpr SlidingWindow() = default;
  explicit constexpr SlidingWindow(std::int64_t tokens) : window(tokens) {}
  [[nodiscard]] QUIRE_HD constexpr std::int64_t first_visible(std::int64_t position) const {
    return position < window ? 0 : position - window + 1;
  }
};
static_assert(AttentionVariant<SlidingWindow>);

}  // namespace quire::attention
