#include <gtest/gtest.h>

#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/presets.hpp>

#include "tests/engine/scripted.hpp"

// What an engine generates depends on the request alone: not on how memory is organised, not on who
// shares the batch, not on what was preempted, shared, cut into chunks or moved.
namespace quire::engine_test {
namespace {

using Paged = with<presets::Vllm, set_block_size<BlockSize<4>>>;
using Recomputing = with<Paged, set_offload<offload::Recompute>>;
using Swapping = with<Paged, set_offload<offload::SwapToHost>>;
using Chunked = with<Recomputing, set_scheduler<scheduler::ChunkedPrefill>>;
using ChunkedSwapping = with<Swapping, set_scheduler<scheduler::ChunkedPrefill>>;
using Cached = with<Recomputing, set_prefix_index<prefix_index::HashChain>>;
using CachedSwapping = with<Swapping, set_prefix_index<prefix_index::HashChain>>;
using CachedChunked = with<Chunked, set_prefix_index<prefix_index::HashChain>>;

/// Requests with shared beginnings, one to three samples, and a few beams.
std::vector<Request> mixed_requests(std::size_t count, bool beams = true) {
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
Outputs one_by_one(const std::vector<Request>& requests) {
  Outputs out;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    out[i] = run<Recomputing>({.device_blocks = 1000}, {requests[i]}).at(0);
  }
  return out;
}

template <class C>
class Equivalence : public ::testing::Test {};
using Variants = ::testing::Types<
    Recomputing, Swapping, Paged, Chunked, ChunkedSwapping, Cached, CachedSwapping, CachedChunked,
    with<Recomputing, set_block_size<BlockSize<1>>>, with<Swapping, set_block_size<BlockSize<32>>>,
    presets::OrcaMax, presets::OrcaPow2, presets::OrcaOracle, presets::Tgi, presets::HfTransformers,
    presets::FasterTransformer, with<Recomputing, set_scheduler<scheduler::StaticBatch>>,
    with<Swapping, set_scheduler<scheduler::DynamicBatch>>>;
TYPED_TEST_SUITE(Equivalence, Variants);

TYPED_TEST(Equivalence, WithRoomEqualsOneByOne) {
  const auto requests = mixed_requests(40);
  Scripted::Options options{.device_blocks = 2000};
  options.limits.chunk = 7;
  EXPECT_EQ(run<TypeParam>(options, requests), one_by_one(requests));
}

TYPED_TEST(Equivalence, UnderPressureEqualsOneByOne) {
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

TYPED_TEST(Equivalence, WithASmallTokenBudgetEqualsOneByOne) {
  const auto requests = mixed_requests(40);
  Scripted::Options options{.device_blocks = 2000};
  options.limits.max_batched_tokens = 5;
  options.limits.chunk = 2;
  EXPECT_EQ(run<TypeParam>(options, requests), one_by_one(requests));
}

TEST(Samples, EqualSingleRunsWithTheirSeeds) {
  Request group = request(1, 9, 12, 4);
  const Outputs together = run<Paged>({}, {group});
  for (std::int32_t i = 0; i < 4; ++i) {
    Request single = group;
    single.sampling.n = 1;
    single.sampling.seed += static_cast<std::uint64_t>(i);
    EXPECT_EQ(run<Paged>({}, {single}).at(0).at(0), together.at(0).at(static_cast<std::size_t>(i)));
  }
}

TEST(Preemption, HappensByBothWaysAndFallsBackWhenTheHostIsFull) {
  const auto requests = mixed_requests(60);
  EngineCounters counters;
  run<Recomputing>({.device_blocks = 46}, requests, &counters);
  EXPECT_GT(counters.recomputed_tokens, Tokens{0});
  EXPECT_EQ(counters.swapped_out_blocks, BlockCount{0});
  run<Swapping>({.device_blocks = 46, .host_blocks = 1000}, requests, &counters);
  EXPECT_EQ(counters.recomputed_tokens, Tokens{0});
  EXPECT_GT(counters.swapped_out_blocks, BlockCount{0});
  EXPECT_EQ(counters.swaps_refused, 0);
  run<Swapping>({.device_blocks = 46, .host_blocks = 6}, requests, &counters);
  EXPECT_GT(counters.swaps_refused, 0);
  EXPECT_GT(counters.recomputed_tokens, Tokens{0});
}

TEST(PrefixIndex, SavesWorkAndChangesNothing) {
  const auto requests = mixed_requests(60);
  EngineCounters with_index, without;
  const Outputs a = run<Cached>({.device_blocks = 60}, requests, &with_index);
  const Outputs b = run<Recomputing>({.device_blocks = 60}, requests, &without);
  EXPECT_EQ(a, b);
  EXPECT_GT(with_index.prefix_hit_tokens, Tokens{0});
  EXPECT_EQ(without.prefix_hit_tokens, Tokens{0});
}

TEST(PrefixIndex, KeepsTenantsWithDifferentSaltsApart) {
  for (const std::uint64_t salt : {0u, 1u}) {
    Engine<Cached, Scripted> engine({});
    engine.submit(request(1, 24, 2));
    drain(engine);
    Request other = request(1, 24, 2);
    other.salt = salt;
    engine.submit(other);
    drain(engine);
    EXPECT_EQ(engine.counters().prefix_hit_tokens, Tokens{salt == 0 ? 20 : 0});
  }
}

// Every token that a finished request had computed is accounted for: prompts not found in the
// index, outputs but the last, and what preemptions dropped.
TYPED_TEST(Equivalence, CountsEveryComputedToken) {
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

}  // namespace
}  // namespace quire::engine_test
