#include <quire/engine/replay.hpp>

#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/vllm.hpp>

#include "tests/common/engines.hpp"

namespace quire::engine_test {

/// Policies of other people, each wrong in one place.
struct NanRank : scheduler::Fcfs {
  static constexpr std::string_view name = "nan_rank";
  using Fcfs::Fcfs;
  [[nodiscard]] double rank(const SequenceGroup&, Seconds) const {
    return std::numeric_limits<double>::quiet_NaN();
  }
};
template <std::int64_t tokens>
struct GivesTokens : scheduler::Fcfs {
  static constexpr std::string_view name = "gives_tokens";
  using Fcfs::Fcfs;
  [[nodiscard]] Tokens allot(const BatchState&, Tokens) const { return tokens; }
};
template <std::int64_t tokens>
struct Reserves {
  static constexpr std::string_view name = "reserves";
  static constexpr bool contiguous = true;
  static Tokens reserve(const LengthHint&) { return tokens; }
};
/// A cost model whose steps take a time that no clock can go on by: -0.01 s, infinitely long, or none.
template <int which>
struct OddSeconds {
  static constexpr std::string_view name = "odd_seconds";
  explicit OddSeconds(const CostInputs&) {}
  [[nodiscard]] StepCost cost(const StepPlan&) const {
    constexpr double seconds[] = {-0.01, std::numeric_limits<double>::infinity(),
                                  std::numeric_limits<double>::quiet_NaN(), 0};
    return {.seconds = seconds[which]};
  }
};
template <class S>
struct WithScheduler : presets::Vllm {
  static constexpr std::string_view name = "with_scheduler";
  using Scheduler = S;
};
template <class R>
struct WithReservation : presets::OrcaMax {
  static constexpr std::string_view name = "with_reservation";
  using Reservation = R;
};

namespace {

using ::testing::HasSubstr;
using ::testing::Not;

executor::Simulated::Options replay_options() {
  return {.model = model::opt_13b, .hardware = hardware::a100_40gb};
}
/// Requests of the given prompt lengths, all at once, 4 tokens of output each.
workload::Workload prompts(std::initializer_list<std::int64_t> lengths) {
  workload::Workload w;
  w.name = "prompts";
  for (const std::int64_t length : lengths) {
    Request& r = w.requests.emplace_back();
    r.prompt_length = length;
    r.output_length = 4;
  }
  return w;
}
template <class C = presets::Vllm>
Report report_of(const workload::Workload& w,
                 const executor::Simulated::Options& o = replay_options()) {
  Engine<C, executor::Simulated> engine(o);
  return replay(engine, w);
}
std::string printed(const Report& report) {
  std::ostringstream out;
  out << report;
  return out.str();
}
template <class C>
std::string fault() {
  try {
    static_cast<void>(report_of<C>(prompts({100, 200})));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::state);
    return error.what();
  }
  return "no fault";
}

TEST(Report, CountsFailuresByTheirKind) {
  const Report report = report_of(prompts({5000, 100, 6000, 7000, 0}));
  const auto failures = report.failures();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].count, 3);
  EXPECT_EQ(failures[0].reason,
            "the prompt has 5000 tokens, the limit is 2047 (the first of them)");
  EXPECT_EQ(failures[1].count, 1);
  EXPECT_EQ(failures[1].reason, "the prompt is empty");
  EXPECT_THAT(printed(report), HasSubstr("failed requests: 3: the prompt has 5000 tokens"));
  EXPECT_TRUE(report_of(prompts({10})).failures().empty());
  const auto alike = report_of(prompts({5000, 5000})).failures();
  ASSERT_EQ(alike.size(), 1u);
  EXPECT_EQ(alike[0].reason, "the prompt has 5000 tokens, the limit is 2047");
}

TEST(Report, HasNoSharesOfARunWithoutSteps) {
  const std::string text = printed(report_of(prompts({5000})));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, HasSubstr("no step was measured"));
}

TEST(Report, CallsFreeMemoryFree) {
  const std::string text = printed(report_of(prompts({100})));
  EXPECT_THAT(text, HasSubstr("% free"));
  EXPECT_THAT(text, HasSubstr("0.0 % rounding"));
}

TEST(Limits, AStepHasRoomForAnyPromptUnlessToldOtherwise) {
  // The longer prompt runs beside the others at once, as vLLM's defaults have it.
  executor::Simulated::Options o = replay_options();
  o.model.max_length = 8192;
  EXPECT_EQ(report_of(prompts({100, 4000, 100}), o).counters.steps_over_budget, 0);
  Engine<presets::Vllm, executor::Simulated> longer(o);
  EXPECT_EQ(longer.limits().max_batched_tokens, Tokens{8192});
  Engine<presets::Vllm, executor::Simulated> opt(replay_options());
  EXPECT_EQ(opt.limits().max_batched_tokens, Tokens{2560});
  o.limits.max_length = 4096;
  Engine<presets::Vllm, executor::Simulated> cut(o);
  EXPECT_EQ(cut.limits().max_batched_tokens, Tokens{4096});
  o.limits.max_batched_tokens = 1000;
  const Report report = report_of(prompts({100, 4000, 100}), o);
  EXPECT_EQ(report.counters.steps_over_budget, 1);
  EXPECT_THAT(printed(report), HasSubstr("in a step of its own: 1"));
}

TEST(Faults, OfAPolicyNameItAndTheMember) {
  EXPECT_THAT(fault<WithScheduler<NanRank>>(), HasSubstr("scheduler nan_rank: rank() gives NaN"));
  EXPECT_THAT(fault<WithScheduler<GivesTokens<-1>>>(),
              HasSubstr("scheduler gives_tokens: allot() gives -1 tokens"));
  EXPECT_THAT(fault<WithScheduler<GivesTokens<1 << 20>>>(),
              HasSubstr("scheduler gives_tokens: allot() gives 1048576 tokens"));
  EXPECT_THAT(fault<WithScheduler<GivesTokens<0>>>(),
              HasSubstr("scheduler gives_tokens: requests wait"));
  EXPECT_THAT(fault<WithReservation<Reserves<0>>>(),
              HasSubstr("reservation reserves: reserve() gives 0 tokens"));
  EXPECT_THAT(fault<WithReservation<Reserves<-5>>>(),
              HasSubstr("reservation reserves: reserve() gives -5 tokens"));
  EXPECT_THAT(fault<WithReservation<Reserves<std::numeric_limits<std::int64_t>::max()>>>(),
              HasSubstr("reservation reserves: reserve() gives 9223372036854775807 tokens"));
}

template <int which>
std::string fault_of_cost() {
  using Clock = executor::BasicSimulated<OddSeconds<which>>;
  Engine<presets::Vllm, Clock> engine({.model = model::opt_13b, .hardware = hardware::a100_40gb});
  try {
    static_cast<void>(replay(engine, prompts({10})));
  } catch (const Error& error) {
    return error.what();
  }
  return "no fault";
}

TEST(Faults, OfACostModelNameItAndTheTime) {
  EXPECT_THAT(fault_of_cost<0>(),
              HasSubstr("cost model odd_seconds: cost() gives -0.010000 seconds for a step"));
  EXPECT_THAT(fault_of_cost<1>(), HasSubstr("cost model odd_seconds: cost() gives inf seconds"));
  EXPECT_THAT(fault_of_cost<2>(), HasSubstr("nan seconds for a step; expected a finite number"));
  EXPECT_EQ(fault_of_cost<3>(), "no fault");
  executor::Simulated::Options o = replay_options();
  o.priced_by = [](const CostInputs&) { return [](const StepPlan&) { return StepCost{-1.0}; }; };
  try {
    static_cast<void>(report_of(prompts({10}), o));
    FAIL() << "no fault";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("cost model chosen at run time: cost() gives -1.000000"));
  }
}

TEST(Simulated, RefusesHeadsThatDevicesCannotShare) {
  executor::Simulated::Options o = replay_options();
  o.tensor_parallel = 3;
  EXPECT_THROW(static_cast<void>(report_of(prompts({10}), o)), Error);
}

TEST(Replay, StreamedSaysWhatRecordsSay) {
  workload::Workload w;
  w.name = "mixed";
  Rng rng(5);
  double now = 0;
  for (int i = 0; i < 400; ++i) {
    Request& r = w.requests.emplace_back();
    r.arrival = now += rng.exponential(0.4);
    r.prompt_length = static_cast<std::int64_t>(rng.below(40) == 0 ? 5000 : 1 + rng.below(300));
    r.output_length = static_cast<std::int64_t>(1 + rng.below(200));
  }
  const auto play = [&](bool stream) {
    Engine<presets::Vllm, executor::Simulated> engine(replay_options());
    return replay(engine, w, {.record_from = 5.0, .stream = stream});
  };
  const Report kept = play(false), streamed = play(true);
  EXPECT_EQ(kept.decision_hash, streamed.decision_hash);
  EXPECT_TRUE(streamed.records.empty());
  ASSERT_EQ(kept.failures().size(), 1u);
  ASSERT_EQ(streamed.failures().size(), 1u);
  EXPECT_EQ(kept.failures()[0].count, streamed.failures()[0].count);
  const auto exact = named_values(kept.summary());
  const auto sketched = metrics::named_values(streamed.streamed, streamed.duration);
  ASSERT_EQ(exact.size(), sketched.size());
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_EQ(exact[i].first, sketched[i].first);
    if (exact[i].first.ends_with("itl_ms")) continue;  // gaps of requests before record_from count
    if (std::isnan(exact[i].second)) continue;
    EXPECT_NEAR(exact[i].second, sketched[i].second, 2e-3 * std::abs(exact[i].second) + 1e-9)
        << exact[i].first;
  }
  EXPECT_THAT(printed(streamed), HasSubstr("Successful requests:"));
}

}  // namespace
}  // namespace quire::engine_test
