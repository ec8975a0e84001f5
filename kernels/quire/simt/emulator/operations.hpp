// One file: the whole vocabulary of the layer in one place, as in cuda.cuh beside it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/core/float8.hpp>
#include <quire/simt/common.hpp>
#include <quire/simt/emulator/streams.hpp>
#include <quire/simt/fragments.hpp>
#if defined(QUIRE_SIMT_THREADS)
#include <atomic>

#include <quire/simt/emulator/threads.hpp>
#else
#include <quire/simt/emulator/fibers.hpp>
#endif

namespace quire::simt {

// Where a thread is.
inline unsigned thread() { return emulator::Machine::current().thread(); }
inline unsigned lane() { return thread() % warp_lanes; }
inline unsigned warp() { return thread() / warp_lanes; }
inline Dim3 block() { return emulator::Machine::current().block(); }
inline Dim3 grid() { return emulator::Machine::current().grid(); }

/// Waits for every thread of the block that has not ended.
inline void sync() { emulator::Machine::current().block_barrier(); }

namespace emulator {
/// Warp operations: `in` is what the others see; resolve() is false when it needs a lane that did
/// not come.
struct SyncWarp {
  static constexpr bool orders_memory = true;
  std::uint32_t in[1]{};
  template <class Peer>
  bool resolve(unsigned, unsigned, const Peer&) {
    return true;
  }
};
template <std::size_t words>
struct Shuffle {
  static constexpr bool orders_memory = false;
  std::uint32_t in[words]{};
  std::uint32_t out[words]{};
  unsigned source = 0;
  template <class Peer>
  bool resolve(unsigned, unsigned, const Peer& peer) {
    const std::uint32_t* from = peer(source);
    if (from == nullptr) return false;
    std::copy_n(from, words, out);
    return true;
  }
};
struct Ballot {
  static constexpr bool orders_memory = false;
  std::uint32_t in[1]{};
  unsigned out = 0;
  template <class Peer>
  bool resolve(unsigned, unsigned members, const Peer& peer) {
    for (unsigned left = members; left != 0; left &= left - 1) {
      const auto l = static_cast<unsigned>(std::countr_zero(left));
      if (*peer(l) != 0) out |= 1u << l;
    }
    return true;
  }
};
template <class Half>
[[nodiscard]] float half_of(std::uint32_t word, unsigned i) {
  return to_float(Half{static_cast<std::uint16_t>(i == 0 ? word : word >> 16)});
}
/// in: a[4], b[2]; each lane forms its own four elements.
template <class Half>
struct MatrixMultiply {
  static constexpr bool orders_memory = false;
  std::uint32_t in[6]{};
  float d[4]{};
  template <class Peer>
  bool resolve(unsigned lane, unsigned members, const Peer& peer) {
    if (members != full_mask) return false;
    for (unsigned i = 0; i < 4; ++i) {
      const fragments::Place c = fragments::c(lane, i);
      float sum = d[i];
      for (unsigned k = 0; k < 16; ++k) {
        // where the layouts put A(row, k) and B(k, column)
        const std::uint32_t* a = peer(c.row % 8 * 4 + k % 8 / 2);
        const std::uint32_t* b = peer(c.column * 4 + k % 8 / 2);
        sum += half_of<Half>(a[(c.row >= 8 ? 1u : 0u) + (k >= 8 ? 2u : 0u)], k % 2) *
               half_of<Half>(b[4 + (k >= 8 ? 1u : 0u)], k % 2);
      }
      d[i] = sum;
    }
    return true;
  }
};
/// An 8 x 8 matrix of halves, a row's pair a lane, transposed.
struct Transpose {
  static constexpr bool orders_memory = false;
  std::uint32_t in[1]{};
  std::uint32_t out = 0;
  template <class Peer>
  bool resolve(unsigned lane, unsigned members, const Peer& peer) {
    if (members != full_mask) return false;
    const unsigned row = lane / 4, column = lane % 4 * 2;
    auto at = [&](unsigned r, unsigned c) {
      return *peer(r * 4 + c / 2) >> (c % 2 * 16) & 0xffffu;
    };
    out = at(column, row) | at(column + 1, row) << 16;
    return true;
  }
};
inline void check_distance(unsigned lanes) {
  if (lanes >= warp_lanes) Machine::current().fail("shuffle over a warp's width or more");
}
}  // namespace emulator

/// Waits for the lanes of `mask` and orders their memory.
inline void sync_warp(unsigned mask = full_mask) {
  emulator::SyncWarp op;
  emulator::Machine::current().meet(mask, op, "sync_warp");
}

/// The value that lane `source` of the warp passes. \pre `source` is in `mask` and runs
template <class T>
[[nodiscard]] T shuffle(T value, unsigned source, unsigned mask = full_mask) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);
  emulator::Shuffle<sizeof(T) / 4> op;
  std::memcpy(op.in, static_cast<const void*>(&value), sizeof(T));
  op.source = source % warp_lanes;
  emulator::Machine::current().meet(mask, op, "shuffle");
  std::memcpy(static_cast<void*>(&value), op.out, sizeof(T));
  return value;
}
template <class T>
[[nodiscard]] T shuffle_xor(T value, unsigned bits, unsigned mask = full_mask) {
  emulator::check_distance(bits);
  return shuffle(value, lane() ^ bits, mask);
}
/// From `delta` lanes below; the lowest lanes keep their own.
template <class T>
[[nodiscard]] T shuffle_up(T value, unsigned delta, unsigned mask = full_mask) {
  emulator::check_distance(delta);
  return shuffle(value, lane() >= delta ? lane() - delta : lane(), mask);
}
[[nodiscard]] inline unsigned popcount(unsigned bits) {
  return static_cast<unsigned>(std::popcount(bits));
}
[[nodiscard]] inline unsigned ballot(bool vote, unsigned mask = full_mask) {
  emulator::Ballot op;
  op.in[0] = vote ? 1 : 0;
  emulator::Machine::current().meet(mask, op, "ballot");
  return op.out;
}

/// An array in the block's shared memory.
template <class T>
class Shared {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// \pre offset: a multiple of 16, in bytes from the beginning of shared memory
  Shared(std::size_t offset, std::size_t count)
      : offset_(offset),
        count_(count),
        data_(
            reinterpret_cast<T*>(emulator::Machine::current().shared(offset, count * sizeof(T)))) {}

  [[nodiscard]] T load(std::size_t i) const {
    check(i, 1);
    emulator::Machine::current().check_read(offset_ + i * sizeof(T), sizeof(T));
    return data_[i];
  }
  void store(std::size_t i, T value) const {
    static_assert(sizeof(T) % 4 == 0, "shared memory is written in units of 4 bytes");
    check(i, 1);
    emulator::Machine::current().check_write(offset_ + i * sizeof(T), sizeof(T));
    data_[i] = value;
  }
  template <unsigned n>
  [[nodiscard]] Vector<T, n> load_vector(std::size_t i) const {
    check(i, n);
    check_aligned(i, n);
    emulator::Machine::current().check_read(offset_ + i * sizeof(T), n * sizeof(T));
    Vector<T, n> value;
    std::memcpy(static_cast<void*>(&value), static_cast<const void*>(data_ + i), sizeof value);
    return value;
  }
  template <unsigned n>
  void store_vector(std::size_t i, const Vector<T, n>& value) const {
    static_assert(sizeof(T) * n % 4 == 0, "shared memory is written in units of 4 bytes");
    check(i, n);
    check_aligned(i, n);
    emulator::Machine::current().check_write(offset_ + i * sizeof(T), n * sizeof(T));
    std::memcpy(static_cast<void*>(data_ + i), static_cast<const void*>(&value), sizeof value);
  }
  /// Adds; returns what was there before.
  T atomic_add(std::size_t i, T value) const {
    check(i, 1);
    emulator::Machine::current().check_write(offset_ + i * sizeof(T), sizeof(T), true);
#if defined(QUIRE_SIMT_THREADS)
    return std::atomic_ref<T>(data_[i]).fetch_add(value, std::memory_order_relaxed);
#else
    const T before = data_[i];
    data_[i] = before + value;
    return before;
#endif
  }
  /// Begins to copy `n` elements, 16 bytes, to i; zeros where `from` is null.
  template <unsigned n>
  void copy_async(std::size_t i, const T* from) const {
    static_assert(sizeof(T) * n == 16, "asynchronous copies move 16 bytes");
    check(i, n);
    check_aligned(i, n);
    if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) {
      emulator::Machine::current().fail("copies asynchronously from an address off 16 bytes");
    }
    emulator::Machine::current().begin_copy(offset_ + i * sizeof(T), from, 16);
  }
  [[nodiscard]] std::size_t size() const { return count_; }
  /// Where element i lies in shared memory. \unit bytes
  [[nodiscard]] std::uint32_t address(std::size_t i) const {
    return static_cast<std::uint32_t>(offset_ + i * sizeof(T));
  }

 private:
  void check(std::size_t i, std::size_t n) const {
    if (i + n > count_ || i > count_) {
      emulator::Machine::current().fail("reaches element " + std::to_string(i + n - 1) + " of " +
                                        std::to_string(count_) + " in shared memory");
    }
  }
  void check_aligned(std::size_t i, std::size_t n) const {
    if ((offset_ + i * sizeof(T)) % (n * sizeof(T)) != 0) {
      emulator::Machine::current().fail(
          "reaches a vector of " + std::to_string(n * sizeof(T)) + " bytes at byte " +
          std::to_string(offset_ + i * sizeof(T)) + " of shared memory");
    }
  }
  std::size_t offset_, count_;
  T* data_;
};

/// Closes a group of asynchronous copies; wait_copies<n> waits until n groups are under way.
inline void commit_copies() { emulator::Machine::current().commit_copies(); }
template <unsigned newest>
void wait_copies() {
  emulator::Machine::current().wait_copies(newest);
}

/// Loads from global memory that no kernel of this launch writes. \pre p is aligned to the vector
template <unsigned n, class T>
[[nodiscard]] Vector<T, n> load_vector(const T* p) {
  if (reinterpret_cast<std::uintptr_t>(p) % (sizeof(T) * n) != 0) {
    emulator::Machine::current().fail("loads a vector of " + std::to_string(sizeof(T) * n) +
                                      " bytes from an address that is not a multiple of it");
  }
  Vector<T, n> value;
  std::memcpy(static_cast<void*>(&value), static_cast<const void*>(p), sizeof value);
  return value;
}
/// The same past the first-level cache's interest: read once, by this block alone.
template <unsigned n, class T>
[[nodiscard]] Vector<T, n> load_vector_once(const T* p) {
  return load_vector<n>(p);
}
template <unsigned n, class T>
void store_vector(T* p, const Vector<T, n>& value) {
  if (reinterpret_cast<std::uintptr_t>(p) % (sizeof(T) * n) != 0) {
    emulator::Machine::current().fail("stores a vector of " + std::to_string(sizeof(T) * n) +
                                      " bytes to an address that is not a multiple of it");
  }
  std::memcpy(static_cast<void*>(p), static_cast<const void*>(&value), sizeof value);
}
/// The same past the caches' interest: nothing reads it soon.
template <unsigned n, class T>
void store_vector_once(T* p, const Vector<T, n>& value) {
  store_vector<n>(p, value);
}

/// Adds in global memory; returns what was there before. T: int, unsigned, float.
template <class T>
T atomic_add(T* p, T value) {
#if defined(QUIRE_SIMT_THREADS)
  return std::atomic_ref<T>(*p).fetch_add(value, std::memory_order_relaxed);
#else
  const T before = *p;
  *p = before + value;
  return before;
#endif
}

// Arithmetic.
[[nodiscard]] inline float exp2(float x) { return std::exp2(x); }
[[nodiscard]] inline float log2(float x) { return std::log2(x); }
[[nodiscard]] inline float tanh(float x) { return std::tanh(x); }
[[nodiscard]] inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
[[nodiscard]] inline float max(float a, float b) { return std::fmax(a, b); }
[[nodiscard]] inline float abs(float x) { return std::fabs(x); }
[[nodiscard]] inline float round_even(float x) { return std::nearbyint(x); }
[[nodiscard]] inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
[[nodiscard]] inline float infinity() { return INFINITY; }

/// Bytes of a and b (bytes 0-3, 4-7) picked by the nibbles of `selector`.
[[nodiscard]] inline std::uint32_t pick_bytes(std::uint32_t a, std::uint32_t b,
                                              std::uint32_t selector) {
  const std::uint64_t both = std::uint64_t{b} << 32 | a;
  std::uint32_t out = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned from = selector >> (4 * i) & 7u;
    out |= static_cast<std::uint32_t>(both >> (8 * from) & 0xffu) << (8 * i);
  }
  return out;
}
template <class T>
[[nodiscard]] T bit_cast(const auto& x) {
  return std::bit_cast<T>(x);
}
/// Two fp32 as a pair of halves, the first in the low bits; rounds to nearest even.
template <class Half>
[[nodiscard]] std::uint32_t pack(float low, float high) {
  return std::uint32_t{from_float<Half>(low).bits} |
         static_cast<std::uint32_t>(from_float<Half>(high).bits) << 16;
}
template <class T>
[[nodiscard]] float widen(T x) {
  return to_float(x);
}
template <class T>
[[nodiscard]] T narrow(float x) {
  return from_float<T>(x);
}

/// Four bytes, signed integers or 8-bit floats, as two pairs of Half, exactly. Bytes 0 and 1 make the
/// first pair.
template <class Half, class Byte>
[[nodiscard]] Vector<std::uint32_t, 2> widen_four(std::uint32_t four) {
  const auto element = [&](unsigned i) {
    const auto byte = std::bit_cast<Byte>(static_cast<std::uint8_t>(four >> (8 * i)));
    if constexpr (std::is_same_v<Byte, std::int8_t>) {
      return static_cast<float>(byte);
    } else {
      return to_float(byte);
    }
  };
  return {{pack<Half>(element(0), element(1)), pack<Half>(element(2), element(3))}};
}

/// Four bytes, 4-bit codes 0 to 15, less 8, as two pairs of Half, exactly. Bytes 0 and 1 make the first
/// pair.
template <class Half>
[[nodiscard]] Vector<std::uint32_t, 2> widen_codes(std::uint32_t four) {
  const auto element = [&](unsigned i) {
    return static_cast<float>(four >> (8 * i) & 0xffu) - 8.0f;
  };
  return {{pack<Half>(element(0), element(1)), pack<Half>(element(2), element(3))}};
}

/// Pairs of Half: a b + c, rounded once to nearest even.
template <class Half>
[[nodiscard]] std::uint32_t multiply_add_pairs(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const auto element = [&](unsigned bits) {
    const auto of = [bits](std::uint32_t pair) {
      return static_cast<double>(to_float(Half{static_cast<std::uint16_t>(pair >> bits)}));
    };
    // By way of fp32: a sum within 2^-24 of a tie may be rounded to the other neighbour.
    return static_cast<float>(of(a) * of(b) + of(c));
  };
  return pack<Half>(element(0), element(16));
}

/// d += a b for a (16, 16) rows, b (16, 8) columns of Half, d (16, 8) fp32, in the lane layout of
/// fragments.hpp. \pre the whole warp calls
template <class Half>
void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  emulator::MatrixMultiply<Half> op;
  std::copy_n(a, 4, op.in);
  std::copy_n(b, 2, op.in + 4);
  std::copy_n(d, 4, op.d);
  emulator::Machine::current().meet(full_mask, op, "multiply_add");
  std::copy_n(op.d, 4, d);
}
/// Transposes an 8 x 8 matrix of halves across the warp: lane l holds columns l % 4 * 2 and the next
/// of row l / 4, before and after.
[[nodiscard]] inline std::uint32_t transpose_8x8(std::uint32_t pair) {
  emulator::Transpose op;
  op.in[0] = pair;
  emulator::Machine::current().meet(full_mask, op, "transpose_8x8");
  return op.out;
}
/// Loads four 8 x 8 matrices of halves: lane l names row l % 8 of matrix l / 8, 16 bytes at element
/// `i`; register m then holds this lane's pair of matrix m, of its transpose with `transposed`.
template <bool transposed>
void load_matrices(std::uint32_t (&to)[4], const Shared<std::uint32_t>& from, std::size_t i) {
  const Vector<std::uint32_t, 4> row = from.template load_vector<4>(i);
  const unsigned l = lane();
  for (unsigned m = 0; m < 4; ++m) {
    // matrix m's row r lies in lane 8 m + r: pair p of it in word p
    Vector<std::uint32_t, 4> mine = shuffle(row, m * 8 + l / 4);
    to[m] = mine.v[l % 4];
    if constexpr (transposed) to[m] = transpose_8x8(to[m]);
  }
}

namespace emulator {
/// The one that this thread launches on.
inline Machine& machine() {
  thread_local Machine machine;
  return machine;
}
}  // namespace emulator

/// Order of launches; the default one runs each where it is launched, those of streams.cuh when
/// someone waits.
struct Stream {
  unsigned id = 0;
};

/// Runs a kernel on every block of the grid. \errors state, naming kernel, block and thread, for
/// shared memory beyond its bounds, races on it, and lanes that wait for ever
template <KernelType Kernel>
void launch(const LaunchShape& shape, const typename Kernel::Params& params, Stream stream = {}) {
  emulator::device().enqueue(stream.id, "launch", Kernel::name, [shape, params] {
    emulator::machine().launch(
        Kernel::name, shape, Kernel::threads,
        [](const void* p) { Kernel::run(*static_cast<const typename Kernel::Params*>(p)); },
        &params, shared_limit<Kernel>());
  });
}

}  // namespace quire::simt
