#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>

namespace quire::metrics {

/// The share of Student's t distribution within [-t, t].
/// freedom: degrees of freedom, > 0; t: >= 0
/// \source Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4: finite sums.
[[nodiscard]] inline double student_t_within(double t, std::size_t freedom) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(freedom)));
  const double cosine = std::cos(angle);
  // odd: cos + 2/3 cos^3 + ...; even: 1 + 1/2 cos^2 + ...; up to the power freedom - 2
  const bool odd = freedom % 2 == 1;
  double term = odd ? cosine : 1, sum = 0;
  for (std::size_t power = odd ? 1 : 0; power + 2 <= freedom; power += 2) {
    sum += term;
    const auto p = static_cast<double>(power);
    term *= cosine * cosine * (p + 1) / (p + 2);
  }
  if (!odd) return std::sin(angle) * sum;
  return 2 / std::numbers::pi * (angle + std::sin(angle) * sum);
}

/// t such that `share` of Student's distribution lies within [-t, t]: 12.706 for 0.95 and one degree of
/// freedom, 1.96 for many. \pre 0 < share < 1, freedom > 0
[[nodiscard]] inline double student_t_quantile(double share, std::size_t freedom) {
  double low = 0, high = 1;
  while (student_t_within(high, freedom) < share) high *= 2;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (student_t_within(middle, freedom) < share ? low : high) = middle;
  }
  return high;
}

/// What changing one thing changes, everything else equal: means over pairs, and the mean of the pairs'
/// differences with an interval that would hold it in `level` of repetitions.
struct PairedDifference {
  std::size_t pairs = 0;
  double before = 0, after = 0;  // means
  double difference = 0;         // of after from before
  double low = 0, high = 0;      // NaN with one pair, of which nothing is known

  /// Whether the interval excludes 0, or every pair differs by the same amount.
  [[nodiscard]] bool is_shown() const { return low > 0 || high < 0; }
};

/// Pairs share what is drawn, so that its spread falls out of their differences. The interval is that of
/// Student's t: exact where differences are normal, near it from some ten pairs on.
/// \pre before and after are as long as each other and not empty
/// \source Law, Simulation Modeling and Analysis, section 10.2: paired-t intervals, common random numbers.
[[nodiscard]] inline PairedDifference paired_difference(std::span<const double> before,
                                                        std::span<const double> after,
                                                        double level = 0.95) {
  PairedDifference out;
  out.pairs = before.size();
  const auto n = static_cast<double>(out.pairs);
  for (std::size_t i = 0; i < out.pairs; ++i) {
    out.before += before[i] / n;
    out.after += after[i] / n;
    out.difference += (after[i] - before[i]) / n;
  }
  if (out.pairs < 2) {
    out.low = out.high = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  double squares = 0;
  for (std::size_t i = 0; i < out.pairs; ++i) {
    const double off = after[i] - before[i] - out.difference;
    squares += off * off;
  }
  const double half = student_t_quantile(level, out.pairs - 1) * std::sqrt(squares / (n - 1) / n);
  out.low = out.difference - half;
  out.high = out.difference + half;
  return out;
}

}  // namespace quire::metrics
