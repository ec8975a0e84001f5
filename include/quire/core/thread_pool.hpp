#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <hwy/cache_control.h>

#include <quire/core/aligned.hpp>

namespace quire {

/// Runs the same loop body on several threads; the caller is one of them.
/// Which thread runs which index is not fixed, so a body must write only what its index owns; then
/// results do not depend on the number of threads.
///
/// A step has hundreds of loops, microseconds apart, and waking a thread takes some tens of them. So
/// whoever waits looks again for `patience` before it sleeps: not longer, since another process may want
/// the core, and not at all where there are more threads than cores. A loop ends with its last index,
/// whether or not all threads woke up in time for one.
/// \errors the first exception a body throws is rethrown to the caller, after all threads stopped.
class ThreadPool {
 public:
  static constexpr std::chrono::microseconds patience{60};

  /// threads: at least 1; 1 starts none and runs everything on the caller.
  explicit ThreadPool(std::size_t threads = 1)
      : patient_(threads <= std::thread::hardware_concurrency()) {
    for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
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
  /// \pre count < 2^32
  template <class Body>
  void parallel_for(std::size_t count, Body&& body) {
    if (workers_.empty() || count < 2) {
      for (std::size_t i = 0; i < count; ++i) body(i);
      return;
    }
    context_ = const_cast<void*>(static_cast<const void*>(&body));
    call_ = [](void* context, std::size_t i) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(i);
    };
    failed_.store(false, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    tickets_.store(static_cast<std::uint64_t>(count) << 32);
    loops_.fetch_add(1);
    if (asleep_.load() > 0) {
      std::lock_guard lock(mutex_);
      wake_.notify_all();
    }
    drain();
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

  /// Memory of whoever calls loops, kept from call to call; what it held before is lost.
  [[nodiscard]] std::byte* scratch(std::size_t bytes) {
    if (scratch_.size() < bytes) scratch_ = AlignedArray<std::byte>(bytes);
    return scratch_.data();
  }

 private:
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

  /// Takes tickets until there are none. A ticket tells its loop's count and an index; who holds one
  /// below the count holds up the loop's end, so that call and context are its own.
  void drain() {
    constexpr std::uint64_t index_mask = 0xffffffffu;
    std::size_t count = 0, ran = 0;
    for (;;) {
      const std::uint64_t ticket = tickets_.fetch_add(1, std::memory_order_acq_rel);
      const auto i = static_cast<std::size_t>(ticket & index_mask);
      if (i >= ticket >> 32) break;
      count = static_cast<std::size_t>(ticket >> 32);
      ++ran;
      if (failed_.load(std::memory_order_relaxed)) continue;
      try {
        call_(context_, i);
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!failed_.exchange(true)) error_ = std::current_exception();
      }
    }
    if (ran == 0 || done_.fetch_add(ran) + ran < count || !caller_asleep_.load()) return;
    std::lock_guard lock(mutex_);
    finished_.notify_one();
  }

  void work() {
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
      drain();
    }
  }

  const bool patient_;
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::atomic<std::uint64_t> tickets_{0};  // count of the loop, then the next index
  std::atomic<std::uint64_t> loops_{0};
  std::atomic<std::size_t> done_{0}, asleep_{0};
  std::atomic<bool> stop_{false}, failed_{false}, caller_asleep_{false};
  void* context_ = nullptr;
  void (*call_)(void*, std::size_t) = nullptr;
  std::exception_ptr error_;
  AlignedArray<std::byte> scratch_;
  std::vector<std::thread> workers_;  // last: they use all of the above
};

}  // namespace quire
