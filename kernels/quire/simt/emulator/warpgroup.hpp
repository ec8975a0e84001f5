#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <quire/simt/async_layout.hpp>
#include <quire/simt/emulator/operations.hpp>

namespace quire::simt {

namespace emulator {
/// Whether the emulated device has what this file emulates.
inline bool& device_has_warpgroups() {
  thread_local bool has = false;
  return has;
}
}  // namespace emulator
[[nodiscard]] inline bool has_warpgroups() { return emulator::device_has_warpgroups(); }

/// A barrier in shared memory that threads arrive at, and bulk copies by their bytes; its phases end
/// one after the other, and are waited for by the parity of their number.
class Barrier {
 public:
  static constexpr std::size_t bytes = 8;
  /// \pre at: a multiple of 8, in bytes from the beginning of shared memory
  explicit Barrier(std::size_t at) : at_(at) {}
  /// \pre one thread makes it; publish_barriers() and sync() follow
  void init(unsigned arrivals) const { emulator::Machine::current().init_barrier(at_, arrivals); }
  void arrive() const { emulator::Machine::current().arrive(at_, 0); }
  /// Arrives, and announces bytes that copies will bring in this phase.
  void arrive_expecting(std::uint32_t coming) const {
    emulator::Machine::current().arrive(at_, coming);
  }
  /// Waits until the phase of that parity has ended; that before the first is taken to have parity 1.
  void wait(unsigned parity) const { emulator::Machine::current().wait(at_, parity); }
  [[nodiscard]] std::size_t at() const { return at_; }

 private:
  std::size_t at_;
};
/// Shows the calling thread's new barriers to what copies.
inline void publish_barriers() {}
/// Shows what the calling thread wrote to shared memory to copies and products that begin after it.
inline void fence_async() { emulator::Machine::current().fence_async(); }

/// Meets `threads` threads at barrier `id`, 1 to 15; meet_later() does not wait for the others.
inline void meet(unsigned id, unsigned threads) {
  emulator::Machine::current().named_barrier(id, threads, true);
}
inline void meet_later(unsigned id, unsigned threads) {
  emulator::Machine::current().named_barrier(id, threads, false);
}
/// Gives registers away, or takes them, so that each thread of the warpgroup has `count`.
template <unsigned count>
void shrink_registers() {}
template <unsigned count>
void grow_registers() {}

/// A tensor in global memory as bulk copies see it; a kernel gets it within its Params.
struct TensorMap {
  const std::byte* base = nullptr;
  TensorShape shape{};
};
/// \errors usage, for a tensor that devices do not take
template <class Half>
[[nodiscard]] TensorMap make_tensor_map(const void* base, const TensorShape& shape) {
  static_assert(sizeof(Half) == 2);
  check_tensor(base, shape);
  return {static_cast<const std::byte*>(base), shape};
}

/// Where a box begins, in elements; what lies beyond the tensor arrives as zeros.
struct BoxPlace {
  std::int32_t at[4];
};
/// Begins to copy a box to element i on, swizzled; its bytes arrive at the barrier.
/// \pre one thread calls; i begins a row of 128 bytes
inline void copy_box(const Shared<std::uint32_t>& to, std::size_t i, const TensorMap& map,
                     const BoxPlace& place, const Barrier& barrier) {
  emulator::Machine& machine = emulator::Machine::current();
  const TensorShape& shape = map.shape;
  const std::size_t target = std::size_t{to.address(i)};
  if (target % swizzle_row_bytes != 0) machine.fail("copies a box to an address off 128 bytes");
  emulator::BulkCopy copy{.units = {}, .barrier = barrier.at()};
  std::size_t row = 0;
  for (std::uint32_t c3 = 0; c3 < shape.box[3]; ++c3) {
    for (std::uint32_t c2 = 0; c2 < shape.box[2]; ++c2) {
      for (std::uint32_t c1 = 0; c1 < shape.box[1]; ++c1, ++row) {
        const std::array<std::int64_t, 3> outer = {std::int64_t{place.at[1]} + c1,
                                                   std::int64_t{place.at[2]} + c2,
                                                   std::int64_t{place.at[3]} + c3};
        bool inside = true;
        std::int64_t from = 0;
        for (std::size_t d = 0; d < 3; ++d) {
          inside =
              inside && outer[d] >= 0 && outer[d] < static_cast<std::int64_t>(shape.size[d + 1]);
          from += outer[d] * static_cast<std::int64_t>(shape.strides[d]);
        }
        for (std::uint32_t c0 = 0; c0 < shape.box[0]; c0 += 8) {
          const std::int64_t first = std::int64_t{place.at[0]} + c0;
          const bool here =
              inside && first >= 0 && first + 8 <= static_cast<std::int64_t>(shape.size[0]);
          const auto at = static_cast<std::uint32_t>(target + row * swizzle_row_bytes + c0 * 2);
          static_cast<void>(machine.shared(swizzled(at), 16));
          copy.units.push_back({swizzled(at), here ? map.base + from + first * 2 : nullptr});
        }
      }
    }
  }
  machine.begin_bulk(std::move(copy));
}

// Products of a warpgroup, (64, n) of fp32: begin_products(), multiply_async() as often as it takes,
// commit_products(); sums may be read after wait_products<groups under way>() and hold().

inline void begin_products() { emulator::Machine::current().begin_products(); }
inline void commit_products() { emulator::Machine::current().commit_products(); }

namespace emulator {
struct BeginProduct {
  static constexpr bool orders_memory = false;
  std::uint32_t in[8]{};       // a in registers, or its descriptor; b's descriptor
  std::uint32_t rows[2][8]{};  // pairs of this lane's rows of a
  template <class Peer>
  bool resolve(unsigned lane, unsigned members, const Peer& peer) {
    if (members != full_mask) return false;
    const std::uint32_t* first = peer(0);
    const bool same = std::equal(in + 4, in + 8, first + 4);
    for (unsigned pair = 0; pair < 8; ++pair) {
      const std::uint32_t* from = peer(lane / 4 * 4 + pair % 4);
      rows[0][pair] = from[pair / 4 * 2];
      rows[1][pair] = from[pair / 4 * 2 + 1];
    }
    return same;
  }
};
struct WaitProducts {
  static constexpr bool orders_memory = false;
  std::uint32_t in[1]{};
  template <class Peer>
  bool resolve(unsigned, unsigned members, const Peer&) {
    return members == full_mask;
  }
};
template <class Half, Major b_major, unsigned outputs>
void begin_product(float (&d)[outputs], const std::uint32_t* a_registers, std::uint64_t a,
                   std::uint64_t b, bool adds) {
  static_assert(outputs % 4 == 0 && outputs <= 128, "n is a multiple of 8, at most 256");
  BeginProduct op;
  if (a_registers != nullptr) std::copy_n(a_registers, 4, op.in);
  op.in[4] = static_cast<std::uint32_t>(b);
  op.in[5] = static_cast<std::uint32_t>(b >> 32);
  op.in[6] = static_cast<std::uint32_t>(a);
  op.in[7] = static_cast<std::uint32_t>(a >> 32);
  Machine& machine = Machine::current();
  machine.meet(full_mask, op, "multiply_async");
  Product product;
  product.d = d;
  product.outputs = outputs;
  product.columns = outputs * 2;
  product.adds = adds;
  product.a_in_registers = a_registers != nullptr;
  product.a_matrix = a;
  product.b_matrix = b;
  product.b_other_major = b_major == Major::other;
  product.widen = [](std::uint16_t bits) { return to_float(Half{bits}); };
  for (unsigned r = 0; r < 2; ++r) {
    for (unsigned k = 0; k < 16; ++k) product.a[r][k] = half_of<Half>(op.rows[r][k / 2], k % 2);
  }
  machine.begin_product(std::move(product));
}
}  // namespace emulator

/// d (64, n) += a (64, 16) b (16, n), or d = where not `adds`; elements of d as fragments::warpgroup_d()
/// says. a in shared memory, k-major, b likewise or not, both as their descriptors say. Both are read,
/// and d is written, at any time until the group is waited for.
/// \pre the whole warpgroup calls with the same descriptors
template <class Half, Major b_major, unsigned outputs>
void multiply_async(float (&d)[outputs], std::uint64_t a, std::uint64_t b, bool adds) {
  emulator::begin_product<Half, b_major>(d, nullptr, a, b, adds);
}
/// The same with a in registers, 16 rows a warp as in multiply_add().
template <class Half, Major b_major, unsigned outputs>
void multiply_async(float (&d)[outputs], const std::uint32_t (&a)[4], std::uint64_t b, bool adds) {
  emulator::begin_product<Half, b_major>(d, a, 0, b, adds);
}
/// Waits until at most `newest` groups of products are under way.
template <unsigned newest>
void wait_products() {
  emulator::WaitProducts op;
  emulator::Machine::current().meet(full_mask, op, "wait_products");
  emulator::Machine::current().wait_products(newest);
  // the lanes of a warp wait as one
  emulator::Machine::current().meet(full_mask, op, "wait_products");
}
/// Keeps a compiler from moving reads and writes of sums across waits.
template <unsigned outputs>
void hold(float (&)[outputs]) {}
template <unsigned outputs>
void hold(std::uint32_t (&)[outputs]) {}

}  // namespace quire::simt
