#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/sampling/logprobs.hpp>

/// Each of these takes unlikely tokens out of a distribution by setting their logits to -infinity.
/// They work on logits that were divided by the temperature.
namespace quire::sampling {

inline constexpr float removed = -std::numeric_limits<float>::infinity();

/// Keeps tokens at least min_p times as likely as the likeliest. \pre min_p in (0, 1]
/// \source Nguyen et al., "Turning Up the Heat: Min-p Sampling", ICLR '25.
inline void keep_min_p(std::span<float> logits, double min_p) {
  const float limit = largest(logits).logit + static_cast<float>(std::log(min_p));
  for (float& x : logits) {
    if (x < limit) x = removed;
  }
}

/// Keeps the k likeliest tokens, and those as likely as the last of them. \pre k > 0
/// \source Fan et al., "Hierarchical Neural Story Generation", ACL '18; ties as in vLLM.
/// sort_all: orders all tokens in place of finding the k-th; the same tokens stay
inline void keep_top_k(std::span<float> logits, std::size_t k, std::vector<float>& scratch,
                       bool sort_all = false) {
  if (k >= logits.size()) return;
  scratch.assign(logits.begin(), logits.end());
  const auto last = scratch.begin() + static_cast<std::ptrdiff_t>(k) - 1;
  if (sort_all) {
    std::sort(scratch.begin(), scratch.end(), std::greater<>());
  } else {
    std::nth_element(scratch.begin(), last, scratch.end(), std::greater<>());
  }
  const float limit = *last;
  for (float& x : logits) {
    if (x < limit) x = removed;
  }
}

/// Keeps the likeliest tokens until their probabilities sum to p, at least one. \pre p in (0, 1)
/// \source Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR '20.
/// sort_all: orders all tokens at once; the same tokens stay
inline void keep_top_p(std::span<float> logits, double p, std::vector<TokenId>& order,
                       bool sort_all = false) {
  order.clear();
  for (std::size_t t = 0; t < logits.size(); ++t) {
    if (logits[t] > removed) order.push_back(static_cast<TokenId>(t));
  }
  const float top = largest(logits).logit;
  const double total = sum_of_exponentials(logits, top, 1, nullptr);
  // Sort ever longer prefixes until one is enough: it is short for all but flat distributions.
  double sum = 0;
  std::size_t kept = 0;
  for (std::size_t sorted = 0, want = sort_all ? order.size() : 64;
       kept < order.size() && (kept == 0 || sum < p * total); want *= 8) {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(sorted);
    sorted = std::min(want, order.size());
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(sorted);
    if (end != order.end()) std::nth_element(begin, end, order.end(), ByLogit{logits});
    std::sort(begin, end, ByLogit{logits});
    while (kept < sorted && (kept == 0 || sum < p * total)) {
      sum += std::exp(static_cast<double>(logits[order[kept]]) - static_cast<double>(top));
      ++kept;
    }
  }
  for (std::size_t i = kept; i < order.size(); ++i) logits[order[i]] = removed;
}

}  // namespace quire::sampling
