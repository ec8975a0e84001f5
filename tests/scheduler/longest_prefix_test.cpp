#include <quire/scheduler/longest_prefix.hpp>

#include <gtest/gtest.h>

#include <vector>

#include <quire/cost_model/hardware.hpp>
#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(LongestPrefix, RanksWaitingGroupsByWhatIsCachedAndRunningOnesAlike) {
  const scheduler::LongestPrefix policy(SchedulerLimits{});
  SequenceGroup none = group(100), some = group(100), running = group(100);
  some.cached_prefix = 32;
  running.cached_prefix = 64;
  running.status = GroupStatus::running;
  EXPECT_LT(policy.rank(some, 0.0), policy.rank(none, 0.0));
  EXPECT_EQ(policy.rank(running, 0.0), policy.rank(none, 0.0));
}

// One sequence runs at a time. A and B are different texts of 64 tokens; after the first A, the second
// A goes before B although it came later.
TEST(LongestPrefix, AdmitsWhatIsCachedBeforeWhatCameEarlier) {
  using Fcfs = presets::VllmPrefixCache;
  using Aware = with<Fcfs, set_scheduler<scheduler::LongestPrefix>>;
  const auto order = []<class C>() {
    executor::Simulated::Options options{.model = model::opt_13b, .hardware = hardware::a100_40gb};
    options.limits.max_sequences = 1;
    Engine<C, executor::Simulated> engine(options);
    for (const TokenId text : {1, 2, 1}) {
      Request r;
      r.prompt.assign(64, text);
      r.output_length = 4;
      engine.submit(std::move(r));
    }
    std::vector<std::uint64_t> ended;
    while (engine.has_work()) {
      engine.step();
      for (const auto& g : engine.take_finished()) ended.push_back(g->request.id.value);
    }
    return ended;
  };
  EXPECT_EQ(order.operator()<Fcfs>(), (std::vector<std::uint64_t>{0, 1, 2}));
  EXPECT_EQ(order.operator()<Aware>(), (std::vector<std::uint64_t>{0, 2, 1}));
}

TEST(LongestPrefix, SurvivesRandomWorkloads) {
  survives_random_workloads<scheduler::LongestPrefix>();
}

}  // namespace
}  // namespace quire::scheduler_test
