#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/sampling/sampler.hpp>

namespace quire::sampling {
namespace {

std::vector<float> spread_logits(std::size_t n, std::uint64_t seed, double spread = 2) {
  Rng rng(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(spread * rng.normal());
  return v;
}

struct Outcome {
  std::vector<Draw> draws;
  std::vector<TokenLogprob> alternatives;
};

Outcome sample(const SamplingParams& p, std::vector<float> logits, std::size_t draws = 1,
               std::vector<TokenId> history = {1, 2, 3}, std::int64_t prompt = 3,
               std::int32_t sample_index = 0) {
  SequencePlan plan;
  plan.computed = static_cast<std::int64_t>(history.size()) - 1;
  plan.tokens = 1;
  plan.prompt_tokens = prompt;
  plan.history = history;
  plan.sampling = &p;
  plan.draws = static_cast<std::int32_t>(draws);
  plan.sample_index = sample_index;
  Outcome out;
  out.draws.resize(draws);
  out.alternatives.resize(p.beam_width > 0 ? 0 : draws * alternatives_per_draw(p, logits.size()));
  Sampler().sample(plan, logits, out.draws, 0, out.alternatives);
  return out;
}

TEST(Sampler, GreedyTakesTheFirstOfTheBest) {
  SamplingParams p;
  p.temperature = 0;
  auto logits = spread_logits(1000, 1);
  logits[300] = logits[700] = 30;
  EXPECT_EQ(sample(p, logits).draws[0].token, 300u);
  p.temperature = 1e-6;
  EXPECT_EQ(sample(p, logits).draws[0].token, 300u);
}

TEST(Sampler, GreedyFollowsPenaltiesAndBans) {
  SamplingParams p;
  p.temperature = 0;
  const std::vector<float> logits = {0, 5, 4, 3, 2};
  EXPECT_EQ(sample(p, logits).draws[0].token, 1u);
  p.repetition_penalty = 10;  // prompt 1, 2, 3
  EXPECT_EQ(sample(p, logits).draws[0].token, 4u);
  p.repetition_penalty = 1;
  p.presence_penalty = 2;  // output 1
  EXPECT_EQ(sample(p, logits, 1, {3, 1}, 1).draws[0].token, 2u);
  p.presence_penalty = 0;
  p.min_tokens = 2;
  p.stop_token_ids = {1};
  EXPECT_EQ(sample(p, logits, 1, {3, 1}, 1).draws[0].token, 2u);
  EXPECT_EQ(sample(p, logits, 1, {3, 1, 1}, 1).draws[0].token, 1u);
}

/// Draw i of a group is the draw of a single request with seed + i: the same numbers whether
/// sequences run together or alone, and in any batch.
TEST(Sampler, DrawsDependOnSeedIndexAndPositionAlone) {
  SamplingParams p;
  p.seed = 77;
  const auto logits = spread_logits(500, 2);
  const auto group = sample(p, logits, 4, {1, 2, 3, 4}, 2);
  std::set<TokenId> distinct;
  for (std::int32_t i = 0; i < 4; ++i) {
    SamplingParams single = p;
    single.seed = 77 + static_cast<std::uint64_t>(i);
    const auto draw = group.draws[static_cast<std::size_t>(i)].token;
    EXPECT_EQ(sample(single, logits, 1, {1, 2, 3, 4}, 2).draws[0].token, draw);
    EXPECT_EQ(sample(p, logits, 1, {1, 2, 3, 4}, 2, i).draws[0].token, draw);
    // the prompt's length does not matter, the output's does
    EXPECT_EQ(sample(single, logits, 1, {9, 9, 9, 9, 3, 4}, 4).draws[0].token, draw);
    distinct.insert(draw);
  }
  for (std::size_t n = 1; n < 30; ++n) {
    distinct.insert(sample(p, logits, 1, std::vector<TokenId>(n + 1, 1), 1).draws[0].token);
  }
  EXPECT_GT(distinct.size(), 10u);
}

/// Chi-square of drawn counts against the distribution computed in double; fixed seeds, so it
/// either always passes or never. The limit is the 99.9 % quantile plus some.
void expect_distribution(const SamplingParams& base, const std::vector<float>& logits,
                         const std::vector<double>& want) {
  constexpr int draws = 20000;
  std::map<TokenId, int> counts;
  for (int i = 0; i < draws / 100; ++i) {
    SamplingParams p = base;
    p.seed = static_cast<std::uint64_t>(i) * 100;
    for (const Draw& d : sample(p, logits, 100).draws) ++counts[d.token];
  }
  double chi2 = 0, rest_want = 0, rest_got = 0;
  int cells = -1;
  for (std::size_t t = 0; t < want.size(); ++t) {
    const double expected = want[t] * draws;
    const double got = counts[static_cast<TokenId>(t)];
    if (want[t] == 0) {
      EXPECT_EQ(got, 0) << "token " << t << " was cut";
    }
    if (expected < 10) {
      rest_want += expected;
      rest_got += got;
      continue;
    }
    chi2 += (got - expected) * (got - expected) / expected;
    ++cells;
  }
  if (rest_want > 0) {
    chi2 += (rest_got - rest_want) * (rest_got - rest_want) / rest_want;
    ++cells;
  }
  EXPECT_LT(chi2, cells + 4 * std::sqrt(2.0 * cells) + 8);
  EXPECT_GT(cells, 0);
}

std::vector<double> distribution(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  for (float x : logits) p.push_back(std::exp(static_cast<double>(x) / temperature));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}
void renormalise(std::vector<double>& p) {
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
}

// 256 weights that each vanish beside what was summed before them, though their own sum does not: the
// target lies behind the former and before the latter.
TEST(Sampler, NoRoundingDrawsATokenThatWasCut) {
  std::vector<float> weights(600, 0.0f);
  weights[0] = 1;
  std::fill_n(weights.begin() + 256, 256, 0x1p-54f);
  weights[530] = 0.5f;
  for (const double beyond : {0x1p-50, 0x1p-48, 0x1p-47}) {
    const TokenId drawn = pick(weights, (1 + beyond) / (1.5 + 0x1p-46));
    EXPECT_GT(weights[drawn], 0) << drawn;
  }
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const auto logits = spread_logits(300, 4);
  for (double temperature : {0.3, 1.0, 1.7}) {
    SamplingParams p;
    p.temperature = temperature;
    expect_distribution(p, logits, distribution(logits, temperature));
  }
}

TEST(Sampler, TruncationAppliesInOrder) {
  const auto logits = spread_logits(80, 5);
  SamplingParams p;
  p.temperature = 1.4;
  p.min_p = 0.02;
  p.top_k = 20;
  p.top_p = 0.8;
  auto want = distribution(logits, 1.4);
  const double best = *std::max_element(want.begin(), want.end());
  for (double& x : want) x = x < 0.02 * best ? 0 : x;
  renormalise(want);
  auto sorted = want;
  std::sort(sorted.rbegin(), sorted.rend());
  for (double& x : want) x = x < sorted[19] ? 0 : x;
  renormalise(want);
  sorted = want;
  std::sort(sorted.rbegin(), sorted.rend());
  double sum = 0, limit = 0;
  for (double x : sorted) {
    if (sum >= 0.8) break;
    sum += limit = x;
  }
  for (double& x : want) x = x < limit ? 0 : x;
  renormalise(want);
  expect_distribution(p, logits, want);
}

TEST(Sampler, LogprobsAreOfTheRawDistribution) {
  const auto logits = spread_logits(200, 6);
  const auto raw = distribution(logits, 1);
  SamplingParams p;
  p.temperature = 0.5;
  p.repetition_penalty = 3;
  p.top_k = 5;
  p.logprobs = 4;
  const auto out = sample(p, logits, 3);
  ASSERT_EQ(out.alternatives.size(), 12u);
  for (std::size_t d = 0; d < 3; ++d) {
    const Draw& draw = out.draws[d];
    EXPECT_NEAR(draw.logprob, std::log(raw[draw.token]), 1e-5);
    ASSERT_EQ(draw.alternatives_count, 4u);
    EXPECT_EQ(draw.alternatives_begin, 4 * d);
    for (std::size_t i = 0; i < 4; ++i) {
      const auto& alternative = out.alternatives[4 * d + i];
      EXPECT_NEAR(alternative.logprob, std::log(raw[alternative.token]), 1e-5);
      const auto better = std::count_if(raw.begin(), raw.end(),
                                        [&](double x) { return x > raw[alternative.token]; });
      EXPECT_EQ(static_cast<std::size_t>(better), i);
    }
  }
  p.logprobs = -1;
  EXPECT_EQ(sample(p, logits).draws[0].logprob, 0.0f) << "not asked for, not computed";
}

TEST(Sampler, BeamGivesTheBestCandidatesInOrder) {
  const auto logits = spread_logits(150, 7);
  const auto raw = distribution(logits, 1);
  SamplingParams p;
  p.beam_width = 3;
  p.temperature = 0.2;  // plays no part
  const auto out = sample(p, logits, 6);
  for (std::size_t i = 0; i < 6; ++i) {
    const double mine = raw[out.draws[i].token];
    EXPECT_NEAR(out.draws[i].logprob, std::log(mine), 1e-5);
    EXPECT_EQ(static_cast<std::size_t>(
                  std::count_if(raw.begin(), raw.end(), [&](double x) { return x > mine; })),
              i);
  }
  p.min_tokens = 5;
  p.stop_token_ids = {out.draws[0].token};
  EXPECT_EQ(sample(p, logits, 6).draws[0].token, out.draws[1].token);
  const auto few = sample(p, {1, 2}, 6);  // fewer tokens than candidates
  EXPECT_EQ(few.draws[0].token, 1u);
  EXPECT_EQ(few.draws[2].logprob, removed);
}

TEST(Sampler, PickWalksTheRunningSum) {
  std::vector<float> weights(700, 0.0f);
  weights[3] = 1;
  weights[300] = 2;
  weights[699] = 1;
  EXPECT_EQ(pick(weights, 0), 3u);
  EXPECT_EQ(pick(weights, 0.2499), 3u);
  EXPECT_EQ(pick(weights, 0.25), 300u);
  EXPECT_EQ(pick(weights, 0.7499), 300u);
  EXPECT_EQ(pick(weights, 0.75), 699u);
  EXPECT_EQ(pick(weights, std::nextafter(1.0, 0.0)), 699u);
}

}  // namespace
}  // namespace quire::sampling
