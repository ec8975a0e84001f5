// The engine's own promises, on real tokens: whatever memory policies do, texts stay the same.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/presets.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"

namespace quire {
namespace {

struct Base : presets::Vllm {
  static constexpr std::string_view name = "base";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::Recompute;
};
struct Swapping : Base {
  static constexpr std::string_view name = "swapping";
  using Offload = offload::SwapToHost;
};
struct Cached : Base {
  static constexpr std::string_view name = "cached";
  using BlockSize = quire::BlockSize<4>;
  using PrefixIndex = prefix_index::HashChain;
};
struct Contiguous : presets::OrcaMax {
  static constexpr std::string_view name = "contiguous";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};

checkpoint::Checkpoint model() {
  return testing::opened(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models/llama").string());
}

/// Prompts that share beginnings, and every way of sampling.
std::vector<Request> requests() {
  Rng rng(3);
  std::vector<TokenId> common;
  for (int i = 0; i < 30; ++i) common.push_back(static_cast<TokenId>(rng.below(101)));
  std::vector<Request> all;
  for (std::uint64_t i = 0; i < 18; ++i) {
    Request r;
    if (i % 2 == 0) r.prompt = common;
    for (std::uint64_t n = 1 + rng.below(25), k = 0; k < n; ++k) {
      r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    }
    SamplingParams& p = r.sampling;
    p.max_tokens = 4 + static_cast<std::int64_t>(rng.below(24));
    p.seed = 1000 + i;
    p.temperature = i % 3 == 0 ? 0 : 0.9;
    if (i % 4 == 1) p.n = 3;
    if (i % 5 == 2) p.top_p = 0.9;
    if (i % 6 == 3) p.repetition_penalty = 1.3;
    if (i % 6 == 5) p.beam_width = p.n = 3;
    all.push_back(std::move(r));
  }
  return all;
}

using Texts = std::vector<std::vector<std::vector<TokenId>>>;  // request, sample, tokens

template <class C>
struct Run {
  Texts texts;
  EngineCounters counters;
};

/// Submits requests, `at_once` of them at a time, and runs them to their ends.
template <class C>
Run<C> run(const std::vector<Request>& requests, std::size_t at_once, std::int64_t blocks,
           std::size_t threads = 1) {
  executor::Cpu::Options options{.model = model(), .threads = threads, .poison = true};
  options.device_blocks = blocks;
  options.host_blocks = 200;
  Engine<C, executor::Cpu> engine(options);
  Run<C> out;
  out.texts.resize(requests.size());
  std::map<RequestId, std::size_t> who;
  std::size_t next = 0;
  while (next < requests.size() || engine.has_work()) {
    while (next < requests.size() && who.size() < at_once) {
      who[engine.submit(requests[next])] = next;
      ++next;
    }
    if (engine.has_work()) {
      const StepStats& stats = engine.step();
      if (stats.idle && stats.wake_at) engine.advance_to(*stats.wake_at);
    }
    for (const auto& group : engine.take_finished()) {
      EXPECT_EQ(group->error, "");
      const std::size_t i = who.at(group->request.id);
      for (const Sequence& s : group->sequences) {
        out.texts[i].push_back({s.tokens.begin() + group->prompt_length().value, s.tokens.end()});
      }
      who.erase(group->request.id);
    }
  }
  out.counters = engine.counters();
  return out;
}

const Texts& one_by_one() {
  static const Texts texts = run<Base>(requests(), 1, 64).texts;
  return texts;
}

TEST(CpuOutputs, BatchesAndThreadsEqualOneByOne) {
  std::size_t tokens = 0;
  for (const auto& request : one_by_one()) {
    for (const auto& text : request) tokens += text.size();
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

TEST(CpuOutputs, PrefixIndexOnEqualsOff) {
  const auto wide = run<Cached>(requests(), 6, 400);
  EXPECT_GT(wide.counters.prefix_hit_tokens, Tokens{50});
  EXPECT_EQ(wide.texts, one_by_one());
  const auto tight = run<Cached>(requests(), 18, 80);  // evicts, preempts and finds again
  EXPECT_GT(tight.counters.preemptions, 0);
  EXPECT_EQ(tight.texts, one_by_one());
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
}  // namespace quire
