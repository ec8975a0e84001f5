#include <quire/memory/disk_tier.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/rng.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/common/temp_file.hpp"

namespace quire::memory_test {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;
using Block = std::vector<std::byte>;
constexpr std::size_t block_bytes = 1000;  // no multiple of a page
constexpr std::int64_t block_tokens = 4;

Block block_of(std::uint64_t seed) {
  Block out(block_bytes);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::byte>(counter_bits(seed, 1, i));
  }
  return out;
}
std::vector<TokenId> tokens_of(std::uint64_t id) {
  std::vector<TokenId> out;
  for (std::uint64_t t = 0; t < block_tokens; ++t) {
    out.push_back(static_cast<TokenId>(counter_bits(id, 2, t)));
  }
  return out;
}

/// A tier in a directory, and what it warns of.
struct Bench {
  explicit Bench(const fs::path& directory, BlockCount slots = 8, std::uint64_t fingerprint = 7,
                 disk::FaultHook fault = {}, bool ring = true) {
    DiskTierOptions options;
    options.directory = directory;
    options.io_uring = ring;
    options.warn = [this](const std::string& line) { warnings.push_back(line); };
    options.fault = std::move(fault);
    tier = std::make_unique<DiskTier>(options, slots, block_bytes, block_tokens, fingerprint);
  }
  void put(std::uint32_t slot, std::uint64_t id, std::uint64_t parent = 0) {
    const auto tokens = tokens_of(id);
    const TierRecord record{BlockId{slot}, id, parent, 3, tokens};
    tier->write(BlockId{slot}, block_of(id), &record);
  }
  /// The block of a slot, or nothing.
  Block get(std::uint32_t slot) {
    Block out(block_bytes);
    if (!tier->read(BlockId{slot}, out)) out.clear();
    return out;
  }
  void close() { tier.reset(); }

  std::vector<std::string> warnings;
  std::unique_ptr<DiskTier> tier;
};

void fill(const fs::path& directory, std::uint32_t blocks = 6) {
  Bench b(directory);
  for (std::uint32_t i = 0; i < blocks; ++i) b.put(i, i + 1, i);
  b.close();
  ASSERT_TRUE(b.warnings.empty()) << b.warnings[0];
}

std::string only_warning(const Bench& b) {
  EXPECT_EQ(b.warnings.size(), 1u);
  return b.warnings.empty() ? "" : b.warnings[0];
}

class DiskTierBackEnd : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(RingAndCalls, DiskTierBackEnd, ::testing::Bool());

TEST_P(DiskTierBackEnd, EqualsMemoryUnderRandomWritesAndReads) {
  const TempDir dir;
  Bench b(dir.path(), 16, 7, {}, GetParam());
  if (!GetParam()) {
    EXPECT_EQ(b.tier->back_end(), "pwrite");
  }
  std::map<std::uint32_t, std::uint64_t> model;
  struct Read {
    DiskTier::Ticket ticket;
    std::unique_ptr<Block> target;
    std::uint64_t expected;
  };
  std::vector<Read> reads;
  Rng rng(1);
  for (std::int64_t i = 0; i < testing::fuzz_count(std::int64_t{2000}); ++i) {
    const auto slot = static_cast<std::uint32_t>(rng.below(16));
    if (rng.below(2) == 0) {
      b.put(slot, static_cast<std::uint64_t>(i) + 1);
      model[slot] = static_cast<std::uint64_t>(i) + 1;
    } else if (model.contains(slot)) {
      auto target = std::make_unique<Block>(block_bytes);
      const auto ticket = b.tier->start_read(BlockId{slot}, *target);
      reads.push_back({ticket, std::move(target), model[slot]});
    }
    if (reads.size() > 20) {
      for (Read& r : reads) {
        ASSERT_TRUE(b.tier->wait(r.ticket));
        ASSERT_EQ(*r.target, block_of(r.expected));
      }
      reads.clear();
    }
  }
  for (Read& r : reads) ASSERT_TRUE(b.tier->wait(r.ticket));
  EXPECT_TRUE(b.warnings.empty());
}

TEST(DiskTier, ANewProcessFindsWhatTheLastOneLeft) {
  const TempDir dir;
  fill(dir.path());
  Bench b(dir.path());
  ASSERT_EQ(b.tier->stored().size(), 6u);
  for (const StoredBlock& s : b.tier->stored()) {
    EXPECT_EQ(s.tokens, tokens_of(s.id));
    EXPECT_EQ(s.salt, 3u);
    EXPECT_EQ(s.parent + 1, s.id);
    EXPECT_EQ(b.get(s.slot.value), block_of(s.id));
  }
  EXPECT_TRUE(b.warnings.empty());
}

TEST(DiskTier, BlocksWithoutATextAreNotLeftToOthers) {
  const TempDir dir;
  fill(dir.path());
  {
    Bench b(dir.path());
    b.tier->write(BlockId{2}, block_of(99));
    EXPECT_EQ(b.get(2), block_of(99));
  }
  Bench b(dir.path());
  EXPECT_EQ(b.tier->stored().size(), 5u);
  EXPECT_TRUE(b.get(2).empty());
}

TEST(DiskTier, TwoModelsShareADirectoryAndTwoProcessesDoNot) {
  const TempDir dir;
  fill(dir.path());
  {
    Bench other(dir.path(), 8, 8);
    EXPECT_TRUE(other.tier->stored().empty());
    other.put(0, 50);
  }
  Bench b(dir.path());
  EXPECT_EQ(b.tier->stored().size(), 6u);
  EXPECT_THROW(Bench(dir.path()), Error);
}

// What a run with other blocks left under the same name: told apart by what the header says.
TEST(DiskTier, BlocksOfAnotherSizeAreNotTakenForItsOwn) {
  const TempDir dir;
  fill(dir.path());
  for (const auto& [bytes, tokens] : {std::pair<std::size_t, int>{block_bytes, 2 * block_tokens},
                                      {5 * block_bytes, block_tokens}}) {
    std::vector<std::string> warnings;
    DiskTierOptions options;
    options.directory = dir.path();
    options.warn = [&](const std::string& line) { warnings.push_back(line); };
    DiskTier tier(options, 8, bytes, tokens, 7);
    EXPECT_TRUE(tier.stored().empty());
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find(tier.manifest_file()), std::string::npos);
    const Block in(bytes, std::byte{9});
    Block out(bytes);
    EXPECT_FALSE(tier.read(BlockId{0}, out)) << "what lies there is another's";
    tier.write(BlockId{0}, in);
    EXPECT_TRUE(tier.read(BlockId{0}, out));
    EXPECT_EQ(out, in);
  }
}

TEST(DiskTier, ADirectoryIsFreeAgainWhenItsProcessWasKilled) {
  const TempDir dir;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Bench b(dir.path());
    b.put(0, 1);
    b.tier->flush();
    [[maybe_unused]] const ssize_t told = ::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  EXPECT_THROW(Bench(dir.path()), Error);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);
  Bench b(dir.path());
  EXPECT_EQ(b.get(0), block_of(1)) << "the one that was there";
}

TEST(DiskTier, AManifestGrowsNoLongerThanItsSlotsAskFor) {
  const TempDir dir, copy;
  Bench b(dir.path());
  for (std::uint64_t id = 1; id <= 1500; ++id) {
    b.put(static_cast<std::uint32_t>(id % 8), id);
    if (id % 500 == 0 || id % 500 == 289) {  // whoever is killed here leaves the eight last ones
      b.tier->flush();
      EXPECT_LT(fs::file_size(b.tier->manifest_file()), 300u * 72);
      fs::copy(dir.path(), copy.path(),
               fs::copy_options::overwrite_existing | fs::copy_options::recursive);
      Bench next(copy.path());
      EXPECT_EQ(next.tier->stored().size(), 8u) << only_warning(next);
      for (const StoredBlock& s : next.tier->stored()) {
        EXPECT_GT(s.id + 8, id);
        EXPECT_EQ(next.get(s.slot.value), block_of(s.id));
      }
    }
  }
  EXPECT_TRUE(b.warnings.empty());
}

TEST(DiskTier, AManifestThatIsNoFileIsSaidAndPassedBy) {
  const TempDir dir;
  fill(dir.path());
  const std::string file = Bench(dir.path()).tier->manifest_file();
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  {
    Bench b(dir.path());  // without waiting for a writer
    EXPECT_TRUE(b.tier->stored().empty());
    EXPECT_NE(only_warning(b).find(file), std::string::npos);
    b.put(0, 1);
    EXPECT_EQ(b.get(0), block_of(1));
  }
  EXPECT_EQ(Bench(dir.path()).tier->stored().size(), 1u) << "a manifest is there again";
}

TEST(DiskTier, RefusesAFileForADirectory) {
  const TempDir dir;
  const fs::path file = dir.write("file", "text");
  EXPECT_THROW(Bench{file}, Error);
}
TEST(DiskTier, RefusesToHaveNoTransferUnderWay) {
  const TempDir dir;
  DiskTierOptions options;
  options.directory = dir.path();
  options.depth = 0;
  EXPECT_THROW(DiskTier(options, 8, block_bytes, block_tokens, 7), Error);
}

// A caller that waits for nothing cannot fill the tier up: reads have a buffer left to them.
TEST(DiskTier, ReadsGetThroughBeforeWritesThatHoldTheBuffers) {
  const TempDir dir;
  DiskTierOptions options;
  options.directory = dir.path();
  options.depth = 1;
  DiskTier tier(options, 8, block_bytes, block_tokens, 7);
  std::vector<Block> targets(200, Block(block_bytes));
  std::vector<DiskTier::Ticket> tickets;
  for (std::uint64_t i = 0; i < targets.size(); ++i) {
    tier.write(BlockId{static_cast<std::uint32_t>(i % 8)}, block_of(i));
    tickets.push_back(tier.start_read(BlockId{static_cast<std::uint32_t>(i % 8)}, targets[i]));
  }
  for (std::uint64_t i = 0; i < targets.size(); ++i) {
    ASSERT_TRUE(tier.wait(tickets[i]));
    ASSERT_EQ(targets[i], block_of(i));
  }
}

/// Flips one bit of a file.
void flip(const fs::path& file, std::uint64_t byte, int bit = 0) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  f.seekg(static_cast<std::streamoff>(byte));
  const int c = f.get();
  f.seekp(static_cast<std::streamoff>(byte));
  f.put(static_cast<char>(c ^ (1 << bit)));
}

// Every byte of the data file, one at a time: the block it belongs to is gone, the other is not.
TEST(DiskTier, NoticesAFlippedBitInEveryByteOfTheDataFile) {
  const TempDir dir;
  fill(dir.path(), 2);
  Bench b(dir.path());
  const std::string file = b.tier->data_file();
  const auto size = fs::file_size(file);
  ASSERT_EQ(size, 2 * DiskTier::page);
  for (std::uint64_t byte = 0; byte < size; ++byte) {
    const auto hit = static_cast<std::uint32_t>(byte / DiskTier::page);
    flip(file, byte, static_cast<int>(byte % 8));
    ASSERT_TRUE(b.get(hit).empty()) << "byte " << byte;
    ASSERT_EQ(b.tier->counters().read_faults, static_cast<std::int64_t>(byte) + 1);
    b.put(hit, hit + 1, hit);
    b.tier->flush();
    if (byte % 64 == 0) {
      ASSERT_EQ(b.get(1 - hit), block_of(2 - hit)) << "byte " << byte;
    }
  }
  EXPECT_NE(only_warning(b).find(file), std::string::npos);
}

TEST(DiskTier, TheNextProcessNoticesAFlippedBitInTheDataFile) {
  const TempDir dir;
  for (std::uint64_t byte = 0; byte < 2 * DiskTier::page; byte += 331) {
    fs::remove_all(dir.path());
    fill(dir.path(), 2);
    const std::string file = Bench(dir.path()).tier->data_file();
    flip(file, byte, static_cast<int>(byte % 8));
    Bench b(dir.path());
    const auto hit = static_cast<std::uint32_t>(byte / DiskTier::page);
    ASSERT_TRUE(b.get(hit).empty()) << "byte " << byte;
    ASSERT_EQ(b.get(1 - hit), block_of(2 - hit)) << "byte " << byte;
    ASSERT_NE(only_warning(b).find(file), std::string::npos);
  }
}

// Every byte of the manifest: nothing is read as something else, and something is said.
TEST(DiskTier, NoticesAFlippedBitInEveryByteOfTheManifest) {
  const TempDir dir;
  fill(dir.path(), 3);
  const std::string file = Bench(dir.path()).tier->manifest_file();
  const std::string sound = testing::read_file(file);
  for (std::size_t byte = 0; byte < sound.size(); ++byte) {
    std::string damaged = sound;
    damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << (byte % 8)));
    std::ofstream(file, std::ios::binary) << damaged;
    Bench b(dir.path());
    ASSERT_NE(only_warning(b).find(file), std::string::npos) << "byte " << byte;
    ASSERT_GE(b.tier->stored().size(), byte < 64 ? 0u : 2u);
    for (const StoredBlock& s : b.tier->stored()) {
      ASSERT_EQ(s.tokens, tokens_of(s.id)) << "byte " << byte;
      ASSERT_EQ(b.get(s.slot.value), block_of(s.id)) << "byte " << byte;
    }
  }
}

TEST(DiskTier, NoticesAManifestCutAtEveryLength) {
  const TempDir dir;
  fill(dir.path(), 3);
  const std::string file = Bench(dir.path()).tier->manifest_file();
  const std::string sound = testing::read_file(file);
  for (std::size_t size = 0; size < sound.size(); ++size) {
    std::ofstream(file, std::ios::binary) << sound.substr(0, size);
    Bench b(dir.path());
    ASSERT_NE(only_warning(b).find(file), std::string::npos) << "size " << size;
    for (const StoredBlock& s : b.tier->stored()) {
      ASSERT_EQ(b.get(s.slot.value), block_of(s.id));
    }
  }
}

TEST(DiskTier, NoticesAForeignManifestAndATruncatedDataFile) {
  const TempDir dir;
  fill(dir.path());
  const std::string file = Bench(dir.path()).tier->manifest_file();
  fs::path other;
  {
    Bench b(dir.path(), 8, 8);
    b.put(0, 50);
    other = b.tier->manifest_file();
  }
  const std::string data = Bench(dir.path()).tier->data_file();
  {
    fs::resize_file(data, 2 * DiskTier::page + 100);
    Bench b(dir.path());
    EXPECT_EQ(b.get(1), block_of(2));
    EXPECT_TRUE(b.get(2).empty());
    EXPECT_TRUE(b.get(5).empty());
    EXPECT_NE(only_warning(b).find(data), std::string::npos);
  }
  fs::copy_file(other, file, fs::copy_options::overwrite_existing);
  Bench b(dir.path());
  EXPECT_TRUE(b.tier->stored().empty());
  EXPECT_NE(only_warning(b).find(file), std::string::npos);
  EXPECT_TRUE(b.get(1).empty());
}

// Blocks of version 1 held whole numbers in another order: such a file is sound, and of no use.
TEST(DiskTier, RefusesAManifestOfAnotherVersion) {
  const TempDir dir;
  fill(dir.path());
  const std::string file = Bench(dir.path()).tier->manifest_file();
  const std::string sound = testing::read_file(file);
  for (const std::uint64_t version :
       {std::uint64_t{1}, disk::manifest::version, disk::manifest::version + 1}) {
    std::string other = sound;
    std::memcpy(other.data() + 8, &version, sizeof version);
    const std::uint64_t hash = hash_bytes(std::as_bytes(std::span(other)).first(56));
    std::memcpy(other.data() + 56, &hash, sizeof hash);  // so that only the version is wrong
    std::ofstream(file, std::ios::binary) << other;
    Bench b(dir.path());
    if (version == disk::manifest::version) {
      EXPECT_EQ(other, sound);
      EXPECT_EQ(b.tier->stored().size(), 6u);
      EXPECT_TRUE(b.warnings.empty());
      continue;
    }
    EXPECT_TRUE(b.tier->stored().empty()) << "version " << version;
    EXPECT_TRUE(b.get(0).empty()) << "version " << version;
    const std::string warning = only_warning(b);
    EXPECT_NE(warning.find(file), std::string::npos) << warning;
    EXPECT_NE(warning.find("was made for another model, format or version"), std::string::npos)
        << warning;
  }
}

TEST(DiskTier, NoticesBlocksOfAnotherTimeOrPlace) {
  const TempDir dir;
  fill(dir.path());
  const std::string data = Bench(dir.path()).tier->data_file();
  std::string bytes = testing::read_file(data);
  const std::string old = bytes;
  std::swap_ranges(bytes.begin(), bytes.begin() + DiskTier::page, bytes.begin() + DiskTier::page);
  std::ofstream(data, std::ios::binary) << bytes;
  Bench b(dir.path());
  EXPECT_TRUE(b.get(0).empty()) << "sound, but of another slot";
  EXPECT_TRUE(b.get(1).empty());
  b.put(2, 77);
  b.tier->flush();
  {
    std::fstream f(data, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(2 * static_cast<std::streamoff>(DiskTier::page));
    f.write(old.data() + 2 * DiskTier::page, DiskTier::page);
  }
  EXPECT_TRUE(b.get(2).empty()) << "sound, but of the text that was there before";
}

TEST(DiskTier, AFullDiskCostsTheBlocksThatWereToBeWritten) {
  const TempDir dir;
  Bench b(
      dir.path(), 8, 7, [](disk::Op op, std::string_view file, std::uint64_t offset, std::size_t) {
        disk::Fault f;
        if (op == disk::Op::write && file == "data" && offset >= 3 * DiskTier::page) {
          f = {disk::Fault::Kind::error, ENOSPC, 100};  // some bytes went through: a short write
        }
        return f;
      });
  for (std::uint32_t i = 0; i < 6; ++i) b.put(i, i + 1, i);
  for (std::uint32_t i = 0; i < 6; ++i) EXPECT_EQ(b.get(i).empty(), i >= 3);
  std::vector<BlockId> lost;
  b.tier->take_lost(lost);
  EXPECT_EQ(lost.size(), 3u);
  EXPECT_NE(only_warning(b).find(b.tier->data_file()), std::string::npos);
  EXPECT_NE(b.warnings[0].find("No space"), std::string::npos);
}

TEST(DiskTier, AFileSystemThatIsReallyFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const TempDir dir;
  std::string data;
  {
    Bench b(dir.path());
    data = b.tier->data_file();
  }
  fs::remove(data);
  fs::create_symlink("/dev/full", data);
  Bench b(dir.path());
  b.put(0, 1);
  EXPECT_TRUE(b.get(0).empty());
  EXPECT_EQ(b.tier->counters().write_faults, 1);
  EXPECT_NE(only_warning(b).find(data), std::string::npos);
}

TEST(DiskTier, ADirectoryThatCannotBeWrittenKeepsNothingAndSaysSo) {
  const fs::path sealed = "/sys/kernel/quire";  // not even root makes files there
  if (!fs::exists("/sys/kernel")) GTEST_SKIP() << "no /sys";
  Bench b(sealed);
  b.put(0, 1);
  EXPECT_TRUE(b.get(0).empty());
  EXPECT_NE(only_warning(b).find(sealed.string()), std::string::npos);
}

// What the data file suffers while a tier is at work, more than ten thousand times at
// QUIRE_FUZZ_SCALE=50: each fault is counted where it strikes, and what reads back is right or gone.
TEST(DiskTier, NoInjectedFaultIsSilent) {
  const std::int64_t worlds = testing::fuzz_count(std::int64_t{40});
  std::int64_t injected = 0;
  for (std::int64_t w = 0; w < worlds; ++w) {
    const TempDir dir;
    Rng rng(static_cast<std::uint64_t>(w) + 100);
    std::atomic<std::int64_t> seen{0};
    Rng dice(static_cast<std::uint64_t>(w) + 5000);  // the tier's own thread
    const auto fault = [&](disk::Op, std::string_view file, std::uint64_t, std::size_t bytes) {
      disk::Fault f;
      if (file != "data" || dice.below(4) != 0) return f;
      constexpr disk::Fault::Kind kinds[] = {disk::Fault::Kind::error, disk::Fault::Kind::tear,
                                             disk::Fault::Kind::flip};
      f.kind = kinds[dice.below(3)];
      f.error = dice.below(2) == 0 ? ENOSPC : EIO;
      // a torn write is one that lacks bytes which matter
      f.bytes = f.kind == disk::Fault::Kind::flip ? dice.below(bytes) : dice.below(block_bytes - 8);
      ++seen;
      return f;
    };
    std::map<std::uint32_t, std::uint64_t> model;
    {
      Bench b(dir.path(), 8, 7, fault, w % 2 == 0);
      std::int64_t gone = 0;
      for (int i = 0; i < 60; ++i) {
        const auto slot = static_cast<std::uint32_t>(rng.below(8));
        if (rng.below(2) == 0) {
          model[slot] = static_cast<std::uint64_t>(i) + 1;
          b.put(slot, model[slot]);
        } else if (model.contains(slot)) {
          const Block got = b.get(slot);
          if (got.empty()) {
            ++gone;
            model.erase(slot);
          } else {
            ASSERT_EQ(got, block_of(model[slot])) << "world " << w << " operation " << i;
          }
        }
      }
      b.tier->flush();
      ASSERT_LE(b.warnings.size(), 3u);  // one a kind: write, read, checksum
      ASSERT_EQ(gone > 0 || b.tier->counters().write_faults > 0, !b.warnings.empty());
    }
    injected += seen;
    // whoever comes next finds the same or less
    Bench next(dir.path());
    for (const StoredBlock& s : next.tier->stored()) {
      const Block got = next.get(s.slot.value);
      if (!got.empty()) {
        ASSERT_EQ(got, block_of(s.id)) << "world " << w;
      }
    }
  }
  EXPECT_GT(injected, 5 * worlds);
}

TEST(DiskTier, SurvivesAProcessKilledInTheMiddleOfWriteBack) {
  for (int round = 0; round < 12; ++round) {
    const TempDir dir;
    fill(dir.path());
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {  // overwrites slots from the third on until it is killed
      Bench b(dir.path(), 8, 7, {}, round % 2 == 0);
      for (std::uint64_t id = 100;; ++id) b.put(static_cast<std::uint32_t>(3 + id % 5), id);
    }
    ::usleep(static_cast<useconds_t>(20000 + 3000 * round));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    Bench b(dir.path());
    std::size_t sound = 0;
    for (const StoredBlock& s : b.tier->stored()) {
      EXPECT_EQ(s.tokens, tokens_of(s.id));
      const Block got = b.get(s.slot.value);
      if (got.empty()) continue;  // its slot was being overwritten
      EXPECT_EQ(got, block_of(s.id));
      ++sound;
    }
    EXPECT_NE(only_warning(b).find(b.tier->manifest_file()), std::string::npos);
    EXPECT_GE(sound, 3u);
  }
}

// Many threads of callers are not a promise; reads, writes and waits beside the tier's own thread are.
TEST(DiskTier, ServesWhileItsCallerWorks) {
  const TempDir dir;
  Bench b(dir.path(), 64, 7, {}, false);
  std::vector<Block> targets(64, Block(block_bytes));
  for (std::uint64_t round = 1; round <= 20; ++round) {
    for (std::uint32_t s = 0; s < 64; ++s) b.put(s, round * 100 + s);
    std::vector<DiskTier::Ticket> tickets;
    for (std::uint32_t s = 0; s < 64; ++s) {
      tickets.push_back(b.tier->start_read(BlockId{s}, targets[s]));
    }
    for (std::uint32_t s = 0; s < 64; ++s) {
      ASSERT_TRUE(b.tier->wait(tickets[s]));
      ASSERT_EQ(targets[s], block_of(round * 100 + s));
    }
  }
}

}  // namespace
}  // namespace quire::memory_test
