#pragma once

#include <limits>
#include <span>

namespace quire::metrics {

/// How evenly n shares are divided: 1 when all are equal, 1/n when one has everything. Shares are
/// not negative. NaN without shares or when all are 0.
/// \source Jain, Chiu, Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
[[nodiscard]] inline double jain_index(std::span<const double> shares) {
  double sum = 0;
  double squares = 0;
  for (const double x : shares) {
    sum += x;
    squares += x * x;
  }
  if (!(squares > 0)) return std::numeric_limits<double>::quiet_NaN();
  return sum * sum / (static_cast<double>(shares.size()) * squares);
}

}  // namespace quire::metrics
