#pragma once

#include <array>
#include <atomic>
#include <barrier>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/simt/common.hpp>
#include <quire/simt/emulator/schedule.hpp>

namespace quire::simt::emulator {

/// Runs each lane of a block as a thread of the operating system, for ThreadSanitizer.
///
/// Barriers order memory as barriers of threads do; what lanes exchange in other warp operations
/// travels in relaxed atomics, which order nothing, so that a missing sync_warp() shows as a race.
/// (Relaxed exchange is safe on x86, where this mode is meant to run.) A lane that waits for ever is
/// not noticed here; the fibers do that.
class Machine {
 public:
  using Body = void (*)(const void* params);

  [[nodiscard]] static Machine& current() { return *self().machine; }

  void launch(std::string_view kernel, const LaunchShape& shape, unsigned threads, Body body,
              const void* params) {
    kernel_ = kernel;
    shape_ = shape;
    shared_ = AlignedArray<std::byte>(shape.shared_bytes);
    warps_ = std::make_unique<Warp[]>((threads + warp_lanes - 1) / warp_lanes);
    for (unsigned z = 0; z < shape.grid.z; ++z) {
      for (unsigned y = 0; y < shape.grid.y; ++y) {
        for (unsigned x = 0; x < shape.grid.x; ++x) {
          block_ = {x, y, z};
          std::barrier<> all(threads);
          barrier_ = &all;
          for (unsigned w = 0; w < (threads + warp_lanes - 1) / warp_lanes; ++w) {
            warps_[w].alive = full_mask;
          }
          std::vector<std::thread> lanes;
          for (unsigned t = 0; t < threads; ++t) {
            lanes.emplace_back([this, t, body, params] {
              self() = {this, t};
              body(params);
              warps_[t / warp_lanes].alive.fetch_and(~(1u << (t % warp_lanes)));
              barrier_->arrive_and_drop();
            });
          }
          for (std::thread& lane : lanes) lane.join();
        }
      }
    }
  }

  [[nodiscard]] unsigned thread() const { return self().thread; }
  [[nodiscard]] Dim3 block() const { return block_; }
  [[nodiscard]] Dim3 grid() const { return shape_.grid; }
  void block_barrier() { barrier_->arrive_and_wait(); }

  template <class Op>
  void meet(unsigned mask, Op& op, const char* what) {
    constexpr std::size_t words = sizeof(op.in) / sizeof(std::uint32_t);
    const unsigned lane = thread() % warp_lanes;
    Warp& warp = warps_[thread() / warp_lanes];
    const unsigned members = mask & warp.alive.load(std::memory_order_relaxed);
    constexpr auto order =
        Op::orders_memory ? std::memory_order_acq_rel : std::memory_order_relaxed;
    for (std::size_t w = 0; w < words; ++w) {
      warp.slot[lane][w].store(op.in[w], std::memory_order_relaxed);
    }
    gather(warp, members, order);
    std::array<std::array<std::uint32_t, words>, warp_lanes> seen{};
    for (unsigned left = members; left != 0; left &= left - 1) {
      const auto l = static_cast<unsigned>(std::countr_zero(left));
      for (std::size_t w = 0; w < words; ++w) {
        seen[l][w] = warp.slot[l][w].load(std::memory_order_relaxed);
      }
    }
    gather(warp, members, order);
    auto peer = [&](unsigned l) -> const std::uint32_t* {
      return (members >> l & 1u) != 0 ? seen[l].data() : nullptr;
    };
    if (!op.resolve(lane, members, peer)) {
      fail(std::string(what) + " takes a value from a lane that is not there");
    }
  }

  [[noreturn]] void fail(const std::string& message) const {
    // the other lanes are threads in the middle of their work: there is no way back
    std::fprintf(stderr, "kernel %s, thread %u: %s\n", std::string(kernel_).c_str(), thread(),
                 message.c_str());
    std::abort();
  }
  [[nodiscard]] std::byte* shared(std::size_t offset, std::size_t bytes) {
    if (offset + bytes > shared_.size()) fail("lays out more shared memory than was asked for");
    return shared_.data() + offset;
  }
  void check_read(std::size_t, std::size_t) {}
  void check_write(std::size_t, std::size_t, bool = false) {}
  void begin_copy(std::size_t offset, const void* from, std::size_t bytes) {
    if (from == nullptr) {
      std::memset(shared_.data() + offset, 0, bytes);
    } else {
      std::memcpy(shared_.data() + offset, from, bytes);
    }
  }
  void commit_copies() {}
  void wait_copies(unsigned) {}

 private:
  struct Warp {
    std::array<std::array<std::atomic<std::uint32_t>, 16>, warp_lanes> slot{};
    // one meeting place per lowest lane of a mask: masks that run at once do not overlap
    std::array<std::atomic<std::uint32_t>, warp_lanes> arrived{}, generation{};
    std::atomic<std::uint32_t> alive{full_mask};
  };
  struct Self {
    Machine* machine = nullptr;
    unsigned thread = 0;
  };
  static Self& self() {
    thread_local Self s;
    return s;
  }
  static void gather(Warp& warp, unsigned members, std::memory_order order) {
    const auto place = static_cast<std::size_t>(std::countr_zero(members));
    const bool orders = order != std::memory_order_relaxed;
    const std::uint32_t generation = warp.generation[place].load(std::memory_order_relaxed);
    const auto count = static_cast<std::uint32_t>(std::popcount(members));
    if (warp.arrived[place].fetch_add(1, order) + 1 == count) {
      warp.arrived[place].store(0, std::memory_order_relaxed);
      warp.generation[place].fetch_add(1, order);
      warp.generation[place].notify_all();
      return;
    }
    const auto wait = orders ? std::memory_order_acquire : std::memory_order_relaxed;
    while (warp.generation[place].load(wait) == generation) {
      warp.generation[place].wait(generation, wait);
    }
  }

  std::string_view kernel_;
  LaunchShape shape_;
  Dim3 block_;
  AlignedArray<std::byte> shared_;
  std::barrier<>* barrier_ = nullptr;
  std::unique_ptr<Warp[]> warps_;
};

}  // namespace quire::simt::emulator
