// Once its requests run, an engine allocates nothing from step to step.
#include <gtest/gtest.h>

#include <cstdint>

#include <quire/engine/serving_engine.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>

#include "tests/common/count_allocations.hpp"

namespace quire {
namespace {

/// Draws the same token for everybody.
struct Repeats {
  struct Options {
    SchedulerLimits limits{};
    BlockCount device_blocks = 0;
  };
  static model::Shape shape(const Options&) { return model::llama_7b; }
  template <class C>
  static KvGeometry geometry(const Options& options) {
    return {.device_blocks = options.device_blocks, .block_tokens = C::BlockSize::tokens};
  }
  template <class C>
  struct Bound {
    static constexpr std::string_view name = "repeats";
    static constexpr bool needs_tokens = true;
    Bound(const Options&, const KvGeometry&) {}
    void execute(const StepPlan& plan, StepResult& result) {
      result.clear();
      result.seconds = 0.01;
      for (const SequencePlan& s : plan.sequences) {
        result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
        for (std::int32_t d = 0; d < s.draws; ++d) result.draws.push_back({TokenId{5}, -1.0f});
      }
      result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
    }
  };
};

TEST(SteadyState, DecodingAllocatesNothing) {
  for (const std::int32_t width : {1, 3}) {
    Engine<presets::VllmPrefixCache, Repeats> engine(
        {.limits = {.max_batched_tokens = 1 << 20, .max_sequences = 256}, .device_blocks = 20'000});
    for (std::uint64_t i = 0; i < 64; ++i) {
      Request r;
      for (std::uint64_t t = 0; t < 100 + i; ++t) {
        r.prompt.push_back(static_cast<TokenId>(counter_bits(1, i, t) % 1000));
      }
      r.sampling.max_tokens = 1000;
      r.sampling.n = width;
      engine.submit(std::move(r));
    }
    for (int step = 0; step < 40; ++step) engine.step();  // more than a block of each
    const std::size_t before = testing::allocations.load();
    for (int step = 0; step < 500; ++step) engine.step();
    EXPECT_EQ(testing::allocations.load() - before, 0u) << width << " sequences a request";
    EXPECT_EQ(engine.last_plan().sequences.size(), static_cast<std::size_t>(64 * width));
    EXPECT_EQ(engine.counters().preemptions, 0);
  }
}

}  // namespace
}  // namespace quire
