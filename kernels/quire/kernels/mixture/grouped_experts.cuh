#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/float16.hpp>
#include <quire/kernels/grouped_product/grouped_product.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class In>
struct GroupedExpertsParams {
  const std::byte* const* codes = nullptr;  // \shape (experts): as GroupedWeights::codes each
  const Fp16* const* scales = nullptr;      // \shape (experts): as GroupedWeights::scales each
  const std::uint32_t* takers = nullptr;    // \shape (experts, count), as ListTakers leaves them
  const std::uint32_t* counts = nullptr;    // \shape (experts)
  const In* x = nullptr;  // \shape (count / sharing, inputs): choice i reads row i / sharing
  float* y = nullptr;     // \shape (count, outputs)
  std::uint32_t count = 0, sharing = 1;
  std::uint32_t inputs = 0, outputs = 0;
};

/// y[i] = W x[i / sharing], W being the weights of the expert that choice i fell on, in 4 or 8 bits and
/// groups: GroupedProduct over the rows that took an expert. Grid: (ceil(outputs / 16), ceil(most choices of an
/// expert / columns), experts); blocks without choices end at once. \pre x is aligned to 8 bytes
/// \cost reads a taken expert's codes once for `columns` choices, and no others
template <class Format, class HalfType, unsigned columns = 8, unsigned warps = 8>
struct GroupedExperts {
  using Half = HalfType;
  using Params = GroupedExpertsParams<Half>;
  using Product = GroupedProduct<Format, Half, float, columns, warps>;
  static constexpr std::string_view name = "grouped_experts";
  static constexpr unsigned threads = Product::threads;
  static constexpr std::size_t shared_bytes = Product::shared_bytes;

  /// An expert and who took it, as GroupedProduct sees them.
  struct Taken {
    const std::byte* codes;
    const Fp16* scales;
    const float* bias;
    const Half* x;
    float* y;
    const std::uint32_t* takers;  // \shape (rows)
    std::uint32_t rows, sharing, inputs, outputs;
    std::size_t x_stride;

    [[nodiscard]] QUIRE_DEVICE const Half* from(unsigned row) const {
      return x + takers[row] / sharing * x_stride;
    }
    [[nodiscard]] QUIRE_DEVICE float* to(unsigned row) const {
      return y + std::size_t{takers[row]} * outputs;
    }
  };

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned expert = simt::block().z, rows = p.counts[expert];
    if (simt::block().y * columns >= rows) return;
    Product::multiply(Taken{p.codes[expert], p.scales[expert], nullptr, p.x, p.y,
                            p.takers + std::size_t{expert} * p.count, rows, p.sharing, p.inputs,
                            p.outputs, p.inputs});
  }
};

/// Runs the product. most: of the choices that fall on one expert
template <class Format, class Half>
void grouped_experts(const GroupedExpertsParams<Half>& p, std::uint32_t experts, std::uint32_t most,
                     simt::Stream stream = {}) {
  if (p.count == 0 || p.outputs == 0) return;
  const auto run = [&]<class Kernel>(unsigned columns) {
    simt::launch<Kernel>(
        {{(p.outputs + 15) / 16, (most + columns - 1) / columns, experts}, Kernel::shared_bytes}, p,
        stream);
  };
  if (simt::emulated || p.count <= 16 * experts) {
    run.template operator()<GroupedExperts<Format, Half, 8, simt::emulated ? 2 : 8>>(8);
  } else {
    run.template operator()<GroupedExperts<Format, Half, 16>>(16);
  }
}

}  // namespace quire::kernels
