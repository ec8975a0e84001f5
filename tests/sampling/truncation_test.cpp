#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/sampling/truncation.hpp>

namespace quire::sampling {
namespace {

std::vector<float> coarse_logits(std::size_t n, std::uint64_t seed, double spread) {
  Rng rng(seed);
  std::vector<float> v(n);
  // a coarse grid, so that ties are common
  for (float& x : v) x = static_cast<float>(std::round(spread * rng.normal() * 8) / 8);
  return v;
}
std::vector<double> probabilities(const std::vector<float>& logits) {
  std::vector<double> p;
  for (float x : logits) p.push_back(std::exp(static_cast<double>(x)));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}
std::vector<TokenId> by_logit(const std::vector<float>& logits) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), TokenId{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });
  return order;
}
/// The tokens that survive; those must keep their logits.
std::vector<TokenId> survivors(const std::vector<float>& before, const std::vector<float>& after) {
  std::vector<TokenId> kept;
  for (std::size_t t = 0; t < after.size(); ++t) {
    if (after[t] == removed) continue;
    EXPECT_EQ(after[t], before[t]);
    kept.push_back(static_cast<TokenId>(t));
  }
  return kept;
}

TEST(Truncation, MinPKeepsARatioOfTheBest) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto logits = coarse_logits(100, seed, 2);
    const auto p = probabilities(logits);
    const double best = *std::max_element(p.begin(), p.end());
    for (double min_p : {0.01, 0.1, 0.503, 1.0}) {
      auto cut = logits;
      keep_min_p(cut, min_p);
      std::vector<TokenId> want;
      for (std::size_t t = 0; t < p.size(); ++t) {
        if (p[t] >= min_p * best * (1 - 1e-6)) want.push_back(static_cast<TokenId>(t));
      }
      EXPECT_EQ(survivors(logits, cut), want);
    }
  }
}

TEST(Truncation, TopKKeepsKAndTies) {
  std::vector<float> scratch;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto logits = coarse_logits(60, seed, 1);
    const auto order = by_logit(logits);
    for (std::size_t k : std::initializer_list<std::size_t>{1, 2, 7, 59, 60, 61}) {
      auto cut = logits;
      keep_top_k(cut, k, scratch);
      std::vector<TokenId> want;
      const float limit = logits[order[std::min(k, order.size()) - 1]];
      for (std::size_t t = 0; t < logits.size(); ++t) {
        if (logits[t] >= limit) want.push_back(static_cast<TokenId>(t));
      }
      EXPECT_EQ(survivors(logits, cut), want);
      EXPECT_GE(want.size(), std::min(k, logits.size()));
    }
  }
}

TEST(Truncation, TopPKeepsTheSmallestSetThatReachesP) {
  std::vector<TokenId> order;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    for (std::size_t n : std::initializer_list<std::size_t>{1, 30, 700}) {
      for (double spread : {0.01, 1.0, 5.0}) {
        const auto logits = coarse_logits(n, seed, spread);
        const auto p = probabilities(logits);
        const auto sorted = by_logit(logits);
        for (double top_p : {1e-9, 0.1437, 0.5211, 0.9013, 0.99911}) {
          auto cut = logits;
          keep_top_p(cut, top_p, order);
          std::vector<TokenId> want;
          double sum = 0;
          for (const TokenId t : sorted) {
            if (!want.empty() && sum >= top_p) break;
            want.push_back(t);
            sum += p[t];
          }
          std::sort(want.begin(), want.end());
          EXPECT_EQ(survivors(logits, cut), want) << n << " tokens, p " << top_p;
        }
      }
    }
  }
}

TEST(Truncation, RemovedTokensStayRemoved) {
  std::vector<float> logits = {removed, 1, 2, removed, 0};
  std::vector<TokenId> order;
  std::vector<float> scratch;
  keep_top_p(logits, 0.9, order);
  keep_top_k(logits, 4, scratch);
  keep_min_p(logits, 1e-9);
  EXPECT_EQ(logits[0], removed);
  EXPECT_EQ(logits[3], removed);
  EXPECT_EQ(logits[2], 2.0f);
}

}  // namespace
}  // namespace quire::sampling
