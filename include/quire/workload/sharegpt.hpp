#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <quire/workload/generator.hpp>

namespace quire::workload {

/// ShareGPT lengths under the OPT tokenizer: the 17 quantiles of 79,725 conversations with fewer
/// than 2048 tokens in all (first human turn, first reply).
/// \source Kwon et al., SOSP '23, artifact; quantiles measured on its lengths.
struct ShareGptQuantiles {
  static constexpr std::array<double, 17> share{.01, .05, .10, .20, .25, .30, .40, .50, .60,
                                                .70, .75, .80, .90, .95, .97, .99, .999};
  static constexpr std::array<double, 17> input{2,  7,   9,   13,  15,  18,   24,   35,  55,
                                                94, 133, 203, 506, 863, 1087, 1460, 1864};
  static constexpr std::array<double, 17> output{4,   22,  45,  101, 128, 157,  216,  271, 330,
                                                 405, 458, 525, 754, 899, 1040, 1280, 1708};
  /// Shares of replies of up to 1, 2, 3, 4, 9, 10 and 16 tokens. Normalized latency divides by a reply's length:
  /// its mean rests on the shortest ones. From the 17 quantiles alone 0.7 % of replies would have one token,
  /// where 0.009 % have, and the mean of 1 / output would be 0.0198; over the conversations it is 0.0134.
  static constexpr std::array<Quantile, 7> short_output{{{.00009, 1.5},
                                                         {.00502, 2.5},
                                                         {.00734, 3.5},
                                                         {.01019, 4.5},
                                                         {.01613, 9.5},
                                                         {.02880, 10.5},
                                                         {.03954, 16.5}}};
  static constexpr std::int64_t total_limit = 2048;  // input + output is smaller
  static constexpr double input_mean = 161.18;       // of the conversations, tokens
  static constexpr double output_mean = 338.00;
  /// Density between two quantiles falls as x^-slope; these slopes give the two means (161.18 and
  /// 338.00 to two decimals; 1, even in the logarithm, would give 161.92 and 339.35).
  static constexpr double input_slope = 1.19;
  static constexpr double output_slope = 1.70;
  /// Long prompts and long replies go together a little: Pearson 0.041 over the conversations. With
  /// independent lengths the limit alone would make it -0.06. This coupling gives the measured
  /// value; the table's quantiles of input + output, not used in the fit, come out within 3 % from
  /// the median up.
  static constexpr double coupling = 0.59;
};

/// Draws (input, output) pairs whose two length distributions are those of the table although only
/// pairs below the limit are kept.
/// Drawing both from the table and dropping long pairs would lose 5.6 % of the input tokens,
/// because the table describes what was left after the filter. So the weights f, g are found for
/// which the *kept* pairs have the table's marginals: f(i) = p(i) / G(limit - i) and g(o) = q(o) /
/// F(limit - o), iterated. A pair is weighted by 1 + coupling * a(i) * b(o), where a and b run from
/// -1 to 1 with the rank of a length among its kind, which sets the correlation and no marginal.
/// \complexity O(limit) an iteration; 64 iterations, 1 ms.
/// \source Deming, Stephan, "On a least squares adjustment of a sampled frequency table", 1940; the
/// weight is the Farlie-Gumbel-Morgenstern copula's density.
class ShareGptLengths {
 public:
  ShareGptLengths() : ShareGptLengths(inputs(), outputs()) {}

  [[nodiscard]] detail::Lengths operator()(Rng& rng) const {
    for (;;) {
      const detail::Lengths pair{input_(rng), output_(rng)};
      if (pair.input + pair.output >= Tokens(ShareGptQuantiles::total_limit)) continue;
      const double a = input_rank_[static_cast<std::size_t>(pair.input.value - 1)];
      const double b = output_rank_[static_cast<std::size_t>(pair.output.value - 1)];
      const double most = 1 + ShareGptQuantiles::coupling;
      if (rng.uniform() * most < 1 + ShareGptQuantiles::coupling * a * b) return pair;
    }
  }

  /// Probabilities of the lengths 1, 2, ... as the table has them.
  [[nodiscard]] static std::vector<double> inputs() {
    return marginal({}, ShareGptQuantiles::input, ShareGptQuantiles::input_slope);
  }
  [[nodiscard]] static std::vector<double> outputs() {
    const auto& shortest = ShareGptQuantiles::short_output;
    return marginal({shortest.begin(), shortest.end()}, ShareGptQuantiles::output,
                    ShareGptQuantiles::output_slope);
  }

 private:
  /// The quantiles of the table from where `knots` end.
  static std::vector<double> marginal(std::vector<Quantile> knots,
                                      const std::array<double, 17>& tokens, double slope) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const double share = ShareGptQuantiles::share[i];
      if (knots.empty() || share > knots.back().share) knots.push_back({share, tokens[i]});
    }
    return probabilities_from(knots, ShareGptQuantiles::total_limit - 2, slope);
  }

  ShareGptLengths(const std::vector<double>& p, const std::vector<double>& q)
      : ShareGptLengths(fit(p, q), ranks(p), ranks(q)) {}
  ShareGptLengths(const std::array<std::vector<double>, 2>& weights, std::vector<double> input_rank,
                  std::vector<double> output_rank)
      : input_(weights[0]),
        output_(weights[1]),
        input_rank_(std::move(input_rank)),
        output_rank_(std::move(output_rank)) {}

  /// Middle rank of each length among all, from -1 to 1.
  static std::vector<double> ranks(const std::vector<double>& p) {
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    std::vector<double> rank(p.size());
    double below = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      rank[i] = 2 * (below + p[i] / 2) / total - 1;
      below += p[i];
    }
    return rank;
  }

  static std::array<std::vector<double>, 2> fit(const std::vector<double>& p,
                                                const std::vector<double>& q) {
    const std::size_t n = p.size();
    const std::vector<double> a = ranks(p), b = ranks(q);
    std::vector<double> f(n);
    std::vector<double> g = q;
    // Length i + 1 goes with lengths 1 .. n - i of the other side.
    const auto divide = [n](const std::vector<double>& wanted, const std::vector<double>& rank,
                            const std::vector<double>& other, const std::vector<double>& other_rank,
                            std::vector<double>& out) {
      double partners = 0, ranked = 0;
      for (std::size_t i = n; i-- > 0;) {
        partners += other[n - 1 - i];
        ranked += other[n - 1 - i] * other_rank[n - 1 - i];
        const double weight = partners + ShareGptQuantiles::coupling * rank[i] * ranked;
        out[i] = wanted[i] > 0 ? wanted[i] / weight : 0;
      }
    };
    for (int iteration = 0; iteration < 64; ++iteration) {
      divide(p, a, g, b, f);
      divide(q, b, f, a, g);
    }
    return {std::move(f), std::move(g)};
  }

  WeightedLength input_;
  WeightedLength output_;
  std::vector<double> input_rank_, output_rank_;
};

/// Chat requests with ShareGPT's lengths: means 161.2 in and 338.0 out.
/// \errors usage error: no requests, or a rate that is not positive.
[[nodiscard]] inline Workload sharegpt(const GeneratorOptions& options = {}) {
  return detail::generate("sharegpt", options, ShareGptLengths{});
}

}  // namespace quire::workload
