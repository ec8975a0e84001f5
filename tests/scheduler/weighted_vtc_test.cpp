#include <quire/scheduler/weighted_vtc.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

using scheduler::WeightedVtc;

TEST(WeightedVtc, ChargesByWeight) {
  WeightedVtc vtc{SchedulerLimits{}};
  SequenceGroup g = group(100);
  g.request.tenant = TenantId{7};
  g.request.weight = 4;
  vtc.charge(SchedulerEvent::arrive, g, 100);
  vtc.charge(SchedulerEvent::admit, g, 100);
  vtc.charge(SchedulerEvent::output_tokens, g, 6);
  EXPECT_EQ(vtc.counter(TenantId{7}), 100.0 / 4 + 2 * 6.0 / 4);
  g.request.weight = 0;  // no weight
  vtc.charge(SchedulerEvent::output_tokens, g, 1);
  EXPECT_EQ(vtc.counter(TenantId{7}), 30);
}

// The paper's bound, of service over weight; and what weights are for: 3 times the service.
TEST(WeightedVtc, ServiceOfBackloggedClientsIsAsTheirWeights) {
  Rng rng(5);
  constexpr double weights[2] = {3, 1};
  auto engine = make_engine<WeightedVtc>(4, 200);
  std::int64_t longest_prompt = 0;
  for (int i = 0; i < 600; ++i) {
    Request r;
    r.tenant = TenantId{static_cast<std::uint32_t>(i % 2)};
    r.weight = weights[i % 2];
    r.prompt_length = static_cast<std::int64_t>(1 + rng.below(60));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(40));
    longest_prompt = std::max(longest_prompt, r.prompt_length.value);
    engine.submit(std::move(r));
  }
  double service[2] = {0, 0}, worst = 0;
  std::vector<bool> seen(600, false);
  const auto& policy = engine.scheduler();
  while (policy.queued(TenantId{0}) > 0 && policy.queued(TenantId{1}) > 0) {
    engine.step();
    for (const SequencePlan& row : engine.last_plan().sequences) {
      const auto tenant = static_cast<std::size_t>(row.request.value % 2);
      if (!seen[row.request.value]) {
        seen[row.request.value] = true;
        service[tenant] += static_cast<double>(row.prompt_tokens.value);
      }
      service[tenant] += 2;
    }
    worst = std::max(worst, std::abs(service[0] / weights[0] - service[1] / weights[1]));
  }
  EXPECT_LE(worst, 2 * std::max(static_cast<double>(longest_prompt), 2.0 * 200 * 16));
  EXPECT_NEAR(service[0] / service[1], 3, 0.3);
}

TEST(WeightedVtc, SurvivesRandomWorkloads) { survives_random_workloads<WeightedVtc>(); }

}  // namespace
}  // namespace quire::scheduler_test
