// Decodes keep their rows from step to step. A scheduler that keeps accounts is shown every token, so
// under one that only pretends to, the engine asks about each sequence again in every step: both ways
// must decide alike, byte for byte, and say the same of memory and time.
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/metrics/request_record.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/presets.hpp>
#include <quire/scheduler/priority.hpp>
#include <quire/scheduler/vtc.hpp>

#include "tests/common/engines.hpp"

namespace quire::engine_test {
namespace {

template <class Policy>
struct Accounting : Policy {
  using Policy::Policy;
  void charge(SchedulerEvent, const SequenceGroup&, Tokens) {}
};
static_assert(!scheduler::keeps_accounts<scheduler::Fcfs>);
static_assert(!scheduler::keeps_accounts<scheduler::ChunkedPrefill>);
static_assert(scheduler::keeps_accounts<scheduler::Vtc>);
static_assert(scheduler::keeps_accounts<Accounting<scheduler::Fcfs>>);

template <class Base>
struct Asked : Base {
  static constexpr std::string_view name = "asked";
  using Scheduler = Accounting<typename Base::Scheduler>;
};
struct Urgent : presets::Vllm {
  static constexpr std::string_view name = "urgent";
  using Scheduler = scheduler::Priority;
};

std::vector<Request> requests(std::uint64_t seed, bool samples) {
  Rng rng(seed);
  std::vector<Request> out;
  double now = 0;
  for (int i = 0; i < 150; ++i) {
    Request r;
    now += rng.exponential(0.03);
    r.arrival = now;
    const std::uint64_t begin = rng.below(3);  // some prompts begin alike
    r.chunks.push_back({.content = begin, .tokens = static_cast<std::int64_t>(16 * begin)});
    r.chunks.push_back({.content = 100 + static_cast<std::uint64_t>(i),
                        .tokens = static_cast<std::int64_t>(1 + rng.below(60))});
    r.sampling.max_tokens = static_cast<std::int64_t>(1 + rng.below(40));
    if (rng.below(4) != 0) r.output_length = r.sampling.max_tokens;
    r.sampling.n = samples && rng.below(12) == 0 ? 2 : 1;
    r.sampling.seed = static_cast<std::uint64_t>(i);
    r.priority = static_cast<std::int32_t>(rng.below(3));
    out.push_back(std::move(r));
  }
  return out;
}

/// All that a step said and left behind.
using Trace = std::vector<std::vector<double>>;

template <class C>
Trace play(std::uint64_t seed, bool samples, bool text, EngineCounters& counters) {
  executor::Simulated::Options options{.model = model::opt_13b, .hardware = hardware::a100_40gb};
  options.limits = {.max_sequences = 24, .max_length = 256, .chunk = 40};
  const double block = storage_cost<C>(options.model).kv_block_bytes;
  options.memory.kv_bytes = static_cast<std::int64_t>(block * 40);
  options.memory.host_bytes = static_cast<std::int64_t>(block * 12);
  Engine<C, executor::Simulated> engine(options);
  engine.keep({.times = true, .text = text});
  const std::vector<Request> all = requests(seed, samples);
  Trace trace;
  std::size_t next = 0;
  Rng rng(seed + 1);
  while (next < all.size() || engine.has_work()) {
    while (next < all.size() && all[next].arrival <= engine.now()) engine.submit(all[next++]);
    if (rng.below(30) == 0 && next > 0) engine.cancel(RequestId{rng.below(next)});
    const StepStats& stats = engine.step();
    std::vector<double> line{static_cast<double>(engine.decision_hash() >> 12), stats.seconds.value,
                             static_cast<double>(stats.running_groups),
                             static_cast<double>(stats.waiting_groups)};
    for (const MemoryUsage& u : {stats.usage, engine.usage()}) {
      for (const Tokens part : {u.token_states, u.reserved, u.internal, u.rounding, u.free}) {
        line.push_back(static_cast<double>(part.value));
      }
      line.push_back(static_cast<double>(u.logical_blocks.value));
      line.push_back(static_cast<double>(u.physical_blocks.value));
    }
    for (const auto& [gap, count] : stats.token_gaps) {
      line.push_back(gap);
      line.push_back(static_cast<double>(count));
    }
    for (const TokenEvent& e : engine.events()) line.push_back(static_cast<double>(e.token));
    for (const auto& group : engine.take_finished()) {
      const metrics::RequestRecord r = metrics::record_of(*group);
      line.insert(line.end(),
                  {static_cast<double>(r.id.value), r.first_token.value, r.last_token.value,
                   r.finished.value, static_cast<double>(r.output_tokens.value)});
      line.insert(line.end(), r.token_times.begin(), r.token_times.end());
    }
    trace.push_back(std::move(line));
    if (!stats.idle) continue;
    if (next == all.size()) break;
    engine.advance_to(all[next].arrival);
  }
  EXPECT_FALSE(engine.has_work());
  counters = engine.counters();
  return trace;
}

template <class C>
class Steady : public ::testing::Test {};
using Configurations = ::testing::Types<presets::Vllm, presets::Sarathi, presets::VllmPrefixCache,
                                        presets::OrcaOracle, Urgent>;
TYPED_TEST_SUITE(Steady, Configurations);

TYPED_TEST(Steady, DecidesAsWhenEverySequenceIsAskedAgain) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const bool samples = seed % 2 == 1 && !TypeParam::Reservation::contiguous, text = seed > 1;
    EngineCounters counters, counters_asked;
    const Trace steady = play<TypeParam>(seed, samples, text, counters);
    const Trace asked = play<Asked<TypeParam>>(seed, samples, text, counters_asked);
    ASSERT_EQ(steady.size(), asked.size());
    for (std::size_t i = 0; i < steady.size(); ++i) ASSERT_EQ(steady[i], asked[i]) << "step " << i;
    EXPECT_EQ(counters.output_tokens, counters_asked.output_tokens);
    EXPECT_EQ(counters.preemptions, counters_asked.preemptions);
    if (!TypeParam::Reservation::contiguous) {
      EXPECT_GT(counters.preemptions, 0) << "the pool is too large to test anything";
    }
  }
}

}  // namespace
}  // namespace quire::engine_test
