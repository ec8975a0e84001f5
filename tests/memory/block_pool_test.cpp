#include <quire/memory/block_pool.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include <quire/admission/tiny_lfu.hpp>
#include <quire/core/rng.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/none.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/memory/stranger.hpp"

namespace quire::memory_test {
namespace {

using Text = std::vector<TokenId>;

/// The pool's rules over plain vectors: counts, texts, and an order of last use or of insertion.
struct NaivePool {
  struct Block {
    int references = 0;
    bool indexed = false;
    Text text;  // from the beginning, when indexed
    std::uint64_t salt = 0;
    std::uint64_t used = 0;
  };
  std::vector<Block> blocks;
  std::size_t block_tokens;
  bool access_counts;  // lru, not fifo
  std::uint64_t clock = 0;

  [[nodiscard]] std::int64_t count(auto&& what) const {
    return std::count_if(blocks.begin(), blocks.end(), what);
  }
  [[nodiscard]] std::int64_t referenced() const {
    return count([](const Block& b) { return b.references > 0; });
  }
  [[nodiscard]] std::int64_t cached() const {
    return count([](const Block& b) { return b.references == 0 && b.indexed; });
  }
  [[nodiscard]] bool is_parent(const Block& b) const {
    return std::any_of(blocks.begin(), blocks.end(), [&](const Block& c) {
      return c.indexed && c.salt == b.salt && c.text.size() == b.text.size() + block_tokens &&
             std::equal(b.text.begin(), b.text.end(), c.text.begin());
    });
  }
  [[nodiscard]] std::optional<std::uint32_t> victim() const {
    std::optional<std::uint32_t> best;
    for (std::uint32_t i = 0; i < blocks.size(); ++i) {
      const Block& b = blocks[i];
      if (!b.indexed || b.references > 0 || is_parent(b)) continue;
      if (!best || b.used < blocks[*best].used) best = i;
    }
    return best;
  }
  [[nodiscard]] std::optional<std::uint32_t> find(const Text& text, std::uint64_t salt) const {
    for (std::uint32_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].indexed && blocks[i].text == text && blocks[i].salt == salt) return i;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::vector<BlockId> match(const Text& text, std::uint64_t salt) const {
    std::vector<BlockId> found;
    for (std::size_t n = block_tokens; n <= text.size(); n += block_tokens) {
      const auto at = find(Text(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(n)), salt);
      if (!at) break;
      found.push_back(BlockId{*at});
    }
    return found;
  }
};

struct Reader {  // a sequence: a text, the blocks that hold it, how many of them are published
  Text text;
  std::uint64_t salt = 0;
  std::vector<BlockId> table;
  std::size_t published = 0;
};

template <class Eviction>
void agree_with_naive_pool(std::uint64_t seed, int steps) {
  Rng rng(seed);
  const std::size_t block_tokens = 1 + rng.below(3);
  const auto capacity = static_cast<std::int64_t>(1 + rng.below(24));
  BlockPool<Eviction, prefix_index::HashChain> pool(capacity,
                                                    static_cast<std::int64_t>(block_tokens));
  NaivePool naive{std::vector<NaivePool::Block>(static_cast<std::size_t>(capacity)), block_tokens,
                  std::is_same_v<Eviction, eviction::Lru>};
  std::vector<Reader> readers;
  std::vector<BlockId> evicted, expected_evicted;

  auto allocate = [&]() -> std::optional<BlockId> {
    const std::int64_t free = capacity - naive.referenced() - naive.cached();
    const auto victim = naive.victim();
    const auto got = pool.allocate();
    if (free == 0 && !victim) {
      EXPECT_FALSE(got.has_value());
      return std::nullopt;
    }
    EXPECT_TRUE(got.has_value());
    if (free == 0) {
      EXPECT_EQ(got->value, *victim);
      naive.blocks[*victim] = {};
      expected_evicted.push_back(BlockId{*victim});
    }
    EXPECT_EQ(naive.blocks[got->value].references, 0);
    EXPECT_FALSE(naive.blocks[got->value].indexed) << "a cached block was handed out";
    naive.blocks[got->value].references = 1;
    return got;
  };
  auto touch = [&](BlockId b) {
    pool.touch(b, {});
    if (naive.access_counts) naive.blocks[b.value].used = ++naive.clock;
  };
  auto leave = [&](std::size_t i) {
    for (std::size_t b = readers[i].table.size(); b-- > 0;) {
      pool.release(readers[i].table[b]);
      --naive.blocks[readers[i].table[b].value].references;
    }
    readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(i));
  };

  for (int step = 0; step < steps; ++step) {
    const std::uint64_t what = rng.below(10);
    const std::size_t i = readers.empty() ? 0 : rng.below(readers.size());
    if (what < 2 || readers.empty()) {  // a new text, over a small alphabet
      Reader r;
      r.salt = rng.below(2);
      r.text.resize(block_tokens * rng.below(6));
      for (TokenId& t : r.text) t = static_cast<TokenId>(rng.below(2));
      std::vector<BlockId> found;
      pool.match(r.text, r.salt, found);
      ASSERT_EQ(found, naive.match(r.text, r.salt)) << "seed " << seed << " step " << step;
      for (const BlockId b : found) {
        pool.acquire(b);
        ++naive.blocks[b.value].references;
        r.table.push_back(b);
      }
      for (const BlockId b : found) touch(b);
      r.published = found.size();
      readers.push_back(std::move(r));
      while (readers.back().table.size() * block_tokens < readers.back().text.size()) {
        const auto b = allocate();
        if (!b) break;
        readers.back().table.push_back(*b);
      }
    } else if (what < 4) {  // one more block of text
      if (const auto b = allocate()) {
        Reader& r = readers[i];
        r.table.push_back(*b);
        while (r.text.size() < r.table.size() * block_tokens) {
          r.text.push_back(static_cast<TokenId>(rng.below(2)));
        }
      }
    } else if (what < 7) {  // the next block has been computed
      Reader& r = readers[i];
      if (r.published < r.table.size() && r.text.size() >= (r.published + 1) * block_tokens) {
        const std::size_t b = r.published;
        const Text text(r.text.begin(),
                        r.text.begin() + static_cast<std::ptrdiff_t>((b + 1) * block_tokens));
        std::optional<BlockId> parent;
        if (b > 0) parent = r.table[b - 1];
        const bool known = naive.find(text, r.salt).has_value();
        const std::span<const TokenId> own(text.data() + b * block_tokens, block_tokens);
        ASSERT_EQ(pool.publish(r.table[b], parent, own, r.salt, {}), !known);
        if (known) {  // take over the block that is known
          // and so do forks: who holds a block holds all before it
          const BlockId other = BlockId{*naive.find(text, r.salt)}, old = r.table[b];
          for (Reader& holder : readers) {
            if (b >= holder.table.size() || holder.table[b] != old) continue;
            pool.acquire(other);
            pool.release(old);
            ++naive.blocks[other.value].references;
            --naive.blocks[old.value].references;
            holder.table[b] = other;
          }
        } else {
          NaivePool::Block& n = naive.blocks[r.table[b].value];
          n.indexed = true;
          n.text = text;
          n.salt = r.salt;
          n.used = ++naive.clock;
        }
        ++r.published;
      }
    } else if (what < 8 && readers.size() < 12) {  // a fork
      for (const BlockId b : readers[i].table) {
        pool.acquire(b);
        ++naive.blocks[b.value].references;
      }
      readers.push_back(Reader(readers[i]));
    } else {
      leave(i);
    }
    ASSERT_EQ(pool.referenced().value, naive.referenced());
    ASSERT_EQ(pool.cached().value, naive.cached());
    ASSERT_EQ(pool.available().value, capacity - naive.referenced());
    for (std::uint32_t b = 0; b < naive.blocks.size(); ++b) {
      ASSERT_EQ(pool.references(BlockId{b}), naive.blocks[b].references);
      ASSERT_EQ(pool.indexed(BlockId{b}), naive.blocks[b].indexed);
    }
    evicted.clear();
    pool.take_evicted(evicted);
    ASSERT_EQ(evicted, expected_evicted);
    expected_evicted.clear();
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " step " << step;
  }
  while (!readers.empty()) leave(0);
  EXPECT_EQ(pool.available().value, capacity);
}

TEST(BlockPool, EqualsANaivePoolWithLru) {
  for (std::int64_t seed = 0; seed < testing::fuzz_count(150); ++seed) {
    agree_with_naive_pool<eviction::Lru>(static_cast<std::uint64_t>(seed), 300);
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

TEST(BlockPool, EqualsANaivePoolWithFifo) {
  for (std::int64_t seed = 0; seed < testing::fuzz_count(150); ++seed) {
    agree_with_naive_pool<eviction::Fifo>(static_cast<std::uint64_t>(seed), 300);
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

TEST(BlockPool, WithoutAnIndexFreesAtOnceAndEvictsNothing) {
  BlockPool<eviction::Lru, prefix_index::None> pool(2, 16);
  const BlockId a = *pool.allocate();
  const BlockId b = *pool.allocate();
  EXPECT_NE(a, b);
  EXPECT_FALSE(pool.allocate().has_value());
  pool.release(a);
  EXPECT_EQ(pool.cached(), BlockCount{0});
  EXPECT_EQ(pool.allocate(), a);
  std::vector<BlockId> evicted;
  pool.take_evicted(evicted);
  EXPECT_TRUE(evicted.empty());
}

TEST(BlockPool, NotesWhatBecomesFreeWhenAsked) {
  BlockPool<eviction::Lru, prefix_index::HashChain> pool(2, 2);
  std::vector<BlockId> freed;
  const BlockId a = *pool.allocate(), b = *pool.allocate();
  pool.release(b);
  pool.take_freed(freed);
  EXPECT_TRUE(freed.empty());  // nobody asked
  pool.note_freed();
  ASSERT_EQ(pool.allocate(), b);
  ASSERT_TRUE(pool.publish(a, std::nullopt, Text{1, 2}, 0, {}));
  pool.acquire(b);
  pool.release(a);  // stays cached
  pool.release(b);  // one reference is left
  pool.take_freed(freed);
  EXPECT_TRUE(freed.empty());
  pool.release(b);
  ASSERT_EQ(pool.allocate(), b);
  ASSERT_EQ(pool.allocate(), a);  // evicted for it
  pool.take_freed(freed);
  EXPECT_EQ(freed, (std::vector<BlockId>{b, a}));
  pool.take_freed(freed);
  EXPECT_EQ(freed.size(), 2u);
}

TEST(BlockPool, HandsOutFreeBlocksInTheGivenOrder) {
  const std::vector<BlockId> order{BlockId{2}, BlockId{0}, BlockId{1}};
  BlockPool<eviction::Lru, prefix_index::None> pool(3, 4, order);
  for (const BlockId b : order) EXPECT_EQ(pool.allocate(), b);
}

/// A policy that remembers by content, as ghost lists do.
struct Recorder {
  static constexpr std::string_view name = "recorder";
  explicit Recorder(BlockCount n) : queue(n) {}
  void on_insert(BlockId b, const BlockContext& c) {
    queue.on_insert(b, c);
    contents.push_back(c.content);
  }
  void on_access(BlockId b, const BlockContext& c) {
    queue.on_access(b, c);
    contents.push_back(c.content);
  }
  void set_evictable(BlockId b, bool e) { queue.set_evictable(b, e); }
  void on_remove(BlockId b) { queue.on_remove(b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return queue.victim(); }
  eviction::Lru queue;
  std::vector<std::uint64_t> contents;
};

TEST(BlockPool, TellsThePolicyWhichTextIsInsertedAndUsed) {
  BlockPool<Recorder, prefix_index::HashChain> pool(2, 2);
  const BlockId a = *pool.allocate();
  const Text text{1, 2};
  ASSERT_TRUE(pool.publish(a, std::nullopt, text, 0, {}));
  pool.touch(a, {});
  ASSERT_EQ(pool.eviction().contents.size(), 2u);
  EXPECT_NE(pool.eviction().contents[0], 0u);
  EXPECT_EQ(pool.eviction().contents[1], pool.eviction().contents[0]);
}

/// Asks for a block while the policy answers `victim`.
template <class Pool>
void take_with(Pool& pool, std::optional<BlockId> victim) {
  Stranger::answer = victim;
  (void)pool.allocate();
}

TEST(BlockPool, RefusesAWrongAnswerOfAPolicy) {
  BlockPool<Stranger, prefix_index::HashChain> pool(2, 2);
  const BlockId used = *pool.allocate(), idle = *pool.allocate();
  ASSERT_TRUE(pool.publish(used, std::nullopt, Text{1, 2}, 0, {}));
  ASSERT_TRUE(pool.publish(idle, std::nullopt, Text{3, 4}, 0, {}));
  pool.release(idle);
  EXPECT_THROW(take_with(pool, std::nullopt), Error);
  EXPECT_THROW(take_with(pool, used), Error);
  EXPECT_THROW(take_with(pool, BlockId{2}), Error);
  EXPECT_THROW(take_with(pool, BlockId{1u << 31}), Error);
  Stranger::answer = idle;
  EXPECT_EQ(pool.allocate(), idle);
}

TEST(BlockPool, RefusesAWrongAnswerOfAPolicyWhereItIsComparedWith) {
  BlockPool<Stranger, prefix_index::HashChain, admission::TinyLfu> pool(1, 2);
  const BlockId used = *pool.allocate();
  Stranger::answer = BlockId{1u << 31};
  EXPECT_THROW(pool.admit(used, std::nullopt, Text{1, 2}, 0, {}), Error);
}

}  // namespace
}  // namespace quire::memory_test
