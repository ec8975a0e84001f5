// Tiers of real bytes on real tokens: whatever goes down, comes back, breaks or outlives its process,
// texts stay the same.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/offload.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"
#include "tests/common/fuzz.hpp"
#include "tests/common/temp_file.hpp"

namespace quire {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;

struct Base : presets::Vllm {
  static constexpr std::string_view name = "base";
  using BlockSize = quire::BlockSize<4>;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using PrefixIndex = prefix_index::HashChain;
  using Offload = offload::Recompute;
};
/// Everything a tier can do at once.
struct Tiers : Base {
  static constexpr std::string_view name = "tiers";
  using Offload = offload::AttentionStore;
};

const checkpoint::Checkpoint& model() {
  static const auto opened =
      testing::opened((fs::path(QUIRE_SOURCE_DIR) / "tests/golden/models/llama").string());
  return opened;
}

/// Conversations that come back: prompts that continue a few beginnings, sampled in several ways.
std::vector<Request> conversations(std::size_t count) {
  std::vector<Request> all;
  Rng rng(3);
  for (std::uint64_t i = 0; i < count; ++i) {
    Request r;
    Rng text(i % 5);
    const std::uint64_t turns = 10 + 7 * (i / 5 % 4);
    for (std::uint64_t k = 0; k < turns; ++k) {
      r.prompt.push_back(static_cast<TokenId>(text.below(101)));
    }
    for (std::uint64_t n = 1 + rng.below(9), k = 0; k < n; ++k) {
      r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    }
    SamplingParams& p = r.sampling;
    p.max_tokens = 3 + static_cast<std::int64_t>(rng.below(12));
    p.seed = 1000 + i;
    p.temperature = i % 3 == 0 ? 0 : 0.9;
    if (i % 4 == 1) p.n = 2;
    if (i % 7 == 5) p.beam_width = p.n = 3;
    all.push_back(std::move(r));
  }
  return all;
}

using Texts = std::vector<std::vector<std::vector<TokenId>>>;  // request, sample, tokens

template <class AnEngine>
Texts run(AnEngine& engine, const std::vector<Request>& requests, std::size_t at_once = 12) {
  Texts out(requests.size());
  std::map<RequestId, std::size_t> who;
  std::size_t next = 0;
  while (next < requests.size() || engine.has_work()) {
    while (next < requests.size() && who.size() < at_once) {
      who[engine.submit(requests[next])] = next;
      ++next;
    }
    if (engine.has_work()) engine.step();
    for (const auto& group : engine.take_finished()) {
      EXPECT_EQ(group->error, "");
      const std::size_t i = who.at(group->request.id);
      for (const Sequence& s : group->sequences) {
        out[i].push_back({s.tokens.begin() + group->prompt_length().value, s.tokens.end()});
      }
      who.erase(group->request.id);
    }
  }
  return out;
}

const std::vector<Request>& requests() {
  static const auto all = conversations(40);
  return all;
}
const Texts& expected() {
  static const Texts texts = [] {
    executor::Cpu::Options options{.model = model(), .poison = true};
    options.device_blocks = 200;
    Engine<Base, executor::Cpu> engine(options);
    return run(engine, requests(), 1);
  }();
  return texts;
}

struct Warned {
  std::vector<std::string> lines;
};
executor::Cpu::Options options(const fs::path& directory, Warned& warned,
                               disk::FaultHook fault = {}, bool ring = true) {
  executor::Cpu::Options o{.model = model(), .poison = true};
  o.device_blocks = 40;
  o.host_blocks = 8;
  o.disk_blocks = 60;
  o.disk.directory = directory;
  o.disk.io_uring = ring;
  o.disk.fault = std::move(fault);
  o.disk.warn = [&warned](const std::string& line) { warned.lines.push_back(line); };
  return o;
}
using TiersEngine = Engine<Tiers, executor::Cpu>;

TEST(CpuTiers, TextsAreThoseOfAnEngineWithoutTiers) {
  for (const bool ring : {true, false}) {
    const TempDir dir;
    Warned warned;
    TiersEngine engine(options(dir.path(), warned, {}, ring));
    EXPECT_EQ(run(engine, requests()), expected());
    const TierCounters& t = engine.memory().tiers().counters();
    EXPECT_GT(t.demoted, 0);
    EXPECT_GT(t.spilled, 0);
    EXPECT_GT(t.host_fetched, 0);
    EXPECT_GT(t.prefetched + t.disk_fetched, 0);
    EXPECT_GT(engine.counters().preemptions, 0);
    EXPECT_TRUE(warned.lines.empty());
  }
}

TEST(CpuTiers, ADiskTierNeedsADirectory) {
  Warned warned;
  EXPECT_THROW(TiersEngine(options("", warned)), Error);
}

// A pool that was asked for and would hold nothing is no pool: runs without it would pass for runs with it.
TEST(CpuTiers, APoolThatHoldsNoBlockIsRefused) {
  Warned warned;
  const TempDir dir;
  for (int pool = 0; pool < 3; ++pool) {
    auto o = options(dir.path(), warned);
    if (pool == 0) o.device_blocks = 0, o.kv_memory = 1;
    if (pool == 1) o.host_blocks = 0, o.host_memory = 1;
    if (pool == 2) o.disk_blocks = 0, o.disk_memory = 1;
    EXPECT_THROW(TiersEngine{o}, Error);
  }
}

// Fetching, spilling and prefetching with hardly a slot to do it in.
TEST(CpuTiers, TiersOfOneBlockChangeNothing) {
  const TempDir dir;
  Warned warned;
  auto o = options(dir.path(), warned);
  o.host_blocks = o.disk_blocks = 1;
  for (int life = 0; life < 2; ++life) {
    TiersEngine engine(o);
    EXPECT_EQ(run(engine, requests()), expected());
    engine.persist();
  }
  EXPECT_TRUE(warned.lines.empty());
}

/// Leaves the cache of a run on disk; returns its data file.
std::string leave_cache(const fs::path& directory) {
  Warned warned;
  TiersEngine engine(options(directory, warned));
  EXPECT_EQ(run(engine, requests()), expected());
  engine.persist();
  return engine.executor().tiers().disk()->data_file();
}

TEST(CpuTiers, ANewProcessReusesTheCacheOfTheLastOne) {
  const TempDir dir;
  leave_cache(dir.path());
  Warned warned;
  TiersEngine engine(options(dir.path(), warned));
  EXPECT_GT(engine.memory().tiers().counters().restored, 30);
  EXPECT_EQ(engine.counters().restored_blocks.value, engine.memory().tiers().counters().restored);
  engine.submit(requests()[15]);
  engine.step();
  EXPECT_GT(engine.counters().prefix_hit_tokens, Tokens{8}) << "nothing was found";
  while (engine.has_work()) engine.step();
  EXPECT_EQ(engine.take_finished().size(), 1u);
  EXPECT_EQ(run(engine, requests()), expected());
  EXPECT_GT(engine.memory().tiers().counters().disk_fetched, 0);
  EXPECT_TRUE(warned.lines.empty());
}

// Blocks of a step that was planned ahead have places and no content yet.
TEST(CpuTiers, NothingIsPersistedBetweenAPlanAndItsStep) {
  const TempDir dir;
  Warned warned;
  auto o = options(dir.path(), warned);
  o.limits.asynchronous = true;
  TiersEngine engine(o);
  engine.submit(requests()[0]);
  engine.step();
  EXPECT_THROW(engine.persist(), Error);
  while (engine.has_work()) engine.step();
  engine.persist();
}

TEST(CpuTiers, OtherWeightsFindNothing) {
  const TempDir dir;
  leave_cache(dir.path());
  Warned warned;
  auto other = options(dir.path(), warned);
  other.model =
      testing::opened((fs::path(QUIRE_SOURCE_DIR) / "tests/golden/models/mistral").string());
  const TiersEngine engine(other);
  EXPECT_EQ(engine.memory().tiers().counters().restored, 0);
}

// One bit of the data file, anywhere: at QUIRE_FUZZ_SCALE=1000 every byte of it.
/// Flips the bits of `mask` in one byte of a file.
void flip(const fs::path& path, std::uint64_t byte, int mask) {
  std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
  f.seekg(static_cast<std::streamoff>(byte));
  const int c = f.get();
  f.seekp(static_cast<std::streamoff>(byte));
  f.put(static_cast<char>(c ^ mask));
}

TEST(CpuTiers, AFlippedBitInTheDataFileChangesNothing) {
  const TempDir dir, copy;
  const std::string file = leave_cache(dir.path());
  const auto size = fs::file_size(file);
  const auto tries = static_cast<std::uint64_t>(testing::fuzz_count(std::int64_t{12}));
  const std::uint64_t stride = std::max<std::uint64_t>(1, size / tries);
  for (std::uint64_t byte = 0; byte < size; byte += stride) {
    fs::remove_all(copy.path());
    fs::copy(dir.path(), copy.path());
    const fs::path hurt = copy.path() / fs::path(file).filename();
    flip(hurt, byte, 16);
    Warned warned;
    TiersEngine engine(options(copy.path(), warned));
    ASSERT_EQ(run(engine, requests()), expected()) << "byte " << byte;
    // unless nothing asked for that block
    const std::int64_t failed = engine.executor().tiers().disk()->counters().read_faults;
    ASSERT_EQ(warned.lines.size(), failed > 0 ? 1u : 0u);
    if (failed > 0) {
      ASSERT_NE(warned.lines[0].find(hurt.string()), std::string::npos);
    }
  }
}

// Two blocks, both wanted again: at QUIRE_FUZZ_SCALE=128 every byte of the file.
TEST(CpuTiers, EveryFlippedBitOfASmallFileIsNoticedAndSaidOnce) {
  const TempDir dir, copy;
  const std::vector<Request> one(1, requests()[0]);
  const Texts text(1, expected()[0]);
  const auto small = [](const fs::path& directory, Warned& warned) {
    auto o = options(directory, warned);
    o.host_blocks = o.disk_blocks = 2;
    return o;
  };
  std::string file;
  {
    Warned warned;
    TiersEngine engine(small(dir.path(), warned));
    ASSERT_EQ(run(engine, one), text);
    engine.persist();
    file = engine.executor().tiers().disk()->data_file();
  }
  const auto size = fs::file_size(file);
  ASSERT_EQ(size, 2 * DiskTier::page);
  const auto tries = static_cast<std::uint64_t>(testing::fuzz_count(std::int64_t{64}));
  const std::uint64_t stride = std::max<std::uint64_t>(1, size / tries);
  for (std::uint64_t byte = 0; byte < size; byte += stride) {
    fs::remove_all(copy.path());
    fs::copy(dir.path(), copy.path());
    const fs::path hurt = copy.path() / fs::path(file).filename();
    flip(hurt, byte, 1 << byte % 8);
    Warned warned;
    TiersEngine engine(small(copy.path(), warned));
    ASSERT_EQ(engine.memory().tiers().counters().restored, 2);
    ASSERT_EQ(run(engine, one), text) << "byte " << byte;
    ASSERT_EQ(engine.executor().tiers().disk()->counters().read_faults, 1) << "byte " << byte;
    ASSERT_EQ(warned.lines.size(), 1u);
    ASSERT_NE(warned.lines[0].find(hurt.string()), std::string::npos);
  }
}

// Faults of every kind while the engine runs: ten thousand of them at QUIRE_FUZZ_SCALE=20.
TEST(CpuTiers, FaultsOfTheDiskChangeNothing) {
  std::int64_t injected = 0, recovered = 0;
  const auto rounds = static_cast<std::uint64_t>(testing::fuzz_count(std::int64_t{6}));
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const TempDir dir;
    Rng dice(round + 1);
    std::int64_t struck = 0, plain = 0;  // the tier's own thread counts
    const auto fault = [&](disk::Op op, std::string_view what, std::uint64_t, std::size_t bytes) {
      disk::Fault f;
      if (dice.below(3) != 0) return f;
      constexpr disk::Fault::Kind kinds[] = {disk::Fault::Kind::error, disk::Fault::Kind::tear,
                                             disk::Fault::Kind::flip};
      f = {kinds[dice.below(3)], dice.below(2) == 0 ? ENOSPC : EIO, dice.below(bytes)};
      ++struck;
      // those that show at once: a block that was torn or flipped on its way to disk shows when it is
      // read, if ever, and what a torn read leaves of the buffer's last use may be what is wanted
      plain += what == "data" && (f.kind == disk::Fault::Kind::error ||
                                  (op == disk::Op::read && f.kind == disk::Fault::Kind::flip));
      return f;
    };
    Warned warned;
    {
      TiersEngine engine(options(dir.path(), warned, fault, round % 2 == 0));
      ASSERT_EQ(run(engine, requests()), expected()) << "round " << round;
      engine.persist();
      recovered += engine.counters().recoveries;
      DiskTier& disk = *engine.executor().tiers().disk();
      disk.flush();
      const DiskCounters seen = disk.counters();
      EXPECT_GE(seen.read_faults + seen.write_faults, plain) << "a fault was silent";
    }
    EXPECT_FALSE(warned.lines.empty());
    injected += struck;
    TiersEngine next(options(dir.path(), warned));
    ASSERT_EQ(run(next, requests()), expected()) << "after round " << round;
  }
  RecordProperty("injected", std::to_string(injected));  // in the report of --gtest_output
  EXPECT_GT(injected, 10 * static_cast<std::int64_t>(rounds));
  EXPECT_GT(recovered, 0);
}

TEST(CpuTiers, AProcessKilledInTheMiddleOfWriteBackChangesNothing) {
  for (const int milliseconds : {30, 80, 200}) {
    const TempDir dir;
    leave_cache(dir.path());
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Warned warned;
      TiersEngine engine(options(dir.path(), warned));
      for (;;) {
        run(engine, requests());
        engine.persist();
      }
    }
    ::usleep(static_cast<useconds_t>(1000 * milliseconds));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    Warned warned;
    TiersEngine engine(options(dir.path(), warned));
    EXPECT_EQ(run(engine, requests()), expected());
  }
}

TEST(CpuTiers, ADirectoryThatCannotBeWrittenChangesNothing) {
  if (!fs::exists("/sys/kernel")) GTEST_SKIP() << "no /sys";
  Warned warned;
  TiersEngine engine(options("/sys/kernel/quire", warned));
  EXPECT_EQ(run(engine, requests()), expected());
  ASSERT_EQ(warned.lines.size(), 1u);
  EXPECT_NE(warned.lines[0].find("/sys/kernel/quire"), std::string::npos);
}

}  // namespace
}  // namespace quire
