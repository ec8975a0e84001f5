#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/sampling/sampling.cuh>
#include <quire/kernels/top_logprobs/top_logprobs.cuh>
#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {
namespace {

using Kernel = Sample<PortableBlock<64>>;
constexpr float none = -std::numeric_limits<float>::infinity();

struct Drawn {
  std::vector<std::uint32_t> tokens, broken;
};
Drawn draw(std::vector<float>& logits, std::uint32_t vocab, const std::vector<SampleRow>& rows,
           const std::vector<TokenPenalty>& penalties = {}) {
  Drawn d{std::vector<std::uint32_t>(rows.size(), 99999), std::vector<std::uint32_t>(rows.size())};
  simt::launch<Kernel>({{static_cast<unsigned>(rows.size())}, Kernel::shared_bytes},
                       {logits.data(), vocab, rows.data(), penalties.data(), d.tokens.data(),
                        d.broken.data(), vocab});
  return d;
}

/// The tokens that may be drawn with their probabilities, by sorting, in double.
std::vector<double> reference(const float* logits, std::size_t vocab, const SampleRow& row) {
  const double t = row.inverse_temperature;
  std::vector<std::size_t> order(vocab);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  const double top = logits[order[0]];
  std::vector<double> p(vocab, 0.0);
  for (std::size_t i = 0; i < vocab; ++i) p[i] = std::exp((double(logits[i]) - top) * t);
  if (row.log_min_p > -1e29f) {
    for (double& x : p) x = x < std::exp(double(row.log_min_p)) ? 0 : x;
  }
  if (row.top_k > 0 && row.top_k < vocab) {
    const float limit = logits[order[row.top_k - 1]];
    for (std::size_t i = 0; i < vocab; ++i) p[i] = logits[i] < limit ? 0 : p[i];
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double sum = 0;
  for (const std::size_t i : order) {
    if (sum >= double(row.top_p) * total && sum > 0) p[i] = 0;
    sum += p[i];
  }
  const double kept = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= kept;
  return p;
}

TEST(Sampling, GreedyTakesTheFirstOfTheLargest) {
  Rng rng(1);
  auto logits = random_array<float>(4 * 333, rng);
  logits[333 + 40] = logits[333 + 41] = logits[333 + 300] = 9;
  logits[2 * 333] = 9;
  logits[3 * 333 + 332] = 9;
  std::vector<SampleRow> rows(4);
  for (std::uint32_t r = 0; r < 4; ++r) rows[r].row = r;
  const auto d = draw(logits, 333, rows);
  EXPECT_EQ(d.tokens[0], std::max_element(&logits[0], &logits[333]) - &logits[0]);
  EXPECT_EQ(d.tokens[1], 40u);
  EXPECT_EQ(d.tokens[2], 0u);
  EXPECT_EQ(d.tokens[3], 332u);
}

TEST(Sampling, DrawsFromTheTruncatedDistribution) {
  Rng rng(2);
  constexpr std::uint32_t vocab = 150, draws = 200;
  std::vector<SampleRow> kinds(10);
  kinds[0].inverse_temperature = 1;
  kinds[1].inverse_temperature = 1.5f;
  kinds[1].top_k = 7;
  kinds[2].inverse_temperature = 0.8f;
  kinds[2].top_p = 0.7f;
  kinds[3].inverse_temperature = 1;
  kinds[3].log_min_p = std::log(0.1f);
  kinds[4].inverse_temperature = 0.7f;
  kinds[4].top_k = 20;
  kinds[4].top_p = 0.5f;
  kinds[4].log_min_p = std::log(0.01f);
  kinds[5].inverse_temperature = 1;
  kinds[5].top_p = 1e-9f;
  kinds[6].inverse_temperature = 1;  // the last that top-k keeps is needed by top-p
  kinds[6].top_k = 4;
  kinds[6].top_p = 0.98f;
  kinds[7].inverse_temperature = 1;
  kinds[7].top_k = vocab;
  kinds[8].inverse_temperature = 1;  // logits that differ, and far from 0
  kinds[8].top_k = 6;
  kinds[9].inverse_temperature = 1;  // less than a unit of weight
  kinds[9].top_p = 1e-13f;
  for (const SampleRow& kind : kinds) {
    auto logits = random_array<float>(vocab, rng);
    const bool apart = &kind == &kinds[8];
    for (float& x : logits) x = apart ? x + 100 : std::round(x * 4) / 2;  // else with ties
    logits[3] = none;
    std::vector<SampleRow> rows;
    for (std::uint32_t i = 0; i < draws; ++i) {
      rows.push_back(kind);
      rows.back().draw = static_cast<std::uint32_t>((std::uint64_t{i} << 32) / draws);
    }
    rows.push_back(kind);
    rows.back().draw = 0xffffffffu;
    const auto d = draw(logits, vocab, rows);
    const auto p = reference(logits.data(), vocab, kind);
    // evenly spaced draws walk the distribution in order of ids
    double below = 0;
    std::size_t at = 0;
    for (std::uint32_t i = 0; i <= draws; ++i) {
      const double u = double(rows[i].draw) / 4294967296.0;
      while (at + 1 < vocab && below + p[at] <= u) below += p[at++];
      const bool close = std::abs(below + p[at] - u) < 1e-6 || std::abs(below - u) < 1e-6;
      if (!close) {
        ASSERT_EQ(d.tokens[i], at) << "u " << u;
      }
      ASSERT_GT(p[d.tokens[i]], 0.0);
    }
  }
}

// One token of weight 2^40 units and 300 of exactly 256: the largest top_p below 1 asks for 11264 units of
// the latter, which 44 of them are.
TEST(Sampling, AsManyTiesAsTopPNeedsAndNoMore) {
  float tied = -32 / log2e;
  while (tied * log2e > -32) tied = std::nextafter(tied, none);
  while (tied * log2e < -32) tied = std::nextafter(tied, 0.0f);
  ASSERT_EQ(tied * log2e, -32);
  std::vector<float> logits(301, tied);
  logits[0] = 0;
  std::vector<SampleRow> rows(1);
  rows[0].inverse_temperature = 1;
  rows[0].top_p = std::nextafter(1.0f, 0.0f);
  rows[0].draw = 0xffffffffu;
  // the draw is for unit 2^40 + 11007 of 2^40 + 11264
  EXPECT_EQ(draw(logits, 301, rows).tokens[0], 1u + 11007 / 256);
}

TEST(Sampling, ADrawOnABoundaryTakesTheLaterTokenWhateverTheSchedule) {
  using simt::emulator::Order;
  for (const Order order : {Order::forward, Order::reverse}) {
    const simt::emulator::ScopedSchedule scope({.order = order});
    std::vector<float> logits = {none, 1, none, 1, none};
    std::vector<SampleRow> rows(2);
    rows[0].inverse_temperature = rows[1].inverse_temperature = 1;
    rows[1].draw = 1u << 31;
    const auto d = draw(logits, 5, rows);
    EXPECT_EQ(d.tokens, (std::vector<std::uint32_t>{1, 3}));
  }
}

TEST(Sampling, PenaltiesBansAndNothingToDrawFrom) {
  std::vector<float> logits(4 * 70);
  for (std::size_t i = 0; i < 70; ++i) {
    logits[i] = i == 5 ? 4.0f : i == 6 ? 3.0f : i == 7 ? 2.5f : -1.0f;
    logits[70 + i] = i == 5 ? -1.0f : i == 6 ? -1.5f : -9.0f;
    logits[140 + i] = i == 69 ? std::nanf("") : 0.0f;
    logits[210 + i] = none;
  }
  std::vector<SampleRow> rows(4);
  for (std::uint32_t r = 0; r < 4; ++r) rows[r].row = r;
  rows[0].first_penalty = 0;
  rows[0].penalties = 2;
  rows[1].first_penalty = 2;
  rows[1].penalties = 1;
  const std::vector<TokenPenalty> penalties = {
      {5, 1.0f, std::numeric_limits<float>::infinity()}, {6, 1.1f, 0.5f}, {5, 2.0f, 0.0f}};
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {  // readers before and after who penalises
    const simt::emulator::ScopedSchedule scope({.seed = seed});
    auto copy = logits;
    const auto d = draw(copy, 70, rows, penalties);
    EXPECT_EQ(d.tokens[0], 7u);  // 5 is banned, 6 falls to 3 / 1.1 - 0.5 = 2.23
    EXPECT_EQ(d.tokens[1], 6u);  // 5 falls to -2
    EXPECT_EQ(d.broken, (std::vector<std::uint32_t>{0, 0, 1, 1}));
  }
}

TEST(TopLogprobs, ListsTheLikeliestBestFirst) {
  using Top = TopLogprobs<PortableBlock<64>>;
  Rng rng(9);
  constexpr std::uint32_t vocab = 150, stride = 153;
  auto logits = random_array<float>(3 * stride, rng);
  for (float& x : logits) x = std::round(x * 4) / 2;  // with ties
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t i = vocab; i < stride; ++i) logits[r * stride + i] = 99;
  }
  logits[2 * stride] = 40;  // one token is nearly certain
  for (std::size_t i = 3; i < vocab; ++i) logits[i] = none;
  const std::vector<std::uint32_t> rows = {2, 0, 1};
  for (const std::uint32_t count : {1u, 6u, 152u}) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const simt::emulator::ScopedSchedule scope({.seed = seed});
      std::vector<std::uint32_t> tokens(3 * count + 1, 77777);
      std::vector<float> logprobs(3 * count, NAN);
      simt::launch<Top>({{3}, Top::shared_bytes}, {logits.data(), stride, rows.data(),
                                                   tokens.data(), logprobs.data(), vocab, count});
      for (std::size_t k = 0; k < 3; ++k) {
        const float* row = &logits[rows[k] * stride];
        std::vector<std::uint32_t> order(vocab);
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return row[a] > row[b]; });
        double sum = 0;
        for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(double(row[i]));
        for (std::size_t n = 0; n < count; ++n) {
          const bool there = n < vocab;
          ASSERT_EQ(tokens[k * count + n], there ? order[n] : 0u) << "row " << k << ", " << n;
          const float got = logprobs[k * count + n];
          if (!there || row[order[n]] == none) {
            ASSERT_EQ(got, none);
          } else {
            ASSERT_NEAR(got, double(row[order[n]]) - std::log(sum), 1e-5);
          }
        }
      }
      ASSERT_EQ(tokens.back(), 77777u);
    }
  }
}

}  // namespace
}  // namespace quire::kernels::testing
