// Engines that keep the order of who waits decide as engines that sort it in every step.
#include <cmath>
#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

#include <quire/model/known_shapes.hpp>
#include <quire/offload/host_cache.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
#include <quire/scheduler/longest_prefix.hpp>
#include <quire/scheduler/mlfq.hpp>
#include <quire/scheduler/qoe.hpp>
#include <quire/scheduler/vtc.hpp>

#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

/// The same ranks, of which nothing is promised.
template <class Scheduler>
struct Unpromised : Scheduler {
  using Scheduler::Scheduler;
  [[nodiscard]] double rank(const SequenceGroup& group, Seconds now) const {
    return Scheduler::rank(group, now);
  }
};

/// What members that may be left out are taken for: their values, not their being there, and whether or not
/// they may throw.
struct Indifferent : scheduler::LongestPrefix {
  using LongestPrefix::LongestPrefix;
  static constexpr bool wants_cached_prefix = false;
};
static_assert(wants_cached_prefix<scheduler::LongestPrefix> && !wants_cached_prefix<Indifferent> &&
              !wants_cached_prefix<scheduler::Mlfq>);
struct Standing : scheduler::ArrivalOrder {
  using ArrivalOrder::ArrivalOrder;
  [[nodiscard]] double rank(const SequenceGroup&, Seconds) const noexcept { return 0; }
  void charge(SchedulerEvent, const SequenceGroup&, Tokens) noexcept {}
  [[nodiscard]] Seconds stands_until(const SequenceGroup&, const SequenceGroup&,
                                     Seconds now) const noexcept {
    return now;
  }
};
static_assert(says_how_long_order_stands<Standing> &&
              !says_how_long_order_stands<Unpromised<Standing>>);

/// Its engine; where cached prefixes count, over an index that finds parts of blocks too, and with a host
/// tier that keeps what is evicted, if there is one.
template <class Scheduler>
struct System : Under<Scheduler> {};
template <class Scheduler>
requires(wants_cached_prefix<Scheduler>) struct System<Scheduler>
    : with<Under<Scheduler, offload::HostCache>, set_prefix_index<prefix_index::TokenRadixTree>> {
};

/// Hash of all decisions over a workload, on a device whose steps take as long as a real one's.
template <class Scheduler>
std::uint64_t decisions(const workload::Workload& w, std::int64_t seats, std::int64_t blocks,
                        bool has_host) {
  executor::Simulated::Options o{.model = model::opt_125m, .hardware = hardware::a10g};
  o.limits.max_sequences = seats;
  o.memory.kv_bytes = blocks * 16 * (2 * 12 * 768 * 2);  // of fp16
  o.memory.host_bytes = has_host ? o.memory.kv_bytes : 0;
  Engine<System<Scheduler>, executor::Simulated> engine(o);
  return replay(engine, w).decision_hash;
}

template <class Scheduler>
class KeptOrder : public ::testing::Test {};
using Kept =
    ::testing::Types<scheduler::Qoe, scheduler::Mlfq, scheduler::Vtc, scheduler::LongestPrefix>;
TYPED_TEST_SUITE(KeptOrder, Kept);

TYPED_TEST(KeptOrder, DecidesAsIfSortedInEveryStep) {
  ASSERT_TRUE(says_how_long_order_stands<TypeParam> || ranks_clients<TypeParam>);
  ASSERT_FALSE(says_how_long_order_stands<Unpromised<TypeParam>> ||
               ranks_clients<Unpromised<TypeParam>>);
  const auto workloads = static_cast<std::uint64_t>(quire::testing::fuzz_count(40));
  for (std::uint64_t seed = 0; seed < workloads; ++seed) {
    Rng rng(seed);
    const double rate = 5 * std::exp(rng.uniform() * 4);
    // requests that come together and are alike: what they are ranked by differs in the last bit, if at all
    const bool alike = seed % 2 == 0;
    workload::Workload w;
    w.name = "random";
    double at = 0;
    for (int i = 0; i < 300; ++i) {
      Request r;
      if (!alike || i % 60 == 0) at += rng.exponential((alike ? 60 : 1) / rate);
      r.arrival = at;
      const std::uint64_t longest = alike ? 8 : rng.below(4) == 0 ? 800 : 60;
      r.prompt_length = 1 + static_cast<std::int64_t>(rng.below(longest));
      r.output_length = 1 + static_cast<std::int64_t>(rng.below(rng.below(4) == 0 ? 400 : 30));
      r.sampling.n = alike && rng.below(4) == 0 ? 4 : 1;
      r.tenant = TenantId{static_cast<std::uint32_t>(rng.below(9))};
      for (std::int64_t t = 0; t < r.prompt_length.value; ++t) {  // clients' texts begin alike
        const bool shared = t < 10 * r.tenant.value;
        r.prompt.push_back(shared ? 9 + r.tenant.value : static_cast<TokenId>(rng.below(2)));
      }
      w.requests.push_back(std::move(r));
    }
    const auto seats = static_cast<std::int64_t>(4 + rng.below(30));
    const auto blocks = static_cast<std::int64_t>(110 + rng.below(200));
    const bool has_host = seed % 4 > 1;
    ASSERT_EQ(decisions<TypeParam>(w, seats, blocks, has_host),
              decisions<Unpromised<TypeParam>>(w, seats, blocks, has_host))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace quire::scheduler_test
