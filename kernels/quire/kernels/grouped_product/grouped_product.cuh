#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/float16.hpp>
#include <quire/kernels/few_rows.cuh>
#include <quire/kernels/grouped_product/layout.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Half, class Out>
struct GroupedProductParams {
  const std::byte* codes = nullptr;  // as GroupedWeights::codes
  const Fp16* scales = nullptr;      // as GroupedWeights::scales
  const Half* x = nullptr;           // \shape (rows, inputs), rows x_stride elements apart
  std::size_t x_stride = 0;
  const float* bias = nullptr;  // \shape (outputs); null: none
  Out* y = nullptr;             // \shape (rows, outputs), rows y_stride elements apart
  std::size_t y_stride = 0;
  std::uint32_t rows = 0, inputs = 0, outputs = 0;

  [[nodiscard]] QUIRE_DEVICE const Half* from(unsigned row) const { return x + row * x_stride; }
  [[nodiscard]] QUIRE_DEVICE Out* to(unsigned row) const { return y + row * y_stride; }
};

/// y = x W^T + bias for weights of 4 or 8 bits and activations of 16 (W4A16, W8A16), for the few rows
/// of a decode step. Codes multiply as the whole numbers that they are, which 16 bits hold exactly; a
/// group's sum is then scaled, in fp32. A warp takes every warps-th group of 16 outputs; the order of
/// a product's inner index is free, so codes go from memory to the matrix units' registers. What a warp
/// loads of x serves `height` times 16 outputs.
/// Grid: (ceil(outputs / (16 height)), ceil(rows / columns)). \cost reads the weights once for `columns`
/// rows, and x once for 16 height outputs
/// \source layout in the lanes' order: Frantar et al., "MARLIN", 2024
template <class Format, class HalfType, class Out, unsigned columns = 8, unsigned warps = 8,
          unsigned height = 1>
struct GroupedProduct {
  using Half = HalfType;
  using Params = GroupedProductParams<Half, Out>;
  using Access = GroupedAccess<Format>;
  static_assert(sizeof(Half) == 2);
  static constexpr std::string_view name = "grouped_product";
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr unsigned bits = Access::bits, group = Access::group;
  static constexpr unsigned per_byte = 8 / bits;
  static constexpr unsigned quarter = group * bits / 32;  // code bytes of a lane and output
  static constexpr unsigned words = quarter / 4;
  static constexpr unsigned apart = group / per_byte;  // elements between a byte's codes
  using Rows = FewRows<columns, warps, height>;
  static constexpr unsigned tiles = Rows::tiles;
  static constexpr std::size_t shared_bytes = Rows::shared_bytes;

  /// Adds what group g of the inputs gives. whole: all of its inputs are there, on 8 bytes each four
  template <bool whole, class AnyRows>
  QUIRE_DEVICE static void add_group(const AnyRows& p, unsigned g, unsigned groups,
                                     unsigned first_row, typename Rows::Sums& sums) {
    const unsigned lane = simt::lane(), high = lane / 4, low = lane % 4;  // as in fragments.hpp
    const unsigned last = (p.outputs - 1) / 16;
    std::size_t at[height];
    std::uint32_t codes[height][2 * words];
    QUIRE_UNROLL
    for (unsigned h = 0; h < height; ++h) {
      const unsigned tile = simt::block().x * height + h;
      at[h] = std::size_t{tile < last ? tile : last} * groups + g;  // the last one again: unused
      load(p.codes + (at[h] * simt::warp_lanes + lane) * 2 * quarter, codes[h]);
    }
    typename Rows::Sums acc{};
    const Half* x[tiles];  // of rows that are not there another's: nobody reads their sums
    QUIRE_UNROLL
    for (unsigned t = 0; t < tiles; ++t) {
      const unsigned row = first_row + t * 8 + high;
      x[t] = p.from(row < p.rows ? row : first_row) + g * group + low * quarter;
    }
    QUIRE_UNROLL
    for (unsigned part = 0; part < per_byte; ++part) {
      QUIRE_UNROLL
      for (unsigned w = 0; w < words; ++w) {
        std::uint32_t b[tiles][2];
        QUIRE_UNROLL
        for (unsigned t = 0; t < tiles; ++t) {
          if constexpr (whole) {
            as_pairs<Half, 4>(simt::load_vector<4>(x[t] + part * apart + 4 * w), b[t]);
          } else {
            Rows::template activations<Half>(p, first_row + t * 8 + high,
                                             g * group + part * apart + low * quarter + 4 * w,
                                             b[t]);
          }
        }
        QUIRE_UNROLL
        for (unsigned h = 0; h < height; ++h) {
          std::uint32_t a[4];
          QUIRE_UNROLL
          for (unsigned r = 0; r < 2; ++r) {
            const auto pairs = numbers(codes[h][r * words + w], part);
            a[r] = pairs.v[0];
            a[2 + r] = pairs.v[1];
          }
          QUIRE_UNROLL
          for (unsigned t = 0; t < tiles; ++t) {
            simt::multiply_add<Half>(acc[h * tiles + t], a, b[t]);
          }
        }
      }
    }
    QUIRE_UNROLL
    for (unsigned h = 0; h < height; ++h) {
      const float scale[2] = {simt::widen(p.scales[at[h] * 16 + high]),
                              simt::widen(p.scales[at[h] * 16 + high + 8])};
      QUIRE_UNROLL
      for (unsigned t = h * tiles; t < (h + 1) * tiles; ++t) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          sums[t][i] = simt::fma(acc[t][i], scale[i / 2], sums[t][i]);
        }
      }
    }
  }

  QUIRE_DEVICE static void run(const Params& p) { multiply(p); }
  /// The same for whatever names codes, scales and rows as Params does.
  template <class AnyRows>
  QUIRE_DEVICE static void multiply(const AnyRows& p) {
    const unsigned first_row = simt::block().y * columns;
    const unsigned groups = (p.inputs + group - 1) / group;
    typename Rows::Sums sums{};
    QUIRE_NO_UNROLL
    for (unsigned g = simt::warp(); g < groups; g += warps) {
      if ((g + 1) * group <= p.inputs && p.x_stride % 4 == 0) {
        add_group<true>(p, g, groups, first_row, sums);
      } else {
        add_group<false>(p, g, groups, first_row, sums);
      }
    }
    Rows::template finish<Out>(p, sums);
  }

 private:
  QUIRE_DEVICE static void load(const std::byte* from, std::uint32_t (&to)[2 * words]) {
    constexpr unsigned n = words % 2 == 0 ? 4 : 2;  // 16 bytes at once, or 8
    const auto* p = reinterpret_cast<const std::uint32_t*>(from);
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2 * words; i += n) {
      const auto v = simt::load_vector_once<n>(p + i);
      QUIRE_UNROLL
      for (unsigned j = 0; j < n; ++j) to[i + j] = v.v[j];
    }
  }
  /// The signed numbers of four bytes' codes, of 4 bits the `part`-th of each.
  QUIRE_DEVICE static simt::Vector<std::uint32_t, 2> numbers(std::uint32_t word, unsigned part) {
    if constexpr (bits == 4) {
      return simt::widen_codes<Half>(word >> (part * 4) & 0x0f0f0f0fu);
    } else {
      return simt::widen_four<Half, std::int8_t>(word ^ 0x80808080u);
    }
  }
};

/// Runs the product over all outputs and rows. \pre x is aligned to 8 bytes
template <class Format, class Half, class Out, unsigned columns = 8, unsigned warps = 8,
          unsigned height = 1>
void grouped_product(const GroupedProductParams<Half, Out>& p, simt::Stream stream = {}) {
  using Kernel = GroupedProduct<Format, Half, Out, columns, warps, height>;
  if (p.rows == 0 || p.outputs == 0) return;
  simt::launch<Kernel>({Kernel::Rows::grid(p.outputs, p.rows), Kernel::shared_bytes}, p, stream);
}

}  // namespace quire::kernels
