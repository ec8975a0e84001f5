// Asynchronous scheduling: the plan of a step is made while the step before it runs.
// That the CPU and simulated time decide alike with it is in decision_log_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/presets.hpp>

#include "tests/common/fuzz.hpp"
#include "tests/engine/scripted_engines.hpp"

namespace quire::engine_test {
namespace {

using ::testing::HasSubstr;
using AsynchronousPaged =
    with<presets::Vllm, set_block_size<BlockSize<4>>, set_offload<offload::SwapToHost>>;
using Cached = with<presets::VllmPrefixCache, set_block_size<BlockSize<4>>>;
using Chunked = with<presets::Sarathi, set_block_size<BlockSize<4>>>;

/// Requests of one sequence, some of which end by their own text.
std::vector<Request> some_requests(std::size_t count, std::uint64_t seed) {
  std::vector<Request> requests;
  Rng rng(seed);
  for (std::size_t i = 0; i < count; ++i) {
    Request r = request(i % 7, static_cast<std::int64_t>(1 + rng.below(30)),
                        static_cast<std::int64_t>(1 + rng.below(20)));
    r.sampling.seed = 50 * i;
    if (rng.below(3) == 0) {
      r.output_length.reset();
      r.sampling.max_tokens = 25;
      r.sampling.stop_token_ids = {3, 7};
    }
    requests.push_back(std::move(r));
  }
  return requests;
}

template <class C>
Scripted::Options pressed(bool asynchronous) {
  Scripted::Options options{.device_blocks = 20, .host_blocks = 12};
  options.limits.chunk = 13;
  options.limits.watermark = 0;
  options.limits.asynchronous = asynchronous;
  return options;
}

/// \pre between two steps. All that is held belongs to a request.
template <class AnEngine>
void expect_sound(const AnEngine& engine) {
  std::vector<std::uint32_t> entries(static_cast<std::size_t>(engine.memory().capacity().value));
  for (const auto& group : engine.requests()) {
    for (const Sequence& s : group->sequences) {
      for (const BlockId b : s.tables[0].blocks()) ++entries.at(b.value);
      EXPECT_EQ(s.tokens.size(), static_cast<std::size_t>((s.length - s.expected).value));
      EXPECT_LE(s.expected, Tokens{1});
    }
  }
  for (std::uint32_t b = 0; b < entries.size(); ++b) {
    ASSERT_EQ(engine.memory().pool().references(BlockId{b}), entries[b]) << "block " << b;
  }
}

template <class C>
class Asynchronous : public ::testing::Test {};
using Engines = ::testing::Types<AsynchronousPaged, Cached, Chunked>;
TYPED_TEST_SUITE(Asynchronous, Engines);

TYPED_TEST(Asynchronous, GeneratesWhatSynchronousSchedulingGenerates) {
  for (std::int64_t seed = 0; seed < quire::testing::fuzz_count(20); ++seed) {
    const auto requests = some_requests(40, static_cast<std::uint64_t>(seed));
    EngineCounters counters;
    const Outputs expected = run<TypeParam>(pressed<TypeParam>(false), requests);
    EXPECT_EQ(run<TypeParam>(pressed<TypeParam>(true), requests, &counters), expected) << seed;
    EXPECT_GT(counters.preemptions, 0) << "the pool is too large to test anything";
  }
}

TYPED_TEST(Asynchronous, LosesNothingWhenRequestsAreCancelled) {
  for (std::int64_t seed = 0; seed < quire::testing::fuzz_count(20); ++seed) {
    Engine<TypeParam, Scripted> engine(pressed<TypeParam>(true));
    Rng rng(static_cast<std::uint64_t>(100 + seed));
    std::vector<RequestId> ids;
    for (const Request& r : some_requests(30, static_cast<std::uint64_t>(seed))) {
      ids.push_back(engine.submit(r));
    }
    const Finished finished = drain(engine, [&] {
      expect_sound(engine);
      if (rng.below(4) == 0) engine.cancel(ids[rng.below(ids.size())]);
      if (rng.below(8) == 0)
        engine.finish_sequence(ids[rng.below(ids.size())], 0, FinishReason::stop);
      expect_sound(engine);
    });
    EXPECT_EQ(finished.size(), ids.size());
    for (const auto& group : finished) {
      for (const Sequence& s : group->sequences) {
        EXPECT_EQ(s.tokens.size(), static_cast<std::size_t>(s.length.value));
      }
    }
    EXPECT_EQ(engine.usage().free, engine.usage().capacity);
  }
}

// What runs in which step, against the rule as vLLM's engine loop has it.
TEST(AsynchronousSteps, ARequestThatArrivesInAStepRunsInTheNextButOne) {
  Scripted::Options options;
  options.seconds = [](const StepPlan&) { return 1.0; };
  options.limits.asynchronous = true;
  options.limits.max_sequences = 2;
  Engine<Chunked, Scripted> engine(options);
  auto rows = [&engine] {
    engine.step();
    std::vector<std::uint64_t> ids;
    for (const SequencePlan& s : engine.last_plan().sequences) ids.push_back(s.request.value);
    return ids;
  };
  using Ids = std::vector<std::uint64_t>;
  engine.submit(request(1, 3, 3));
  EXPECT_EQ(rows(), Ids{0});  // an idle engine starts at once
  Request second = request(2, 3, 4);
  second.arrival =
      0.5;  // during that step: submitted at its end, when the next plan is made already
  engine.submit(second);
  EXPECT_EQ(rows(), Ids{0});
  EXPECT_EQ(rows(), (Ids{0, 1}));  // the first request's last token
  Request third = request(3, 3, 2);
  third.arrival = 2.5;
  engine.submit(third);
  // the plan of this step counted on that last token, so the first request is not in it; its seat is
  // free only for the plan after it
  EXPECT_EQ(rows(), Ids{1});
  EXPECT_EQ(rows(), (Ids{1, 2}));
  EXPECT_EQ(rows(), (Ids{1, 2}));
  EXPECT_TRUE(engine.step().idle);
  const Finished finished = engine.take_finished();
  ASSERT_EQ(finished.size(), 3u);
  EXPECT_EQ(finished[0]->timeline.queued, Seconds{0.0});
  EXPECT_EQ(finished[0]->timeline.first_token, Seconds{1.0});
  EXPECT_EQ(finished[1]->timeline.queued, Seconds{1.0});
  EXPECT_EQ(finished[1]->timeline.first_scheduled, Seconds{1.0});
  EXPECT_EQ(finished[1]->timeline.first_token, Seconds{3.0});
}

TEST(AsynchronousSteps, AreRefusedWhereTheyCannotBe) {
  Scripted::Options options;
  options.limits.asynchronous = true;
  using ByRequest = with<presets::Torchserve, set_block_size<BlockSize<4>>>;
  try {
    Engine<ByRequest, Scripted> engine(options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("limits.asynchronous"));
  }
  Engine<AsynchronousPaged, Scripted> engine(options);
  engine.submit(request(1, 4, 4, /*n=*/2));
  EXPECT_THAT(drain(engine).at(0)->error, HasSubstr("one sequence"));
}

}  // namespace
}  // namespace quire::engine_test
