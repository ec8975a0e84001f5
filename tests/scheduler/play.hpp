#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>

namespace quire::scheduler_test {

/// A device on which every step takes one second, whatever it holds: time counts steps.
struct OneSecond {
  static constexpr std::string_view name = "one_second";
  explicit OneSecond(const CostInputs&) {}
  [[nodiscard]] StepCost cost(const StepPlan&) const { return {.seconds = 1.0}; }
};
static_assert(CostModel<OneSecond>);

/// A request of one prompt token that arrives at `at` and generates `tokens` tokens.
struct Job {
  double at = 0;
  std::int64_t tokens = 1;
  std::int32_t priority = 0;
  std::uint32_t tenant = 0;
  std::int64_t prompt = 1;
};

inline workload::Workload jobs(const std::vector<Job>& list) {
  workload::Workload w;
  w.name = "jobs";
  for (const Job& job : list) {
    Request r;
    r.arrival = job.at;
    r.prompt_length = job.prompt;
    r.output_length = job.tokens;
    r.priority = job.priority;
    r.tenant = TenantId{job.tenant};
    w.requests.push_back(r);
  }
  return w;
}

template <class Scheduler>
using Under = with<presets::Vllm, set_scheduler<Scheduler>, set_offload<offload::Recompute>>;

template <class Scheduler>
auto make_engine(std::int64_t seats, std::int64_t blocks = 4096) {
  using Executor = executor::BasicSimulated<OneSecond>;
  typename Executor::Options o;
  o.model = {.name = "unit",
             .layers = 1,
             .hidden = 8,
             .heads = 1,
             .kv_heads = 1,
             .head_dim = 8,
             .ffn = 8,
             .vocab = 8,
             .max_length = 1 << 20};
  o.hardware = hardware::a10g;
  o.limits.max_sequences = seats;
  o.memory.kv_bytes = blocks * 16 * 2 * 8 * 2;
  o.memory.host_bytes = std::int64_t{1} << 24;
  return Engine<Under<Scheduler>, Executor>(o);
}

/// When each job ended, by its index, with `seats` sequences running at once.
template <class Scheduler>
std::vector<double> ends(const std::vector<Job>& list, std::int64_t seats = 1) {
  auto engine = make_engine<Scheduler>(seats);
  const Report report = replay(engine, jobs(list));
  std::vector<double> end(list.size(), -1);
  for (const auto& r : report.records) end[r.id.value] = r.finished.value;
  return end;
}

/// Lives of an engine with few blocks, in which requests are admitted, preempted, cancelled, refused
/// and given up; check(engine) after every step and at the end.
template <class Scheduler, class Check>
void live_in_a_tight_pool(const Check& check) {
  std::int64_t preemptions = 0, refused = 0, given_up = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    auto engine = make_engine<Scheduler>(6, /*blocks=*/6);
    std::vector<RequestId> ids;
    for (int step = 0; step < 400; ++step) {
      while (step < 200 && rng.below(3) == 0) {
        Request r;
        r.arrival = engine.now();
        r.prompt_length = static_cast<std::int64_t>(rng.below(60));  // 0 is refused
        r.output_length = 1 + static_cast<std::int64_t>(rng.below(rng.below(9) == 0 ? 300 : 40));
        r.tenant = TenantId{static_cast<std::uint32_t>(rng.below(3))};
        r.sampling.n = rng.below(6) == 0 ? 2 : 1;
        refused += r.prompt_length == Tokens{0};
        given_up -= r.prompt_length == Tokens{0};
        ids.push_back(engine.submit(r));
      }
      if (!ids.empty() && rng.below(8) == 0) engine.cancel(ids[rng.below(ids.size())]);
      engine.step();
      check(engine);
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    preemptions += engine.counters().preemptions;
    given_up += engine.counters().rejected;
    for (const RequestId id : ids) engine.cancel(id);
    check(engine);
  }
  EXPECT_GT(preemptions, 100);
  EXPECT_GT(refused, 20);
  EXPECT_GT(given_up, 5);
}

inline double mean_latency(const std::vector<Job>& list, const std::vector<double>& end) {
  double sum = 0;
  for (std::size_t i = 0; i < list.size(); ++i) sum += end[i] - list[i].at;
  return sum / static_cast<double>(list.size());
}

/// Jobs that arrive at random whole seconds and load one seat to about `load`.
inline std::vector<Job> random_jobs(std::uint64_t seed, std::size_t count, double load) {
  Rng rng(seed);
  std::vector<Job> list;
  double at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto tokens = static_cast<std::int64_t>(1 + rng.below(30));
    list.push_back({.at = std::floor(at), .tokens = tokens});
    at += rng.exponential(15.5 / load);
  }
  return list;
}

}  // namespace quire::scheduler_test
