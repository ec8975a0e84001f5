#include "tests/scheduler/conformance.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <quire/engine/wait_queue.hpp>

#include "tests/common/fuzz.hpp"

namespace quire::scheduler_test {
namespace {

template <class Policy>
class SchedulerConformance : public ::testing::Test {};
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Policies = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Policies = as_gtest_types<all_policies>::type;
#endif
TYPED_TEST_SUITE(SchedulerConformance, Policies);

TYPED_TEST(SchedulerConformance, AllotsNoMoreThanRemainsAndSomethingToAnEmptyBatch) {
  Rng rng(1);
  for (int i = 0; i < 20000; ++i) {
    const TypeParam scheduler(random_limits(rng));
    BatchState state = idle_state(rng);
    state.batched_tokens = static_cast<std::int64_t>(rng.below(5000));
    const Tokens remaining = 1 + static_cast<std::int64_t>(rng.below(5000));
    const Tokens given = scheduler.allot(state, remaining);
    ASSERT_GE(given, Tokens{0});
    ASSERT_LE(given, remaining);
    state.batched_tokens = 0;
    ASSERT_GT(scheduler.allot(state, remaining), Tokens{0});
  }
}

TYPED_TEST(SchedulerConformance, NeverLeavesAnIdleEngineIdleForGood) {
  Rng rng(2);
  for (int i = 0; i < 20000; ++i) {
    const TypeParam scheduler(random_limits(rng));
    BatchState state = idle_state(rng);
    const SequenceGroup waiting =
        group(1 + static_cast<std::int64_t>(rng.below(3000)),
              1 + static_cast<std::int32_t>(rng.below(8)), state.oldest_arrival);
    if (scheduler.admit(state, waiting) == Admission::admit) continue;
    const std::optional<Seconds> wake = scheduler.wake_at(state);
    ASSERT_TRUE(wake.has_value());
    ASSERT_GT(*wake, state.now);
    state.now = *wake;
    ASSERT_EQ(scheduler.admit(state, waiting), Admission::admit);
  }
}

TYPED_TEST(SchedulerConformance, HoldsWhenItsBatchIsFull) {
  Rng rng(3);
  for (int i = 0; i < 20000; ++i) {
    const SchedulerLimits limits = random_limits(rng);
    const TypeParam scheduler(limits);
    BatchState state = idle_state(rng);
    state.now = state.oldest_arrival + Seconds{1000.0};
    const bool by_request = TypeParam::drains;
    state.idle = by_request && rng.below(2) == 0;
    state.running_sequences = limits.max_sequences;
    state.running_groups = std::max(limits.max_batch, limits.max_sequences);
    state.admitted_groups = by_request && state.idle ? limits.max_batch : 0;
    ASSERT_EQ(scheduler.admit(state, group(10)), Admission::hold);
  }
}

TYPED_TEST(SchedulerConformance, RanksAreNumbers) {
  const TypeParam scheduler(SchedulerLimits{});
  const double rank = scheduler.rank(group(10), 5.0);
  EXPECT_EQ(rank, rank);
  if (!TypeParam::dynamic_rank) {
    EXPECT_EQ(rank, scheduler.rank(group(10), 500.0))
        << "the rank changes with time: the policy needs `static constexpr bool dynamic_rank = "
           "true`";
  }
}

/// A scheduler, the groups that it knows, and the queue of those that wait, sorted anew to compare with.
template <class Policy>
class Queues {
 public:
  explicit Queues(std::uint64_t seed) : rng_(seed) {}

  void live(int steps) {
    const auto pace = std::uint64_t{1} << rng_.below(12);  // steps a second
    alike_ = rng_.below(2) == 0;
    for (int step = 0; step < steps; ++step) {
      now_ += Seconds{rng_.uniform() * 2 / static_cast<double>(pace)};
      if (alike_ && waiting_.size() < 20) {
        for (int i = 0; i < 12; ++i) arrive();
      }
      while (rng_.below(3) == 0) arrive();
      generate();
      plan();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  std::uint64_t up_to(std::uint64_t n) { return rng_.below(n); }
  WaitOrder order() const {
    WaitOrder order{.plane = this, .now = now_};
    order.rank = [](const void* self, const SequenceGroup& g) {
      const auto& queues = *static_cast<const Queues*>(self);
      return queues.policy_.rank(g, queues.now_);
    };
    if constexpr (says_how_long_order_stands<Policy>) {
      order.stands_until = [](const void* self, const SequenceGroup& a, const SequenceGroup& b) {
        const auto& queues = *static_cast<const Queues*>(self);
        return queues.policy_.stands_until(a, b, queues.now_);
      };
    }
    return order;
  }
  void charge(SchedulerEvent event, const SequenceGroup& g, Tokens tokens) {
    policy_.charge(event, g, tokens);
    if (ranks_clients<Policy>) queue_.charged(g);
  }
  void wait(SequenceGroup& g) {
    g.status = GroupStatus::waiting;
    waiting_.push_back(&g);
    queue_.insert(g, order());
  }
  void stop_waiting(SequenceGroup& g) {
    std::erase(waiting_, &g);
    queue_.erase(g, order());
  }
  void arrive() {
    const Seconds arrival = alike_ || up_to(2) == 0 ? now_ : now_ - Seconds{rng_.uniform()};
    auto made = std::make_unique<SequenceGroup>(
        group(1 + static_cast<std::int64_t>(up_to(alike_          ? 2
                                                  : up_to(2) == 0 ? 4
                                                                  : 2000)),
              up_to(3) == 0 ? 4 : 1, arrival));
    made->request.id = RequestId{groups_.size()};
    made->request.tenant = TenantId{static_cast<std::uint32_t>(up_to(12))};
    made->request.priority = static_cast<std::int32_t>(up_to(4));
    made->request.weight = static_cast<double>(1 + up_to(3));
    made->request.output_length = 1 + static_cast<std::int64_t>(up_to(300));
    made->timeline.waiting_since = arrival;
    SequenceGroup& g = *groups_.emplace_back(std::move(made));
    charge(SchedulerEvent::arrive, g, g.prompt_length());
    wait(g);
  }
  /// Who runs draws tokens, one a sample, ends or makes way, at times all at once; who waits may be
  /// cancelled.
  void generate() {
    const bool all_make_way = alike_ && up_to(12) == 0;
    for (std::size_t i = running_.size(); i-- > 0;) {
      SequenceGroup& g = *running_[i];
      for (std::uint64_t tokens = alike_ ? 1 : up_to(4); tokens > 0; --tokens) {
        g.sequences[0].length += 1;
        g.timeline.last_token = now_;
        for (std::int32_t sample = 0; sample < g.request.sampling.n; ++sample) {
          charge(SchedulerEvent::output_tokens, g, 1);
        }
      }
      if (!all_make_way && up_to(8) != 0) continue;
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      if (up_to(3) == 0) {
        charge(SchedulerEvent::finish, g, 0);
        continue;
      }
      g.timeline.waiting_since = now_;
      g.status = GroupStatus::waiting;
      charge(SchedulerEvent::preempt, g, 0);
      wait(g);
    }
    if (!waiting_.empty() && up_to(9) == 0) {
      SequenceGroup& g = *waiting_[up_to(waiting_.size())];
      charge(SchedulerEvent::finish, g, 0);
      stop_waiting(g);
    }
  }
  /// The order stands for as long as a step is planned, whatever is charged in it.
  void plan() {
    queue_.refresh(order());
    std::vector<SequenceGroup*> sorted = waiting_;
    for (SequenceGroup* g : sorted) g->rank = policy_.rank(*g, now_);
    std::sort(sorted.begin(), sorted.end(), NotedOrder{});
    expect(sorted);
    if constexpr (says_how_long_order_stands<Policy>) expect_to_stand(sorted);
    for (std::size_t admitted = 0; running_.size() < 6 && admitted < sorted.size(); ++admitted) {
      ASSERT_EQ(queue_.front(), sorted[admitted]);
      SequenceGroup& g = *queue_.front();
      stop_waiting(g);
      charge(SchedulerEvent::admit, g, g.prompt_length());
      g.status = GroupStatus::running;
      g.timeline.resumed = now_;
      charge(SchedulerEvent::resume, g, 0);
      running_.push_back(&g);
      if (up_to(4) == 0)
        expect({sorted.begin() + static_cast<std::ptrdiff_t>(admitted) + 1, sorted.end()});
    }
  }
  void expect(const std::vector<SequenceGroup*>& sorted) {
    ASSERT_EQ(queue_.size(), sorted.size());
    ASSERT_EQ(queue_.empty(), sorted.empty());
    const std::size_t most =
        up_to(3) == 0 ? sorted.size() : std::min<std::size_t>(2, sorted.size());
    SequenceGroup* g = queue_.first(order());
    for (std::size_t i = 0; i < most; ++i, g = queue_.next(order())) ASSERT_EQ(g, sorted[i]) << i;
    if (most == sorted.size()) {
      ASSERT_EQ(g, nullptr);
    }
  }
  /// Groups stand in their order at any time for which that was promised, the last one before all.
  void expect_to_stand(const std::vector<SequenceGroup*>& sorted) {
    for (int pair = 0; pair < 6 && sorted.size() > 1; ++pair) {
      const std::size_t first = up_to(sorted.size() - 1);
      const std::size_t behind = up_to(2) == 0 ? 0 : up_to(sorted.size() - 1 - first);
      SequenceGroup &a = *sorted[first], &b = *sorted[first + 1 + behind];
      const double now = now_.value, until = policy_.stands_until(a, b, now_).value;
      const double end = std::min(std::nextafter(until, now), now + std::exp(rng_.uniform() * 9));
      for (const double at : {end, now + rng_.uniform() * (end - now)}) {
        if (at <= now) continue;
        a.rank = policy_.rank(a, at);
        b.rank = policy_.rank(b, at);
        ASSERT_TRUE(NotedOrder{}(&a, &b)) << "at " << at << " of " << now << " to " << until;
      }
    }
  }

  Rng rng_;
  // Groups come together, as long as each other, and draw a token in each step.
  bool alike_ = false;
  Policy policy_{SchedulerLimits{}};
  TournamentQueue queue_{ranks_clients<Policy>};
  Seconds now_ = 0.0;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  std::vector<SequenceGroup*> waiting_, running_;
};

TYPED_TEST(SchedulerConformance, WhoWaitsStandsAsIfSortedAnew) {
  if constexpr (says_how_long_order_stands<TypeParam> || ranks_clients<TypeParam>) {
    const auto lives = static_cast<std::uint64_t>(quire::testing::fuzz_count(12));
    for (std::uint64_t seed = 0; seed < lives; ++seed) {
      SCOPED_TRACE(seed);
      Queues<TypeParam>(seed).live(600);
      if (this->HasFatalFailure()) return;
    }
  } else {
#ifdef QUIRE_OWN_TYPE
    if (TypeParam::dynamic_rank) GTEST_SKIP() << "no stands_until: who waits is sorted every step";
#endif
    EXPECT_FALSE(TypeParam::dynamic_rank);  // or it is sorted in every step
  }
}

/// Ranks of its own under the promise of another.
struct Overridden : scheduler::Srpt {
  using Srpt::Srpt;
  double rank(const SequenceGroup&, Seconds now) const { return -now.value; }
};
/// Charges of its own.
struct Recharged : scheduler::Vtc {
  using Vtc::Vtc;
  void charge(SchedulerEvent, const SequenceGroup&, Tokens) {}
};

TEST(SchedulerPromises, APromiseAboutRanksDoesNotOutliveThem) {
  EXPECT_TRUE(says_how_long_order_stands<scheduler::Srpt>);
  EXPECT_FALSE(says_how_long_order_stands<Overridden>);
  EXPECT_TRUE(ranks_clients<scheduler::WeightedVtc>);
  EXPECT_FALSE(ranks_clients<Recharged>);
}

}  // namespace
}  // namespace quire::scheduler_test
