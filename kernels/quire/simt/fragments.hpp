#pragma once

#include <quire/core/hd.hpp>

/// Which element of a matrix each lane holds in the operands of mma.m16n8k16, as the PTX manual lays
/// them out ("Matrix Fragments for mma.m16n8k16 with floating point type").
namespace quire::simt::fragments {

struct Place {
  unsigned row, column;
};

/// A (16, 16), rows: element i of 8; register i / 2 holds elements i and i + 1.
[[nodiscard]] QUIRE_HD constexpr Place a(unsigned lane, unsigned i) {
  const unsigned group = lane / 4, in_group = lane % 4;
  return {group + (i / 2 % 2 != 0 ? 8u : 0u), in_group * 2 + i % 2 + (i >= 4 ? 8u : 0u)};
}
/// B (16, 8), columns: element i of 4.
[[nodiscard]] QUIRE_HD constexpr Place b(unsigned lane, unsigned i) {
  const unsigned group = lane / 4, in_group = lane % 4;
  return {in_group * 2 + i % 2 + (i >= 2 ? 8u : 0u), group};
}
/// C and D (16, 8), fp32: element i of 4.
[[nodiscard]] QUIRE_HD constexpr Place c(unsigned lane, unsigned i) {
  const unsigned group = lane / 4, in_group = lane % 4;
  return {group + (i >= 2 ? 8u : 0u), in_group * 2 + i % 2};
}

/// D of a warpgroup's product (64, n), fp32 ("Register Fragments for wgmma.mma_async.m64nNk16"): element
/// i of n / 2 of thread `thread` of the group. Its A in registers is laid out as a() a warp, 16 rows each.
[[nodiscard]] QUIRE_HD constexpr Place warpgroup_d(unsigned thread, unsigned i) {
  const Place in_tile = c(thread % 32, i % 4);
  return {thread / 32 * 16 + in_tile.row, i / 4 * 8 + in_tile.column};
}

}  // namespace quire::simt::fragments
