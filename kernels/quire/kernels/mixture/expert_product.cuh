#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/few_rows.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class In, class Weight>
struct ExpertProductParams {
  const Weight* const* weights = nullptr;  // \shape (experts): (outputs, inputs) each
  const std::uint32_t* takers = nullptr;   // \shape (experts, count), as ListTakers leaves them
  const std::uint32_t* counts = nullptr;   // \shape (experts)
  const In* x = nullptr;  // \shape (count / sharing, inputs): choice i reads row i / sharing
  float* y = nullptr;     // \shape (count, outputs)
  std::uint32_t count = 0, sharing = 1;
  std::uint32_t inputs = 0, outputs = 0;
};

/// y[i] = W x[i / sharing], W being the weights of the expert that choice i fell on. Each element is one
/// chain of additions in the order of the inputs. Grid: (ceil(outputs / threads), most choices of an
/// expert, experts). For elements that matrix units do not take.
template <class In, class Weight>
struct ExpertLoops {
  using Params = ExpertProductParams<In, Weight>;
  static constexpr std::string_view name = "expert_loops";
  static constexpr unsigned threads = simt::emulated ? 32 : 128;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned expert = simt::block().z, taker = simt::block().y;
    const unsigned o = simt::block().x * threads + simt::thread();
    if (taker >= p.counts[expert] || o >= p.outputs) return;
    const std::size_t choice = p.takers[std::size_t{expert} * p.count + taker];
    const In* x = p.x + choice / p.sharing * p.inputs;
    const Weight* w = p.weights[expert] + std::size_t{o} * p.inputs;
    float sum = 0;
    for (unsigned i = 0; i < p.inputs; ++i) {
      sum = simt::fma(simt::widen(x[i]), simt::widen(w[i]), sum);
    }
    p.y[choice * p.outputs + o] = sum;
  }
};

/// The same on matrix units: a block takes 16 outputs and `columns` choices of an expert, its warps share
/// the inputs. The order of a product's inner index is free, so a lane loads 16 bytes of weights at once.
/// Grid: (ceil(outputs / 16), ceil(most choices of an expert / columns), experts); blocks without choices
/// end at once. \pre inputs % 8 == 0; weights and x are aligned to 16 bytes
/// \cost reads a taken expert's weights once for `columns` choices, and no others
template <class HalfType, unsigned columns = 8, unsigned warps = 8>
struct ExpertProduct {
  using Half = HalfType;
  using Params = ExpertProductParams<Half, Half>;
  static_assert(sizeof(Half) == 2 && columns % 8 == 0);
  static constexpr std::string_view name = "expert_product";
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr unsigned outputs = 16, tiles = columns / 8;
  static constexpr std::size_t shared_bytes = warps * outputs * columns * sizeof(float);

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned expert = simt::block().z, first = simt::block().x * outputs;
    const unsigned first_taker = simt::block().y * columns, count = p.counts[expert];
    if (first_taker >= count) return;
    const std::uint32_t* takers = p.takers + std::size_t{expert} * p.count + first_taker;
    const unsigned mine = count - first_taker < columns ? count - first_taker : columns;
    const unsigned high = simt::lane() / 4, low = simt::lane() % 4;  // as in fragments.hpp
    const auto clip = [&](unsigned o) { return o < p.outputs ? o : p.outputs - 1; };
    const Half* const w = p.weights[expert];
    const Half* const rows[2] = {w + std::size_t{clip(first + high)} * p.inputs,
                                 w + std::size_t{clip(first + high + 8)} * p.inputs};
    const Half* x[tiles];
    QUIRE_UNROLL
    for (unsigned t = 0; t < tiles; ++t) {
      const unsigned taker = t * 8 + high < mine ? t * 8 + high : mine - 1;  // the last once more
      x[t] = p.x + std::size_t{takers[taker] / p.sharing} * p.inputs;
    }
    float sums[tiles][4] = {};
    QUIRE_NO_UNROLL
    for (unsigned chunk = simt::warp() * 32; chunk < p.inputs; chunk += warps * 32) {
      const unsigned k = chunk + low * 8;
      const bool here = k < p.inputs;
      std::uint32_t a[2][4];
      QUIRE_UNROLL
      for (unsigned r = 0; r < 2; ++r) eight(rows[r] + k, here, a[r]);
      QUIRE_UNROLL
      for (unsigned t = 0; t < tiles; ++t) {
        std::uint32_t b[4];
        eight(x[t] + k, here, b);
        QUIRE_UNROLL
        for (unsigned s = 0; s < 2; ++s) {
          const std::uint32_t left[4] = {a[0][2 * s], a[1][2 * s], a[0][2 * s + 1],
                                         a[1][2 * s + 1]};
          const std::uint32_t right[2] = {b[2 * s], b[2 * s + 1]};
          simt::multiply_add<Half>(sums[t], left, right);
        }
      }
    }
    const simt::Shared<float> parts(0, warps * outputs * columns);
    QUIRE_UNROLL
    for (unsigned t = 0; t < tiles; ++t) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned column = t * 8 + low * 2 + i % 2, output = high + i / 2 * 8;
        parts.store((simt::warp() * columns + column) * outputs + output, sums[t][i]);
      }
    }
    simt::sync();
    for (unsigned i = simt::thread(); i < outputs * mine; i += threads) {
      const unsigned output = first + i % outputs;
      if (output >= p.outputs) continue;
      float sum = 0;
      QUIRE_UNROLL
      for (unsigned part = 0; part < warps; ++part) {
        sum += parts.load(part * outputs * columns + i);
      }
      p.y[std::size_t{takers[i / outputs]} * p.outputs + output] = sum;
    }
  }

 private:
  /// Eight neighbours as four pairs, zeros where there are none.
  QUIRE_DEVICE static void eight(const Half* from, bool here, std::uint32_t (&pairs)[4]) {
    if (!here) {
      pairs[0] = pairs[1] = pairs[2] = pairs[3] = 0;
      return;
    }
    as_pairs<Half, 8>(simt::load_vector<8>(from), pairs);
  }
};

/// Runs the product. most: of the choices that fall on one expert
template <class In, class Weight>
void expert_product(const ExpertProductParams<In, Weight>& p, std::uint32_t experts,
                    std::uint32_t most, simt::Stream stream = {}) {
  if (p.count == 0 || p.outputs == 0) return;
  const auto run = [&]<class Kernel>(unsigned outputs, unsigned columns) {
    simt::launch<Kernel>(
        {{(p.outputs + outputs - 1) / outputs, (most + columns - 1) / columns, experts},
         Kernel::shared_bytes},
        p, stream);
  };
  if constexpr (std::is_same_v<In, Weight> && sizeof(In) == 2) {
    using Few = ExpertProduct<In, 8, simt::emulated ? 2 : 8>;
    using Many = ExpertProduct<In, 32, 4>;
    if (simt::emulated || p.count <= 16 * experts) {
      run.template operator()<Few>(Few::outputs, 8);
    } else {
      run.template operator()<Many>(Many::outputs, 32);
    }
  } else {
    using Loops = ExpertLoops<In, Weight>;
    run.template operator()<Loops>(Loops::threads, 1);
  }
}

}  // namespace quire::kernels
