#include <quire/attention/selected.hpp>

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
  std::vector<float> run(const retention::Quest& policy,
                         std::pair<std::int64_t, std::int64_t>* read) {
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
