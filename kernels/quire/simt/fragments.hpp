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

}  // namespace quire::simt::fragments
