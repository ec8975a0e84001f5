#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include <quire/engine/replay.hpp>
#include <quire/prefix_index/hash_chain.hpp>

#include "tests/engine/equivalence.hpp"

namespace quire::engine_test {
namespace {

using PagedCached = with<Recomputing, set_prefix_index<prefix_index::HashChain>>;
using PagedVariants = ::testing::Types<Recomputing, Swapping, Paged, PagedCached,
                                       with<Swapping, set_prefix_index<prefix_index::HashChain>>,
                                       with<Recomputing, set_block_size<BlockSize<1>>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Paged, Equivalence, PagedVariants);

TEST(Samples, EqualSingleRunsWithTheirSeeds) {
  Request group = request(1, 9, 12, 4);
  const Outputs together = run<Paged>({}, {group});
  for (std::int32_t i = 0; i < 4; ++i) {
    Request single = group;
    single.sampling.n = 1;
    single.sampling.seed += static_cast<std::uint64_t>(i);
    EXPECT_EQ(run<Paged>({}, {single}).at(0).at(0), together.at(0).at(static_cast<std::size_t>(i)));
  }
}

TEST(Preemption, HappensByBothWaysAndFallsBackWhenTheHostIsFull) {
  const auto requests = mixed_requests(60);
  EngineCounters counters;
  run<Recomputing>({.device_blocks = 46}, requests, &counters);
  EXPECT_GT(counters.recomputed_tokens, Tokens{0});
  EXPECT_EQ(counters.swapped_out_blocks, BlockCount{0});
  run<Swapping>({.device_blocks = 46, .host_blocks = 1000}, requests, &counters);
  EXPECT_EQ(counters.recomputed_tokens, Tokens{0});
  EXPECT_GT(counters.swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(counters.swaps_refused, 0);
  Engine<Swapping, Scripted> engine({.device_blocks = 46, .host_blocks = 6});
  workload::Workload w;
  w.requests = requests;
  std::int64_t refused = 0;
  ReplayOptions options;
  options.on_step = [&](const StepStats& stats, Seconds) { refused += stats.swaps_refused; };
  const Report report = replay(engine, w, options);
  EXPECT_GT(report.counters.swaps_refused, 0);
  EXPECT_EQ(report.counters.swaps_refused, refused);
  EXPECT_GT(report.counters.recomputed_tokens, Tokens{0});
  std::ostringstream text;  // a swap that became a recompute leaves a trace
  text << report;
  EXPECT_THAT(text.str(), ::testing::HasSubstr("recomputed): " + std::to_string(refused)));
}

TEST(PrefixIndex, SavesWorkAndChangesNothing) {
  const auto requests = mixed_requests(60);
  EngineCounters with_index, without;
  const Outputs a = run<PagedCached>({.device_blocks = 60}, requests, &with_index);
  const Outputs b = run<Recomputing>({.device_blocks = 60}, requests, &without);
  EXPECT_EQ(a, b);
  EXPECT_GT(with_index.prefix_hit_tokens, Tokens{0});
  EXPECT_EQ(without.prefix_hit_tokens, Tokens{0});
}

TEST(PrefixIndex, KeepsTenantsWithDifferentSaltsApart) {
  for (const std::uint64_t salt : {0u, 1u}) {
    Engine<PagedCached, Scripted> engine({});
    engine.submit(request(1, 24, 2));
    drain(engine);
    Request other = request(1, 24, 2);
    other.salt = salt;
    engine.submit(other);
    drain(engine);
    EXPECT_EQ(engine.counters().prefix_hit_tokens, Tokens{salt == 0 ? 20 : 0});
  }
}

}  // namespace
}  // namespace quire::engine_test
