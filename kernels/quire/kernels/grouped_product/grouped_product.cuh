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
};

/// y = x W^T + bias for weights of 4 or 8 bits and activations of 16 (W4A16, W8A16), for the few rows
/// of a decode step. Codes multiply as the whole numbers that they are, which 16 bits hold exactly; a
/// group's sum is then scaled, in fp32. A warp takes every warps-th group of 16 outputs; the order of
/// a product's inner index is free, so codes go from memory to the matrix units' registers.
/// Grid: (ceil(outputs / 16), ceil(rows / columns)). \cost reads the weights once for `columns` rows
/// \source layout in the lanes' order: Frantar et al., "MARLIN", 2024
template <class Format, class HalfType, class Out, unsigned columns = 8, unsigned warps = 8>
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
  using Rows = FewRows<columns, warps>;
  static constexpr unsigned tiles = Rows::tiles;
  static constexpr std::size_t shared_bytes = Rows::shared_bytes;

  QUIRE_DEVICE static void add_group(const Params& p, unsigned tile, unsigned g, unsigned groups,
                                     unsigned first_row, float (&sums)[tiles][4]) {
    const unsigned lane = simt::lane(), high = lane / 4, low = lane % 4;  // as in fragments.hpp
    const std::size_t at = std::size_t{tile} * groups + g;
    std::uint32_t codes[2 * words];
    load(p.codes + (at * simt::warp_lanes + lane) * 2 * quarter, codes);
    float acc[tiles][4]{};
    QUIRE_UNROLL
    for (unsigned part = 0; part < per_byte; ++part) {
      QUIRE_UNROLL
      for (unsigned w = 0; w < words; ++w) {
        std::uint32_t a[4];
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const std::uint32_t word = codes[r * words + w] >> (part * bits);
          a[r] = simt::pack<Half>(code(word), code(word >> 8));
          a[2 + r] = simt::pack<Half>(code(word >> 16), code(word >> 24));
        }
        const unsigned k = g * group + part * apart + low * quarter + 4 * w;
        QUIRE_UNROLL
        for (unsigned t = 0; t < tiles; ++t) {
          std::uint32_t b[2];
          Rows::template activations<Half>(p, first_row + t * 8 + high, k, b);
          simt::multiply_add<Half>(acc[t], a, b);
        }
      }
    }
    const float scale[2] = {simt::widen(p.scales[at * 16 + high]),
                            simt::widen(p.scales[at * 16 + high + 8])};
    QUIRE_UNROLL
    for (unsigned t = 0; t < tiles; ++t) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        sums[t][i] = simt::fma(acc[t][i], scale[i / 2], sums[t][i]);
      }
    }
  }

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned tile = simt::block().x, first_row = simt::block().y * columns;
    const unsigned groups = (p.inputs + group - 1) / group;
    typename Rows::Sums sums{};
    QUIRE_NO_UNROLL
    for (unsigned g = simt::warp(); g < groups; g += warps) {
      add_group(p, tile, g, groups, first_row, sums);
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
  /// The signed number of a code in the lowest bits: the code under the exponent of 2^23, exactly.
  QUIRE_DEVICE static float code(std::uint32_t word) {
    constexpr std::uint32_t mask = (1u << bits) - 1;
    constexpr float bias = 8388608.0f + static_cast<float>(1u << (bits - 1));
    return simt::bit_cast<float>((word & mask) | 0x4b000000u) - bias;
  }
};

/// Runs the product over all outputs and rows. \pre x is aligned to 8 bytes
template <class Format, class Half, class Out, unsigned columns = 8, unsigned warps = 8>
void grouped_product(const GroupedProductParams<Half, Out>& p, simt::Stream stream = {}) {
  using Kernel = GroupedProduct<Format, Half, Out, columns, warps>;
  if (p.rows == 0 || p.outputs == 0) return;
  simt::launch<Kernel>({Kernel::Rows::grid(p.outputs, p.rows), Kernel::shared_bytes}, p, stream);
}

}  // namespace quire::kernels
