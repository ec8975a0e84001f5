#include <quire/scheduler/predictive_vtc.hpp>

#include <gtest/gtest.h>

#include <cstdint>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

using scheduler::PredictiveVtc;

SequenceGroup of_client(std::uint32_t tenant, std::int64_t prompt, std::int64_t output) {
  SequenceGroup g = group(prompt);
  g.request.tenant = TenantId{tenant};
  g.request.output_length = output;
  return g;
}

TEST(PredictiveVtc, ChargesThePredictionAtAdmissionAndTokensBeyondItAsTheyCome) {
  PredictiveVtc vtc{SchedulerLimits{}};
  const SequenceGroup g = of_client(7, 100, 10);
  vtc.charge(SchedulerEvent::arrive, g, 100);
  vtc.charge(SchedulerEvent::admit, g, 100);
  EXPECT_EQ(vtc.counter(TenantId{7}), 100 + 2 * 10);
  vtc.charge(SchedulerEvent::output_tokens, g, 8);
  EXPECT_EQ(vtc.counter(TenantId{7}), 120);
  vtc.charge(SchedulerEvent::output_tokens, g, 5);  // three more than was predicted
  EXPECT_EQ(vtc.counter(TenantId{7}), 126);
  vtc.charge(SchedulerEvent::finish, g, 0);
  EXPECT_EQ(vtc.counter(TenantId{7}), 126);
  EXPECT_EQ(vtc.charged_ahead(), 0u);
}

TEST(PredictiveVtc, GivesBackWhatWasNeverGenerated) {
  PredictiveVtc vtc{SchedulerLimits{}};
  SequenceGroup g = of_client(7, 100, 50);
  vtc.charge(SchedulerEvent::arrive, g, 100);
  vtc.charge(SchedulerEvent::admit, g, 100);
  vtc.charge(SchedulerEvent::output_tokens, g, 8);
  g.status = GroupStatus::running;
  vtc.charge(SchedulerEvent::finish, g, 0);
  EXPECT_EQ(vtc.counter(TenantId{7}), 116);
}

// A recompute is charged once, and its prediction too.
TEST(PredictiveVtc, ForgetsARequestWhenItEndsHoweverItEnds) {
  live_in_a_tight_pool<PredictiveVtc>([](const auto& engine) {
    EXPECT_LE(engine.scheduler().charged_ahead(), engine.requests().size());
  });
}

// Two clients of equal prompts; one's outputs are ten times as long. Without prediction the long ones are
// admitted as often as the short until their tokens are counted.
TEST(PredictiveVtc, KeepsTheServiceOfTwoClientsCloserThanCountingAfterwards) {
  const auto worst = []<class Policy>() {
    auto engine = make_engine<Policy>(32);
    for (int i = 0; i < 400; ++i) {
      Request r;
      r.tenant = TenantId{static_cast<std::uint32_t>(i % 2)};
      r.prompt_length = 4;
      r.output_length = i % 2 == 0 ? 100 : 10;
      engine.submit(std::move(r));
    }
    double service[2] = {0, 0}, most = 0;
    const auto& policy = engine.scheduler();
    while (policy.queued(TenantId{0}) > 0 && policy.queued(TenantId{1}) > 0) {
      engine.step();
      for (const SequencePlan& row : engine.last_plan().sequences) {
        service[row.request.value % 2] += 2;
      }
      most = std::max(most, std::abs(service[0] - service[1]));
    }
    return most;
  };
  EXPECT_LT(worst.template operator()<PredictiveVtc>(),
            worst.template operator()<scheduler::Vtc>());
}

TEST(PredictiveVtc, SurvivesRandomWorkloads) { survives_random_workloads<PredictiveVtc>(); }

}  // namespace
}  // namespace quire::scheduler_test
