#include <quire/engine/serving_engine.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/executor/timed.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/presets.hpp>

#include "tests/engine/scripted_engines.hpp"

namespace quire::engine_test {
namespace {

using ::testing::HasSubstr;
using StreamedPaged = with<presets::Vllm, set_block_size<BlockSize<4>>>;
using Chunked = with<presets::Sarathi, set_block_size<BlockSize<4>>>;
using ByRequest = with<presets::Torchserve, set_block_size<BlockSize<4>>>;

/// Why a request is turned away; empty when it runs to its end.
template <class C = StreamedPaged>
std::string fate(Request r, const Scripted::Options& options = {}) {
  Engine<C, Scripted> engine(options);
  engine.submit(std::move(r));
  const Finished finished = drain(engine);
  EXPECT_EQ(finished.size(), 1u);
  EXPECT_EQ(engine.usage().free, engine.usage().capacity);
  EXPECT_EQ(engine.counters().rejected, finished[0]->error.empty() ? 0 : 1);
  if (!finished[0]->error.empty()) {
    EXPECT_EQ(finished[0]->sequences[0].finish, FinishReason::rejected);
  }
  return finished[0]->error;
}

TEST(Refusals, SayWhatIsWrong) {
  const Request good = request(1, 8, 4);
  EXPECT_EQ(fate(good), "");
  Request r;
  EXPECT_EQ(fate(r), "the prompt is empty");
  r = good;
  r.sampling.n = 0;
  EXPECT_THAT(fate(r), HasSubstr("n, best_of and beam_width"));
  r = good;
  r.sampling.n = 300;
  EXPECT_THAT(fate(r), HasSubstr("max_sequences"));
  r = good;
  r.sampling.beam_width = 2;
  r.sampling.n = 3;
  EXPECT_THAT(fate(r), HasSubstr("n is larger than beam_width"));
  r = good;
  r.output_length = 0;
  EXPECT_THAT(fate(r), HasSubstr("output length"));
  r.output_length.reset();
  r.sampling.max_tokens = 0;
  EXPECT_THAT(fate(r), HasSubstr("max_tokens"));
  EXPECT_THAT(fate(request(1, 256, 1)), HasSubstr("the prompt has 256 tokens, the limit is 255"));
  r = Request{};
  r.chunks = {{1, 5}, {2, -3}};
  EXPECT_THAT(fate(r), HasSubstr("negative length"));
}

TEST(Refusals, MakeNoTokensOfAPromptThatIsTooLong) {
  Request r;
  r.prompt_length = std::int64_t{1} << 60;
  EXPECT_THAT(fate(r), HasSubstr("the limit is"));
}

TEST(Refusals, HugeOutputsOverflowNothing) {
  Request r = request(1, 8, 4);
  r.output_length.reset();
  r.sampling.max_tokens = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(fate(r), "");  // ends at the model's length
  EXPECT_EQ(fate<presets::OrcaPow2>(r), "");
  EXPECT_EQ(fate<presets::OrcaOracle>(r), "");
  EXPECT_EQ(fate<presets::Tgi>(r), "");
}

TEST(Refusals, AReservationShorterThanTheReplayIsNoReservation) {
  Request r = request(1, 8, 100);
  r.sampling.max_tokens = 16;  // less than the trace says it will write
  EXPECT_THAT(fate<presets::Tgi>(r), HasSubstr("the reservation holds 24 tokens"));
  EXPECT_EQ(fate<presets::OrcaOracle>(r), "");
}

TEST(Refusals, PoolsOfOneBlockAndUpNeverHang) {
  for (std::int64_t blocks = 1; blocks < 12; ++blocks) {
    for (std::int64_t prompt = 1; prompt < 40; prompt += 3) {
      const Scripted::Options options{.device_blocks = blocks, .max_length = 64};
      const std::string why = fate(request(1, prompt, 9), options);
      const bool fits = blocks_for(prompt + 8, 4) <= BlockCount{blocks};
      EXPECT_EQ(why.empty(), fits) << blocks << " blocks, prompt " << prompt << ": " << why;
      fate<Chunked>(request(1, prompt, 9, 2), options);
      fate<ByRequest>(request(1, prompt, 9, 2), options);
    }
  }
}

TEST(Limits, ThatLetNothingRunAreRefused) {
  auto limited = [](auto change) {
    Scripted::Options options;
    change(options.limits);
    Engine<StreamedPaged, Scripted> engine(options);
  };
  EXPECT_THROW(limited([](auto& l) { l.max_batched_tokens = -1; }), Error);
  EXPECT_THROW(limited([](auto& l) { l.max_sequences = 0; }), Error);
  EXPECT_THROW(limited([](auto& l) { l.max_batch = -1; }), Error);
  EXPECT_THROW(limited([](auto& l) { l.chunk = 0; }), Error);
  EXPECT_THROW(limited([](auto& l) { l.watermark = 1.0; }), Error);
  EXPECT_THROW(limited([](auto& l) { l.max_delay = -1.0; }), Error);
  EXPECT_THROW((Engine<StreamedPaged, Scripted>({.device_blocks = 0})), Error);
}

TEST(MaxLength, EndsASequence) {
  Engine<StreamedPaged, Scripted> engine({.limits = {.max_length = 20}});
  engine.submit(request(1, 8, 100));
  const Finished finished = drain(engine);
  EXPECT_EQ(finished[0]->sequences[0].length, Tokens{20});
  EXPECT_EQ(finished[0]->sequences[0].finish, FinishReason::length);
}

TEST(StopTokens, EndASequenceAfterMinTokens) {
  Request r = request(1, 8, 1);
  r.output_length.reset();
  r.sampling.max_tokens = 50;
  for (TokenId v = 0; v < TinyModel::vocab; ++v) r.sampling.stop_token_ids.push_back(v);
  for (const std::int64_t least : {0, 1, 5}) {
    r.sampling.min_tokens = least;
    Engine<StreamedPaged, Scripted> engine({});
    engine.submit(r);
    const Finished finished = drain(engine);
    EXPECT_EQ(finished[0]->sequences[0].length.value, 8 + std::max<std::int64_t>(1, least));
    EXPECT_EQ(finished[0]->sequences[0].finish, FinishReason::stop);
  }
}

TEST(BestOf, ReturnsTheBestByMeanLogProbability) {
  Request all = request(2, 8, 10, 5);
  Request best = all;
  best.sampling.n = 2;
  best.sampling.best_of = 5;
  Engine<StreamedPaged, Scripted> engine({});
  engine.submit(all);
  engine.submit(best);
  const Finished finished = drain(engine);
  auto mean = [](const Sequence& s) {
    return s.cumulative_logprob / static_cast<double>(s.logprobs.size());
  };
  std::vector<double> means;
  for (const Sequence& s : finished[0]->sequences) means.push_back(mean(s));
  ASSERT_EQ(means.size(), 5u);
  std::sort(means.rbegin(), means.rend());
  ASSERT_EQ(finished[1]->sequences.size(), 2u);
  EXPECT_EQ(mean(finished[1]->sequences[0]), means[0]);
  EXPECT_EQ(mean(finished[1]->sequences[1]), means[1]);
}

TEST(FinishSequence, EndsOneSampleAndFreesItsBlocks) {
  Engine<StreamedPaged, Scripted> engine({});
  const RequestId id = engine.submit(request(1, 8, 10, 3));
  engine.step();
  engine.step();
  EXPECT_TRUE(engine.finish_sequence(id, 1, FinishReason::stop));
  EXPECT_FALSE(engine.finish_sequence(id, 1, FinishReason::stop));
  EXPECT_FALSE(engine.finish_sequence(RequestId{77}, 0, FinishReason::stop));
  check(engine);
  const Finished finished = drain(engine, [&] { check(engine); });
  EXPECT_EQ(finished[0]->sequences[0].length, Tokens{18});
  EXPECT_EQ(finished[0]->sequences[1].length, Tokens{10});
  EXPECT_EQ(finished[0]->sequences[1].finish, FinishReason::stop);
}

// After a recompute the first sample computes the prompt for both; when it is ended meanwhile, the
// other has to go on with that, and reads nothing that was never written (Scripted looks).
TEST(FinishSequence, OfTheSampleThatRecomputesThePromptHandsItOn) {
  Scripted::Options options{.device_blocks = 14};
  options.limits.chunk = 6;
  Engine<with<Chunked, set_offload<offload::Recompute>>, Scripted> engine(options);
  engine.submit(request(1, 9, 30));
  const Request two = request(2, 13, 20, 2);
  const RequestId id = engine.submit(two);
  bool ended = false;
  const Finished finished = drain(engine, [&] {
    check(engine);
    for (const auto& g : engine.requests()) {
      if (ended || g->request.id != id || g->status != GroupStatus::running) continue;
      if (g->sequences.size() < 2 || g->sequences[1].shared <= g->sequences[0].computed) continue;
      EXPECT_GT(g->sequences[0].computed, Tokens{0});
      ended = engine.finish_sequence(id, 0, FinishReason::stop);
      break;
    }
  });
  EXPECT_TRUE(ended);
  const Outputs alone = run<Chunked>({.device_blocks = 100}, {two});
  EXPECT_EQ(outputs_of(finished).at(id.value).at(1), alone.at(0).at(1));
}

TEST(RequestLevelBatching, ReturnsAtBatchEndAndLetsNobodyJoin) {
  Engine<ByRequest, Scripted> engine(
      {.limits = {.max_batch = 2}, .seconds = [](auto&) { return 1.0; }});
  engine.submit(request(1, 4, 2));
  engine.submit(request(2, 4, 6));
  engine.submit(request(3, 4, 1));
  std::vector<std::int64_t> running;
  const Finished finished = drain(engine, [&] {
    running.push_back(static_cast<std::int64_t>(engine.last_plan().sequences.size()));
    check(engine);
  });
  EXPECT_THAT(running, ::testing::ElementsAre(2, 2, 1, 1, 1, 1, 1));
  EXPECT_EQ(finished[0]->timeline.last_token, Seconds{2.0});
  EXPECT_EQ(finished[0]->timeline.finished, Seconds{6.0});  // with the batch
  EXPECT_EQ(finished[1]->timeline.finished, Seconds{6.0});
  EXPECT_EQ(finished[2]->timeline.finished, Seconds{7.0});
}

TEST(RequestLevelBatching, KeepsMemoryUntilTheBatchEnds) {
  Engine<ByRequest, Scripted> engine({.limits = {.max_batch = 2}});
  engine.submit(request(1, 4, 1));
  engine.submit(request(2, 4, 6));
  // runs of 2 and of 3 blocks, the latter rounded to 4, before anything was given back
  EXPECT_EQ(engine.step().usage.physical_blocks, BlockCount{2 + 4});
  EXPECT_EQ(engine.usage().physical_blocks, BlockCount{2 + 4}) << "the first request has ended";
  engine.step();
  EXPECT_EQ(engine.usage().physical_blocks, BlockCount{2 + 4});
  drain(engine);
  EXPECT_EQ(engine.usage().physical_blocks, BlockCount{0});
}

TEST(RequestLevelBatching, ReturnsWhenTheLastOfABatchIsCancelled) {
  Engine<ByRequest, Scripted> engine({.limits = {.max_batch = 2}});
  const RequestId a = engine.submit(request(1, 4, 1));
  const RequestId b = engine.submit(request(2, 4, 6));
  engine.step();
  EXPECT_FALSE(engine.cancel(a)) << "it has ended and waits for its batch";
  EXPECT_TRUE(engine.cancel(b));
  EXPECT_FALSE(engine.has_work());
  EXPECT_EQ(engine.take_finished().size(), 2u);
  EXPECT_EQ(engine.usage().free, engine.usage().capacity);
}

TEST(RequestLevelBatching, WaitsForAFullBatchNoLongerThanItsDelay) {
  Scripted::Options options{.seconds = [](auto&) { return 1.0; }};
  options.limits.max_batch = 3;
  options.limits.max_delay = 5.0;
  Engine<ByRequest, Scripted> engine(options);
  Request r = request(1, 4, 1);
  r.arrival = 2.0;
  engine.advance_to(2.0);
  engine.submit(r);
  const StepStats& stats = engine.step();
  EXPECT_TRUE(stats.idle);
  EXPECT_EQ(stats.wake_at, Seconds{7.0});
  EXPECT_EQ(engine.now(), Seconds{2.0});
  engine.submit(r);
  EXPECT_TRUE(engine.step().idle);
  engine.submit(r);
  EXPECT_FALSE(engine.step().idle) << "the batch is full";
  engine.submit(r);
  EXPECT_TRUE(engine.step().idle);
  engine.advance_to(7.0);
  EXPECT_FALSE(engine.step().idle) << "the oldest has waited long enough";
  EXPECT_FALSE(engine.has_work());
}

TEST(Padding, CountsEveryRowOfTheBatch) {
  using Static = with<presets::HfTransformers, set_block_size<BlockSize<4>>>;
  Engine<Static, Scripted> engine({.limits = {.max_batch = 4}, .device_blocks = 512});
  engine.submit(request(1, 10, 1));
  engine.submit(request(2, 4, 3));
  engine.submit(request(3, 6, 2, 2));
  engine.step();
  EXPECT_EQ(engine.last_plan().batched_tokens, Tokens{20});
  EXPECT_EQ(engine.last_plan().padding, Tokens{10});  // three prompts of 10
  engine.step();
  EXPECT_EQ(engine.last_plan().batched_tokens, Tokens{3});
  EXPECT_EQ(engine.last_plan().padding, Tokens{1});  // the first request computes on
  engine.step();
  EXPECT_EQ(engine.last_plan().padding, Tokens{3});  // and both samples of the third
}

TEST(ChunkedPrefill, NeverExceedsItsChunkNorStallsADecode) {
  Scripted::Options options;
  options.limits.chunk = 8;
  Engine<Chunked, Scripted> engine(options);
  for (std::uint64_t i = 0; i < 5; ++i) engine.submit(request(i, 30, 12));
  std::map<std::uint64_t, int> last_seen;
  int step = 0;
  drain(engine, [&] {
    ++step;
    EXPECT_LE(engine.last_plan().batched_tokens, Tokens{8});
    for (const auto& group : engine.requests()) {
      if (!group->forked) continue;
      int& seen = last_seen[group->request.id.value];
      if (seen != 0) {
        EXPECT_EQ(group->timeline.token_times.back(), engine.now().value);
      }
      seen = step;
    }
  });
  EXPECT_EQ(last_seen.size(), 5u);
}

TEST(Timelines, AreInOrderAndCountEveryToken) {
  Engine<StreamedPaged, Scripted> engine({.device_blocks = 20});
  for (std::uint64_t i = 0; i < 12; ++i) {
    Request r = request(i, 9, 8);
    r.arrival = 0.5;
    engine.submit(r);
  }
  engine.advance_to(0.5);
  const Finished finished = drain(engine);
  std::int64_t preemptions = 0;
  for (const auto& group : finished) {
    const Timeline& t = group->timeline;
    EXPECT_EQ(t.arrival, Seconds{0.5});
    EXPECT_LE(t.arrival, t.first_scheduled);
    EXPECT_LT(t.first_scheduled, t.first_token);
    EXPECT_LT(t.first_token, t.last_token);
    EXPECT_EQ(t.last_token, t.finished);
    ASSERT_EQ(t.token_times.size(), 8u);
    EXPECT_TRUE(std::is_sorted(t.token_times.begin(), t.token_times.end()));
    EXPECT_EQ(t.token_times.front(), t.first_token.value);
    preemptions += t.preemptions;
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_EQ(engine.counters().preemptions, preemptions);
  EXPECT_EQ(engine.counters().output_tokens, Tokens{12 * 8});
  EXPECT_EQ(engine.counters().prompt_tokens, Tokens{12 * 9});
}

TEST(Events, StreamEveryTokenOnceInOrder) {
  Engine<StreamedPaged, Scripted> engine({.device_blocks = 20, .host_blocks = 20});
  for (std::uint64_t i = 0; i < 10; ++i) {
    engine.submit(request(i, 9, 8, i % 3 == 0 ? 2 : 1));
  }
  std::map<std::pair<std::uint64_t, std::int32_t>, std::vector<TokenId>> streamed;
  std::map<std::pair<std::uint64_t, std::int32_t>, FinishReason> ends;
  const Finished finished = drain(engine, [&] {
    for (const TokenEvent& e : engine.events()) {
      const std::pair key(e.request.value, e.sample_index);
      EXPECT_EQ(ends[key], FinishReason::none) << "a token after the end";
      streamed[key].push_back(e.token);
      ends[key] = e.finish;
    }
  });
  for (const auto& group : finished) {
    for (const Sequence& s : group->sequences) {
      const std::pair key(group->request.id.value, s.sample_index);
      const std::vector<TokenId> tokens(s.tokens.begin() + 9, s.tokens.end());
      EXPECT_EQ(streamed[key], tokens);
      EXPECT_EQ(ends[key], s.finish);
    }
  }
}

/// The decision log of some requests.
template <class C = StreamedPaged>
std::uint64_t log_of(const std::vector<Request>& requests, const Scripted::Options& options) {
  Engine<C, Scripted> engine(options);
  for (const Request& r : requests) engine.submit(r);
  drain(engine);
  return engine.decision_hash();
}

TEST(DecisionHash, IsTheSameForTheSameAndDiffersOtherwise) {
  std::vector<Request> requests;
  for (std::uint64_t i = 0; i < 20; ++i) requests.push_back(request(i, 5 + i % 7, 9));
  const Scripted::Options options{.device_blocks = 30};
  const std::uint64_t log = log_of(requests, options);
  EXPECT_EQ(log_of(requests, options), log);
  EXPECT_NE(log_of(requests, {.device_blocks = 29}), log);
  EXPECT_NE((log_of<with<StreamedPaged, set_block_size<BlockSize<2>>>>(requests, options)), log);
  EXPECT_NE(log_of<Chunked>(requests, {.limits = {.chunk = 6}, .device_blocks = 30}), log);
  std::swap(requests[0], requests[1]);
  EXPECT_NE(log_of(requests, options), log);
  std::swap(requests[0], requests[1]);
  *requests[19].output_length += 1;
  EXPECT_NE(log_of(requests, options), log);
}

TEST(TimedExecutor, ReplaysDurationsAndSaysWhenThereAreTooFew) {
  using Timed = executor::Timed<Scripted>;
  const auto seconds = std::make_shared<const std::vector<double>>(std::vector{0.5, 0.25, 2.0});
  Timed::Options options;
  options.seconds = seconds;
  Engine<StreamedPaged, Timed> engine(options);
  engine.submit(request(1, 4, 3));
  drain(engine);
  EXPECT_EQ(engine.now(), Seconds{2.75});
  engine.submit(request(1, 4, 1));
  EXPECT_THROW(engine.step(), Error);
}

/// Shortest prompt first, by a rank that never changes; preempts the longest.
class ShortestPrompt : public scheduler::Fcfs {
 public:
  static constexpr std::string_view name = "shortest_prompt";
  using Fcfs::Fcfs;
  [[nodiscard]] double rank(const SequenceGroup& g, Seconds) const {
    return static_cast<double>(g.prompt_length().value);
  }
};
/// Youngest first, by a rank that changes while requests wait and run.
class Youngest : public scheduler::Fcfs {
 public:
  static constexpr std::string_view name = "youngest";
  static constexpr bool dynamic_rank = true;
  using Fcfs::Fcfs;
  [[nodiscard]] double rank(const SequenceGroup& g, Seconds now) const {
    return now.value - g.timeline.arrival.value;
  }
};
/// A request-level batch that starts with the shortest prompts.
class ShortestBatch : public scheduler::DynamicBatch {
 public:
  static constexpr std::string_view name = "shortest_batch";
  using DynamicBatch::DynamicBatch;
  [[nodiscard]] double rank(const SequenceGroup& g, Seconds) const {
    return static_cast<double>(g.prompt_length().value);
  }
};

TEST(Ranks, DecideWhoIsFirst) {
  Scripted::Options options;
  options.limits.max_sequences = 1;
  Engine<with<StreamedPaged, set_scheduler<ShortestPrompt>>, Scripted> engine(options);
  for (const std::int64_t prompt : {9, 3, 7, 5}) engine.submit(request(1, prompt, 2));
  std::vector<std::uint64_t> order;
  for (const auto& group : drain(engine)) order.push_back(group->request.id.value);
  EXPECT_THAT(order, ::testing::ElementsAre(1, 3, 2, 0));
}

TEST(Ranks, MayChangeWithTime) {
  using C = with<StreamedPaged, set_scheduler<Youngest>>;
  Scripted::Options options{.device_blocks = 16, .host_blocks = 16};
  Engine<C, Scripted> engine(options);
  for (std::uint64_t i = 0; i < 12; ++i) {
    Request r = request(i, 6, 12, 1 + static_cast<std::int32_t>(i % 2));
    r.arrival = engine.now();
    engine.submit(r);
    engine.step();
    check(engine);
  }
  const Finished finished = drain(engine, [&] { check(engine); });
  EXPECT_EQ(finished.size(), 12u);
  EXPECT_GT(engine.counters().preemptions, 0);
  EXPECT_EQ(engine.counters().rejected, 0);
  EXPECT_EQ(finished.back()->request.id, RequestId{0});
}

TEST(Ranks, DoNotHideWhoHasWaitedLongest) {
  using C = with<ByRequest, set_scheduler<ShortestBatch>>;
  Scripted::Options options;
  options.limits.max_batch = 5;
  options.limits.max_delay = 10.0;
  Engine<C, Scripted> engine(options);
  engine.submit(request(1, 9, 2));
  engine.advance_to(4.0);
  Request young = request(1, 3, 2);
  young.arrival = 4.0;
  engine.submit(young);
  EXPECT_EQ(engine.step().wake_at, Seconds{10.0});
}

/// A pool of 10 blocks in which request 0 (prompt 8) needs its fifth block in step 10, when request 1
/// (prompt 14) has the other six; others arrive while the pool is full.
template <class C>
Engine<C, Scripted> full_in_step_ten(std::int64_t prompt_of_the_third) {
  Scripted::Options options{.device_blocks = 10, .host_blocks = 10};
  options.limits.watermark = 0;
  Engine<C, Scripted> engine(options);
  engine.submit(request(0, 8, 20));
  engine.submit(request(1, 14, 20));
  for (int step = 1; step < 10; ++step) {
    engine.step();
    EXPECT_TRUE(engine.last_plan().preempted.empty());
    if (step == 8) engine.submit(request(2, prompt_of_the_third, 2));
  }
  return engine;
}
/// The requests in the batch of the last step.
template <class AnEngine>
std::vector<std::uint64_t> batch(const AnEngine& engine) {
  std::vector<std::uint64_t> ids;
  for (const SequencePlan& row : engine.last_plan().sequences) ids.push_back(row.request.value);
  return ids;
}

TEST(Preemption, NobodyIsAdmittedInAStepThatPreempted) {
  using C = with<StreamedPaged, set_scheduler<ShortestPrompt>, set_offload<offload::Recompute>>;
  auto engine = full_in_step_ten<C>(12);
  EXPECT_THAT(batch(engine), ::testing::ElementsAre(0, 1));  // 3 blocks for the third are not there
  engine.step();
  EXPECT_THAT(engine.last_plan().preempted, ::testing::ElementsAre(RequestId{1}));
  EXPECT_THAT(batch(engine), ::testing::ElementsAre(0));
  EXPECT_GE(engine.memory().available(), BlockCount{3});  // now they are
  engine.step();
  EXPECT_THAT(batch(engine), ::testing::ElementsAre(0, 2));
}

TEST(Preemption, NobodyIsAdmittedWhileASwappedGroupWaits) {
  auto engine = full_in_step_ten<with<StreamedPaged, set_offload<offload::SwapToHost>>>(4);
  engine.step();
  EXPECT_THAT(engine.last_plan().preempted, ::testing::ElementsAre(RequestId{1}));
  bool back = false, third_ran = false;
  while (engine.has_work()) {
    const StepStats& stats = engine.step();
    const auto ids = batch(engine);
    const bool third = std::find(ids.begin(), ids.end(), 2) != ids.end();
    if (stats.swapped_groups > 0) {
      EXPECT_FALSE(third);
      EXPECT_GE(engine.memory().available(), BlockCount{1}) << "it would have had room";
    }
    back = back || !engine.last_plan().swap_in.empty();
    third_ran = third_ran || third;
    EXPECT_TRUE(back || !third);
  }
  EXPECT_TRUE(third_ran);
}

TEST(Preemption, TakesTheLatestArrivalFirst) {
  Scripted::Options options{.device_blocks = 12};
  options.limits.watermark = 0;
  Engine<with<StreamedPaged, set_offload<offload::Recompute>>, Scripted> engine(options);
  for (std::uint64_t i = 0; i < 4; ++i) engine.submit(request(i, 11, 30));  // 3 blocks each
  engine.step();
  engine.step();
  engine.step();  // each needs a fourth block: the first two take those of the last two
  EXPECT_THAT(engine.last_plan().preempted, ::testing::ElementsAre(RequestId{3}));
  EXPECT_THAT(batch(engine), ::testing::ElementsAre(0, 1, 2));
}

TEST(Watermark, IsOneBlockInAHundredByDefault) {
  for (const std::int64_t left : {0, 1, 2}) {
    Engine<StreamedPaged, Scripted> engine({.device_blocks = 200, .max_length = 1000});
    engine.submit(request(1, 4, 4));  // one block, and another for its second token
    engine.submit(request(2, 4 * (199 - left), 4));
    engine.step();
    EXPECT_EQ(engine.last_plan().sequences.size(), left < 2 ? 1u : 2u) << left;
  }
}

TEST(Prompts, OfChunksHaveTheLengthOfTheirChunks) {
  using Cached = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>>;
  Engine<Cached, Scripted> engine({});
  Request r;
  r.chunks = {{7, 9}, {8, 4}};
  r.prompt_length = 3;  // not theirs
  r.output_length = 2;
  engine.submit(r);
  drain(engine);
  r.chunks[1].content = 9;
  engine.submit(r);
  const Finished finished = drain(engine);
  EXPECT_EQ(finished[0]->prompt_length(), Tokens{13});
  EXPECT_EQ(finished[0]->timeline.prefix_hit, Tokens{8});  // two whole blocks of the equal nine
}

TEST(Replies, OfAReplayAreWhatTheNextTurnFindsCached) {
  using Cached = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>>;
  Engine<Cached, Scripted> engine({});
  Request r;
  r.chunks = {{7, 8}};
  r.reply = 8;
  r.output_length = 9;
  r.sampling.n = 2;
  engine.submit(r);
  std::vector<TokenId> streamed;
  const Finished first = drain(engine, [&] {
    for (const TokenEvent& e : engine.events()) {
      if (e.sample_index == 0) streamed.push_back(e.token);
    }
  });
  std::vector<TokenId> reply;
  for (std::int64_t t = 0; t < 9; ++t) reply.push_back(chunk_token(8, t));
  EXPECT_EQ(streamed, reply);
  EXPECT_EQ(outputs_of(first).at(0).at(0), reply);
  EXPECT_NE(outputs_of(first).at(0).at(1), reply);
  Request next;
  next.chunks = {{7, 8}, {8, 9}, {9, 3}};
  next.output_length = 1;
  engine.submit(next);
  const Finished second = drain(engine);
  EXPECT_EQ(second[0]->timeline.prefix_hit, Tokens{16});  // all but the token that was not computed
  // without a replay nothing is forced
  r.output_length.reset();
  r.sampling.max_tokens = 9;
  engine.submit(r);
  EXPECT_NE(outputs_of(drain(engine)).at(2).at(0), reply);
}

TEST(PrefixIndex, ARequestThatCannotRunYetCostsNobodyTheirCachedBlocks) {
  using Cached = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>>;
  Scripted::Options options{.device_blocks = 12};
  options.limits.max_batched_tokens = 20;
  options.limits.watermark = 0;
  Engine<Cached, Scripted> engine(options);
  engine.submit(request(1, 12, 1));
  drain(engine);
  const BlockCount cached = engine.memory().pool().cached();
  EXPECT_EQ(cached, BlockCount{3});
  engine.submit(request(2, 6, 6));
  engine.step();
  engine.submit(request(3, 36, 2));  // longer than what the step's budget leaves
  engine.step();
  EXPECT_EQ(engine.last_plan().sequences.size(), 1u);
  EXPECT_TRUE(engine.last_plan().evicted.empty());
  EXPECT_GE(engine.memory().pool().cached(), cached);
}

}  // namespace
}  // namespace quire::engine_test
