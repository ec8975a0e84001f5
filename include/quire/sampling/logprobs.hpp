#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/simd.hpp>
#include <quire/executor/step.hpp>

namespace quire::sampling {

/// The largest logit and the first token that has it.
/// \errors state when a logit is not a number, or none is finite: there is nothing to draw from
struct Largest {
  TokenId token = 0;
  float logit = 0;
};
[[nodiscard]] inline Largest largest(std::span<const float> logits) {
  using namespace simd;
  Vec best = set(-std::numeric_limits<float>::infinity());
  auto bad = hn::Zero(Floats());  // NaN as soon as one logit is NaN or infinite
  std::size_t i = 0;
  for (; i + lanes <= logits.size(); i += lanes) {
    const Vec x = load(logits.data() + i);
    best = hn::Max(best, x);
    bad = hn::Add(bad, hn::IfThenZeroElse(hn::Le(x, set(std::numeric_limits<float>::max())), x));
  }
  float top = max(best);
  bool broken = std::isnan(sum(bad)) || std::isinf(sum(bad));
  for (; i < logits.size(); ++i) {
    top = std::max(top, logits[i]);
    broken = broken || !(logits[i] <= std::numeric_limits<float>::max());
  }
  if (broken || !(top > -std::numeric_limits<float>::infinity())) {
    throw state_error("logits", "there is nothing to draw from",
                      "numbers, at least one of them finite");
  }
  const auto at = std::find(logits.begin(), logits.end(), top);
  return {static_cast<TokenId>(at - logits.begin()), top};
}

/// Sum of exp((logit - shift) * factor), in double over chunks of fp32 terms; the terms go to
/// `weights` where that is not null. \shape logits, weights (vocab)
[[nodiscard]] inline double sum_of_exponentials(std::span<const float> logits, float shift,
                                                float factor, float* weights) {
  using namespace simd;
  constexpr std::size_t chunk = 16 * lanes;
  double total = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += chunk) {
    const std::size_t end = std::min(begin + chunk, logits.size());
    Vec part = hn::Zero(Floats());
    std::size_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const Vec e = exp(hn::Mul(hn::Sub(load(logits.data() + i), set(shift)), set(factor)));
      if (weights != nullptr) store(e, weights + i);
      part = hn::Add(part, e);
    }
    total += static_cast<double>(sum(part));
    for (; i < end; ++i) {
      const float e = hn::GetLane(exp(set((logits[i] - shift) * factor)));
      if (weights != nullptr) weights[i] = e;
      total += static_cast<double>(e);
    }
  }
  return total;
}

/// log(sum(exp(logits))): a logit less this is its log-probability.
[[nodiscard]] inline double log_normalizer(std::span<const float> logits) {
  const float top = largest(logits).logit;
  return static_cast<double>(top) + std::log(sum_of_exponentials(logits, top, 1, nullptr));
}

/// Orders tokens by falling logit, equal ones by rising id.
struct ByLogit {
  std::span<const float> logits;
  bool operator()(TokenId a, TokenId b) const {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  }
};

/// The `out.size()` likeliest tokens, best first, with their log-probabilities. Tokens at -infinity
/// come last, by id. \shape logits (vocab); out: at most vocab
/// \complexity O(vocab + out log out)
inline void top_logprobs(std::span<const float> logits, double normalizer,
                         std::vector<TokenId>& scratch, std::span<TokenLogprob> out) {
  scratch.resize(logits.size());
  std::iota(scratch.begin(), scratch.end(), TokenId{0});
  const auto end = scratch.begin() + static_cast<std::ptrdiff_t>(out.size());
  if (end != scratch.end()) std::nth_element(scratch.begin(), end, scratch.end(), ByLogit{logits});
  std::sort(scratch.begin(), end, ByLogit{logits});
  for (std::size_t i = 0; i < out.size(); ++i) {
    const TokenId t = scratch[i];
    out[i] = {t, static_cast<float>(static_cast<double>(logits[t]) - normalizer)};
  }
}

}  // namespace quire::sampling
