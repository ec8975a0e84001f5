#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>

namespace quire::metrics {

/// The value below which `percent` of sorted values lie; between two of them it is interpolated
/// linearly, as numpy's percentile does by default.
/// \pre sorted ascending, not empty.  \errors usage error: percent outside [0, 100].
[[nodiscard]] inline double percentile_of_sorted(std::span<const double> sorted, double percent) {
  if (!(percent >= 0 && percent <= 100)) {
    throw usage_error("percentile", std::to_string(percent) + " is none", "from 0 to 100");
  }
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  const double part = place - static_cast<double>(below);
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

/// Values of one metric, summarised as vLLM's benchmark does: mean, median, standard deviation of
/// the values themselves (divided by n), percentiles. Without values every one of them is NaN,
/// which rows write as null: no data is not 0.
class Distribution {
 public:
  Distribution() = default;
  explicit Distribution(std::vector<double> values) : values_(std::move(values)) {
    std::sort(values_.begin(), values_.end());
  }

  [[nodiscard]] std::size_t count() const { return values_.size(); }
  [[nodiscard]] double mean() const {
    if (values_.empty()) return nothing;
    double sum = 0;
    for (const double v : values_) sum += v;
    return sum / static_cast<double>(values_.size());
  }
  [[nodiscard]] double standard_deviation() const {
    if (values_.empty()) return nothing;
    const double center = mean();
    double squares = 0;
    for (const double v : values_) squares += (v - center) * (v - center);
    return std::sqrt(squares / static_cast<double>(values_.size()));
  }
  [[nodiscard]] double percentile(double percent) const {
    return values_.empty() ? nothing : percentile_of_sorted(values_, percent);
  }
  [[nodiscard]] double median() const { return percentile(50); }
  [[nodiscard]] double max() const { return values_.empty() ? nothing : values_.back(); }
  /// Ascending.
  [[nodiscard]] std::span<const double> values() const { return values_; }

 private:
  static constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> values_;
};

}  // namespace quire::metrics
