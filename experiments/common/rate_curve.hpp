#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <quire/metrics/json_object.hpp>

namespace quire::experiment {

/// A rate to three digits, so that it is written as it is run.
[[nodiscard]] inline double three_digits(double rate) {
  const double unit = std::pow(10.0, 2 - std::floor(std::log10(rate)));
  return std::round(rate * unit) / unit;
}

/// What a system does at one rate.
struct Rung {
  double latency = 0;  // what is held against a level
  double other = 0;    // the same by another definition, where there is one
  metrics::JsonObject row{};
};

/// A system's latency against rate. Each rate is played once, by whoever asks for it first.
class RateCurve {
 public:
  explicit RateCurve(std::function<Rung(double)> play) : play_(std::move(play)) {}

  [[nodiscard]] const Rung& at(double rate) {
    std::shared_ptr<Slot> slot;
    {
      const std::lock_guard lock(mutex_);
      std::shared_ptr<Slot>& place = slots_[rate];
      if (!place) place = std::make_shared<Slot>();
      slot = place;
    }
    std::call_once(slot->once, [&] { slot->rung = play_(rate); });
    return slot->rung;
  }

 private:
  struct Slot {
    std::once_flag once;
    Rung rung;
  };
  std::function<Rung(double)> play_;
  std::mutex mutex_;
  std::map<double, std::shared_ptr<Slot>> slots_;
};

/// The rate at which a curve first rises through a level, and what was asked on the way.
struct RateLimit {
  double rate = std::numeric_limits<double>::quiet_NaN();  // linear between low and high
  double low = std::numeric_limits<double>::quiet_NaN();   // the last rate found below the level
  double high = std::numeric_limits<double>::quiet_NaN();  // the first one above it
  std::map<double, double> tried{};                        // latency by rate

  [[nodiscard]] metrics::JsonObject row() const {
    std::string points;
    for (const auto& [rate, latency] : tried) {
      points += (points.empty() ? "[[" : ", [") + metrics::json_number(rate) + ", " +
                metrics::json_number(latency) + "]";
    }
    metrics::JsonObject out;
    return out.add("rate_at_level", rate)
        .add("rate_low", low)
        .add("rate_high", high)
        .raw("tried", points + "]");
  }
};

/// Climbs the rungs of a ladder (ascending) to the first one above `level`, beyond its ends where the
/// level lies there, and halves the interval until its ends are within `precision` of each other.
/// NaN where eight rungs beyond an end do not reach the level.
[[nodiscard]] inline RateLimit find_limit(RateCurve& curve, const std::vector<double>& ladder,
                                          double level, double precision = 0.02,
                                          double Rung::*latency = &Rung::latency) {
  RateLimit limit;
  const auto ask = [&](double rate) { return limit.tried[rate] = curve.at(rate).*latency; };
  constexpr double stride = 1.3;
  double low = ladder.front(), high = 0, below = ask(low), above = 0;
  for (int more = 0; below > level; ++more) {  // the ladder begins too high
    if (more == 8) return limit;
    high = low;
    above = below;
    below = ask(low = three_digits(low / stride));
  }
  for (std::size_t i = 1; high == 0; ++i) {
    if (i >= ladder.size() + 8) return limit;
    const double rate = i < ladder.size() ? ladder[i] : three_digits(low * stride);
    const double found = ask(rate);
    if (found > level) {
      high = rate;
      above = found;
    } else {
      low = rate;
      below = found;
    }
  }
  while (high > low * (1 + precision)) {
    const double middle = three_digits(std::sqrt(low * high));
    if (middle <= low || middle >= high) break;
    const double found = ask(middle);
    (found > level ? high : low) = middle;
    (found > level ? above : below) = found;
  }
  limit.low = low;
  limit.high = high;
  limit.rate = low + (high - low) * (level - below) / (above - below);
  return limit;
}

}  // namespace quire::experiment
