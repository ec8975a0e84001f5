#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/few_rows.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Half, class Out>
struct SparseProductParams {
  const Half* values = nullptr;           // as SparseWeights::values
  const std::uint32_t* places = nullptr;  // as SparseWeights::places
  const Half* x = nullptr;                // \shape (rows, inputs), rows x_stride elements apart
  std::size_t x_stride = 0;
  const float* bias = nullptr;  // \shape (outputs); null: none
  Out* y = nullptr;             // \shape (rows, outputs), rows y_stride elements apart
  std::size_t y_stride = 0;
  std::uint32_t rows = 0, inputs = 0, outputs = 0;

  [[nodiscard]] QUIRE_DEVICE const Half* from(unsigned row) const { return x + row * x_stride; }
  [[nodiscard]] QUIRE_DEVICE Out* to(unsigned row) const { return y + row * y_stride; }
};

/// y = x W^T + bias for 2:4 sparse weights of 16 bits, for the few rows of a decode step, whose time
/// is that of reading the weights: 9/16 of the dense ones' bytes. Fours become dense in registers, and
/// multiply as such: sparse products (mma.sp) would save arithmetic that nobody waits for.
/// Grid: (ceil(outputs / 16), ceil(rows / columns)). \cost reads the weights once for `columns` rows
template <class HalfType, class Out, unsigned columns = 8, unsigned warps = 8>
struct SparseProduct {
  using Half = HalfType;
  using Params = SparseProductParams<Half, Out>;
  using Rows = FewRows<columns, warps>;
  static_assert(sizeof(Half) == 2);
  static constexpr std::string_view name = "sparse_product";
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr unsigned chunk = 64, steps = 4;
  static constexpr std::size_t shared_bytes = Rows::shared_bytes;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned first_row = simt::block().y * columns;
    const unsigned chunks = (p.inputs + chunk - 1) / chunk;
    const unsigned lane = simt::lane(), high = lane / 4, low = lane % 4;  // as in fragments.hpp
    typename Rows::Sums sums{};
    QUIRE_NO_UNROLL
    for (unsigned c = simt::warp(); c < chunks; c += warps) {
      const std::size_t at = (std::size_t{simt::block().x} * chunks + c) * simt::warp_lanes + lane;
      const std::uint32_t places = simt::load_vector_once<1>(p.places + at).v[0];
      const auto* from = reinterpret_cast<const std::uint32_t*>(p.values + at * 16);
      const auto first = simt::load_vector_once<4>(from),
                 second = simt::load_vector_once<4>(from + 4);
      QUIRE_UNROLL
      for (unsigned s = 0; s < steps; ++s) {
        const auto& pairs = s < 2 ? first : second;
        std::uint32_t a[4];
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const std::uint64_t four = dense(pairs.v[s % 2 * 2 + r], places >> (s * 8 + r * 4));
          a[r] = static_cast<std::uint32_t>(four);
          a[2 + r] = static_cast<std::uint32_t>(four >> 32);
        }
        QUIRE_UNROLL
        for (unsigned t = 0; t < Rows::tiles; ++t) {
          std::uint32_t b[2];
          Rows::template activations<Half>(p, first_row + t * 8 + high,
                                           c * chunk + s * 16 + low * 4, b);
          simt::multiply_add<Half>(sums[t], a, b);
        }
      }
    }
    Rows::template finish<Out>(p, sums);
  }

 private:
  /// Two values at their places among four. `places`: two bits each in the lowest four.
  QUIRE_DEVICE static std::uint64_t dense(std::uint32_t pair, std::uint32_t places) {
    const std::uint64_t low = pair & 0xffffu, high = pair >> 16;
    return low << (places % 4 * 16) | high << (places / 4 % 4 * 16);
  }
};

/// Runs the product over all outputs and rows. \pre x is aligned to 8 bytes, the weights to 16
template <class Half, class Out, unsigned columns = 8, unsigned warps = 8>
void sparse_product(const SparseProductParams<Half, Out>& p, simt::Stream stream = {}) {
  using Kernel = SparseProduct<Half, Out, columns, warps>;
  if (p.rows == 0 || p.outputs == 0) return;
  simt::launch<Kernel>({Kernel::Rows::grid(p.outputs, p.rows), Kernel::shared_bytes}, p, stream);
}

}  // namespace quire::kernels
