#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <quire/simt/async_layout.hpp>
#include <quire/simt/fragments.hpp>

/// What works beside the lanes of a block: bulk copies, products of warpgroups, and the barriers in
/// shared memory that both are waited for at.
namespace quire::simt::emulator {

/// 16 bytes of a bulk copy on their way; `from` null: zeros.
struct BulkUnit {
  std::size_t to = 0;
  const std::byte* from = nullptr;
};
struct BulkCopy {
  std::vector<BulkUnit> units;
  std::size_t barrier = 0;  // that it arrives at
  unsigned lane = 0;        // that issued it
  std::uint32_t issued = 0;
};

/// One lane's part of a warpgroup's product. Results come into `d` when they are waited for; until
/// then it holds poison.
struct Product {
  float* d = nullptr;
  unsigned outputs = 0;  // of this lane
  unsigned columns = 0;
  bool adds = false;
  bool a_in_registers = false;
  float a[2][16]{};  // this lane's two rows, where they came from registers
  std::uint64_t a_matrix = 0, b_matrix = 0;
  bool b_other_major = false;
  float (*widen)(std::uint16_t) = nullptr;
  unsigned group = 0;
  bool done = false;
  std::vector<float> value;  // before it is done: what it adds to
};

/// Whether a descriptor names the swizzle of 128 bytes, from a multiple of 1024 bytes on.
[[nodiscard]] inline bool is_swizzled(std::uint64_t matrix) {
  return matrix >> 62 == 1 && (matrix >> 49 & 7) == 0;
}
/// Where element (i, k) of an operand lies in shared memory, as its descriptor says; i counts along the
/// dimension that is not the sum's.
[[nodiscard]] inline std::size_t operand_place(std::uint64_t matrix, bool other_major, unsigned i,
                                               unsigned k) {
  const std::size_t start = (matrix & 0x3fffu) << 4, leading = (matrix >> 16 & 0x3fffu) << 4,
                    stride = (matrix >> 32 & 0x3fffu) << 4;
  const std::size_t at =
      start + (other_major ? i / 64 * leading + i % 64 * std::size_t{2} + k / 8 * stride +
                                 k % 8 * std::size_t{128}
                           : i / 8 * stride + i % 8 * std::size_t{128} + k * std::size_t{2});
  return at ^ (at >> 7 & 7u) << 4;
}
/// Carries out a thread's part of a product. at(place): that byte of shared memory
template <class At>
void multiply(Product& p, unsigned thread, const At& at) {
  const auto element = [&](std::uint64_t matrix, bool other_major, unsigned i, unsigned k) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, at(operand_place(matrix, other_major, i, k)), sizeof bits);
    return p.widen(bits);
  };
  for (unsigned r = 0; r < 2 && !p.a_in_registers; ++r) {
    for (unsigned k = 0; k < 16; ++k) {
      p.a[r][k] = element(p.a_matrix, false, fragments::warpgroup_d(thread, 2 * r).row, k);
    }
  }
  if (!p.adds) std::fill(p.value.begin(), p.value.end(), 0.0f);
  for (unsigned i = 0; i < p.outputs; i += i % 4 == 1 ? 3 : 1) {
    const unsigned column = fragments::warpgroup_d(thread, i).column;
    for (unsigned k = 0; k < 16; ++k) {
      const float b = element(p.b_matrix, p.b_other_major, column, k);
      p.value[i] += p.a[0][k] * b;
      p.value[i + 2] += p.a[1][k] * b;
    }
  }
  p.done = true;
}

/// A barrier in shared memory: a phase ends when all have arrived and all announced bytes have come.
struct SharedBarrier {
  std::size_t at = 0;
  unsigned count = 0, pending = 0, phase = 0;
  std::int64_t bytes = 0;
  std::vector<std::uint32_t> gathered, passed;  // clocks
  std::uint32_t made_epoch = 0, made_clock = 0, maker = 0;
};

/// A barrier that the warps of a part of the block meet at.
struct NamedBarrier {
  unsigned threads = 0, arrived = 0;
  std::vector<unsigned> waiting;
  std::vector<std::uint32_t> gathered;
};

}  // namespace quire::simt::emulator
