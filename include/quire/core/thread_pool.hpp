#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <hwy/cache_control.h>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/processors.hpp>

namespace quire {

/// Runs the same loop body on several threads; the caller is one of them.
/// Which thread runs which index is not fixed, so a body must write only what its index owns; then
/// results do not depend on the number of threads.
///
/// A step has hundreds of loops, microseconds apart, and waking a thread takes some tens of them. So
/// whoever waits looks again for `patience` before it sleeps: not longer, since another process may want
/// the core, and not at all where there are more threads than cores. A loop ends with its last index,
/// whether or not all threads woke up in time for one.
///
/// Threads with places (core/processors.hpp) stay there. Where these are of several nodes, each node begins
/// with a share of the indices, the same in every loop of as many threads, and goes on with the others'
/// when its own are done: what a loop wrote first lies in the memory of those who read it later.
/// \errors the first exception a body throws is rethrown to the caller, after all threads stopped; state,
/// from the constructor, where the system does not let its caller be pinned.
class ThreadPool {
 public:
  static constexpr std::chrono::microseconds patience{60};

  /// threads: at least 1; 1 starts none and runs everything on the caller.
  explicit ThreadPool(std::size_t threads = 1) : ThreadPool(ThreadPlaces(threads)) {}
  /// places: of the caller, who is pinned as long as the pool lives, and of the other threads
  explicit ThreadPool(const ThreadPlaces& places)
      : patient_(places.processors.size() <= std::thread::hardware_concurrency()),
        pinned_(places.processors.front()),
        shares_(places.node_count()) {
    if (pinned_.failed()) {
      throw state_error(
          "pin_threads",
          "a thread cannot be kept on processor " + std::to_string(places.processors.front()),
          "a system that lets it");
    }
    for (const std::size_t node : places.nodes) ++shares_[node].threads;
    for (std::size_t i = 1; i < places.processors.size(); ++i) {
      workers_.emplace_back([this, processor = places.processors[i], node = places.nodes[i]] {
        leave_pinned_processor();
        const PinnedThread pinned(processor);
        work(node);
      });
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    {
      std::lock_guard lock(mutex_);
      stop_.store(true);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  [[nodiscard]] std::size_t size() const { return workers_.size() + 1; }

  /// Calls body(i) once for every i in [0, count) and returns when all are done. Not reentrant.
  /// wake: false where the work is not worth waking threads: the caller does all of it
  /// \pre count < 2^32
  template <class Body>
  void parallel_for(std::size_t count, Body&& body, bool wake = true) {
    run(
        count, const_cast<void*>(static_cast<const void*>(&body)),
        [](void* context, std::size_t i) {
          (*static_cast<std::remove_reference_t<Body>*>(context))(i);
        },
        wake);
  }

  /// Memory of whoever calls loops, kept from call to call; what it held before is lost. which: 0 or 1, two
  /// that do not touch each other
  [[nodiscard]] std::byte* scratch(std::size_t bytes, std::size_t which = 0) {
    AlignedArray<std::byte>& memory = scratch_[which];
    if (memory.size() < bytes) memory = AlignedArray<std::byte>(bytes);
    return memory.data();
  }

 private:
  /// A loop whatever its body, so that it is compiled once and not for each.
  void run(std::size_t count, void* context, void (*call)(void*, std::size_t), bool wake) {
    if (workers_.empty() || count < 2 || !wake) {
      for (std::size_t i = 0; i < count; ++i) call(context, i);
      return;
    }
    context_ = context;
    call_ = call;
    failed_.store(false, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    count_ = count;
    deal(count);
    loops_.fetch_add(1);
    if (asleep_.load() > 0) {
      std::lock_guard lock(mutex_);
      wake_.notify_all();
    }
    drain(0);
    const auto finished = [&] { return done_.load(std::memory_order_acquire) == count; };
    if (!wait_a_little(finished)) {
      std::unique_lock lock(mutex_);
      caller_asleep_.store(true);
      finished_.wait(lock, [&] { return done_.load() == count; });
      caller_asleep_.store(false);
    }
    if (failed_.load(std::memory_order_relaxed)) {
      std::exception_ptr error;
      std::swap(error, error_);
      std::rethrow_exception(error);
    }
  }

  template <class Ready>
  [[nodiscard]] bool wait_a_little(const Ready& ready) const {
    if (ready() || !patient_) return ready();
    const auto until = std::chrono::steady_clock::now() + patience;
    do {
      for (int i = 0; i < 16; ++i) {
        if (ready()) return true;
        hwy::Pause();
      }
    } while (std::chrono::steady_clock::now() < until);
    return false;
  }

  /// A node's part of a loop.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> tickets{0};  // how many indices, then the next one
    std::size_t begin = 0;                  // the first index
    std::size_t threads = 0;                // of the node
  };
  static constexpr std::uint64_t index_mask = 0xffffffffu;

  void deal(std::size_t count) {
    std::size_t begin = 0, threads = 0;
    for (Share& share : shares_) {
      threads += share.threads;
      const std::size_t end = count * threads / size();
      share.begin = begin;
      share.tickets.store(static_cast<std::uint64_t>(end - begin) << 32);
      begin = end;
    }
  }

  /// Takes tickets until there are none, of the home node first. A ticket tells its share's size and an
  /// index; who holds one below the size holds up the loop's end, so that call and context are its own.
  void drain(std::size_t home) {
    std::size_t ran = 0;
    for (std::size_t n = 0; n < shares_.size(); ++n) {
      Share& share = shares_[(home + n) % shares_.size()];
      for (;;) {
        const std::uint64_t ticket = share.tickets.fetch_add(1, std::memory_order_acq_rel);
        const auto i = static_cast<std::size_t>(ticket & index_mask);
        if (i >= ticket >> 32) break;
        ++ran;
        if (failed_.load(std::memory_order_relaxed)) continue;
        try {
          call_(context_, share.begin + i);
        } catch (...) {
          std::lock_guard lock(mutex_);
          if (!failed_.exchange(true)) error_ = std::current_exception();
        }
      }
    }
    if (ran == 0) return;
    const std::size_t count =
        count_;  // of a loop that cannot end before this call's indices are done
    if (done_.fetch_add(ran) + ran < count || !caller_asleep_.load()) return;
    std::lock_guard lock(mutex_);
    finished_.notify_one();
  }

  void work(std::size_t home) {
    std::uint64_t seen = 0;
    for (;;) {
      const auto called = [&] { return stop_.load() || loops_.load() != seen; };
      if (!wait_a_little(called)) {
        std::unique_lock lock(mutex_);
        asleep_.fetch_add(1);
        wake_.wait(lock, called);
        asleep_.fetch_sub(1);
      }
      if (stop_.load()) return;
      seen = loops_.load();
      drain(home);
    }
  }

  const bool patient_;
  const PinnedThread pinned_;
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::vector<Share> shares_;  // a node each
  std::size_t count_ = 0;      // of the loop
  std::atomic<std::uint64_t> loops_{0};
  std::atomic<std::size_t> done_{0}, asleep_{0};
  std::atomic<bool> stop_{false}, failed_{false}, caller_asleep_{false};
  void* context_ = nullptr;
  void (*call_)(void*, std::size_t) = nullptr;
  std::exception_ptr error_;
  AlignedArray<std::byte> scratch_[2];
  std::vector<std::thread> workers_;  // last: they use all of the above
};

}  // namespace quire
