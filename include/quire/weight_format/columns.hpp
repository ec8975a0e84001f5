// mechanism: blocks of many outputs side by side, decoded a vector of outputs at a time
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <quire/core/blockwise.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/simd.hpp>

/// In a panel that lies in columns, byte j of a block is followed by byte j of the next output's block:
/// what belongs to one input makes vectors of outputs, which is how the product wants its weights, and
/// nothing has to be transposed. The numbers are those of Block::decode().
namespace quire::weight_format::columns {

using simd::Vec;
namespace hn = simd::hn;

/// Scales of `lanes` outputs. \shape from: planes of `outputs` bytes
HWY_INLINE Vec fp32_scales(const std::byte* from, std::size_t outputs) {
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const hn::Rebind<std::uint32_t, simd::Floats> wide;
  const auto plane = [&](std::size_t i) {
    return hn::PromoteTo(
        wide, hn::LoadU(narrow, reinterpret_cast<const std::uint8_t*>(from) + i * outputs));
  };
  return hn::BitCast(simd::Floats(),
                     hn::Or(hn::Or(plane(0), hn::ShiftLeft<8>(plane(1))),
                            hn::Or(hn::ShiftLeft<16>(plane(2)), hn::ShiftLeft<24>(plane(3)))));
}
HWY_INLINE Vec e4m3_scales(const std::byte* from) {
  float scales[simd::lanes];
  blockwise::widen_e4m3(from, simd::lanes, 1.0f, scales);
  return simd::load(scales);
}
HWY_INLINE Vec e8m0_scales(const std::byte* from) {
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const simd::Words d;
  const auto code =
      hn::PromoteTo(d, hn::LoadU(narrow, reinterpret_cast<const std::uint8_t*>(from)));
  // The least power is below the normal numbers, and the last code no number.
  auto bits =
      hn::IfThenElse(hn::Eq(code, hn::Zero(d)), hn::Set(d, 0x400000), hn::ShiftLeft<23>(code));
  bits = hn::IfThenElse(hn::Eq(code, hn::Set(d, 0xff)), hn::Set(d, 0x7fc00000), bits);
  return hn::BitCast(simd::Floats(), bits);
}

enum class Scale { fp32, e4m3, e8m0 };
template <Scale scale>
HWY_INLINE Vec scales_of(const std::byte* from, std::size_t outputs) {
  if constexpr (scale == Scale::fp32) return fp32_scales(from, outputs);
  if constexpr (scale == Scale::e4m3) return e4m3_scales(from);
  if constexpr (scale == Scale::e8m0) return e8m0_scales(from);
}

/// How a block lies: where its codes and its scale start, how the scale is read, and the table that codes
/// of 4 bits number.
struct Layout {
  std::size_t codes_at, scale_at;
  Scale scale;
  const float* table;
};

/// Of blocks that can lie in columns; others have none.
template <class Block>
struct LayoutOf {};
template <std::size_t n>
struct LayoutOf<blockwise::Nf4<n>> {
  static constexpr Layout value{0, n / 2, Scale::fp32, blockwise::nf4_codes.data()};
};
template <>
struct LayoutOf<blockwise::Mxfp4> {
  static constexpr Layout value{0, 16, Scale::e8m0, blockwise::e2m1_values.data()};
};
template <bool four_over_six>
struct LayoutOf<blockwise::Nvfp4<four_over_six>> {
  static constexpr Layout value{0, 8, Scale::e4m3, blockwise::e2m1_values.data()};
};

/// Whether panels of the block lie in columns.
template <class Block>
concept Columnar = requires {
  LayoutOf<Block>::value;
};

/// A table of 16 numbers, looked up by the lowest 4 bits of each lane.
class Table {
 public:
  explicit Table(const float* numbers)
      : numbers_(numbers),
        low_(simd::load(numbers)),
        high_(simd::load(numbers + 16 - simd::lanes)) {}

  template <class Codes>
  HWY_INLINE Vec operator()(Codes codes) const {
    const hn::RebindToSigned<simd::Floats> whole;
    // Debug builds of Highway check indices with a function that has to be linked.
    if constexpr (simd::lanes >= 8 && HWY_IS_DEBUG_BUILD == 0) {
      constexpr int last = static_cast<int>(simd::lanes) - 1;
      const auto index = hn::IndicesFromVec(simd::Floats(), hn::And(codes, hn::Set(whole, last)));
      if constexpr (simd::lanes == 16) return hn::TableLookupLanes(low_, index);
      const auto upper = hn::Ne(hn::And(codes, hn::Set(whole, 8)), hn::Zero(whole));
      return hn::IfThenElse(hn::RebindMask(simd::Floats(), upper),
                            hn::TableLookupLanes(high_, index), hn::TableLookupLanes(low_, index));
    } else {
      std::int32_t at[simd::lanes];
      float found[simd::lanes];
      hn::StoreU(codes, whole, at);
      for (std::size_t i = 0; i < simd::lanes; ++i) found[i] = numbers_[at[i] & 15];
      return simd::load(found);
    }
  }

 private:
  const float* numbers_;
  Vec low_, high_;
};

// Lines of a stream are fetched ahead (simd::unpacking_reach): widening takes so many instructions per
// line that too few loads are under way at once.

/// Elements [first, first + count) of one block each of Vectors * lanes neighbouring outputs.
/// \shape planes (Block::bytes, outputs); values (count, outputs)
template <class Block, std::size_t Vectors>
void decode(const std::byte* planes, std::size_t outputs, std::size_t first, std::size_t count,
            float* values) {
  using simd::lanes;
  using At = LayoutOf<Block>;
  Vec scales[Vectors];
  const std::byte* scales_at = planes + At::value.scale_at * outputs;
  simd::unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
    scales[v] = scales_of<At::value.scale>(scales_at + v * lanes, outputs);
  });
  const std::byte* codes = planes + At::value.codes_at * outputs;
  const hn::Rebind<std::int32_t, simd::Floats> wide;
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const Table table(At::value.table);
  constexpr std::size_t run = Block::size / 2;
  const auto pass = [&](std::size_t begin, std::size_t end, auto shift)
      __attribute__((always_inline)) {
    for (std::size_t i = begin; i < end; ++i, values += outputs) {
      const auto* from = reinterpret_cast<const std::uint8_t*>(codes + i * outputs);
      if constexpr (decltype(shift)::value == 0) simd::fetch_ahead(from + simd::unpacking_reach);
      simd::unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        auto code = hn::PromoteTo(wide, hn::LoadU(narrow, from + v * lanes));
        if constexpr (decltype(shift)::value > 0) code = hn::ShiftRight<4>(code);
        simd::store(hn::Mul(scales[v], table(code)), values + v * lanes);
      });
    }
  };
  const std::size_t last = first + count;
  pass(std::min(first, run), std::min(last, run), std::integral_constant<int, 0>{});
  pass(std::max(first, run) - run, std::max(last, run) - run, std::integral_constant<int, 4>{});
}

/// y += x W^T over one block of each of tile_width outputs, weights never leaving registers. An element is
/// one chain of fused multiply-adds over its inputs, as of decoded weights.
/// \shape planes (Block::bytes, outputs); x (Rows, inputs), y (Rows, tile_width), their rows so far apart
template <class Block, std::size_t Rows>
HWY_NOINLINE void add_block(const std::byte* planes, std::size_t outputs, std::size_t inputs,
                            const float* x, std::size_t x_stride, float* y, std::size_t y_stride) {
  using simd::lanes;
  using At = LayoutOf<Block>;
  constexpr std::size_t vectors = simd::tile_vectors, run = Block::size / 2;
  Vec scales[vectors], sums[Rows * vectors];
  simd::unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
    scales[v] =
        scales_of<At::value.scale>(planes + At::value.scale_at * outputs + v * lanes, outputs);
  });
  simd::unrolled<Rows * vectors>([&](auto i) __attribute__((always_inline)) {
    sums[i] = simd::load(y + i / vectors * y_stride + i % vectors * lanes);
  });
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const Table table(At::value.table);
  const auto pass = [&](std::size_t count, const float* inputs_from, auto shift)
      __attribute__((always_inline)) {
    const auto* from = reinterpret_cast<const std::uint8_t*>(planes) + At::value.codes_at * outputs;
    for (std::size_t i = 0; i < count; ++i, from += outputs) {
      if constexpr (decltype(shift)::value == 0) simd::fetch_ahead(from + simd::unpacking_reach);
      Vec weights[vectors];
      simd::unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
        auto code = hn::PromoteTo(simd::Words(), hn::LoadU(narrow, from + v * lanes));
        if constexpr (decltype(shift)::value > 0) code = hn::ShiftRight<4>(code);
        weights[v] = hn::Mul(scales[v], table(code));
      });
      simd::unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        const Vec input = simd::set(inputs_from[r * x_stride + i]);
        simd::unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
          sums[r * vectors + v] = hn::MulAdd(input, weights[v], sums[r * vectors + v]);
        });
      });
    }
  };
  pass(std::min(inputs, run), x, std::integral_constant<int, 0>{});
  if (inputs > run) pass(inputs - run, x + run, std::integral_constant<int, 4>{});
  simd::unrolled<Rows * vectors>([&](auto i) __attribute__((always_inline)) {
    simd::store(sums[i], y + i / vectors * y_stride + i % vectors * lanes);
  });
}

/// y += x W^T of a panel, for few rows: what reads weights once. \pre outputs % tile_width == 0
template <class Block>
void add_few(const std::byte* panel, std::size_t outputs, std::size_t inputs, const float* x,
             std::size_t x_stride, std::size_t rows, float* y, std::size_t y_stride) {
  for (std::size_t k = 0; k < inputs; k += Block::size, panel += Block::bytes * outputs) {
    const std::size_t count = std::min(Block::size, inputs - k);
    for (std::size_t n = 0; n < outputs; n += simd::tile_width) {
      std::size_t r = 0;
      const auto add = [&](auto tile) {
        for (; r + tile <= rows; r += tile) {
          add_block<Block, tile>(panel + n, outputs, count, x + r * x_stride + k, x_stride,
                                 y + r * y_stride + n, y_stride);
        }
      };
      add(std::integral_constant<std::size_t, 4>{});
      add(std::integral_constant<std::size_t, 2>{});
      add(std::integral_constant<std::size_t, 1>{});
    }
  }
}

}  // namespace quire::weight_format::columns
