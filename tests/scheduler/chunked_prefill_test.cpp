#include <quire/scheduler/chunked_prefill.hpp>

#include <gtest/gtest.h>

#include "tests/scheduler/conformance.hpp"
#include "tests/scheduler/play.hpp"

namespace quire::scheduler_test {
namespace {

TEST(ChunkedPrefill, CutsPromptsToWhatTheDecodesLeave) {
  const scheduler::ChunkedPrefill sarathi(SchedulerLimits{.chunk = 512});
  BatchState state;
  state.batched_tokens = 100;
  EXPECT_EQ(sarathi.allot(state, 2000), Tokens{412});
  EXPECT_EQ(sarathi.allot(state, 300), Tokens{300});
  state.batched_tokens = 512;
  EXPECT_EQ(sarathi.allot(state, 300), Tokens{0});
}

TEST(ChunkedPrefill, NeverStallsADecode) {
  const scheduler::ChunkedPrefill sarathi(SchedulerLimits{.chunk = 512});
  BatchState state;
  state.batched_tokens = 4000;
  EXPECT_EQ(sarathi.allot(state, 1), Tokens{1});
}

TEST(ChunkedPrefill, AdmitsWhileTheChunkHasRoom) {
  const scheduler::ChunkedPrefill sarathi(SchedulerLimits{.max_sequences = 100, .chunk = 512});
  BatchState state;
  state.idle = false;
  state.batched_tokens = 511;
  EXPECT_EQ(sarathi.admit(state, group(2000)), Admission::admit);
  state.batched_tokens = 512;
  EXPECT_EQ(sarathi.admit(state, group(2000)), Admission::hold);
}

TEST(ChunkedPrefill, SurvivesRandomWorkloads) {
  survives_random_workloads<scheduler::ChunkedPrefill>();
}

}  // namespace
}  // namespace quire::scheduler_test
