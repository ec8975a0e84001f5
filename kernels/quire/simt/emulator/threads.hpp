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
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/simt/common.hpp>
#include <quire/simt/emulator/async_units.hpp>
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
              const void* params, std::size_t = most_shared_bytes) {
    kernel_ = kernel;
    shape_ = shape;
    shared_ = AlignedArray<std::byte>(shape.shared_bytes);
    warps_ = std::make_unique<Warp[]>((threads + warp_lanes - 1) / warp_lanes);
    for (unsigned z = 0; z < shape.grid.z; ++z) {
      for (unsigned y = 0; y < shape.grid.y; ++y) {
        for (unsigned x = 0; x < shape.grid.x; ++x) {
          block_ = {x, y, z};
          barriers_.clear();
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

  void named_barrier(unsigned id, unsigned threads, bool waits) {
    Named& b = named_[id];
    const std::uint32_t generation = b.generation.load(std::memory_order_relaxed);
    if (b.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      b.arrived.store(0, std::memory_order_relaxed);
      b.generation.fetch_add(1, std::memory_order_acq_rel);
      b.generation.notify_all();
    } else if (waits) {
      while (b.generation.load(std::memory_order_acquire) == generation) {
        b.generation.wait(generation, std::memory_order_acquire);
      }
    }
  }
  /// \pre one thread makes all barriers, and sync() follows
  void init_barrier(std::size_t at, unsigned count) {
    Arrivals& b = barriers_.emplace_back();
    b.at = at;
    b.count = count;
    b.left = std::int64_t{count} << 32;
  }
  void arrive(std::size_t at, std::uint32_t bytes) {
    come(barrier(at), std::int64_t{bytes} - (std::int64_t{1} << 32));
  }
  void wait(std::size_t at, unsigned parity) {
    Arrivals& b = barrier(at);
    for (;;) {
      const std::uint32_t phase = b.phase.load(std::memory_order_acquire);
      if (phase % 2 != parity) return;
      b.phase.wait(phase, std::memory_order_acquire);
    }
  }
  void fence_async() {}
  void begin_bulk(const BulkCopy& boxes) {
    for (const BulkUnit& unit : boxes.units) begin_copy(unit.to, unit.from, 16);
    come(barrier(boxes.barrier), -static_cast<std::int64_t>(boxes.units.size() * 16));
  }
  void begin_product(Product product) {
    product.value.assign(product.d, product.d + product.outputs);
    multiply(product, thread() % warpgroup_lanes, [this](std::size_t at) { return shared(at, 2); });
    std::copy(product.value.begin(), product.value.end(), product.d);
  }
  void begin_products() {}
  void commit_products() {}
  void wait_products(unsigned) {}

 private:
  struct Warp {
    std::array<std::array<std::atomic<std::uint32_t>, 16>, warp_lanes> slot{};
    // one meeting place per lowest lane of a mask: masks that run at once do not overlap
    std::array<std::atomic<std::uint32_t>, warp_lanes> arrived{}, generation{};
    std::atomic<std::uint32_t> alive{full_mask};
  };
  struct Named {
    std::atomic<std::uint32_t> arrived{0}, generation{0};
  };
  /// Arrivals that are missing, in the upper half, and bytes.
  struct Arrivals {
    std::size_t at = 0;
    unsigned count = 0;
    std::atomic<std::int64_t> left{0};
    std::atomic<std::uint32_t> phase{0};
  };
  Arrivals& barrier(std::size_t at) {
    for (Arrivals& b : barriers_) {
      if (b.at == at) return b;
    }
    fail("uses a barrier that nobody made");
  }
  static void come(Arrivals& b, std::int64_t change) {
    while (b.left.fetch_add(change, std::memory_order_acq_rel) + change == 0) {
      change = std::int64_t{b.count} << 32;  // the next phase, whose first may have come already
      b.phase.fetch_add(1, std::memory_order_acq_rel);
      b.phase.notify_all();
    }
  }
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
  std::array<Named, 16> named_;
  std::deque<Arrivals> barriers_;
};

}  // namespace quire::simt::emulator
