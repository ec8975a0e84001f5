#include <quire/engine/cluster.hpp>

#include <algorithm>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/router/router.hpp>
#include <quire/workload/workload.hpp>

#include "tests/common/engines.hpp"

namespace quire::engine_test {
namespace {

using ::testing::HasSubstr;
using OneEngine = ErasedEngine<Engine<presets::Vllm, executor::Simulated>>;

executor::Simulated::Options setup(double kv_gib) {
  return {.model = model::opt_13b,
          .hardware = hardware::a100_40gb,
          .limits = {.max_batched_tokens = 2560},
          .memory = {.kv_bytes = static_cast<std::int64_t>(kv_gib * (1 << 30))}};
}
std::vector<std::unique_ptr<AnyEngine>> engines(std::size_t n, double kv_gib = 12) {
  std::vector<std::unique_ptr<AnyEngine>> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(std::make_unique<OneEngine>(setup(kv_gib)));
  return out;
}
/// OPT-13B: two of 5120 values of two bytes in each of 40 layers.
constexpr double kv_bytes = 2 * 5120 * 2 * 40;

ClusterOptions options(std::vector<Role> roles = {}) {
  ClusterOptions o;
  o.roles = std::move(roles);
  o.kv_bytes_per_token = kv_bytes;
  o.layers = 40;
  return o;
}
workload::Workload some(std::size_t requests, double rate, std::uint64_t seed = 1) {
  return workload::sharegpt({.requests = requests, .rate = rate, .seed = seed});
}
workload::Workload fixed(
    std::initializer_list<std::tuple<double, std::int64_t, std::int64_t>> all) {
  workload::Workload w;
  w.name = "fixed";
  for (const auto& [arrival, prompt, output] : all) {
    Request r;
    r.id = RequestId{w.requests.size()};
    r.arrival = arrival;
    r.prompt_length = prompt;
    r.output_length = output;
    w.requests.push_back(r);
  }
  return w;
}
template <class R>
ClusterReport play(std::vector<std::unique_ptr<AnyEngine>> of, const ClusterOptions& o,
                   const workload::Workload& w) {
  return Cluster<R>(std::move(of), o).replay(w);
}

/// Every request of the workload ended once, with the tokens that it asked for, in order of time.
void expect_whole(const ClusterReport& report, const workload::Workload& w) {
  std::map<std::uint64_t, const metrics::RequestRecord*> by_id;
  for (const auto& r : report.records) EXPECT_TRUE(by_id.emplace(r.id.value, &r).second);
  EXPECT_EQ(by_id.size(), w.requests.size());
  EXPECT_EQ(report.unfinished, 0);
  for (const Request& q : w.requests) {
    const metrics::RequestRecord& r = *by_id.at(q.id.value);
    EXPECT_EQ(r.error, "");
    EXPECT_EQ(r.output_tokens, *q.output_length);
    EXPECT_EQ(r.prompt_tokens, q.prompt_length);
    EXPECT_EQ(r.arrival, q.arrival);
    EXPECT_LE(q.arrival, r.first_scheduled);
    EXPECT_LT(r.first_scheduled, r.first_token);
    EXPECT_LE(r.first_token, r.finished);
    ASSERT_EQ(static_cast<std::int64_t>(r.token_times.size()), r.output_tokens.value);
    EXPECT_TRUE(std::is_sorted(r.token_times.begin(), r.token_times.end()));
    EXPECT_EQ(r.token_times.front(), r.first_token.value);
    EXPECT_EQ(r.token_times.back(), r.last_token.value);
  }
}

TEST(Cluster, OfOneInstanceIsThatEngine) {
  const workload::Workload w = some(120, 3);
  OneEngine alone(setup(4));
  const Report expected = quire::replay(static_cast<AnyEngine&>(alone), w);
  const ClusterReport found = play<router::LeastOutstanding>(engines(1, 4), options(), w);
  ASSERT_EQ(found.records.size(), expected.records.size());
  for (std::size_t i = 0; i < found.records.size(); ++i) {
    EXPECT_EQ(found.records[i].token_times, expected.records[i].token_times);
    EXPECT_EQ(found.records[i].finished, expected.records[i].finished);
    EXPECT_EQ(found.records[i].queued, expected.records[i].queued);
  }
  EXPECT_EQ(found.duration, expected.duration);
  EXPECT_EQ(found.decision_hash,
            hash_combine(
                std::accumulate(w.requests.begin(), w.requests.end(), std::uint64_t{0},
                                [](std::uint64_t h, const Request&) { return hash_combine(h, 0); }),
                expected.decision_hash));
}

TEST(Cluster, RoundRobinIsEachInstanceWithItsShare) {
  const workload::Workload w = some(90, 6);
  const ClusterReport found = play<router::RoundRobin>(engines(3), options(), w);
  expect_whole(found, w);
  EXPECT_EQ(found.placed, (std::vector<std::int64_t>{30, 30, 30}));
  std::map<std::uint64_t, std::vector<double>> times;
  for (const auto& r : found.records) times[r.id.value] = r.token_times;
  for (std::size_t i = 0; i < 3; ++i) {
    workload::Workload share;
    for (std::size_t k = i; k < w.requests.size(); k += 3) share.requests.push_back(w.requests[k]);
    OneEngine alone(setup(12));
    // an engine names requests in the order in which it is given them
    for (const auto& r : quire::replay(static_cast<AnyEngine&>(alone), share).records) {
      EXPECT_EQ(times.at(share.requests[r.id.value].id.value), r.token_times);
    }
  }
}

template <class R>
void serves(const ClusterOptions& o, std::size_t n, double rate) {
  SCOPED_TRACE(R::name);
  const workload::Workload w = some(150, rate);
  const ClusterReport once = play<R>(engines(n, 3), o, w);
  expect_whole(once, w);
  EXPECT_EQ(play<R>(engines(n, 3), o, w).decision_hash, once.decision_hash);
  EXPECT_EQ(std::accumulate(once.placed.begin(), once.placed.end(), std::int64_t{0}), 150);
}

TEST(Cluster, EveryRouterServesAllRequestsTheSameWayTwice) {
  serves<router::JoinShortestQueue>(options(), 3, 8);
  serves<router::PrefixAware>(options(), 3, 8);
  serves<router::Llumnix>(options(), 3, 8);
  const std::vector<Role> roles{Role::prefill, Role::decode, Role::both};
  serves<router::DistServe>(options(roles), 3, 5);
  serves<router::Splitwise>(options(roles), 3, 5);
}

TEST(Cluster, APromptIsComputedHereAndTheRestGeneratedThere) {
  const workload::Workload w = fixed({{0.0, 1000, 20}});
  ClusterOptions o = options({Role::prefill, Role::decode});
  const ClusterReport found = play<router::DistServe>(engines(2), o, w);
  expect_whole(found, w);
  // the decode instance computes one token a step and no prompt
  EXPECT_EQ(found.counters[0].steps, 1);
  EXPECT_EQ(found.counters[0].output_tokens, Tokens{1});
  EXPECT_EQ(found.counters[1].steps, 19);
  EXPECT_EQ(found.counters[1].output_tokens, Tokens{19});
  ASSERT_EQ(found.transfer_seconds.size(), 1u);
  EXPECT_NEAR(found.transfer_seconds[0], 1000 * kv_bytes / 25e9 + 1e-5, 1e-9);
  OneEngine alone(setup(12));
  const Report together = quire::replay(static_cast<AnyEngine&>(alone), w);
  const auto& apart = found.records[0];
  const auto& whole = together.records[0];
  EXPECT_EQ(apart.first_token, whole.first_token);
  EXPECT_NEAR(apart.finished.value, whole.finished.value + found.transfer_seconds[0], 1e-3);
  // layer by layer, all but the last is sent while the prompt is computed
  const ClusterReport layered = play<router::Splitwise>(engines(2), o, w);
  EXPECT_NEAR(layered.transfer_seconds[0], 1000 * kv_bytes / 40 / 25e9 + 1e-5, 1e-9);
}

TEST(Cluster, AnAnswerOfOneTokenNeedsNoSecondInstance) {
  const workload::Workload w = fixed({{0.0, 500, 1}, {0.1, 500, 1}});
  const ClusterReport found =
      play<router::Splitwise>(engines(2), options({Role::prefill, Role::decode}), w);
  expect_whole(found, w);
  EXPECT_EQ(found.counters[1].steps, 0);
  EXPECT_TRUE(found.transfer_seconds.empty());
}

TEST(Cluster, SendersAndReceiversTakeTransfersOneByOne) {
  // three prompts of one step end together, so that their keys and values are sent one by one
  const workload::Workload w = fixed({{0.0, 800, 5}, {0.0, 800, 5}, {0.0, 800, 5}});
  ClusterOptions o = options({Role::prefill, Role::decode});
  o.link = {.bytes_per_second = 1e9, .latency = 0.0};
  const ClusterReport found = play<router::DistServe>(engines(2), o, w);
  expect_whole(found, w);
  const double each = 800 * kv_bytes / 1e9;
  ASSERT_EQ(found.transfer_seconds.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(found.transfer_seconds[static_cast<std::size_t>(i)], each * (i + 1), 1e-9);
  }
}

TEST(Cluster, KeysAndValuesWaitWhereTheDecodeInstanceIsFull) {
  // 0.75 GiB hold 983 / 16 = 61 blocks: one of these requests at a time
  const workload::Workload w = fixed({{0.0, 600, 40}, {0.0, 600, 40}, {0.0, 600, 40}});
  ClusterOptions o = options({Role::prefill, Role::decode});
  auto of = engines(1);
  of.push_back(std::make_unique<OneEngine>(setup(0.75)));
  const ClusterReport found = play<router::DistServe>(std::move(of), o, w);
  expect_whole(found, w);
  EXPECT_EQ(found.held_peak, Tokens{1200});  // the first is sent at once
  EXPECT_EQ(found.preemptions(), 0);
  EXPECT_GT(found.transfer_seconds[2], 0.5);
}

/// Moves each request that runs on instance 0 to instance 1, once there is one.
struct AllToSecond : router::RoundRobin {
  static constexpr std::string_view name = "all_to_second";
  explicit AllToSecond(const RouterOptions& o) : RoundRobin(o) {}
  [[nodiscard]] std::size_t route(const Request&, const ClusterView&) { return 0; }
  [[nodiscard]] std::vector<Move> moves(const ClusterView& view) {
    if (view.instances[0].running == 0) return {};
    return {{0, 1}};
  }
  [[nodiscard]] std::size_t chosen(std::span<const Movable>) { return 0; }
};

TEST(Cluster, AMovedRequestLosesNoTokenAndLittleTime) {
  const workload::Workload w = fixed({{0.0, 1500, 200}});
  ClusterOptions o = options();
  const auto moved = [&](Handover handover) {
    o.handover = handover;
    const ClusterReport found = play<AllToSecond>(engines(2), o, w);
    expect_whole(found, w);
    EXPECT_EQ(found.downtimes.size(), 1u);
    EXPECT_EQ(found.counters[0].output_tokens + found.counters[1].output_tokens, Tokens{200});
    EXPECT_GT(found.counters[0].output_tokens, Tokens{1});
    EXPECT_EQ(found.preemptions(), 0);
    return found;
  };
  const ClusterReport live = moved(Handover::live);
  const ClusterReport blocking = moved(Handover::blocking);
  const ClusterReport again = moved(Handover::recompute);
  OneEngine alone(setup(12));
  const Report stays = quire::replay(static_cast<AnyEngine&>(alone), w);
  const double step = stays.records[0].token_times[100] - stays.records[0].token_times[99];
  // live: the tokens since the last copy, and the step after; a copy of all 1500 is 49 ms
  EXPECT_LT(live.downtimes[0], 1.1 * step + 16 * kv_bytes / 25e9);
  EXPECT_NEAR(blocking.downtimes[0], step + 1500 * kv_bytes / 25e9, 0.3 * step);
  // recompute: a step with the whole prompt
  EXPECT_GT(again.downtimes[0], 1500.0 * 2 * 13e9 / 312e12);
  EXPECT_EQ(live.counters[1].prompt_tokens - Tokens{1500}, live.counters[0].output_tokens);
}

TEST(Cluster, MovesThatComeToNothingLeaveTheRequestWhereItIs) {
  // ends during the first copy
  ClusterOptions o = options();
  o.link.bytes_per_second = 1e8;
  const workload::Workload w = fixed({{0.0, 1000, 40}});
  const ClusterReport found = play<AllToSecond>(engines(2), o, w);
  expect_whole(found, w);
  EXPECT_TRUE(found.downtimes.empty());
  EXPECT_EQ(found.moves_given_up, 1);
  EXPECT_EQ(found.counters[1].steps, 0);
}

/// Llumnix' migration behind a dispatch that looks at nothing.
struct TurnsThenMoves : router::Llumnix {
  static constexpr std::string_view name = "round_robin_then_llumnix";
  explicit TurnsThenMoves(const RouterOptions& r) : Llumnix(r) {}
  [[nodiscard]] std::size_t route(const Request&, const ClusterView&) { return next_++ % 2; }
  std::size_t next_ = 0;
};

TEST(Cluster, MigrationRelievesAnInstanceThatRunsShort) {
  // long answers land on one instance, short ones on the other, which is empty soon
  workload::Workload w;
  for (std::size_t k = 0; k < 40; ++k) {
    Request r;
    r.id = RequestId{k};
    r.prompt_length = 100;
    r.output_length = k % 2 == 0 ? 700 : 30;
    w.requests.push_back(r);
  }
  ClusterOptions o = options();
  o.router.give_below = 60;
  o.router.take_above = 120;
  const ClusterReport fixed_place = play<router::RoundRobin>(engines(2, 6), o, w);
  const ClusterReport moved = play<TurnsThenMoves>(engines(2, 6), o, w);
  expect_whole(fixed_place, w);
  expect_whole(moved, w);
  EXPECT_GT(moved.downtimes.size(), 3u);
  EXPECT_LT(moved.preemptions(), fixed_place.preemptions());
  EXPECT_LT(moved.duration, fixed_place.duration);
}

TEST(Cluster, RefusedRequestsAreRecordedWithTheReason) {
  const workload::Workload w = fixed({{0.0, 5000, 5}, {0.0, 100, 5}});
  for (const auto& found :
       {play<router::RoundRobin>(engines(1), options(), w),
        play<router::DistServe>(engines(2), options({Role::prefill, Role::decode}), w)}) {
    ASSERT_EQ(found.records.size(), 2u);
    const auto failed = std::count_if(found.records.begin(), found.records.end(),
                                      [](const auto& r) { return !r.completed(); });
    EXPECT_EQ(failed, 1);
    const auto& first = found.records[found.records[0].completed() ? 1 : 0];
    EXPECT_THAT(first.error, HasSubstr("the prompt has 5000 tokens"));
  }
}

TEST(Cluster, WhatWasDeliveredIsLostOnPreemption) {
  OneEngine engine(setup(1));  // 81 blocks
  for (int k = 0; k < 2; ++k) {
    Request r;
    r.prompt_length = 601;
    r.delivered = 600;
    r.output_length = 100;
    engine.submit(r);
  }
  std::int64_t most = 0;
  while (engine.has_work()) most = std::max(most, engine.step().batched_tokens.value);
  EXPECT_GT(engine.counters().preemptions, 0);
  EXPECT_GT(most, 600);  // one of them was computed from its beginning
  EXPECT_EQ(engine.counters().output_tokens, Tokens{200});
  EXPECT_EQ(engine.counters().prefix_hit_tokens, Tokens{0});
}

TEST(Cluster, DeliveredTokensThatLeaveNothingAreRefused) {
  OneEngine engine(setup(1));
  Request r;
  r.prompt_length = 100;
  r.output_length = 5;
  r.delivered = 100;
  engine.submit(r);
  ASSERT_EQ(engine.take_finished().size(), 1u);
}

TEST(Cluster, WrongSetUpsAreRefused) {
  const auto refusal = [](auto make) -> std::string {
    try {
      make();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  const workload::Workload w = fixed({{0.0, 10, 5}});
  EXPECT_THAT(refusal([&] { play<router::RoundRobin>({}, options(), w); }),
              HasSubstr("no instance"));
  EXPECT_THAT(refusal([&] { play<router::DistServe>(engines(2), options({Role::both}), w); }),
              HasSubstr("1 roles; expected one for each of the 2"));
  EXPECT_THAT(refusal([&] { play<router::RoundRobin>(engines(1), options({Role::prefill}), w); }),
              HasSubstr("does not take prompts and generation apart"));
  EXPECT_THAT(refusal([&] {
                play<router::DistServe>(engines(2), options({Role::prefill, Role::prefill}), w);
              }),
              HasSubstr("no instance has the role"));
  workload::Workload several = w;
  several.requests[0].sampling.n = 2;
  EXPECT_THAT(refusal([&] { play<router::Llumnix>(engines(2), options(), several); }),
              HasSubstr("one sequence a request"));
}

}  // namespace
}  // namespace quire::engine_test
