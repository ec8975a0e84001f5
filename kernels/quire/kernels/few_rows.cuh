#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/kernels/device_math.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// What products y = x W^T + bias of a decode step's few rows have in common, in the parameters'
/// terms: from(row), a row of x (inputs); bias (outputs) or null; to(row), a row of y (outputs). Rows of x are
/// x_stride elements apart, or a multiple of it. A block of threads takes
/// `height` times 16 outputs and `columns` rows of x, its warps share the inputs.
template <unsigned columns, unsigned warps, unsigned height = 1>
struct FewRows {
  static_assert(columns % 8 == 0);
  static constexpr unsigned tiles = columns / 8, outputs = 16 * height;
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr std::size_t shared_bytes = warps * outputs * columns * sizeof(float);
  /// For each 16 outputs: high, high + 8 of them by rows 2 low, 2 low + 1 of each eight, as in
  /// fragments.hpp.
  using Sums = float[height * tiles][4];

  /// Four activations of a row from input k on, 0 where there is none.
  template <class Half, class Params>
  QUIRE_DEVICE static void activations(const Params& p, unsigned row, unsigned k,
                                       std::uint32_t (&b)[2]) {
    b[0] = b[1] = 0;
    if (row >= p.rows) return;
    const Half* x = p.from(row) + k;
    if (k + 4 <= p.inputs && p.x_stride % 4 == 0) {
      as_pairs<Half, 4>(simt::load_vector<4>(x), b);
      return;
    }
    float v[4];
    QUIRE_UNROLL
    for (unsigned i = 0; i < 4; ++i) v[i] = k + i < p.inputs ? simt::widen(x[i]) : 0.0f;
    b[0] = simt::pack<Half>(v[0], v[1]);
    b[1] = simt::pack<Half>(v[2], v[3]);
  }

  /// Adds up what the warps have and writes it. \pre all threads of the block call
  template <class Out, class Params>
  QUIRE_DEVICE static void finish(const Params& p, const Sums& sums) {
    const unsigned first = simt::block().x * outputs, first_row = simt::block().y * columns;
    const simt::Shared<float> states(0, warps * outputs * columns);
    const unsigned high = simt::lane() / 4, low = simt::lane() % 4;
    QUIRE_UNROLL
    for (unsigned t = 0; t < height * tiles; ++t) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned column = t % tiles * 8 + low * 2 + i % 2;
        const unsigned output = t / tiles * 16 + high + i / 2 * 8;
        states.store((simt::warp() * columns + column) * outputs + output, sums[t][i]);
      }
    }
    simt::sync();
    for (unsigned i = simt::thread(); i < outputs * columns; i += threads) {
      const unsigned row = first_row + i / outputs, output = first + i % outputs;
      if (row >= p.rows || output >= p.outputs) continue;
      float sum = p.bias != nullptr ? p.bias[output] : 0.0f;
      QUIRE_UNROLL
      for (unsigned w = 0; w < warps; ++w) sum += states.load(w * outputs * columns + i);
      p.to(row)[output] = simt::narrow<Out>(sum);
    }
  }

  /// The grid over all outputs and rows.
  [[nodiscard]] static simt::Dim3 grid(std::uint32_t all_outputs, std::uint32_t rows) {
    return {(all_outputs + outputs - 1) / outputs, (rows + columns - 1) / columns};
  }
};

}  // namespace quire::kernels
