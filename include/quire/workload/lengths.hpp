#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::workload {

/// Every request has the same length.
struct FixedLength {
  Tokens tokens = 1;
  [[nodiscard]] Tokens operator()(Rng&) const { return tokens; }
};

/// Every length of [low, high] equally often.
struct UniformLength {
  Tokens low = 1;
  Tokens high = 1;
  [[nodiscard]] Tokens operator()(Rng& rng) const {
    return low + static_cast<std::int64_t>(
                     rng.below(static_cast<std::uint64_t>(high.value - low.value) + 1));
  }
};

/// Length low + k - 1 with probability proportional to k^-theta, up to high: short ones often.
/// \complexity O(1) a draw.
/// \source Hörmann, Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", TOMACS 1996.
struct ZipfLength {
  Tokens low = 1;
  Tokens high = 1;
  double theta = 1;  // > 0

  [[nodiscard]] Tokens operator()(Rng& rng) const {
    const auto ranks = static_cast<double>(high.value - low.value + 1);
    const double first = integral(1.5) - 1;  // the bar of rank 1 is taken whole
    const double last = integral(ranks + 0.5);
    for (;;) {
      const double u = last + rng.uniform() * (first - last);
      const double x = inverse(u);
      const double k = std::clamp(std::floor(x + 0.5), 1.0, ranks);
      if (u >= integral(k + 0.5) - std::pow(k, -theta)) {
        return low + static_cast<std::int64_t>(k) - Tokens(1);
      }
    }
  }

 private:
  [[nodiscard]] double integral(double x) const {  // of x^-theta from 1
    return theta == 1 ? std::log(x) : (std::pow(x, 1 - theta) - 1) / (1 - theta);
  }
  [[nodiscard]] double inverse(double y) const {
    return theta == 1 ? std::exp(y) : std::pow(1 + y * (1 - theta), 1 / (1 - theta));
  }
};

/// Log-normal, rounded to whole tokens and drawn again outside [1, high].
struct LogNormalLength {
  double mean = 1;   // of the lengths themselves, not of their logarithms
  double sigma = 1;  // of the logarithms
  Tokens high = std::int64_t{1} << 20;

  [[nodiscard]] Tokens operator()(Rng& rng) const {
    for (;;) {
      const double x = std::exp(std::log(mean) - sigma * sigma / 2 + sigma * rng.normal());
      if (x >= 0.5 && x < static_cast<double>(high.value) + 0.5) {
        return static_cast<std::int64_t>(std::floor(x + 0.5));
      }
    }
  }
};

/// Lengths as often as they occur in a list: of a trace, say.
struct EmpiricalLength {
  std::vector<Tokens> tokens;
  [[nodiscard]] Tokens operator()(Rng& rng) const {
    return tokens[static_cast<std::size_t>(rng.below(tokens.size()))];
  }
};

/// One point of a cumulative distribution: `share` of the lengths are below or about `tokens`.
struct Quantile {
  double share;
  double tokens;
};

/// Probabilities of the lengths 1 .. high from some quantiles of them.
/// Between two quantiles the density falls as x^-slope: 0 spreads evenly, 1 evenly in the
/// logarithm. What lies outside the table reaches down to 1 and up to high. \shape result (high);
/// sums to 1 \errors usage error: quantiles that do not rise, or leave [1, high].
[[nodiscard]] inline std::vector<double> probabilities_from(const std::vector<Quantile>& table,
                                                            Tokens high, double slope) {
  std::vector<Quantile> knots{{0, 0.5}};
  knots.insert(knots.end(), table.begin(), table.end());
  knots.push_back({1, static_cast<double>(high.value) + 0.5});
  for (std::size_t i = 1; i < knots.size(); ++i) {
    if (!(knots[i].share > knots[i - 1].share && knots[i].tokens > knots[i - 1].tokens)) {
      throw usage_error("quantile " + std::to_string(knots[i].share), "does not rise",
                        "shares and tokens in ascending order, from 1 to the highest length");
    }
  }
  const auto integral = [slope](double x) {
    return slope == 1 ? std::log(x) : std::pow(x, 1 - slope) / (1 - slope);
  };
  std::vector<double> out(static_cast<std::size_t>(high.value));
  std::size_t k = 1;
  double before = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double edge = static_cast<double>(i) + 1.5;
    while (k + 1 < knots.size() && knots[k].tokens < edge) ++k;
    const Quantile& a = knots[k - 1];
    const Quantile& b = knots[k];
    const double part =
        (integral(edge) - integral(a.tokens)) / (integral(b.tokens) - integral(a.tokens));
    const double below = i + 1 == out.size() ? 1 : a.share + (b.share - a.share) * part;
    out[i] = below - before;
    before = below;
  }
  return out;
}

/// Draws 1 .. n with given weights. \complexity O(log n) a draw.
class WeightedLength {
 public:
  /// weights: of the lengths 1, 2, ...; not negative, not all 0.
  explicit WeightedLength(const std::vector<double>& weights) {
    double sum = 0;
    for (const double w : weights) cumulative_.push_back(sum += w);
  }
  [[nodiscard]] Tokens operator()(Rng& rng) const {
    const double u = rng.uniform() * cumulative_.back();
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, u);
    return static_cast<std::int64_t>(found - cumulative_.begin()) + 1;
  }

 private:
  std::vector<double> cumulative_;
};

/// Any of them.
using LengthDistribution = std::variant<FixedLength, UniformLength, ZipfLength, LogNormalLength,
                                        EmpiricalLength, WeightedLength>;

/// Refuses parameters that no length fits, in a sentence.
/// \errors usage error.
inline void check_lengths(const LengthDistribution& lengths) {
  const auto refuse = [](const char* what) {
    throw usage_error("length distribution", what, "1 <= low <= high, positive mean and theta");
  };
  struct {
    decltype(refuse)& no;
    void operator()(const FixedLength& d) const {
      if (d.tokens < Tokens(1)) no("the length is below 1");
    }
    void operator()(const UniformLength& d) const {
      if (d.low < Tokens(1) || d.high < d.low) no("the range is empty or begins below 1");
    }
    void operator()(const ZipfLength& d) const {
      if (d.low < Tokens(1) || d.high < d.low) no("the range is empty or begins below 1");
      if (!(d.theta > 0 && std::isfinite(d.theta))) no("theta is not positive");
    }
    void operator()(const LogNormalLength& d) const {
      if (!(d.mean >= 1) || !(d.sigma >= 0 && d.sigma < 5)) no("mean or sigma is out of range");
      if (static_cast<double>(d.high.value) < d.mean) no("the highest length is below the mean");
    }
    void operator()(const EmpiricalLength& d) const {
      if (d.tokens.empty()) no("the list is empty");
      for (const Tokens t : d.tokens) {
        if (t < Tokens(1)) no("a length is below 1");
      }
    }
    void operator()(const WeightedLength&) const {}
  } check{refuse};
  std::visit(check, lengths);
}

[[nodiscard]] inline Tokens draw_length(const LengthDistribution& lengths, Rng& rng) {
  return std::visit([&rng](const auto& d) { return d(rng); }, lengths);
}

}  // namespace quire::workload
