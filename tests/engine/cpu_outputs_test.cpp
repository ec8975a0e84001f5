// The engine's own promises, on real tokens: whatever memory policies do, texts stay the same.
#include "tests/engine/cpu_outputs.hpp"

#include <gtest/gtest.h>

#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/kivi.hpp>
#include <quire/offload/proactive_swap.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
#include <quire/scheduler/mlfq.hpp>

namespace quire::cpu_outputs {
namespace {

TEST(CpuOutputs, BatchesAndThreadsEqualOneByOne) {
  std::size_t tokens = 0;
  for (const auto& request : one_by_one()) {
    for (const auto& text : request) tokens += text.tokens.size();
  }
  EXPECT_GT(tokens, 300u);
  EXPECT_EQ(run<Base>(requests(), 18, 300, 1).texts, one_by_one());
  EXPECT_EQ(run<Base>(requests(), 5, 300, 3).texts, one_by_one());
}

TEST(CpuOutputs, RecomputedEqualsNeverPreempted) {
  const auto tight = run<Base>(requests(), 18, 22);
  EXPECT_GT(tight.counters.preemptions, 5);
  EXPECT_GT(tight.counters.recomputed_tokens, Tokens{0});
  EXPECT_EQ(tight.texts, one_by_one());
}

TEST(CpuOutputs, SwappedEqualsNeverPreempted) {
  const auto tight = run<Swapping>(requests(), 18, 22);
  EXPECT_GT(tight.counters.preemptions, 5);
  EXPECT_GT(tight.counters.swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(tight.texts, one_by_one());
}

struct SwappedAhead : Base {
  static constexpr std::string_view name = "swapped_ahead";
  using Scheduler = scheduler::Mlfq;
  using Offload = offload::ProactiveSwap;
};

TEST(CpuOutputs, SwappedAheadEqualsNeverPreempted) {
  const auto tight = run<SwappedAhead>(requests(), 18, 22);
  EXPECT_GT(tight.counters.preemptions, 5);
  EXPECT_GT(tight.counters.swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(tight.texts, one_by_one());
}

TEST(CpuOutputs, PrefixIndexOnEqualsOff) {
  const auto wide = run<Cached>(requests(), 6, 400);
  EXPECT_GT(wide.counters.prefix_hit_tokens, Tokens{50});
  EXPECT_EQ(wide.texts, one_by_one());
  const auto tight = run<Cached>(requests(), 18, 80);  // evicts, preempts and finds again
  EXPECT_GT(tight.counters.preemptions, 0);
  EXPECT_EQ(tight.texts, one_by_one());
}

// Formats that are not floats, of which parts of blocks are copied, and tokens wait beside the pool.
struct Bytes : Base {
  static constexpr std::string_view name = "bytes";
  using KvFormat = kv_format::Int8PerTokenHead;
};
struct CachedParts : Bytes {
  static constexpr std::string_view name = "cached_parts";
  using PrefixIndex = prefix_index::TokenRadixTree;
};
struct Windows : Swapping {
  static constexpr std::string_view name = "windows";
  using KvFormat = kv_format::Kivi<4, 8, 32>;
};

TEST(CpuOutputs, PartsOfPackedBlocksAreFoundAgain) {
  const auto plain = run<Bytes>(requests(), 1, 300);
  const auto wide = run<CachedParts>(requests(), 6, 100);
  EXPECT_GT(wide.counters.prefix_hit_tokens, Tokens{50});
  EXPECT_EQ(wide.texts, plain.texts);
  const auto tight = run<CachedParts>(requests(), 18, 22);
  EXPECT_GT(tight.counters.preemptions, 0);
  EXPECT_EQ(tight.texts, plain.texts);
}

TEST(CpuOutputs, TokensThatAreNotPackedYetAreSwappedToo) {
  const auto tight = run<Windows>(requests(), 18, 22);
  EXPECT_GT(tight.counters.swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(tight.texts, run<Windows>(requests(), 1, 300).texts);
}

TEST(CpuOutputs, ContiguousEqualsPaged) {
  EXPECT_EQ(run<Contiguous>(requests(), 18, 200).texts, one_by_one());
}

TEST(CpuOutputs, SamplesOfAGroupEqualSingleRunsWithTheirSeeds) {
  auto all = requests();
  std::erase_if(all, [](const Request& r) { return r.sampling.beam_width > 0; });
  for (Request& r : all) {
    r.sampling.n = 4;
    r.sampling.temperature = 1;
  }
  const auto groups = run<Base>(all, 4, 300).texts;
  for (std::uint64_t sample = 0; sample < 4; ++sample) {
    auto single = all;
    for (Request& r : single) {
      r.sampling.n = 1;
      r.sampling.seed += sample;
    }
    const auto texts = run<Base>(single, 10, 300).texts;
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(groups[i].at(sample), texts[i].at(0));
  }
}

}  // namespace
}  // namespace quire::cpu_outputs
