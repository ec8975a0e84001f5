#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/concepts.hpp>
#include <quire/retention/snap_kv.hpp>

namespace quire::retention {

/// SnapKV with a budget of its own for each layer, falling evenly from the first to the last; the
/// mean over the layers is `budget`. Blocks span all layers, so the first layer's share decides how
/// many a sequence holds: the others' smaller shares become holes in them.
/// \complexity as snap_kv. \source Cai et al., "PyramidKV", arXiv:2406.02069, and its repository's
/// arithmetic: the last layer chooses mean / slope tokens besides the observation window, the first
/// 2 mean - mean / slope, at most all.
class PyramidKv : public SnapKv {
 public:
  static constexpr std::string_view name = "pyramid_kv";
  static constexpr bool per_layer_budgets = true;

  PyramidKv(const RetentionLimits& limits, std::int64_t layers)
      : SnapKv(limits, layers),
        layers_(layers),
        slope_(std::max<std::int64_t>(1, limits.pyramid_slope)) {}

  /// Tokens that a layer keeps of a prompt besides the observation window.
  [[nodiscard]] Tokens chosen(std::int64_t layer, Tokens prompt) const {
    const std::int64_t mean = (budget_ - observation_).value;
    if (layers_ < 2) return mean;
    std::int64_t last = mean / slope_;
    std::int64_t first = 2 * mean - last;
    if (first >= (prompt - observation_).value) {
      first = (prompt - observation_).value;
      last = 2 * mean - first;
    }
    return first - layer * ((first - last) / (layers_ - 1));
  }

  void after_step(Lane& lane, std::span<const std::int64_t> votes, const LaneStep& step,
                  std::vector<std::uint32_t>& drop) const {
    compress(lane, votes, step, chosen(step.layer, step.prompt), drop);
  }

 private:
  std::int64_t layers_, slope_;
};
static_assert(DroppingPolicy<PyramidKv>);

}  // namespace quire::retention
