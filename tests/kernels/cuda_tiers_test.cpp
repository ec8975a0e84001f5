// The host and disk tiers of the CUDA executor on the emulator: the CPU executor's decisions and texts,
// whatever is fetched how, breaks, or outlives its engine.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <kernels/device/play.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/offload/attention_store.hpp>
#include <quire/offload/tiered_overlapped.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/simt/streams.cuh>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"
#include "tests/common/fuzz.hpp"
#include "tests/common/temp_file.hpp"
#include "tests/kernels/plans_by_hand.hpp"

namespace quire::executor {
namespace {

namespace fs = std::filesystem;
using simt::emulator::Order;
using namespace testing;

/// Everything that tiers can do at once; a setting's rules say which of it is done.
struct InTiers : presets::Vllm {
  static constexpr std::string_view name = "vllm+attention_store";
  using BlockSize = quire::BlockSize<4>;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using PrefixIndex = prefix_index::HashChain;
  using Offload = offload::AttentionStore;
};
using OnOneDevice = BasicCuda<float, kernels::LoopProduct, 8>;

const checkpoint::Checkpoint& conversing_model() {
  static const auto opened = testing::opened(QUIRE_SOURCE_DIR "/tests/golden/models/llama");
  return opened;
}

/// Conversations that come back: prompts that continue a few beginnings, drawn in several ways.
std::vector<Request> conversations(std::size_t count) {
  std::vector<Request> all;
  Rng rng(3);
  for (std::uint64_t i = 0; i < count; ++i) {
    Request r;
    Rng text(i % 4);
    const std::uint64_t turns = 8 + 6 * (i / 4 % 4);
    for (std::uint64_t k = 0; k < turns; ++k) {
      r.prompt.push_back(static_cast<TokenId>(text.below(101)));
    }
    for (std::uint64_t n = 1 + rng.below(9), k = 0; k < n; ++k) {
      r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    }
    SamplingParams& p = r.sampling;
    p.max_tokens = 3 + static_cast<std::int64_t>(rng.below(8));
    p.seed = 1000 + i;
    p.temperature = i % 3 == 0 ? 0 : 0.9;
    if (i % 4 == 1) p.n = 2;
    if (i % 7 == 5) p.beam_width = p.n = 3;
    all.push_back(std::move(r));
  }
  return all;
}
const std::vector<Request>& all_conversations() {
  static const auto all = conversations(20);
  return all;
}

/// How an engine's tiers are made up.
struct Setting {
  fs::path directory;
  TierRules rules = tier_rules<offload::AttentionStore>();
  std::int64_t device_blocks = 40, host_blocks = 8, disk_blocks = 40;
  disk::FaultHook fault{};
  std::size_t at_once = 10;
};
/// What became of an engine.
struct Life {
  std::vector<std::vector<std::vector<TokenId>>> texts;  // request, sample, tokens
  std::vector<std::uint64_t> decisions;
  TierCounters tiers;
  EngineCounters counters;
  DiskCounters disk;
  std::string file;
  std::vector<std::string> warned;
};

template <class Executor>
Life live(const Setting& setting, const std::vector<Request>& requests = all_conversations()) {
  Life life;
  typename Executor::Options options;
  options.model = conversing_model();
  options.poison = true;
  options.device_blocks = setting.device_blocks;
  options.host_blocks = setting.host_blocks;
  options.disk_blocks = setting.disk_blocks;
  options.disk.directory = setting.directory;
  options.disk.fault = setting.fault;
  options.disk.warn = [&life](const std::string& line) { life.warned.push_back(line); };
  KvGeometry geometry = Executor::template geometry<InTiers>(options);
  geometry.tiers = setting.rules;
  auto steps = quire::detail::bind_executor<InTiers, Executor>(options, geometry);
  const auto run = [&steps](const StepPlan& plan, StepResult& r) { steps.execute(plan, r); };
  {
    Engine<InTiers, device::Handed> engine(
        {Executor::shape(options), options.limits, geometry, run, steps.stored()});
    life.texts.resize(requests.size());
    std::map<RequestId, std::size_t> who;
    for (std::size_t next = 0; next < requests.size() || engine.has_work();) {
      while (next < requests.size() && who.size() < setting.at_once) {
        who[engine.submit(requests[next])] = next;
        ++next;
      }
      engine.step();
      life.decisions.push_back(engine.decision_hash());
      for (const auto& group : engine.take_finished()) {
        EXPECT_EQ(group->error, "");
        const std::size_t i = who.at(group->request.id);
        for (const Sequence& s : group->sequences) {
          life.texts[i].push_back(
              {s.tokens.begin() + group->prompt_length().value, s.tokens.end()});
        }
        who.erase(group->request.id);
      }
    }
    engine.persist();
    life.tiers = engine.memory().tiers().counters();
    life.counters = engine.counters();
  }
  if (DiskTier* disk = steps.tiers().disk()) {
    disk->flush();
    life.disk = disk->counters();
    life.file = disk->data_file();
  }
  return life;
}
/// No tier at all.
const Life& without_tiers() {
  static const Life life =
      live<OnOneDevice>({.directory = "unused", .rules = {}, .device_blocks = 200, .at_once = 1});
  return life;
}

TEST(CudaTiers, DecideAndWriteAsTheCpuExecutorsDo) {
  TierRules tiered = tier_rules<offload::Tiered>(), ahead = tier_rules<offload::TieredLookAhead>(),
            overlapped = tier_rules<offload::TieredOverlapped>(), all = Setting{}.rules;
  for (const TierRules& rules : {tiered, ahead, overlapped, all}) {
    const TempDir cpus, cudas;
    const Life cpu = live<Cpu>({.directory = cpus.path(), .rules = rules});
    const Life cuda = live<OnOneDevice>({.directory = cudas.path(), .rules = rules});
    EXPECT_EQ(cuda.decisions, cpu.decisions);
    EXPECT_EQ(cuda.texts, cpu.texts);
    EXPECT_EQ(cuda.texts, without_tiers().texts);
    EXPECT_GT(cpu.tiers.demoted, 0);
    EXPECT_GT(cpu.tiers.spilled, 0);
    EXPECT_GT(cpu.tiers.host_fetched, 0);
    EXPECT_EQ(cpu.tiers.prefetched > 0, rules.look_ahead > 0);
    EXPECT_GT(cpu.tiers.prefetched + cpu.tiers.disk_fetched, 0);
    EXPECT_GT(cpu.counters.preemptions, 0);
    EXPECT_EQ(cuda.disk.written, cpu.disk.written);
    EXPECT_EQ(cuda.disk.read, cpu.disk.read);
    EXPECT_THAT(cuda.warned, ::testing::IsEmpty());
  }
}

// Whatever order streams and events allow, beside a thread that reads and writes the host's slots.
TEST(CudaTiers, WriteTheSameInEveryOrderThatEventsAllow) {
  for (const Order order : {Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = 3});
    const TempDir dir;
    EXPECT_EQ(live<OnOneDevice>({.directory = dir.path()}).texts, without_tiers().texts);
  }
}

// Fetching, spilling and prefetching with hardly a slot to do it in.
TEST(CudaTiers, TiersOfOneBlockChangeNothing) {
  const TempDir dir;
  for (int life = 0; life < 2; ++life) {
    const Life one =
        live<OnOneDevice>({.directory = dir.path(), .host_blocks = 1, .disk_blocks = 1});
    EXPECT_EQ(one.texts, without_tiers().texts);
    EXPECT_THAT(one.warned, ::testing::IsEmpty());
  }
}

// A host that preempted groups fill: the rest of their blocks goes straight to disk and back.
TEST(CudaTiers, BlocksGoStraightToDiskAndBack) {
  const TempDir cpus, cudas;
  Setting a{.directory = cpus.path(), .device_blocks = 24, .host_blocks = 2, .disk_blocks = 60};
  a.at_once = 6;
  Setting b = a;
  b.directory = cudas.path();
  const Life cpu = live<Cpu>(a), cuda = live<OnOneDevice>(b);
  EXPECT_EQ(cuda.decisions, cpu.decisions);
  EXPECT_EQ(cuda.texts, without_tiers().texts);
  EXPECT_GT(cpu.counters.swapped_out_blocks.value, 4);
  EXPECT_EQ(cuda.disk.read, cpu.disk.read);
}

TEST(CudaTiers, AnotherEngineReusesWhatTheLastOneLeft) {
  const TempDir dir;
  const Life first = live<OnOneDevice>({.directory = dir.path()});
  const Life next = live<OnOneDevice>({.directory = dir.path()});
  EXPECT_GT(next.tiers.restored, 20);
  EXPECT_EQ(next.counters.restored_blocks.value, next.tiers.restored);
  EXPECT_GT(next.counters.prefix_hit_tokens, first.counters.prefix_hit_tokens);
  EXPECT_EQ(next.texts, without_tiers().texts);
  EXPECT_THAT(next.warned, ::testing::IsEmpty());
  // what another executor computed in its own way is not taken for its own
  EXPECT_EQ(live<Cpu>({.directory = dir.path()}).tiers.restored, 0);
}

/// A directory that an engine left, with its data file changed by `hurt(path)`, and a life with it.
template <class Hurt>
Life live_with_hurt_file(const fs::path& left, Hurt&& hurt) {
  const TempDir copy;
  fs::copy(left, copy.path(), fs::copy_options::recursive);
  for (const auto& entry : fs::directory_iterator(copy.path())) {
    if (entry.path().extension() == ".kv") {
      hurt(entry.path());
      break;
    }
  }
  return live<OnOneDevice>({.directory = copy.path()});
}
TEST(CudaTiers, WhatADamagedFileHeldIsComputedAgainAndSaidOnce) {
  const TempDir dir;
  const Life first = live<OnOneDevice>({.directory = dir.path()});
  const auto size = fs::file_size(first.file);
  // kinds: of faults that are told apart, each said once
  const auto expect_recovered = [&](const Life& life, const std::string& what, std::size_t kinds) {
    EXPECT_EQ(life.texts, without_tiers().texts) << what;
    EXPECT_GT(life.disk.read_faults, 0) << what;
    EXPECT_GT(life.counters.recoveries + life.tiers.lost, 0) << what;
    EXPECT_GE(life.warned.size(), 1u) << what;
    EXPECT_LE(life.warned.size(), kinds) << what;
    EXPECT_THAT(life.warned, ::testing::Each(::testing::HasSubstr(".kv")));
  };
  expect_recovered(live_with_hurt_file(dir.path(),
                                       [&](const fs::path& file) {  // a bit of every block
                                         std::fstream f(
                                             file, std::ios::in | std::ios::out | std::ios::binary);
                                         for (std::uint64_t at = 5; at < size; at += 4096) {
                                           f.seekg(static_cast<std::streamoff>(at));
                                           const int c = f.get();
                                           f.seekp(static_cast<std::streamoff>(at));
                                           f.put(static_cast<char>(c ^ 16));
                                         }
                                       }),
                   "flipped bits", 1);
  // what is not there, and, once blocks were written behind it, what is nothing but zeros
  expect_recovered(
      live_with_hurt_file(dir.path(), [&](const fs::path& file) { fs::resize_file(file, 100); }),
      "a short file", 2);
  expect_recovered(live_with_hurt_file(dir.path(), [&](const fs::path& file) { fs::remove(file); }),
                   "a missing file", 2);
}

// Faults of every kind while the engine runs; more with QUIRE_FUZZ_SCALE.
TEST(CudaTiers, FaultsOfTheDiskChangeNothing) {
  std::int64_t injected = 0, recovered = 0;
  const auto rounds = static_cast<std::uint64_t>(testing::fuzz_count(std::int64_t{2}));
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const TempDir dir;
    Rng dice(round + 1);
    std::int64_t struck = 0;  // the tier's own thread counts
    Setting setting{.directory = dir.path()};
    setting.fault = [&](disk::Op, std::string_view, std::uint64_t, std::size_t bytes) {
      disk::Fault f;
      if (dice.below(3) != 0) return f;
      constexpr disk::Fault::Kind kinds[] = {disk::Fault::Kind::error, disk::Fault::Kind::tear,
                                             disk::Fault::Kind::flip};
      ++struck;
      return disk::Fault{kinds[dice.below(3)], dice.below(2) == 0 ? ENOSPC : EIO,
                         dice.below(bytes)};
    };
    const Life life = live<OnOneDevice>(setting);
    EXPECT_EQ(life.texts, without_tiers().texts) << "round " << round;
    EXPECT_FALSE(life.warned.empty());
    injected += struck;
    recovered += life.counters.recoveries;
    setting.fault = {};
    EXPECT_EQ(live<OnOneDevice>(setting).texts, without_tiers().texts) << "after " << round;
  }
  EXPECT_GT(injected, 5 * static_cast<std::int64_t>(rounds));
  EXPECT_GT(recovered, 0);
}

/// Blocks of 4 tokens, two slots on the host, six on disk behind them.
template <class Executor>
std::vector<Draw> drawn_in_tiers(const std::vector<HandStep>& steps, bool overlaps,
                                 std::vector<StepResult>* results = nullptr,
                                 const disk::FaultHook& fault = {}) {
  const TempDir dir;
  auto options = options_by_hand<Executor>(conversing_model());
  options.disk.directory = dir.path();
  options.disk.fault = fault;
  options.disk.warn = [](const std::string&) {};
  KvGeometry geometry{.device_blocks = 12, .host_blocks = 2, .block_tokens = 4, .disk_blocks = 6};
  geometry.tiers = {.uses_disk = true, .keeps_evicted = true, .overlaps = overlaps};
  typename Executor::template Bound<InTiers> bound(options, geometry);
  return drawn_by(steps, [&](const StepPlan& plan, StepResult& result) {
    bound.execute(plan, result);
    if (results != nullptr) results->push_back(result);
  });
}
constexpr TierMove down(std::uint32_t host, std::uint32_t disk) {
  return {BlockId{host}, BlockId{disk}};
}
constexpr TierMove up(std::uint32_t disk, std::uint32_t host) {
  return {BlockId{disk}, BlockId{host}};
}
void expect_tiers_alike_in_every_order(const std::vector<HandStep>& steps, std::size_t draws,
                                       const disk::FaultHook& fault = {}) {
  const auto cpu = drawn_in_tiers<Cpu>(steps, false, nullptr, fault);
  ASSERT_EQ(cpu.size(), draws);
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    for (const bool overlaps : {false, true}) {
      const simt::emulator::ScopedSchedule scope({.order = order, .seed = 7});
      expect_close(drawn_in_tiers<OnOneDevice>(steps, overlaps, nullptr, fault), cpu, 1e-4f);
    }
  }
}
// Steps that draw nothing, so that nobody waited for them when the disk's thread meets them in a slot.
TEST(CudaTiers, WhatSpillsHasLeftTheDevice) {
  expect_tiers_alike_in_every_order({{{}, {}, {{0, 0, 8, {0, 1}}, {1, 0, 4, {2}}}},
                                     {{between(0, 0)}, {}, {{1, 4, 4, {2, 0}}}},
                                     {{between(1, 0)}, {}, {{1, 8, 4, {2, 0, 3}}}, {down(0, 2)}},
                                     {{},
                                      {between(5, 0), between(4, 2)},
                                      {{0, 8, 1, {4, 5, 6}, 1}, {1, 12, 1, {2, 0, 3, 7}, 1}}}},
                                    2);
}
TEST(CudaTiers, WhatIsPrefetchedIntoIsNotReadOrWrittenAnyMore) {
  // the slot's earlier content is still being read
  expect_tiers_alike_in_every_order(
      {{{}, {}, {{0, 0, 8, {0, 1}}, {1, 0, 4, {2}}}},
       {{between(0, 3), between(1, 0)}, {}, {{1, 4, 4, {2, 0}}}},
       {{}, {between(5, 0)}, {{1, 8, 4, {2, 0, 1}}}},
       {{}, {}, {{2, 0, 4, {9}}}, {}, {up(3, 0)}},
       {{}, {between(4, 0)}, {{0, 8, 1, {4, 5, 6}, 1}, {1, 12, 1, {2, 0, 1, 7}, 1}}}},
      2);
  // or still being written
  expect_tiers_alike_in_every_order(
      {{{}, {}, {{0, 0, 8, {0, 1}}, {1, 0, 4, {2}}}},
       {{between(0, 3)}, {}, {{1, 4, 4, {2, 8}}}},
       {{between(2, 1)}, {}, {{2, 0, 4, {9}}}},
       {{}, {}, {{2, 4, 4, {9, 10}}}, {}, {up(3, 1)}},
       {{}, {between(4, 1)}, {{0, 8, 1, {4, 1, 6}, 1}, {1, 8, 1, {2, 8, 7}, 1}}}},
      2);
}
// A slot that a block of the device takes while a slow disk still fills it with another.
TEST(CudaTiers, WhatIsNoLongerWantedDoesNotComeAfter) {
  const auto slow = [](disk::Op op, std::string_view, std::uint64_t, std::size_t) {
    if (op == disk::Op::read) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return disk::Fault{};
  };
  expect_tiers_alike_in_every_order(
      {{{}, {}, {{0, 0, 8, {0, 1}}, {1, 0, 4, {2}}}},
       {{between(0, 3)}, {}, {{1, 4, 4, {2, 8}}}},
       {{}, {}, {{2, 0, 4, {9}}}, {}, {up(3, 1)}},
       {{between(1, 1)}, {}, {{2, 4, 4, {9, 10}, 1}}},
       {{}, {between(4, 3), between(5, 1)}, {{0, 8, 1, {4, 5, 6}, 1}, {1, 8, 1, {2, 8, 7}, 1}}}},
      3, slow);
}
TEST(CudaTiers, ManyBlocksCrossTheMemoryBetween) {
  expect_tiers_alike_in_every_order(
      {{{}, {}, {{0, 0, 20, {0, 1, 2, 3, 4}}, {1, 0, 4, {5}}}},
       {{between(0, 2), between(1, 3), between(2, 4), between(3, 5), between(4, 6)},
        {},
        {{1, 4, 8, {5, 0, 1}}}},
       {{between(5, 7)}, {between(2, 6), between(4, 5)}, {{2, 0, 4, {6}}}},
       {{between(0, 5)}, {}, {{2, 4, 4, {6, 9}}}},  // through the memory that they came through
       {{},
        {between(7, 2), between(8, 3), between(9, 4), between(10, 6), between(11, 7)},
        {{0, 20, 1, {7, 8, 9, 4, 2, 3}, 1}, {1, 12, 1, {11, 0, 1, 5}, 1}}}},
      2);
}

// Blocks that did not come, from disk or by a prefetch, are named; their rows are finite. The same as on
// the CPU executor.
TEST(CudaTiers, BlocksThatDidNotComeAreNamed) {
  const auto fault = [](disk::Op op, std::string_view what, std::uint64_t, std::size_t) {
    const bool fails = op == disk::Op::read && what == "data";
    return disk::Fault{fails ? disk::Fault::Kind::error : disk::Fault::Kind::none, EIO, 0};
  };
  const std::vector<HandStep> steps = {
      {{}, {}, {{0, 0, 12, {0, 1, 2}}, {1, 0, 4, {3}}}},
      {{between(0, 2), between(1, 3), between(2, 0), between(3, 4)}, {}, {{2, 0, 4, {8}}}},
      {{}, {}, {{2, 4, 4, {8, 9}}}, {}, {up(3, 1)}},
      {{},
       {between(5, 2), between(6, 1), between(7, 0)},
       {{0, 12, 1, {5, 6, 7, 0}, 1}, {2, 8, 1, {8, 9, 10}, 1}}},
      {{}, {}, {{2, 9, 1, {8, 9, 10}, 1}}, {down(1, 5)}}};
  std::vector<StepResult> cpu, cuda;
  const auto theirs = drawn_in_tiers<Cpu>(steps, false, &cpu, fault);
  const auto ours = drawn_in_tiers<OnOneDevice>(steps, false, &cuda, fault);
  ASSERT_EQ(cuda.size(), cpu.size());
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    EXPECT_EQ(cuda[i].failed, cpu[i].failed) << "step " << i;
    EXPECT_EQ(cuda[i].lost, cpu[i].lost) << "step " << i;
    EXPECT_EQ(cuda[i].bytes_moved, cpu[i].bytes_moved) << "step " << i;
  }
  EXPECT_THAT(cpu[3].failed, ::testing::UnorderedElementsAre(0u, 1u));
  EXPECT_THAT(cpu[4].lost, ::testing::ElementsAre(BlockId{5}));
  expect_close(ours, theirs, 1e-4f);
}

/// Layers come in parts only where the policy says so: otherwise an ablation of it would move nothing.
TEST(CudaTiers, OnlyPoliciesThatOverlapFetchLayerByLayer) {
  const std::vector<HandStep> steps = {
      {{}, {}, {{0, 0, 8, {0, 1}}}},
      {{between(0, 0), between(1, 1)}, {}, {{1, 0, 4, {2}}}},
      {{}, {between(3, 0), between(4, 1)}, {{0, 8, 1, {3, 4, 5}, 1}}}};
  auto& launches = simt::emulator::device().launches["copy_blocks"];
  std::vector<std::uint64_t> copies;
  for (const bool overlaps : {false, true}) {
    const std::uint64_t before = launches;
    (void)drawn_in_tiers<OnOneDevice>(steps, overlaps);
    copies.push_back(launches - before);
  }
  EXPECT_EQ(copies[0], 2u);  // out, in
  EXPECT_EQ(copies[1], 1u + static_cast<std::uint64_t>(conversing_model().config.shape.layers));
}

TEST(CudaTiers, RefusesWhatCannotBe) {
  const auto told = [](auto make) -> std::string {
    try {
      make();
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  };
  OnOneDevice::Options options;
  options.model = conversing_model();
  EXPECT_THAT(told([&] { (void)OnOneDevice::geometry<InTiers>(options); }),
              ::testing::HasSubstr("disk.directory"));
  options.disk.directory = "unused";
  options.disk_memory = 1;
  EXPECT_THAT(told([&] { (void)OnOneDevice::geometry<InTiers>(options); }),
              ::testing::HasSubstr("disk_memory"));
  struct Two : Alone {};
  using Ranks = ParallelCuda<float, kernels::LoopProduct, Two, 8>;
  Ranks::Options two;
  two.model = conversing_model();
  two.disk.directory = "unused";
  EXPECT_THAT(told([&] { (void)Ranks::geometry<InTiers>(two); }),
              ::testing::HasSubstr("what one rank could not read the others would not"));
  const std::vector<HandStep> nowhere = {{{between(0, 8)}, {}, {{0, 0, 4, {0}, 1}}}};
  EXPECT_THAT(told([&] { (void)drawn_in_tiers<OnOneDevice>(nowhere, false); }),
              ::testing::HasSubstr("it names block 8 of the host pool"));
}

}  // namespace
}  // namespace quire::executor
