#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/request_limit.hpp>

#include "tests/common/engines.hpp"
#include "tests/common/fuzz.hpp"

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

/// vLLM's engine under another scheduler; one that never preempts, or gives memory back by the batch,
/// gets all of a request's memory at admission.
template <class Scheduler, class Offload = offload::Recompute>
using Under =
    with<presets::Vllm, set_scheduler<Scheduler>, set_offload<Offload>,
         set_reservation<std::conditional_t<never_preempts<Scheduler> || Scheduler::drains,
                                            reservation::RequestLimit, reservation::OnDemand>>>;

template <class Scheduler, class Cost = OneSecond, class Offload = offload::Recompute>
auto make_engine(std::int64_t seats, std::int64_t blocks = 4096,
                 std::int64_t host_blocks = 1 << 15) {
  using Executor = executor::BasicSimulated<Cost>;
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
  o.memory.host_bytes = host_blocks * 16 * 2 * 8 * 2;
  return Engine<Under<Scheduler, Offload>, Executor>(o);
}

/// When each job ended, by its index, with `seats` sequences running at once.
template <class Scheduler, class Offload = offload::Recompute>
std::vector<double> ends(const std::vector<Job>& list, std::int64_t seats = 1) {
  auto engine = make_engine<Scheduler, OneSecond, Offload>(seats);
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

/// What can happen to a request.
enum class End { none, finished, cancelled, refused };

/// Random workloads over small pools, down to one block more than the longest request: prompts, lengths,
/// several samples, priorities, tenants and cancellations; 20 of them, 10,000 at QUIRE_FUZZ_SCALE=500.
/// Each request ends once or is refused with a reason, nobody waits for ever, and every block comes back.
template <class Scheduler, class Offload = offload::Recompute>
void survives_random_workloads() {
  const std::int64_t workloads = quire::testing::fuzz_count(20);
  for (std::int64_t seed = 0; seed < workloads; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed) * 977 + 5);
    const auto up_to = [&rng](std::uint64_t n) { return static_cast<std::int64_t>(rng.below(n)); };
    const std::int64_t longest = 8 + up_to(200);  // tokens
    const std::int64_t least = longest / 16 + 1 + 1;
    const std::int64_t seats = 1 + up_to(12), blocks = least + (up_to(3) == 0 ? 0 : up_to(60));
    auto engine = make_engine<Scheduler, OneSecond, Offload>(seats, blocks, /*host_blocks=*/200);
    const std::int64_t total = 1 + up_to(40);
    std::map<std::uint64_t, End> ends;
    std::int64_t submitted = 0, steps = 0;
    const auto collect = [&] {
      for (const auto& group : engine.take_finished()) {
        End& end = ends.at(group->request.id.value);
        ASSERT_EQ(end, End::none) << "request " << group->request.id.value << " ended twice";
        const bool aborted = group->sequences.front().finish == FinishReason::abort;
        end = !group->error.empty() ? End::refused : aborted ? End::cancelled : End::finished;
        if (end != End::finished) continue;
        ASSERT_EQ(std::ssize(group->sequences), group->request.sampling.n);
        for (const Sequence& s : group->sequences) {
          ASSERT_EQ(s.length, group->prompt_length() + *group->request.output_length);
        }
      }
    };
    while (submitted < total || engine.has_work()) {
      ASSERT_LT(++steps, 50'000) << "seed " << seed << ": the engine runs for ever";
      while (submitted < total && (up_to(3) == 0 || !engine.has_work())) {
        Request r;
        r.arrival = engine.now();
        r.prompt_length = up_to(40) == 0 ? 0 : 1 + up_to(static_cast<std::uint64_t>(longest));
        const std::int64_t room = std::max<std::int64_t>(1, longest - r.prompt_length.value);
        r.output_length = 1 + up_to(static_cast<std::uint64_t>(room));
        r.sampling.max_tokens = *r.output_length;
        r.sampling.n = up_to(8) == 0 ? static_cast<std::int32_t>(2 + up_to(3)) : 1;
        r.priority = static_cast<std::int32_t>(up_to(4));
        r.tenant = TenantId{static_cast<std::uint32_t>(up_to(3))};
        r.weight = static_cast<double>(1 + up_to(3));
        ends[engine.submit(std::move(r)).value] = End::none;
        ++submitted;
      }
      if (!ends.empty() && up_to(15) == 0) {
        engine.cancel(RequestId{static_cast<std::uint64_t>(up_to(ends.size()))});
      }
      const StepStats& stats = engine.step();
      collect();
      if (::testing::Test::HasFatalFailure()) return;
      if (!stats.idle || !engine.has_work()) continue;
      ASSERT_TRUE(stats.wake_at && *stats.wake_at > engine.now()) << "seed " << seed << ": stuck";
      engine.advance_to(*stats.wake_at);
    }
    collect();
    for (const auto& [id, end] : ends) {
      ASSERT_NE(end, End::none) << "seed " << seed << ": request " << id << " is lost";
    }
    const MemoryUsage usage = engine.usage();
    ASSERT_EQ(usage.free, usage.capacity) << "seed " << seed << ": blocks have leaked";
    ASSERT_EQ(engine.memory().host_free(), engine.geometry().host_blocks) << "seed " << seed;
  }
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

// What most of these tests' files use; play.cpp compiles it once.
namespace quire {

extern template class ControlPlane<
    BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<16>, admission::Always>,
    scheduler::Fcfs, offload::Recompute,
    executor::BasicSimulated<scheduler_test::OneSecond>::Steps>;

}  // namespace quire
