#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/executor/step.hpp>
#include <quire/sampling/logprobs.hpp>
#include <quire/sampling/params.hpp>
#include <quire/sampling/penalties.hpp>
#include <quire/sampling/truncation.hpp>

namespace quire::sampling {

/// Below this a temperature means greedy, as in vLLM.
inline constexpr double smallest_temperature = 1e-5;

/// Whether anything reads the log-probability of drawn tokens; where nothing does, none is computed
/// and Draw::logprob is 0.
[[nodiscard]] inline bool wants_logprobs(const SamplingParams& p) {
  return p.logprobs >= 0 || p.beam_width > 0 || p.width() > p.n;
}
/// Alternatives that each draw of this request carries.
[[nodiscard]] inline std::size_t alternatives_per_draw(const SamplingParams& p, std::size_t vocab) {
  return p.logprobs > 0 ? std::min(static_cast<std::size_t>(p.logprobs), vocab) : 0;
}

/// Token at `u` in [0, 1) of the distribution of weights: the first whose running sum, in order of
/// ids, exceeds u times the total. \shape weights (vocab), none negative, not all zero
[[nodiscard]] inline TokenId pick(std::span<const float> weights, double u) {
  constexpr std::size_t chunk = 256;
  double total = 0;
  auto sum_chunk = [&](std::size_t begin) {
    double sum = 0;
    for (std::size_t i = begin; i < std::min(begin + chunk, weights.size()); ++i) {
      sum += static_cast<double>(weights[i]);
    }
    return sum;
  };
  for (std::size_t c = 0; c < weights.size(); c += chunk) total += sum_chunk(c);
  const double target = u * total;
  double sum = 0;
  TokenId last = 0;  // where rounding leaves the target beyond the sum
  for (std::size_t c = 0; c < weights.size(); c += chunk) {
    const double here = sum_chunk(c);
    if (!(sum + here > target)) {
      sum += here;
      continue;
    }
    double inside = sum;
    for (std::size_t i = c; i < std::min(c + chunk, weights.size()); ++i) {
      if (!(weights[i] > 0)) continue;  // nor where the sum of a chunk rounds beyond its terms' own
      inside += static_cast<double>(weights[i]);
      last = static_cast<TokenId>(i);
      if (inside > target) return last;
    }
    sum += here;
  }
  if (weights[last] > 0) return last;
  return static_cast<TokenId>(
      std::find_if(weights.begin(), weights.end(), [](float w) { return w > 0; }) -
      weights.begin());
}

/// Turns one row of logits into the draws that a sequence's plan asks for. Results depend on the
/// logits, the parameters, the history and the position alone. Keeps its working memory: one
/// sampler per thread.
///
/// Order, as in vLLM: stop tokens banned below min_tokens, penalties, temperature, min-p, top-k,
/// top-p. Log-probabilities are those of the raw logits.
class Sampler {
 public:
  /// Whether truncation orders the whole vocabulary first; for comparison, results are the same.
  void sort_all(bool all) { sort_all_ = all; }

  /// Writes `plan.draws` draws and, for each, alternatives_per_draw() alternatives from
  /// `first_alternative` on. \shape logits (vocab), changed; draws (plan.draws)
  /// \pre plan.history holds the prompt and what was generated so far
  void sample(const SequencePlan& plan, std::span<float> logits, std::span<Draw> draws,
              std::uint32_t first_alternative, std::span<TokenLogprob> alternatives) {
    const SamplingParams& p = *plan.sampling;
    const std::int64_t length = (plan.computed + plan.tokens).value;
    const std::int64_t generated = length - plan.prompt_tokens.value;
    if (p.beam_width > 0) return beam(p, generated, logits, draws);

    const std::size_t each = alternatives_per_draw(p, logits.size());
    const bool logprobs = wants_logprobs(p);
    const double normalizer = logprobs ? log_normalizer(logits) : 0;
    if (logprobs) raw_.assign(logits.begin(), logits.end());
    if (each > 0) {
      const auto first = alternatives.subspan(0, each);
      top_logprobs(logits, normalizer, order_, first);
      for (std::size_t d = 1; d < draws.size(); ++d) {
        std::copy(first.begin(), first.end(),
                  alternatives.begin() + static_cast<std::ptrdiff_t>(d * each));
      }
    }
    ban_early_stops(p, generated, logits);
    const auto prompt = static_cast<std::size_t>(std::min(plan.prompt_tokens.value, length));
    if (has_penalties(p)) {
      const auto history = plan.history.first(static_cast<std::size_t>(length));
      penalties_.apply(p, history.first(prompt), history.subspan(prompt), logits);
    }
    const bool greedy = p.temperature < smallest_temperature;
    const Largest best = largest(logits);
    if (!greedy) distribution(p, logits);
    for (std::size_t d = 0; d < draws.size(); ++d) {
      TokenId token = best.token;
      if (!greedy) {
        const std::uint64_t seed = p.seed + static_cast<std::uint64_t>(plan.sample_index) + d;
        token =
            pick(weights_,
                 unit_interval(counter_bits(seed, stream, static_cast<std::uint64_t>(generated))));
      }
      draws[d].token = token;
      draws[d].logprob =
          logprobs ? static_cast<float>(static_cast<double>(raw_[token]) - normalizer) : 0.0f;
      draws[d].alternatives_begin = first_alternative + static_cast<std::uint32_t>(d * each);
      draws[d].alternatives_count = static_cast<std::uint32_t>(each);
    }
  }

 private:
  static constexpr std::uint64_t stream = 0x73616d706c65ULL;  // apart from other uses of a seed

  /// The best candidates of a beam, best first.
  void beam(const SamplingParams& p, std::int64_t generated, std::span<float> logits,
            std::span<Draw> draws) {
    const double normalizer = log_normalizer(logits);
    ban_early_stops(p, generated, logits);
    best_.resize(std::min(draws.size(), logits.size()));
    top_logprobs(logits, normalizer, order_, best_);
    for (std::size_t d = 0; d < draws.size(); ++d) {
      // a vocabulary smaller than 2 * beam_width runs out of candidates
      draws[d] =
          d < best_.size() ? Draw{best_[d].token, best_[d].logprob, 0, 0} : Draw{0, removed, 0, 0};
    }
  }

  /// weights_: unnormalised probabilities after temperature and truncation.
  void distribution(const SamplingParams& p, std::span<float> logits) {
    const auto factor = static_cast<float>(1 / p.temperature);
    for (float& x : logits) x *= factor;
    if (p.min_p > 0) keep_min_p(logits, p.min_p);
    if (p.top_k > 0) keep_top_k(logits, static_cast<std::size_t>(p.top_k), values_, sort_all_);
    if (p.top_p < 1) keep_top_p(logits, p.top_p, order_, sort_all_);
    weights_.resize(logits.size());
    (void)sum_of_exponentials(logits, largest(logits).logit, 1, weights_.data());
  }

  bool sort_all_ = false;
  Penalties penalties_;
  std::vector<float> raw_, values_, weights_;
  std::vector<TokenId> order_;
  std::vector<TokenLogprob> best_;
};

}  // namespace quire::sampling
