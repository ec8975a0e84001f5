#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#if __has_include(<liburing.h>)
#include <liburing.h>
#endif

#include <quire/core/error.hpp>

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

/// Transfers one at a time, with pread and pwrite.
class BlockingQueue {
 public:
  void start(Transfer& t) {
    t.error = transfer(t.op, t.file, t.data, t.bytes, t.offset);
    done_.push_back(&t);
  }
  [[nodiscard]] std::size_t under_way() const { return done_.size(); }
  /// \pre under_way() > 0
  [[nodiscard]] Transfer* wait() {
    Transfer* t = done_.front();
    done_.pop_front();
    return t;
  }

 private:
  std::deque<Transfer*> done_;
};

#if __has_include(<liburing.h>)
/// Many transfers at a time, through io_uring.
class RingQueue {
 public:
  /// Empty where the system has no io_uring, or does not let us use it.
  [[nodiscard]] static std::unique_ptr<RingQueue> open(unsigned depth) {
    auto queue = std::unique_ptr<RingQueue>(new RingQueue);
    if (io_uring_queue_init(depth, &queue->ring_, 0) < 0) return nullptr;
    queue->open_ = true;
    return queue;
  }
  RingQueue(const RingQueue&) = delete;
  RingQueue& operator=(const RingQueue&) = delete;
  ~RingQueue() {
    if (open_) io_uring_queue_exit(&ring_);
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
    ++unsubmitted_;
  }
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  /// \pre under_way() > 0
  [[nodiscard]] Transfer* wait() {
    if (unsubmitted_ > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted > 0) unsubmitted_ -= std::min(unsubmitted_, static_cast<unsigned>(submitted));
    }
    io_uring_cqe* entry = nullptr;
    int failed;
    do {
      failed = io_uring_wait_cqe(&ring_, &entry);
    } while (failed == -EINTR || failed == -EAGAIN);
    if (failed < 0) {
      throw state_error("io_uring", std::strerror(-failed), "completions of what was submitted");
    }
    auto* t = static_cast<Transfer*>(io_uring_cqe_get_data(entry));
    const int result = entry->res;
    io_uring_cqe_seen(&ring_, entry);
    --under_way_;
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      t->error = -result;
    } else if (const auto n = static_cast<std::size_t>(std::max(result, 0)); n < t->bytes) {
      // cut short: the rest need not be aligned any more
      t->error = transfer(t->op, t->buffered, t->data + n, t->bytes - n, t->offset + n);
    } else {
      t->error = 0;
    }
    return t;
  }

 private:
  RingQueue() = default;
  io_uring ring_{};
  bool open_ = false;
  std::size_t under_way_ = 0;
  unsigned unsubmitted_ = 0;
};
inline constexpr bool has_ring = true;
#else
inline constexpr bool has_ring = false;
#endif

/// Transfers on one thread: through io_uring where it can be had and is wanted, else one at a time.
class Queue {
 public:
  Queue([[maybe_unused]] bool ring, [[maybe_unused]] unsigned depth) {
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
    blocking_.start(t);
  }
  [[nodiscard]] std::size_t under_way() const {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->under_way();
#endif
    return blocking_.under_way();
  }
  [[nodiscard]] Transfer* wait() {
#if __has_include(<liburing.h>)
    if (ring_) return ring_->wait();
#endif
    return blocking_.wait();
  }

 private:
#if __has_include(<liburing.h>)
  std::unique_ptr<RingQueue> ring_;
#endif
  BlockingQueue blocking_;
};

}  // namespace quire::disk
