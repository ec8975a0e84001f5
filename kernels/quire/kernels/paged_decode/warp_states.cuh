#pragma once

#include <cstddef>
#include <type_traits>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// What the warps of a block found, in shared memory: for each warp and head the largest logit, the
/// sum of weights against it, and the weighted sum of values.
template <unsigned warps, unsigned heads, unsigned head_dim>
struct WarpStates {
  static constexpr std::size_t sums_at = 2 * warps * heads * sizeof(float);
  static constexpr std::size_t bytes =
      sums_at + std::size_t{warps} * heads * head_dim * sizeof(float);
  simt::Shared<float> largest{0, warps* heads};
  simt::Shared<float> total{warps * heads * sizeof(float), warps* heads};
  simt::Shared<float> sums{sums_at, std::size_t{warps} * heads* head_dim};

  /// Joins the warps and writes `count` heads from `head` on. \pre sync() after the states were
  /// written; all threads of the block call
  template <class Params>
  QUIRE_DEVICE void finish(const Params& p, const DecodeWork& work, unsigned head,
                           unsigned count) const {
    using Query = std::remove_cvref_t<decltype(*p.out)>;
    for (unsigned i = simt::thread(); i < count * head_dim; i += warps * simt::warp_lanes) {
      const unsigned h = i / head_dim, d = i % head_dim;
      float m = -simt::infinity();
      if constexpr (decltype(p.variant)::has_sink) {
        if (work.first != 0) m = p.variant.sink_logit(head + h) * log2e;
      }
      const float sink = m;
      QUIRE_UNROLL
      for (unsigned w = 0; w < warps; ++w) m = simt::max(m, largest.load(w * heads + h));
      float sum = 0, all = weight_of(sink, m);
      QUIRE_UNROLL
      for (unsigned w = 0; w < warps; ++w) {
        const float weight = weight_of(largest.load(w * heads + h), m);
        sum += weight * sums.load((w * heads + h) * head_dim + d);
        all += weight * total.load(w * heads + h);
      }
      const float result = all > 0 ? sum / all : 0.0f;
      if (work.partial < 0) {
        p.out[work.sequence * p.out_stride + (head + h) * head_dim + d] =
            simt::narrow<Query>(result);
      } else {
        const std::size_t row = static_cast<std::size_t>(work.partial) * p.heads + head + h;
        p.partial[row * head_dim + d] = result;
        if (d == 0) p.partial_lse[row] = all > 0 ? m + simt::log2(all) : -simt::infinity();
      }
    }
  }
};

}  // namespace quire::kernels
