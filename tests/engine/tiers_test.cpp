// What an engine generates does not depend on tiers below the device: neither on what goes down and
// comes back, nor on what is prefetched, nor on what turns out to be lost.
#include <gtest/gtest.h>

#include <quire/eviction/sieve.hpp>
#include <quire/offload/offload.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/radix_tree.hpp>

#include "tests/engine/equivalence.hpp"

namespace quire::engine_test {
namespace {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Equivalence);

using TieredCached = with<Paged, set_prefix_index<prefix_index::HashChain>>;
template <class Policy>
using Over = with<TieredCached, set_offload<Policy>>;
using Sieving = with<Over<offload::Tiered>, set_eviction<eviction::Sieve>,
                     set_prefix_index<prefix_index::RadixTree>>;

/// Requests that come back with texts that others have used before.
std::vector<Request> returning(std::size_t count) {
  auto requests = mixed_requests(count);
  Rng rng(5);
  for (Request& r : requests) {
    std::vector<TokenId> head(static_cast<std::size_t>(8 + rng.below(24)));
    Rng text(rng.below(6));
    for (TokenId& t : head) t = static_cast<TokenId>(text.below(TinyModel::vocab));
    r.prompt.insert(r.prompt.begin(), head.begin(), head.end());
  }
  return requests;
}

template <class C>
void tiers_change_nothing() {
  const auto requests = returning(90);
  const Outputs expected = one_by_one(requests);
  for (const auto& [host, disk] : {std::pair{0, 9}, {4, 0}, {5, 12}, {60, 200}}) {
    for (const std::uint64_t fail : {0, 3}) {
      Scripted::Options options{.device_blocks = 60, .host_blocks = host, .disk_blocks = disk};
      options.fail_one_in = fail;
      std::vector<std::uint64_t> log[2];
      for (int again = 0; again < 2; ++again) {
        Engine<C, Scripted> e(options);
        for (const Request& r : requests) e.submit(r);
        const Outputs out = outputs_of(drain(e, [&] { log[again].push_back(e.decision_hash()); }));
        ASSERT_EQ(out, expected) << host << " host and " << disk << " disk slots, one in " << fail
                                 << " fetches fails";
        if constexpr (C::Offload::keeps_evicted) {
          const TierCounters& t = e.memory().tiers().counters();
          EXPECT_GT(t.demoted, 0);
          EXPECT_GT(t.host_fetched + t.disk_fetched, 0);
          if (host > 0 && disk > 0 && host < 60) {
            EXPECT_GT(t.spilled, 0);
          }
          EXPECT_EQ(e.counters().failed_fetches > 0, fail > 0);
        }
      }
      EXPECT_EQ(log[0], log[1]) << "decisions differ from run to run";
    }
  }
}

TEST(Tiers, TieredEqualsOneByOne) { tiers_change_nothing<Over<offload::Tiered>>(); }
TEST(Tiers, LookingAheadEqualsOneByOne) { tiers_change_nothing<Over<offload::AttentionStore>>(); }
TEST(Tiers, ChoosingByCostEqualsOneByOne) { tiers_change_nothing<Over<offload::CostBased>>(); }
TEST(Tiers, WithAnotherEvictionAndIndexEqualsOneByOne) { tiers_change_nothing<Sieving>(); }
TEST(Tiers, HostAloneEqualsOneByOne) {
  const auto requests = returning(60);
  Scripted::Options options{.device_blocks = 60, .host_blocks = 30};
  EXPECT_EQ((run<Over<offload::HostCache>>(options, requests)), one_by_one(requests));
}

}  // namespace
}  // namespace quire::engine_test
