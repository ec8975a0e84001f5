#include <quire/core/thread_pool.hpp>

#ifdef __linux__
#include <sched.h>
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/error.hpp>
#include <quire/core/processors.hpp>

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

TEST_P(ThreadPoolOf, WakesNobodyWhereThatIsNotWorthIt) {
  ThreadPool pool(GetParam());
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<std::size_t> ran;  // in order, by one thread
  pool.parallel_for(
      1000,
      [&](std::size_t i) {
        EXPECT_EQ(std::this_thread::get_id(), caller);
        ran.push_back(i);
      },
      false);
  std::vector<std::size_t> all(1000);
  std::iota(all.begin(), all.end(), 0u);
  EXPECT_EQ(ran, all);
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

ThreadPlaces threads_of_nodes(std::vector<std::size_t> nodes) {
  ThreadPlaces places(nodes.size());
  places.nodes = std::move(nodes);
  return places;
}

TEST(ThreadPoolOfNodes, EachNodeBeginsWithItsShare) {
  ThreadPool pool(threads_of_nodes({0, 0, 1, 1, 1, 2}));
  // the shares of 2, 3 and 1 threads: [0, 20), [20, 50), [50, 60)
  constexpr std::size_t firsts[] = {0, 1, 20, 21, 22, 50};
  for (int round = 0; round < 20; ++round) {
    std::atomic<std::size_t> begun{0};
    std::vector<std::atomic<int>> calls(60);
    std::mutex mutex;
    std::set<std::size_t> first;
    pool.parallel_for(60, [&](std::size_t i) {
      ++calls[i];
      thread_local int of_round = -1;
      if (of_round == round) return;
      of_round = round;
      {
        const std::lock_guard lock(mutex);
        first.insert(i);
      }
      ++begun;
      while (begun.load() < 6) std::this_thread::yield();  // nobody helps another node before
    });
    EXPECT_EQ(first, std::set<std::size_t>(std::begin(firsts), std::end(firsts)));
    for (const auto& n : calls) ASSERT_EQ(n.load(), 1);
  }
}

TEST(ThreadPoolOfNodes, WhoIsDoneHelpsTheOthers) {
  ThreadPool pool(threads_of_nodes({0, 1}));
  for (const std::size_t held : {std::size_t{0}, std::size_t{50}}) {  // a share's first index
    std::vector<std::atomic<int>> calls(100);
    std::atomic<std::size_t> done{0};
    pool.parallel_for(100, [&](std::size_t i) {
      ++calls[i];
      if (i == held) {
        while (done.load() < 99) std::this_thread::yield();  // all others are run meanwhile
      }
      ++done;
    });
    for (const auto& n : calls) ASSERT_EQ(n.load(), 1);
  }
}

TEST(ThreadPoolOfNodes, RunsEachIndexOnce) {
  ThreadPool pool(threads_of_nodes({0, 1, 2}));
  for (int round = 0; round < 200; ++round) {
    for (const std::size_t count : {1u, 2u, 3u, 5u, 64u}) {
      std::vector<std::atomic<int>> calls(count);
      pool.parallel_for(count, [&](std::size_t i) { ++calls[i]; });
      for (const auto& n : calls) ASSERT_EQ(n.load(), 1);
    }
  }
}

#ifdef __linux__
/// Where the calling thread may run.
std::set<int> places_of_this_thread() {
  cpu_set_t allowed;
  EXPECT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  std::set<int> out;
  for (int id = 0; id < CPU_SETSIZE; ++id) {
    if (CPU_ISSET(id, &allowed)) out.insert(id);
  }
  return out;
}
/// Where both threads of a pool may run.
std::set<int> places_of_two(ThreadPool& pool) {
  std::atomic<int> begun{0};
  std::mutex mutex;
  std::set<int> seen;
  pool.parallel_for(2, [&](std::size_t) {
    ++begun;
    while (begun.load() < 2) std::this_thread::yield();  // one index each
    const std::lock_guard lock(mutex);
    seen.merge(places_of_this_thread());
  });
  return seen;
}

TEST(ThreadPoolOfNodes, ThreadsStayOnTheirProcessorsAsLongAsThePoolLives) {
  const std::vector<Processor> all = processors_of_machine();
  if (all.size() < 2) GTEST_SKIP() << "there is one processor";
  const std::set<int> anywhere = places_of_this_thread();
  {
    const ThreadPlaces places = place_threads(2, all);
    ThreadPool pool(places);
    EXPECT_EQ(places_of_two(pool),
              std::set<int>(places.processors.begin(), places.processors.end()));
    EXPECT_EQ(places_of_this_thread().size(), 1u);
    EXPECT_EQ(processors_of_machine(), all);
    std::thread([&] {  // made by a pinned thread
      EXPECT_EQ(places_of_this_thread().size(), 1u);
      leave_pinned_processor();
      EXPECT_EQ(places_of_this_thread(), anywhere);
    })
        .join();
  }
  EXPECT_EQ(places_of_this_thread(), anywhere);
}
// A pool beside it, whose maker is pinned: its threads run anywhere, or where they are put.
TEST(ThreadPoolOfNodes, APoolMadeByAPinnedThreadHasProcessorsOfItsOwn) {
  const std::vector<Processor> all = processors_of_machine();
  if (all.size() < 2) GTEST_SKIP() << "there is one processor";
  const std::set<int> anywhere = places_of_this_thread();
  const ThreadPlaces places = place_threads(2, all);
  auto first = std::make_unique<ThreadPool>(places);
  {
    ThreadPool beside(2);
    EXPECT_EQ(places_of_two(beside), anywhere);
  }
  auto second = std::make_unique<ThreadPool>(place_threads(2, processors_of_machine()));
  EXPECT_EQ(places_of_two(*second),
            std::set<int>(places.processors.begin(), places.processors.end()));
  first.reset();  // not the newest
  EXPECT_EQ(places_of_this_thread().size(), 1u);
  second.reset();
  EXPECT_EQ(places_of_this_thread(), anywhere);
}
TEST(ThreadPoolOfNodes, AProcessorThatThereIsNotIsRefused) {
  ThreadPlaces places(1);
  places.processors = {CPU_SETSIZE - 1};
  if (places_of_this_thread().contains(CPU_SETSIZE - 1)) GTEST_SKIP() << "there is";
  EXPECT_THROW(ThreadPool{places}, Error);
}
#endif

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
