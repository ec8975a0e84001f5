#include <quire/core/thread_pool.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace quire {
namespace {

class ThreadPoolOf : public ::testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolOf, ::testing::Values(1, 2, 3, 8));

TEST_P(ThreadPoolOf, RunsEachIndexOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (std::size_t count : {0u, 1u, 2u, 7u, 1000u}) {
    std::vector<std::atomic<int>> calls(count);
    pool.parallel_for(count, [&](std::size_t i) { ++calls[i]; });
    for (const auto& n : calls) EXPECT_EQ(n.load(), 1);
  }
}

TEST_P(ThreadPoolOf, SeesWhatTheBodyWrote) {
  ThreadPool pool(GetParam());
  std::vector<std::size_t> squares(5000);
  for (std::size_t round = 0; round < 20; ++round) {  // reuse: an old round must not leak in
    pool.parallel_for(squares.size(), [&](std::size_t i) { squares[i] = i * i + round; });
    for (std::size_t i = 0; i < squares.size(); ++i) ASSERT_EQ(squares[i], i * i + round);
  }
}

TEST_P(ThreadPoolOf, RethrowsAndGoesOn) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 10; ++round) {
    try {
      pool.parallel_for(100, [](std::size_t i) {
        if (i % 10 == 3) throw std::runtime_error("index " + std::to_string(i));
      });
      FAIL() << "the exception was swallowed";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()).rfind("index ", 0), 0u);
    }
    std::atomic<std::size_t> sum{0};
    pool.parallel_for(100, [&](std::size_t i) { sum += i; });
    EXPECT_EQ(sum.load(), 4950u) << "after an exception";
  }
}

TEST_P(ThreadPoolOf, NothingRunsAfterTheCallReturnsWithAnException) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> open{true};
    std::atomic<int> late{0};
    EXPECT_THROW(pool.parallel_for(64,
                                   [&](std::size_t i) {
                                     if (!open.load()) ++late;
                                     if (i == 0) throw std::runtime_error("first");
                                   }),
                 std::runtime_error);
    open = false;
    EXPECT_EQ(late.load(), 0);
  }
}

TEST(ThreadPool, ASingleThreadIsTheCaller) {
  ThreadPool pool;
  const auto caller = std::this_thread::get_id();
  pool.parallel_for(10, [&](std::size_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(ThreadPool, KeepsScratchMemoryFromCallToCall) {
  ThreadPool pool(2);
  std::byte* const first = pool.scratch(1000);
  first[999] = std::byte{1};
  EXPECT_EQ(pool.scratch(500), first);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pool.scratch(5000)) % 64, 0u);
}

/// Threads that sleep wake up, and those that still look for work find it.
TEST(ThreadPool, LoopsNearAndFarApart) {
  ThreadPool pool(2);
  std::atomic<int> calls{0};
  for (int round = 0; round < 300; ++round) {
    if (round % 30 == 0) std::this_thread::sleep_for(2 * ThreadPool::patience);
    pool.parallel_for(3, [&](std::size_t) { ++calls; });
    ASSERT_EQ(calls.load(), 3 * (round + 1));
  }
}

TEST(ThreadPool, EndsWithoutWork) {
  for (int i = 0; i < 100; ++i) ThreadPool pool(4);
}

TEST(ThreadPool, TakesBodiesThatMayNotBeCopied) {
  ThreadPool pool(2);
  struct Body {
    std::atomic<int> calls{0};
    void operator()(std::size_t) { ++calls; }
  } body;
  pool.parallel_for(10, body);
  EXPECT_EQ(body.calls.load(), 10);
}

}  // namespace
}  // namespace quire
