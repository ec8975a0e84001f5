#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Out>
struct MergeStatesParams {
  const float* partial = nullptr;      // \shape (partials, heads, head_dim)
  const float* partial_lse = nullptr;  // \shape (partials, heads), base 2; -infinity: saw nothing
  const MergeWork* work = nullptr;     // \shape (grid.x)
  Out* out = nullptr;  // \shape (sequences, heads, head_dim), rows out_stride elements apart
  std::size_t out_stride = 0;
  std::uint32_t heads = 0;
  float* lse = nullptr;  // \shape (sequences, heads), base 2: of all parts; null: nobody asks
};

/// Merges the partial attention results of split sequences by their log-sum-exp.
/// Grid: (merges, heads). \cost reads each partial once
template <class Out, unsigned head_dim>
struct MergeStates {
  using Params = MergeStatesParams<Out>;
  static constexpr std::string_view name = "merge_states";
  static constexpr unsigned threads = (head_dim + 31) / 32 * 32;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const MergeWork work = p.work[simt::block().x];
    const unsigned head = simt::block().y, d = simt::thread();
    if (d >= head_dim) return;
    float m = -simt::infinity();
    for (unsigned i = 0; i < work.count; ++i) {
      m = simt::max(m, p.partial_lse[(work.begin + i) * std::size_t{p.heads} + head]);
    }
    float sum = 0, all = 0;
    for (unsigned i = 0; i < work.count; ++i) {
      const std::size_t row = (work.begin + i) * std::size_t{p.heads} + head;
      const float weight = weight_of(p.partial_lse[row], m);
      all += weight;
      sum += weight * p.partial[row * head_dim + d];
    }
    p.out[work.sequence * p.out_stride + head * head_dim + d] =
        simt::narrow<Out>(all > 0 ? sum / all : 0.0f);
    if (p.lse != nullptr && d == 0) {
      p.lse[work.sequence * std::size_t{p.heads} + head] =
          all > 0 ? m + simt::log2(all) : -simt::infinity();
    }
  }
};

}  // namespace quire::kernels
