#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace quire {

/// Runs the same loop body on several threads; the caller is one of them.
/// Which thread runs which index is not fixed, so a body must write only what its index owns; then
/// results do not depend on the number of threads.
/// \errors the first exception a body throws is rethrown to the caller, after all threads stopped.
class ThreadPool {
 public:
  /// threads: at least 1; 1 starts none and runs everything on the caller.
  explicit ThreadPool(std::size_t threads = 1) {
    for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  [[nodiscard]] std::size_t size() const { return workers_.size() + 1; }

  /// Calls body(i) once for every i in [0, count) and returns when all are done. Not reentrant.
  template <class Body>
  void parallel_for(std::size_t count, Body&& body) {
    if (workers_.empty() || count < 2) {
      for (std::size_t i = 0; i < count; ++i) body(i);
      return;
    }
    auto call = [](void* context, std::size_t i) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(i);
    };
    {
      std::lock_guard lock(mutex_);
      context_ = const_cast<void*>(static_cast<const void*>(&body));
      call_ = call;
      count_ = count;
      next_.store(0, std::memory_order_relaxed);
      active_ = workers_.size();
      error_ = nullptr;
      ++epoch_;
    }
    wake_.notify_all();
    drain();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return active_ == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void drain() {
    try {
      for (;;) {
        const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
        if (i >= count_) return;
        call_(context_, i);
      }
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || epoch_ != seen; });
        if (stop_) return;
        seen = epoch_;
      }
      drain();
      std::lock_guard lock(mutex_);
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<std::size_t> next_{0};
  std::size_t count_ = 0, active_ = 0;
  std::uint64_t epoch_ = 0;
  bool stop_ = false;
  void* context_ = nullptr;
  void (*call_)(void*, std::size_t) = nullptr;
  std::exception_ptr error_;
};

}  // namespace quire
