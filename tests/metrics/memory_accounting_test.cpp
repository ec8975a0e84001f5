#include <quire/metrics/memory_accounting.hpp>

#include <gtest/gtest.h>

namespace {

using namespace quire;
using namespace quire::metrics;

StepStats step(double seconds, std::int64_t tokens, std::int64_t running) {
  StepStats s;
  s.seconds = seconds;
  s.running_groups = s.running_sequences = running;
  s.batched_tokens = running;
  s.usage.capacity = 100;
  s.usage.token_states = tokens;
  s.usage.reserved = 10;
  s.usage.internal = 5;
  s.usage.rounding = 4;
  s.usage.holes = 3;
  s.usage.free = 100 - tokens - 22;
  s.usage.logical_blocks = 4 * running;
  s.usage.physical_blocks = 2 + running;
  return s;
}

TEST(MemoryAccounting, SharesAddUpToOne) {
  const MemoryShares s = shares_of(step(1, 30, 1).usage);
  EXPECT_DOUBLE_EQ(s.token_states + s.reserved + s.internal + s.holes + s.external(), 1);
  EXPECT_DOUBLE_EQ(s.holes, 0.03);
  EXPECT_DOUBLE_EQ(s.external(), 0.52);
}

TEST(MemoryAccounting, AveragesOverTimeAndOverIterations) {
  MemoryAccounting memory;
  memory.add(step(1.0, 20, 2), 1.0);
  memory.add(step(3.0, 40, 6), 4.0);
  EXPECT_DOUBLE_EQ(memory.by_time().shares.token_states, 0.35);  // (20 + 120) / 4
  EXPECT_DOUBLE_EQ(memory.by_iteration().shares.token_states, 0.30);
  EXPECT_DOUBLE_EQ(memory.by_time().shares.holes, 0.03);
  EXPECT_DOUBLE_EQ(memory.by_time().running_requests, 5);
  EXPECT_DOUBLE_EQ(memory.by_iteration().running_requests, 4);
  EXPECT_EQ(memory.iterations(), 2);
  EXPECT_EQ(memory.peak_running_requests(), 6);
}

TEST(MemoryAccounting, KeepsBothDefinitionsOfSharing) {
  MemoryAccounting memory;
  memory.add(step(1.0, 20, 2), 1.0);  // 8 logical, 4 physical: 2
  memory.add(step(1.0, 20, 6), 2.0);  // 24 logical, 8 physical: 3
  EXPECT_DOUBLE_EQ(memory.by_iteration().sharing, 2.5);
  EXPECT_DOUBLE_EQ(memory.by_iteration().saving_from_mean_ratio(), 0.6);
  EXPECT_DOUBLE_EQ(memory.block_saving(), 1 - 12.0 / 32);
}

TEST(MemoryAccounting, CountsOnlyWhatLiesInItsWindow) {
  MemoryAccounting memory(2.0, 6.0);
  memory.add(step(2.0, 10, 1), 2.0);  // ends where the window begins
  memory.add(step(2.0, 20, 1), 4.0);
  memory.add(step(4.0, 50, 1), 8.0);  // half of it inside
  memory.add(step(1.0, 90, 1), 9.0);
  EXPECT_EQ(memory.iterations(), 2);
  EXPECT_DOUBLE_EQ(memory.by_time().shares.token_states, 0.35);
  StepStats idle = step(1.0, 70, 1);
  idle.idle = true;
  memory.add(idle, 5.0);
  EXPECT_EQ(memory.iterations(), 2);
}

}  // namespace
