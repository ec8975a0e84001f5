#include <quire/attention/selected.hpp>

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/kv_format/fp32.hpp>
#include <quire/retention/quest.hpp>

#include "tests/attention/harness.hpp"

namespace quire::attention::testing {
namespace {

constexpr std::size_t heads = 4, kv_heads = 2, dims = 16, block = 8;

struct PagedSetup {
  Dense d;
  model::Shape shape;
  PagedCache<kv_format::Fp32> cache;
  std::vector<BlockId> table;
  PageRanges ranges;
  SequenceRows rows;

  PagedSetup(std::size_t tokens, std::size_t step)
      : d(tokens, heads, kv_heads, dims, 4), cache(tokens / block + 3, block, kv_heads, dims, 7) {
    shape.layers = 1;
    shape.kv_heads = kv_heads;
    shape.head_dim = dims;
    table = cache.place(d, tokens);
    ranges = PageRanges(shape, static_cast<std::int64_t>(tokens / block + 3));
    const auto view = cache.view();
    const KvView<std::byte> writable{const_cast<std::byte*>(view.base),
                                     view.block_bytes,
                                     view.slab_bytes,
                                     view.block_tokens,
                                     view.kv_heads,
                                     view.head_dim};
    // in two parts, the second beginning within a block
    const SequenceRows first{0, tokens - 3, 0, table};
    const SequenceRows second{0, 3, static_cast<std::int64_t>(tokens - 3), table};
    add_to_ranges<kv_format::Fp32>(writable, {&first, 1}, 0, ranges);
    add_to_ranges<kv_format::Fp32>(writable, {&second, 1}, 0, ranges);
    rows = {0, step, static_cast<std::int64_t>(tokens - step), table};
  }
  template <PageSelectingPolicy Policy>
  std::vector<float> run(const Policy& policy, std::pair<std::int64_t, std::int64_t>* read) {
    ThreadPool pool(2);
    Workspace workspace;
    constexpr std::size_t width = heads * dims;
    std::vector<float> out(rows.rows * width, poison());
    *read = selected<kv_format::Fp32>(cache.view(),
                                      {d.q.data() + (d.tokens - rows.rows) * width,
                                       width,
                                       out.data(),
                                       width,
                                       heads,
                                       0.125f,
                                       {&rows, 1}},
                                      policy, 0, ranges, workspace, pool);
    return out;
  }
};

/// A policy of somebody else, which chooses what it is told to.
struct Chooses {
  static constexpr std::string_view name = "chooses";
  static constexpr bool keeps_all = true, selects_pages = true;
  std::vector<std::uint32_t> pages;
  explicit Chooses(std::vector<std::uint32_t> chosen) : pages(std::move(chosen)) {}
  Chooses(const RetentionLimits&, Tokens) {}
  [[nodiscard]] bool attends_to_all(std::int64_t, std::size_t) const { return false; }
  [[nodiscard]] float bound(std::span<const float>, const float*, const float*) const { return 0; }
  void choose(std::span<const float>, std::vector<std::uint32_t>& chosen) const { chosen = pages; }
};

TEST(SelectedAttention, RefusesPagesThatAreNotThereAndAChoiceWithoutTheLast) {
  PagedSetup s(100, 1);  // 13 pages
  std::pair<std::int64_t, std::int64_t> read;
  EXPECT_NO_THROW(s.run(Chooses({0, 5, 12}), &read));
  using Pages = std::vector<std::uint32_t>;
  for (const Pages& pages : {Pages{}, Pages{0}, Pages{0, 13}, Pages{0, 5'000'000}, Pages{5, 0, 12},
                             Pages{5, 5, 12}, Pages{12, 12}, Pages{0, 12, 3}}) {
    try {
      s.run(Chooses(pages), &read);
      ADD_FAILURE() << pages.size() << " pages were taken";
    } catch (const Error& error) {
      EXPECT_EQ(
          error.what(),
          std::string("retention policy chooses: choose() names pages out of order or out of "
                      "range, or leaves the last one out; expected numbers below 13 in rising "
                      "order, 12 the last of them"));
    }
  }
}

/// Scores without numbers.
struct ScoresNothing : Chooses {
  static constexpr std::string_view name = "scores_nothing";
  using Chooses::Chooses;
  [[nodiscard]] float bound(std::span<const float>, const float*, const float*) const {
    return std::numeric_limits<float>::quiet_NaN();
  }
};

TEST(SelectedAttention, RefusesScoresThatAreNoNumbersUnlessTheModelGivesNone) {
  PagedSetup s(100, 1);
  std::pair<std::int64_t, std::int64_t> read;
  const ScoresNothing policy(std::vector<std::uint32_t>{0, 5, 12});
  try {
    s.run(policy, &read);
    ADD_FAILURE() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.what(),
              std::string("retention policy scores_nothing: bound() gives NaN for a page whose "
                          "keys are numbers, as the query is; expected a number, the higher the "
                          "more the page matters"));
  }
  for (const float fault :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38f}) {
    PagedSetup faulty(100, 1);
    const std::size_t width = heads * dims;
    // one channel of each query head
    for (std::size_t h = 0; h < heads; ++h) faulty.d.q[99 * width + h * dims + 3] = fault;
    EXPECT_NO_THROW(faulty.run(policy, &read)) << fault;
  }
}

TEST(SelectedAttention, HasTheBitsOfPagedWhereAllPagesAreChosen) {
  for (const std::size_t step : {std::size_t{1}, std::size_t{20}}) {
    PagedSetup s(100, step);
    std::pair<std::int64_t, std::int64_t> read;
    const auto paged = run_paged<kv_format::Fp32>(s.d, Causal{}, step, step, block, 1);
    EXPECT_EQ(s.run(retention::Quest({.budget = 104, .dense_layers = 0}, block), &read), paged);
    EXPECT_EQ(s.run(retention::Quest({.budget = 8, .dense_layers = 1}, block), &read), paged);
    EXPECT_EQ(read.first, read.second);
  }
}

TEST(SelectedAttention, ReadsTheChosenPagesAlone) {
  PagedSetup s(100, 1);
  std::pair<std::int64_t, std::int64_t> read;
  const auto got = s.run(retention::Quest({.budget = 32, .dense_layers = 0}, block), &read);
  EXPECT_EQ(read.first, 2 * 4);  // KV heads x pages
  EXPECT_EQ(read.second, 2 * 13);
  std::vector<double> want;
  for (std::size_t h = 0; h < heads; ++h) {
    const std::size_t kv = h / 2;
    const float* keys = &s.d.keys[kv * 100 * dims];
    const float* values = &s.d.values[kv * 100 * dims];
    auto dot = [&](std::size_t head, std::size_t t) {
      double sum = 0;
      for (std::size_t i = 0; i < dims; ++i) {
        sum += static_cast<double>(s.d.q[(99 * heads + head) * dims + i] * keys[t * dims + i]);
      }
      return sum;
    };
    // bounds of both query heads, from all keys of each page
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t page = 0; page < 12; ++page) {
      double best = -1e30;
      for (const std::size_t head : {kv * 2, kv * 2 + 1}) {
        double bound = 0;
        for (std::size_t i = 0; i < dims; ++i) {
          float low = 1e30f, high = -1e30f;
          for (std::size_t t = page * block; t < (page + 1) * block; ++t) {
            low = std::min(low, keys[t * dims + i]);
            high = std::max(high, keys[t * dims + i]);
          }
          const float q = s.d.q[(99 * heads + head) * dims + i];
          bound += static_cast<double>(std::max(q * low, q * high));
        }
        best = std::max(best, bound);
      }
      order.emplace_back(best, page);
    }
    std::sort(order.rbegin(), order.rend());
    std::vector<bool> seen(13);
    seen[12] = seen[order[0].second] = seen[order[1].second] = seen[order[2].second] = true;
    double total = 0;
    std::vector<double> out(dims);
    for (std::size_t t = 0; t < 100; ++t) {
      if (!seen[t / block]) continue;
      const double w = std::exp(0.125 * dot(h, t));
      total += w;
      for (std::size_t i = 0; i < dims; ++i) {
        out[i] += w * static_cast<double>(values[t * dims + i]);
      }
    }
    for (double& x : out) want.push_back(x / total);
  }
  EXPECT_LT(largest_error(got, want), 1e-5);
}

}  // namespace
}  // namespace quire::attention::testing
