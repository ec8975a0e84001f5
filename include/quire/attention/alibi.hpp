#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/core/hd.hpp>

namespace quire::attention {

/// Lowers a logit in proportion to the distance between query and key, in place of position
/// embeddings. \source Press et al., "Train Short, Test Long", ICLR '22.
struct Alibi : Causal {
  static constexpr std::string_view name = "alibi";
  static constexpr bool transforms_logits = true;
  std::span<const float> slopes;  // \shape (heads)

  constexpr Alibi() = default;
  explicit constexpr Alibi(std::span<const float> per_head) : slopes(per_head) {}
  template <class Math>
  [[nodiscard]] QUIRE_HD constexpr typename Math::Value logit(Math, typename Math::Value s,
                                                              std::size_t head,
                                                              typename Math::Value distance) const {
    return Math::add(s, Math::mul(distance, Math::set(-slopes[head])));
  }

  /// The paper's slopes 2^(-8 i / heads), i = 1 ... heads; for heads not a power of two, those of
  /// the power below, then every second of the power above. \shape (heads)
  [[nodiscard]] static std::vector<float> slopes_for(std::size_t heads) {
    std::size_t below = 1;
    while (below * 2 <= heads) below *= 2;
    std::vector<float> slopes;
    auto slope = [](std::size_t i, std::size_t n) {
      return static_cast<float>(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(n)));
    };
    for (std::size_t i = 1; i <= below; ++i) slopes.push_back(slope(i, below));
    for (std::size_t i = 1; slopes.size() < heads; i += 2) slopes.push_back(slope(i, 2 * below));
    return slopes;
  }
};
static_assert(AttentionVariant<Alibi>);

}  // namespace quire::attention
