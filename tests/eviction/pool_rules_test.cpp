// The rules of the pool hold with every policy: no block in use is given up, no block goes before
// those that continue it, and what is found holds the text that was asked for.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include <quire/memory/block_pool.hpp>
#include <quire/prefix_index/hash_chain.hpp>

#include "tests/eviction/conformance.hpp"

namespace quire::eviction_test {
namespace {

using Text = std::vector<TokenId>;

bool continues(const Text& longer, const Text& text) {
  return longer.size() > text.size() && std::equal(text.begin(), text.end(), longer.begin());
}

template <class Policy>
void the_pool_keeps_its_rules(std::uint64_t seed) {
  constexpr std::size_t block_tokens = 2;
  Rng rng(seed);
  const auto capacity = static_cast<std::int64_t>(1 + rng.below(24));
  BlockPool<Policy, prefix_index::HashChain> pool(BlockCount{capacity}, Tokens{block_tokens});
  std::map<std::uint32_t, Text> cached;  // text up to the end of each findable block
  std::vector<std::vector<BlockId>> running;
  std::vector<BlockId> evicted;
  const auto in_use = [&](BlockId b) {
    return std::any_of(running.begin(), running.end(), [b](const auto& blocks) {
      return std::find(blocks.begin(), blocks.end(), b) != blocks.end();
    });
  };

  for (int step = 0; step < 150; ++step) {
    if (running.empty() || rng.below(2) == 0) {
      Text text(block_tokens * (1 + rng.below(6)));
      for (TokenId& t : text) t = static_cast<TokenId>(rng.below(2));
      running.emplace_back();
      std::vector<BlockId>& blocks = running.back();
      pool.match(text, 0, blocks);
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        ASSERT_EQ(cached.at(blocks[i].value),
                  Text(text.begin(), text.begin() + static_cast<long>((i + 1) * block_tokens)));
        pool.acquire(blocks[i]);
        pool.touch(blocks[i], {.position = static_cast<std::int64_t>(i * block_tokens)});
      }
      bool published = true;
      for (std::size_t i = blocks.size(); i < text.size() / block_tokens; ++i) {
        const std::optional<BlockId> fresh = pool.allocate();
        evicted.clear();
        pool.take_evicted(evicted);
        for (const BlockId gone : evicted) {
          ASSERT_FALSE(in_use(gone)) << "given up while in use";
          const Text lost = cached.at(gone.value);
          cached.erase(gone.value);
          for (const auto& [other, its] : cached) {
            ASSERT_FALSE(continues(its, lost)) << other << " continues " << gone.value;
          }
        }
        if (!fresh) break;
        ASSERT_FALSE(in_use(*fresh));
        const std::optional<BlockId> parent =
            blocks.empty() ? std::nullopt : std::optional(blocks.back());
        blocks.push_back(*fresh);
        const auto own = std::span<const TokenId>(text).subspan(i * block_tokens, block_tokens);
        published =
            published && pool.publish(*fresh, parent, own, 0,
                                      {.position = static_cast<std::int64_t>(i * block_tokens)});
        if (!published) continue;
        cached[fresh->value] =
            Text(text.begin(), text.begin() + static_cast<long>((i + 1) * block_tokens));
      }
    } else {
      const std::size_t ends = rng.below(running.size());
      const std::vector<BlockId> blocks = running[ends];
      running.erase(running.begin() + static_cast<long>(ends));
      for (std::size_t i = blocks.size(); i-- > 0;) pool.release(blocks[i]);
    }
    std::int64_t referenced = 0;
    for (std::uint32_t b = 0; b < capacity; ++b) referenced += in_use(BlockId{b}) ? 1 : 0;
    ASSERT_EQ(pool.available(), BlockCount{capacity - referenced});
  }
}

template <class Policy>
class PoolRules : public ::testing::Test {};
using Policies = as_gtest_types<all_policies>::type;
TYPED_TEST_SUITE(PoolRules, Policies);

TYPED_TEST(PoolRules, HoldWithEveryPolicy) {
  for (int seed = 0; seed < trace_count(100); ++seed) {
    the_pool_keeps_its_rules<TypeParam>(static_cast<std::uint64_t>(seed));
    if (this->HasFatalFailure()) FAIL() << "seed " << seed << ", policy " << TypeParam::name;
  }
}

}  // namespace
}  // namespace quire::eviction_test
