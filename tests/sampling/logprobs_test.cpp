#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/sampling/logprobs.hpp>

namespace quire::sampling {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(std::size_t n, std::uint64_t seed, double spread = 3) {
  Rng rng(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(spread * rng.normal());
  return v;
}

TEST(Logprobs, NormalizerEqualsTheSumInDouble) {
  for (std::size_t n : std::initializer_list<std::size_t>{1, 2, 15, 16, 17, 255, 257, 5000}) {
    auto logits = random_logits(n, n);
    if (n > 2) logits[1] = -infinity;
    double sum = 0;
    for (float x : logits) sum += std::exp(static_cast<double>(x));
    EXPECT_NEAR(log_normalizer(logits), std::log(sum), 2e-6) << n;
  }
  const std::vector<float> large(100, 1e4f);
  EXPECT_NEAR(log_normalizer(large), 1e4 + std::log(100.0), 1e-6);
}

TEST(Logprobs, LargestIsTheFirstOfEquals) {
  std::vector<float> logits = random_logits(300, 5);
  logits[40] = logits[41] = logits[299] = 50;
  EXPECT_EQ(largest(logits).token, 40u);
  EXPECT_EQ(largest(logits).logit, 50.0f);
  logits[40] = -infinity;
  EXPECT_EQ(largest(logits).token, 41u);
  EXPECT_EQ(largest(std::vector<float>{-3}).token, 0u);
}

TEST(Logprobs, RefuseWhatIsNoDistribution) {
  for (float bad : {std::nanf(""), infinity}) {
    for (std::size_t at : std::initializer_list<std::size_t>{0, 20, 36}) {
      std::vector<float> logits(37, 1.0f);
      logits[at] = bad;
      EXPECT_THROW((void)largest(logits), Error) << bad << " at " << at;
    }
  }
  EXPECT_THROW((void)largest(std::vector<float>(37, -infinity)), Error);
}

TEST(Logprobs, TopAreSortedWithTiesByIdAndSumToOne) {
  std::vector<float> logits = random_logits(200, 8);
  logits[10] = logits[150] = logits[90] = 20;
  const double normalizer = log_normalizer(logits);
  std::vector<TokenId> scratch;
  std::vector<TokenLogprob> top(5), all(200);
  top_logprobs(logits, normalizer, scratch, top);
  top_logprobs(logits, normalizer, scratch, all);
  EXPECT_EQ(top[0].token, 10u);
  EXPECT_EQ(top[1].token, 90u);
  EXPECT_EQ(top[2].token, 150u);
  double sum = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i < 5) {
      EXPECT_EQ(all[i].token, top[i].token);
    }
    if (i > 0) {
      EXPECT_LE(all[i].logprob, all[i - 1].logprob);
    }
    EXPECT_NEAR(all[i].logprob, static_cast<double>(logits[all[i].token]) - normalizer, 1e-5);
    sum += std::exp(static_cast<double>(all[i].logprob));
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

}  // namespace
}  // namespace quire::sampling
