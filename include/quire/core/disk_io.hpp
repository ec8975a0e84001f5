#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#if __has_include(<liburing.h>)
#include <poll.h>
#include <sys/eventfd.h>

#include <liburing.h>
#endif

#include <quire/core/error.hpp>
#include <quire/core/processors.hpp>

namespace quire::disk {

enum class Op { read, write };

/// What a test makes of one operation on a file, in place of the system.
struct Fault {
  enum class Kind {
    none,
    error,  // does the first `bytes`, then fails with `error`: a full disk, a bad sector
    tear,   // does the first `bytes` and says that it did all: a lost or torn write
    flip,   // flips a bit of byte number `bytes` on the way
  };
  Kind kind = Kind::none;
  int error = EIO;
  std::size_t bytes = 0;
};
/// Asked before each operation, on the tier's own thread. (operation, file, offset, bytes)
using FaultHook = std::function<Fault(Op, std::string_view, std::uint64_t, std::size_t)>;

/// Transfers all of it, however many calls that takes; 0, or the errno that ended it (EIO where the
/// file ends before).
[[nodiscard]] inline int transfer(Op op, int file, std::byte* data, std::size_t bytes,
                                  std::uint64_t offset) {
  while (bytes > 0) {
    const auto at = static_cast<off_t>(offset);
    const ssize_t n =
        op == Op::read ? ::pread(file, data, bytes, at) : ::pwrite(file, data, bytes, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return op == Op::read ? EIO : ENOSPC;
    data += n;
    bytes -= static_cast<std::size_t>(n);
    offset += static_cast<std::uint64_t>(n);
  }
  return 0;
}

/// One transfer under way. The owner keeps it in place until it is done.
struct Transfer {
  Op op = Op::read;
  int file = -1;      // perhaps opened with O_DIRECT: everything about the transfer is aligned
  int buffered = -1;  // the same file without, for what is left of a transfer that was cut short
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  std::uint64_t offset = 0;
  int error = 0;  // once it is done; 0: all bytes were transferred
};

/// Carries out one transfer, and what is left of it when it was cut short, which need not be aligned.
inline void carry_out(Transfer& t, std::size_t done) {
  if (done == 0 && t.file != t.buffered) {
    const auto at = static_cast<off_t>(t.offset);
    const ssize_t n = t.op == Op::read ? ::pread(t.file, t.data, t.bytes, at)
                                       : ::pwrite(t.file, t.data, t.bytes, at);
    if (n < 0 && errno != EINTR) {
      t.error = errno;
      return;
    }
    done = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
  }
  t.error = transfer(t.op, t.buffered, t.data + done, t.bytes - done, t.offset + done);
}

/// A few transfers at a time with pread and pwrite, each on a thread; threads are made when they are
/// first needed.
class CallQueue {
 public:
  /// One call at a time leaves a disk idle between them; more than a few gain nothing.
  static constexpr std::size_t most_threads = 4;

  explicit CallQueue(unsigned depth) : most_(std::min<std::size_t>(most_threads, depth)) {}
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;
  ~CallQueue() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    asked_for_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  void start(Transfer& t) {
    ++under_way_;
    bool busy = false;
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(&t);
      busy = idle_ < asked_.size();
    }
    if (busy && threads_.size() < most_) threads_.emplace_back([this] { serve(); });
    asked_for_.notify_one();
  }
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  /// The next one that is done, null when there is none yet.
  [[nodiscard]] Transfer* poll() {
    const std::lock_guard lock(mutex_);
    return take();
  }
  /// The next one that is done; null when wake() came before. \pre under_way() > 0
  [[nodiscard]] Transfer* wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return woken_ || !done_.empty(); });
    woken_ = false;
    return take();
  }
  /// Ends a wait, from any thread.
  void wake() {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    changed_.notify_one();
  }

 private:
  [[nodiscard]] Transfer* take() {
    if (done_.empty()) return nullptr;
    Transfer* t = done_.front();
    done_.pop_front();
    --under_way_;
    return t;
  }
  void serve() {
    leave_pinned_processor();
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      asked_for_.wait(lock, [this] { return stop_ || !asked_.empty(); });
      --idle_;
      if (asked_.empty()) return;
      Transfer* t = asked_.front();
      asked_.pop_front();
      lock.unlock();
      carry_out(*t, 0);
      lock.lock();
      done_.push_back(t);
      changed_.notify_one();
    }
  }

  std::size_t most_, under_way_ = 0;
  std::vector<std::thread> threads_;
  std::mutex mutex_;  // of what follows
  std::condition_variable asked_for_, changed_;
  std::deque<Transfer*> asked_, done_;
  std::size_t idle_ = 0;  // threads
  bool woken_ = false, stop_ = false;
};

#if __has_include(<liburing.h>)
/// Many transfers at a time, through io_uring.
class RingQueue {
 public:
  /// Empty where the system has no io_uring, or does not let us use it.
  [[nodiscard]] static std::unique_ptr<RingQueue> open(unsigned depth) {
    auto queue = std::unique_ptr<RingQueue>(new RingQueue);
    queue->event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->event_ < 0) return nullptr;
    if (io_uring_queue_init(depth + 1, &queue->ring_, 0) < 0) return nullptr;
    queue->open_ = true;
    return queue;
  }
  RingQueue(const RingQueue&) = delete;
  RingQueue& operator=(const RingQueue&) = delete;
  ~RingQueue() {
    if (open_) io_uring_queue_exit(&ring_);
    if (event_ >= 0) ::close(event_);
  }

  /// \pre fewer are under way than the ring is deep
  void start(Transfer& t) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    const auto bytes = static_cast<unsigned>(std::min<std::size_t>(t.bytes, 1u << 30));
    if (t.op == Op::read) {
      io_uring_prep_read(entry, t.file, t.data, bytes, t.offset);
    } else {
      io_uring_prep_write(entry, t.file, t.data, bytes, t.offset);
    }
    io_uring_sqe_set_data(entry, &t);
    ++under_way_;
    held_back_ += bytes;
    if (held_back_ >= worth_a_call) submit();
  }
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  /// The next one that is done, null when there is none yet.
  [[nodiscard]] Transfer* poll() {
    io_uring_cqe* entry = nullptr;
    return io_uring_peek_cqe(&ring_, &entry) == 0 ? take(entry) : nullptr;
  }
  /// The next one that is done; null when wake() came before. \pre under_way() > 0
  [[nodiscard]] Transfer* wait() {
    if (!listening_) {
      listening_ = true;
      io_uring_sqe* entry = io_uring_get_sqe(&ring_);
      io_uring_prep_poll_add(entry, event_, POLLIN);
      io_uring_sqe_set_data(entry, nullptr);
      held_back_ += 1;
    }
    while (held_back_ > 0) {
      submit();
      if (io_uring_sq_ready(&ring_) < under_way_) break;  // of those that it has, one will end
      if (held_back_ > 0) std::this_thread::yield();
    }
    io_uring_cqe* entry = nullptr;
    int failed;
    do {
      failed = io_uring_wait_cqe(&ring_, &entry);
    } while (failed == -EINTR || failed == -EAGAIN);
    if (failed < 0) {
      throw state_error("io_uring", std::strerror(-failed), "completions of what was submitted");
    }
    return take(entry);
  }
  /// Ends a wait, from any thread.
  void wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(event_, &one, sizeof one);
  }

 private:
  /// Bytes that are worth a call of their own; less waits for more, or until there is nothing else to do.
  static constexpr std::size_t worth_a_call = std::size_t{256} << 10;

  RingQueue() = default;
  void submit() {
    // what it could not take is submitted with the next
    held_back_ = io_uring_submit(&ring_) < 0 || io_uring_sq_ready(&ring_) > 0 ? 1 : 0;
  }
  [[nodiscard]] Transfer* take(io_uring_cqe* entry) {
    auto* t = static_cast<Transfer*>(io_uring_cqe_get_data(entry));
    const int result = entry->res;
    io_uring_cqe_seen(&ring_, entry);
    if (t == nullptr) {
      listening_ = false;
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t n = ::read(event_, &count, sizeof count);
      return nullptr;
    }
    --under_way_;
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      t->error = -result;
    } else if (const auto n = static_cast<std::size_t>(std::max(result, 0)); n < t->bytes) {
      carry_out(*t, n);
    } else {
      t->error = 0;
    }
    return t;
  }

  io_uring ring_{};
  int event_ = -1;
  bool open_ = false, listening_ = false;
  std::size_t under_way_ = 0;
  std::size_t held_back_ = 0;  // bytes that are prepared and not submitted
};
#endif

/// Transfers on one thread: through io_uring where it can be had and is wanted, else by calls.
class Queue {
 public:
  Queue([[maybe_unused]] bool ring, unsigned depth) : calls_(depth) {
#if __has_include(<liburing.h>)
    if (ring) ring_ = RingQueue::open(depth);
#endif
  }
  [[nodiscard]] std::string_view name() const {
#if __has_include(<liburing.h>)
    if (ring_) return "io_uring";
#endif
    return "pwrite";
  }
  void start(Transfer& t) {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->start(t);
#endif
    calls_.start(t);
  }
  [[nodiscard]] std::size_t under_way() const {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->under_way();
#endif
    return calls_.under_way();
  }
  /// As of the queue in use.
  [[nodiscard]] Transfer* poll() {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->poll();
#endif
    return calls_.poll();
  }
  [[nodiscard]] Transfer* wait() {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->wait();
#endif
    return calls_.wait();
  }
  void wake() {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->wake();
#endif
    calls_.wake();
  }

 private:
#if __has_include(<liburing.h>)
  std::unique_ptr<RingQueue> ring_;
#endif
  CallQueue calls_;
};

}  // namespace quire::disk
