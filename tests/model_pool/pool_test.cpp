#include <quire/model_pool/model_pool.hpp>

#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/eviction/eviction.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"

namespace quire::model_pool {
namespace {

using ::testing::HasSubstr;

std::vector<Bytes> some_sizes(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Bytes> out;
  out.reserve(n);
  for (std::size_t i = 0; i < n; ++i) out.push_back(static_cast<std::int64_t>(1 + rng.below(30)));
  return out;
}
std::string error_of(auto call, ErrorKind kind) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

/// Least recently used, of different sizes, in a list: against the pool with that policy.
TEST(ModelPool, DropsTheLeastRecentlyUsedUntilThereIsRoom) {
  const std::vector<Bytes> sizes = some_sizes(20, 1);
  const Bytes capacity = 80;
  ModelPool<eviction::Lru, Simulated> pool(capacity, Simulated(sizes, {.bytes_per_second = 10}));
  std::list<std::size_t> resident;  // the least recently used first
  Rng rng(2);
  Bytes started = 0;
  std::uint64_t hits = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::size_t model = rng.below(20) * rng.below(20) / 20;
    const auto at = std::find(resident.begin(), resident.end(), model);
    const bool hit = at != resident.end();
    std::size_t dropped = 0;
    if (hit) {
      resident.erase(at);
      ++hits;
    } else {
      const auto used = [&] {
        Bytes sum = 0;
        for (const std::size_t m : resident) sum += sizes[m];
        return sum;
      };
      for (; used() + sizes[model] > capacity; ++dropped) resident.pop_front();
      started += sizes[model];
    }
    resident.push_back(model);
    const auto got = pool.acquire(model);
    pool.release(model);
    ASSERT_EQ(got.hit, hit) << i;
    ASSERT_EQ(got.dropped, dropped) << i;
    EXPECT_NE(got.model, nullptr);
    EXPECT_DOUBLE_EQ(got.waited.value,
                     hit ? 0.0 : 0.5 + static_cast<double>(sizes[model].value) / 10);
    for (std::size_t m = 0; m < 20; ++m) {
      ASSERT_EQ(pool.resident(m), std::find(resident.begin(), resident.end(), m) != resident.end());
    }
  }
  EXPECT_EQ(pool.counts().hits, hits);
  EXPECT_GT(hits, 300u);
  EXPECT_EQ(pool.counts().requests, 3000u);
  EXPECT_EQ(pool.counts().started, started);
}

using Policies =
    type_list<eviction::Fifo, eviction::Lru, eviction::Mru, eviction::Clock, eviction::Sieve,
              eviction::Lfu, eviction::LfuDa, eviction::TwoQ, eviction::LruK, eviction::Arc,
              eviction::Slru, eviction::S3Fifo, eviction::WTinyLfu, eviction::Gdsf,
              eviction::Hyperbolic, eviction::RandomMarking, eviction::Belady>;

/// Whatever the policy: memory is never exceeded, what is in use or kept stays, and sums are right.
TEST(ModelPool, KeepsItsPromisesWithEveryPolicy) {
  for_each_type(Policies{}, []<class Eviction>() {
    SCOPED_TRACE(Eviction::name);
    const std::vector<Bytes> sizes = some_sizes(30, 3);
    const Bytes capacity = 120;
    ModelPool<Eviction, Simulated> pool(capacity, Simulated(sizes, {}));
    ASSERT_TRUE(pool.preload(7, true));
    Rng rng(4);
    std::vector<std::size_t> in_use;
    std::uint64_t refused = 0;
    for (int i = 0; i < 4000; ++i) {
      if (!in_use.empty() && (in_use.size() > 6 || rng.below(2) == 0)) {
        const std::size_t at = rng.below(in_use.size());
        pool.release(in_use[at]);
        in_use.erase(in_use.begin() + static_cast<std::ptrdiff_t>(at));
      } else {
        const std::size_t model = rng.below(30);
        try {
          const auto got = pool.acquire(model, rng.below(1000));
          in_use.push_back(model);
          ASSERT_NE(got.model, nullptr);
        } catch (const Error& error) {
          ASSERT_EQ(error.kind(), ErrorKind::state);
          ++refused;
        }
      }
      Bytes sum = 0;
      for (std::size_t m = 0; m < 30; ++m) sum += pool.resident(m) ? sizes[m] : Bytes{0};
      ASSERT_EQ(pool.used(), sum);
      ASSERT_LE(sum, capacity);
      ASSERT_TRUE(pool.resident(7));
      for (const std::size_t m : in_use) ASSERT_TRUE(pool.resident(m)) << m;
    }
    const auto& c = pool.counts();
    EXPECT_EQ(c.starts, c.requests - c.hits + 1);  // and the one before
    EXPECT_GT(c.hits, 100u);
    EXPECT_GT(c.dropped, 100u);
    EXPECT_LT(refused, 1000u);
  });
}

TEST(ModelPool, SaysWhatDoesNotFit) {
  using Pool = ModelPool<eviction::Lru, Simulated>;
  Pool pool(10, Simulated({4, 5, 7, 11}, {}));
  EXPECT_EQ(error_of([&] { (void)pool.acquire(3); }, ErrorKind::usage),
            "model pool: \"model 3\" has 11 bytes; expected at most 10, the pool's memory");
  (void)pool.acquire(0);
  (void)pool.acquire(1);
  EXPECT_EQ(error_of([&] { (void)pool.acquire(2); }, ErrorKind::state),
            "model pool: \"model 2\" has 7 bytes, and models in use hold 9 of 10; expected one of "
            "them to be released");
  EXPECT_TRUE(pool.resident(0) && pool.resident(1));
  EXPECT_EQ(pool.counts().requests, 2u);
  EXPECT_FALSE(pool.preload(2));
  pool.release(0);
  pool.release(1);
  EXPECT_FALSE(pool.preload(2)) << "nothing makes room for what nobody asks";
  EXPECT_EQ(pool.acquire(2).dropped, 2u);
  EXPECT_EQ(error_of([] { Pool none(0, Simulated({1}, {})); }, ErrorKind::usage),
            "model pool: has no memory; expected some");
}

/// A policy that weighs cost by size is told both; one that knows the future is told that.
TEST(ModelPool, TellsThePolicyWhatItKnows) {
  // one large model asked as often as each of many small ones: GDSF gives up the large one
  ModelPool<eviction::Gdsf, Simulated> sized(20, Simulated({15, 3, 3, 3}, {.setup = 1.0}));
  for (const std::size_t m : {0, 1, 2}) {
    (void)sized.acquire(m);
    sized.release(m);
  }
  EXPECT_FALSE(sized.resident(0));
  EXPECT_TRUE(sized.resident(1) && sized.resident(2));
  ModelPool<eviction::Belady, Simulated> clairvoyant(2, Simulated({1, 1, 1}, {}));
  const std::pair<std::size_t, std::uint64_t> uses[] = {{0, 10}, {1, 3}, {2, 4}};
  for (const auto& [m, next] : uses) {
    (void)clairvoyant.acquire(m, next);
    clairvoyant.release(m);
  }
  EXPECT_FALSE(clairvoyant.resident(0)) << "is asked for last";
}

/// Checkpoints of files, read for good: in memory only while the pool, or a copy, has them.
TEST(ModelPool, LoadsModelsFromFiles) {
  const std::string golden = QUIRE_SOURCE_DIR "/tests/golden/models/";
  const std::vector<std::string> paths = {golden + "llama", golden + "qwen2", golden + "mixtral"};
  for (const char* loader : {"direct", "buffered", "mapped"}) {
    Images images(paths, checkpoint::file_loader_named(loader));
    EXPECT_EQ(images.name(1), paths[1]);
    const Bytes capacity = std::max({images.bytes(0) + images.bytes(1), images.bytes(2)});
    ModelPool<eviction::Lru, Images> pool(capacity, images);
    const auto first = pool.acquire(0);
    EXPECT_FALSE(first.hit);
    EXPECT_GT(first.waited, Seconds{0});
    const checkpoint::Checkpoint kept = *first.model;
    pool.release(0);
    EXPECT_TRUE(pool.acquire(0).hit);
    pool.release(0);
    EXPECT_GE(pool.acquire(2).dropped, 1u);
    EXPECT_FALSE(pool.resident(0));
    const checkpoint::Checkpoint again = quire::testing::opened(paths[0]);
    for (const checkpoint::TensorView& t : again.tensors.all()) {
      const checkpoint::TensorView& mine = kept.tensors.at(t.name);
      EXPECT_TRUE(std::equal(t.bytes.begin(), t.bytes.end(), mine.bytes.begin(), mine.bytes.end()));
    }
  }
}

/// The same requests meet the same models in memory, whether these are files or sizes.
TEST(ModelPool, FilesAndSizesDecideAlike) {
  const std::string golden = QUIRE_SOURCE_DIR "/tests/golden/models/";
  std::vector<std::string> paths;
  for (const char* name : {"llama", "qwen2", "mixtral", "opt", "gpt2", "qwen3"}) {
    paths.push_back(golden + name);
  }
  const Images images(paths, checkpoint::file_loader_named("direct"));
  std::vector<Bytes> sizes;
  Bytes all = 0;
  for (std::size_t i = 0; i < images.count(); ++i) {
    sizes.push_back(images.bytes(i));
    all += images.bytes(i);
  }
  for_each_type(type_list<eviction::Lru, eviction::Lfu, eviction::S3Fifo>{}, [&]<class Eviction>() {
    ModelPool<Eviction, Images> real(all / 2, images);
    ModelPool<Eviction, Simulated> simulated(all / 2, Simulated(sizes, {}));
    Rng rng(5);
    for (int i = 0; i < 200; ++i) {
      const std::size_t model = std::min(rng.below(6), rng.below(6));
      const auto a = real.acquire(model);
      const auto b = simulated.acquire(model);
      ASSERT_EQ(a.hit, b.hit) << Eviction::name << i;
      ASSERT_EQ(a.dropped, b.dropped);
      real.release(model);
      simulated.release(model);
    }
    EXPECT_GT(real.counts().dropped, 10u);
  });
}

/// What cannot be loaded leaves the pool as it was.
TEST(ModelPool, AModelThatCannotBeReadIsSaidAndLeavesNoHole) {
  const quire::testing::TempDir folder;
  const std::string golden = QUIRE_SOURCE_DIR "/tests/golden/models/";
  const std::string broken = folder.path() / "broken";
  std::filesystem::copy(golden + "llama", broken);
  Images images({golden + "qwen2", broken}, checkpoint::file_loader_named("direct"));
  ModelPool<eviction::Lru, Images> pool(images.bytes(0) + images.bytes(1), images);
  (void)pool.acquire(0);
  pool.release(0);
  std::filesystem::resize_file(broken + "/model.safetensors", 100);
  EXPECT_THAT(error_of([&] { (void)pool.acquire(1); }, ErrorKind::data),
              HasSubstr(broken + "/model.safetensors"));
  EXPECT_FALSE(pool.resident(1));
  EXPECT_EQ(pool.used(), images.bytes(0));
  EXPECT_TRUE(pool.acquire(0).hit);
}

}  // namespace
}  // namespace quire::model_pool
