#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/concepts.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/engine/scripted_engines.hpp"

// What an engine generates depends on the request alone: not on how memory is organised, not on who
// shares the batch, not on what was preempted, shared, cut into chunks or moved.
namespace quire::engine_test {

using Paged = with<presets::Vllm, set_block_size<BlockSize<4>>>;
using Recomputing = with<Paged, set_offload<offload::Recompute>>;
using Swapping = with<Paged, set_offload<offload::SwapToHost>>;
/// Requests with shared beginnings, one to three samples, and a few beams.
inline std::vector<Request> mixed_requests(std::size_t count, bool beams = true) {
  std::vector<Request> requests;
  Rng rng(11);
  for (std::size_t i = 0; i < count; ++i) {
    Request r = request(i % 5, static_cast<std::int64_t>(1 + rng.below(30)),
                        static_cast<std::int64_t>(1 + rng.below(20)));
    r.sampling.seed = 50 * i;
    const std::uint64_t kind = rng.below(6);
    if (kind == 0) r.sampling.n = 3;
    if (kind == 1) r.sampling.n = 2;
    if (kind == 2 && beams) r.sampling.beam_width = r.sampling.n = 3;
    if (rng.below(3) == 0) {  // ends by its own text
      r.output_length.reset();
      r.sampling.max_tokens = 25;
      r.sampling.stop_token_ids = {3, 7};
    }
    requests.push_back(std::move(r));
  }
  return requests;
}

/// Each request alone in an engine with room to spare.
inline Outputs one_by_one(const std::vector<Request>& requests) {
  Outputs out;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    out[i] = run<Recomputing>({.device_blocks = 1000}, {requests[i]}).at(0);
  }
  return out;
}

template <class C>
class Equivalence : public ::testing::Test {};
TYPED_TEST_SUITE_P(Equivalence);

TYPED_TEST_P(Equivalence, WithRoomEqualsOneByOne) {
  const auto requests = mixed_requests(40);
  Scripted::Options options{.device_blocks = 2000};
  options.limits.chunk = 7;
  EXPECT_EQ(run<TypeParam>(options, requests), one_by_one(requests));
}

TYPED_TEST_P(Equivalence, UnderPressureEqualsOneByOne) {
  const auto requests = mixed_requests(60);
  const Outputs expected = one_by_one(requests);
  constexpr std::int64_t block = TypeParam::BlockSize::tokens.value;
  // Room for the largest request (three samples of 50 tokens, or three whole reservations).
  const std::int64_t tokens = TypeParam::Reservation::contiguous ? 4 * 256 : 3 * 52;
  for (const std::int64_t host : {0, 5, 100}) {
    Scripted::Options options{.device_blocks = ceil_div(tokens, block) + 6, .host_blocks = host};
    options.limits.chunk = 40;
    options.limits.max_batch = 6;
    EngineCounters counters;
    EXPECT_EQ(run<TypeParam>(options, requests, &counters), expected) << host << " host blocks";
    EXPECT_EQ(counters.rejected, 0);
    if (!TypeParam::Reservation::contiguous) {
      EXPECT_GT(counters.preemptions, 0) << "no pressure";
    }
  }
}

TYPED_TEST_P(Equivalence, WithASmallTokenBudgetEqualsOneByOne) {
  const auto requests = mixed_requests(40);
  Scripted::Options options{.device_blocks = 2000};
  options.limits.max_batched_tokens = 5;
  options.limits.chunk = 2;
  EXPECT_EQ(run<TypeParam>(options, requests), one_by_one(requests));
}

// Every token that a finished request had computed is accounted for: prompts not found in the
// index, outputs but the last, and what preemptions dropped.
TYPED_TEST_P(Equivalence, CountsEveryComputedToken) {
  const auto requests = mixed_requests(60, /*beams=*/false);
  constexpr std::int64_t block = TypeParam::BlockSize::tokens.value;
  const std::int64_t tokens = TypeParam::Reservation::contiguous ? 4 * 256 : 3 * 52;
  Scripted::Options options{.device_blocks = ceil_div(tokens, block) + 6, .host_blocks = 8};
  options.limits.chunk = 9;
  Engine<TypeParam, Scripted> engine(options);
  for (const Request& r : requests) engine.submit(r);
  Tokens batched = 0;
  const Finished finished = drain(engine, [&] { batched += engine.last_plan().batched_tokens; });
  Tokens expected = 0, recomputed = 0, drawn = 0;
  for (const auto& group : finished) {
    expected += group->prompt_length() - group->timeline.prefix_hit;
    for (const Sequence& s : group->sequences) {
      expected += s.length - group->prompt_length() - 1;
      drawn += s.length - group->prompt_length();
    }
    recomputed += group->timeline.recomputed;
  }
  EXPECT_EQ(batched, expected + recomputed);
  EXPECT_EQ(engine.counters().recomputed_tokens, recomputed);
  EXPECT_EQ(engine.counters().output_tokens, drawn);
}

// Ending one request, at whatever moment of its life, changes nothing for the others, and gives back
// all that it held.
TYPED_TEST_P(Equivalence, ACancelledRequestLeavesNoTrace) {
  auto requests = mixed_requests(9);
  requests[4] = request(4, 13, 15, 3);
  requests[6] = request(6, 13, 15);
  requests[6].sampling.beam_width = 3;
  const Outputs expected = one_by_one(requests);
  constexpr std::int64_t block = TypeParam::BlockSize::tokens.value;
  const std::int64_t tokens = TypeParam::Reservation::contiguous ? 4 * 256 : 3 * 52;
  Scripted::Options options{.device_blocks = ceil_div(tokens, block) + 6, .host_blocks = 30};
  options.limits.chunk = 9;
  options.limits.max_batch = 4;
  for (const std::uint64_t victim : {0u, 4u, 6u, 8u}) {
    for (int moment = 0; moment < 70; moment += 1 + moment / 12) {
      Engine<TypeParam, Scripted> engine(options);
      for (const Request& r : requests) engine.submit(r);
      for (int step = 0; step < moment && engine.has_work(); ++step) engine.step();
      const bool known = engine.cancel(RequestId{victim});
      EXPECT_FALSE(engine.cancel(RequestId{victim})) << "ended twice";
      check(engine);
      const Finished finished = drain(engine, [&] { check(engine); });
      ASSERT_EQ(finished.size(), requests.size());
      EXPECT_EQ(engine.usage().free, engine.usage().capacity);
      Outputs out = outputs_of(finished);
      for (const auto& group : finished) {
        if (group->request.id.value != victim) continue;
        const bool aborted =
            std::any_of(group->sequences.begin(), group->sequences.end(),
                        [](const Sequence& s) { return s.finish == FinishReason::abort; });
        EXPECT_TRUE(known || !aborted) << "it had ended";
        if (!known || group->request.sampling.beam_width > 0) continue;
        EXPECT_TRUE(aborted);
        for (std::size_t i = 0; i < group->sequences.size(); ++i) {
          const auto& whole = expected.at(victim)[i];
          const auto& part = out.at(victim)[i];
          ASSERT_LE(part.size(), whole.size());
          EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin()));
        }
      }
      if (known) out[victim] = expected.at(victim);
      EXPECT_EQ(out, expected) << "request " << victim << " cancelled after " << moment << " steps";
      if (::testing::Test::HasFailure()) return;
    }
  }
}

/// What one random life of an engine is made of.
struct Life {
  Scripted::Options options;
  std::vector<Request> requests;
};
template <class C>
Life random_life(Rng& rng) {
  auto up_to = [&rng](std::uint64_t n) { return static_cast<std::int64_t>(rng.below(n)); };
  Life life;
  const std::int64_t length = 4 + up_to(60);
  const std::int64_t block = C::BlockSize::tokens.value;
  Scripted::Options& o = life.options;
  o.max_length = length;
  o.device_blocks = 1 + up_to(static_cast<std::uint64_t>(4 * ceil_div(length, block) + 4));
  o.host_blocks = rng.below(3) == 0 ? 0 : up_to(40);
  o.limits.max_batched_tokens = 1 + up_to(rng.below(2) == 0 ? 8 : 200);
  o.limits.max_sequences = 1 + up_to(12);
  o.limits.max_batch = 1 + up_to(6);
  o.limits.max_delay = static_cast<double>(up_to(4));
  o.limits.chunk = 1 + up_to(20);
  o.limits.watermark = rng.below(2) == 0 ? 0.0 : rng.uniform() / 4;
  double arrival = 0;
  const std::int64_t count = 1 + up_to(14);
  for (std::int64_t i = 0; i < count; ++i) {
    Request r = request(rng.below(3), 1 + up_to(static_cast<std::uint64_t>(length)), 1 + up_to(20));
    arrival += rng.below(3) == 0 ? 0.0 : rng.exponential(2.0);
    r.arrival = arrival;
    r.salt = rng.below(4) == 0;
    r.priority = static_cast<std::int32_t>(rng.below(3));
    r.tenant = TenantId{static_cast<std::uint32_t>(rng.below(2))};
    r.sampling.n = rng.below(3) == 0 ? 1 + static_cast<std::int32_t>(rng.below(4)) : 1;
    r.sampling.seed = rng.below(100);
    if (rng.below(5) == 0) r.sampling.beam_width = 1 + static_cast<std::int32_t>(rng.below(4));
    if (rng.below(5) == 0) r.sampling.best_of = 1 + static_cast<std::int32_t>(rng.below(4));
    r.sampling.early_stopping = rng.below(2) == 0;
    if (rng.below(2) == 0) {
      r.output_length.reset();
      r.sampling.stop_token_ids = {1, 5};
    }
    life.requests.push_back(std::move(r));
  }
  return life;
}

/// Whether a request cannot run to its end in a pool of this size, whatever else runs.
template <class C>
bool too_large(const SequenceGroup& group, const Scripted::Options& options) {
  const Request& r = group.request;
  const Tokens limit = options.max_length, prompt = r.prompt_length;
  const Tokens output = std::min(r.output_length.value_or(r.sampling.max_tokens), limit);
  const std::int64_t width = r.sampling.width();
  if constexpr (C::Reservation::contiguous) {
    LengthHint hint{.prompt = prompt,
                    .limit = std::min(r.sampling.max_tokens, limit),
                    .output = std::nullopt,
                    .max_length = limit};
    if (r.output_length) hint.output = output;
    const Tokens reserved = C::Reservation::reserve(hint);
    if (reserved < std::min(prompt + output, limit)) return true;
    std::int64_t run = 1;  // runs are powers of two
    while (run < blocks_for(reserved, C::BlockSize::tokens).value) run *= 2;
    return width * run > options.device_blocks;
  } else {
    return width * blocks_for(prompt + output, C::BlockSize::tokens).value > options.device_blocks;
  }
}

// Random requests, limits and pools of a block and up: nothing leaks, nobody waits for ever, and
// whatever was not turned away is what it would have been alone.
TYPED_TEST_P(Equivalence, RandomLivesEndAndLeakNothing) {
  const std::int64_t lives = testing::fuzz_count(60);
  for (std::int64_t seed = 0; seed < lives; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed));
    const Life life = random_life<TypeParam>(rng);
    Engine<TypeParam, Scripted> engine(life.options);
    std::size_t next = 0;
    std::set<std::uint64_t> cancelled;
    std::vector<RequestId> ids;
    for (int step = 0; next < life.requests.size() || engine.has_work(); ++step) {
      ASSERT_LT(step, 20000) << "seed " << seed << ": it runs for ever";
      while (next < life.requests.size() && life.requests[next].arrival <= engine.now()) {
        ids.push_back(engine.submit(life.requests[next++]));
      }
      if (!ids.empty() && rng.below(40) == 0) {
        const RequestId id = ids[rng.below(ids.size())];
        if (engine.cancel(id)) cancelled.insert(id.value);
      }
      if (!ids.empty() && rng.below(40) == 0) {
        const RequestId id = ids[rng.below(ids.size())];
        const auto sample = static_cast<std::int32_t>(rng.below(3));
        if (engine.finish_sequence(id, sample, FinishReason::stop)) cancelled.insert(id.value);
      }
      const StepStats& stats = engine.step();
      check(engine);
      const SchedulerLimits& limits = life.options.limits;
      if (TypeParam::Scheduler::drains) {  // counts requests, whatever their samples
        ASSERT_LE(stats.running_groups, limits.max_batch) << "seed " << seed;
      } else {
        ASSERT_LE(stats.running_sequences, limits.max_sequences) << "seed " << seed;
      }
      if (stats.idle && (engine.has_work() || next < life.requests.size())) {
        std::optional<Seconds> later = stats.wake_at;
        if (next < life.requests.size() && (!later || life.requests[next].arrival < *later)) {
          later = life.requests[next].arrival;
        }
        ASSERT_TRUE(later && *later > engine.now()) << "seed " << seed << ": it is stuck";
        engine.advance_to(*later);
      }
      if (this->HasFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    const Finished finished = engine.take_finished();
    ASSERT_EQ(finished.size(), life.requests.size()) << "seed " << seed;
    ASSERT_EQ(engine.usage().free, engine.usage().capacity) << "seed " << seed;
    const Outputs out = outputs_of(finished);
    for (const auto& group : finished) {
      const std::uint64_t id = group->request.id.value;
      const SamplingParams& p = group->request.sampling;
      if (!group->error.empty()) {
        const bool seats = p.width() <= life.options.limits.max_sequences &&
                           Tokens{p.beam_width} <= life.options.limits.max_batched_tokens;
        EXPECT_TRUE(!seats || too_large<TypeParam>(*group, life.options) ||
                    group->prompt_length() >= Tokens{life.options.max_length} ||
                    (p.beam_width > 0 && p.n > p.beam_width))
            << "seed " << seed << ": request " << id << " was turned away: " << group->error;
        continue;
      }
      EXPECT_LE(std::ssize(group->sequences), std::max(p.n, 1));
      if (cancelled.contains(id)) continue;
      Scripted::Options roomy{.device_blocks = 1000, .max_length = life.options.max_length};
      EXPECT_EQ(out.at(id), run<Recomputing>(roomy, {life.requests[id]}).at(0))
          << "seed " << seed << " request " << id;
    }
    if (this->HasFailure()) FAIL() << "seed " << seed;
  }
}

REGISTER_TYPED_TEST_SUITE_P(Equivalence, WithRoomEqualsOneByOne, UnderPressureEqualsOneByOne,
                            WithASmallTokenBudgetEqualsOneByOne, CountsEveryComputedToken,
                            ACancelledRequestLeavesNoTrace, RandomLivesEndAndLeakNothing);

}  // namespace quire::engine_test
