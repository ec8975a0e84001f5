#pragma once

#include "tests/retention/conformance.hpp"

namespace quire::retention_test {

/// SnapKV as its paper tells it; chosen: tokens that a layer keeps besides the window.
inline Naive::Keep naive_snap_kv(
    const RetentionLimits& limits,
    std::function<std::int64_t(std::int64_t layer, std::int64_t prompt)> chosen) {
  const std::int64_t window = std::min(limits.observation.value, limits.budget.value);
  return [=](std::set<std::int64_t> have, const std::vector<Naive::Step>& steps) {
    const Naive::Step& now = steps.back();
    const std::int64_t voted = now.prompt - window;
    if (now.computed != now.prompt || now.prompt <= limits.budget.value) return have;
    auto mass = [&](std::int64_t p) {
      std::int64_t sum = 0;
      for (const Naive::Step& step : steps) {
        if (p < step.computed) sum += step.votes.at(p);
      }
      return sum;
    };
    auto pooled = [&](std::int64_t p) {
      std::int64_t sum = 0;
      for (std::int64_t q = p - limits.pooling / 2; q <= p + limits.pooling / 2; ++q) {
        if (q >= 0 && q < voted) sum += mass(q);
      }
      return sum;
    };
    const std::int64_t gone = voted - std::min(voted, chosen(now.layer, now.prompt));
    take_away(have, static_cast<std::size_t>(gone), voted,
              [&](std::int64_t a, std::int64_t b) { return pooled(a) < pooled(b); });
    return have;
  };
}

}  // namespace quire::retention_test
