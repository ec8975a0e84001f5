#pragma once

#include <limits>

namespace quire::metrics {

/// Mean in which each value counts as much as its weight: seconds for an average over time, 1 for
/// one over iterations. The two differ wherever long iterations hold other values than short ones,
/// so a figure has to say which one it shows.
class WeightedMean {
 public:
  /// \pre weight >= 0
  void add(double value, double weight = 1) {
    sum_ += value * weight;
    weight_ += weight;
  }
  /// NaN without weight.
  [[nodiscard]] double value() const {
    return weight_ > 0 ? sum_ / weight_ : std::numeric_limits<double>::quiet_NaN();
  }
  [[nodiscard]] double weight() const { return weight_; }

 private:
  double sum_ = 0;
  double weight_ = 0;
};

}  // namespace quire::metrics
