#pragma once

#include <cstdint>

#include <quire/core/error.hpp>
#include <quire/kernels/merge_states/merge_states.cuh>
#include <quire/kernels/paged_decode/grouped.cuh>
#include <quire/kernels/paged_decode/packed.cuh>
#include <quire/kernels/paged_decode/paged_decode.cuh>
#include <quire/kernels/paged_decode/plan.hpp>

namespace quire::kernels {

/// Passes over the query heads of one KV head: what a block of threads cannot hold at once.
template <class Key, DecodeTuning tuning = DecodeTuning{}>
[[nodiscard]] constexpr std::uint32_t decode_passes(std::uint32_t group) {
  const bool matrix =
      packs_codes<typename Key::Access> || (has_matrix_path<Key> && group >= tuning.matrix_from);
  const std::uint32_t heads = matrix ? 8 : tuning.heads;
  return (group + heads - 1) / heads;
}

/// Decode attention of a batch: one query a sequence, keys and values from the block tables.
/// `work` and `merges`: how many of each the plan has; p.work and merge_work lie on the device.
/// fp32 queries, formats of 32 bits and groups of heads smaller than the tuning says run on CUDA
/// cores; the others on matrix units, which are faster for each group on an H200. Formats of packed
/// codes have their own kernels there.
/// lse: of each merged row and head, base 2, where somebody asks. \shape (rows, p.heads)
/// \pre p.heads is a multiple of p.cache.kv_heads
template <class Key, AttentionVariant Variant, DecodeTuning tuning = DecodeTuning{}>
void paged_decode(const PagedDecodeParams<typename Key::Query, Variant>& p, std::uint32_t work,
                  const MergeWork* merge_work, std::uint32_t merges, simt::Stream stream = {},
                  float* lse = nullptr) {
  if (work == 0) return;
  if (p.cache.kv_heads == 0 || p.heads % p.cache.kv_heads != 0) {
    throw usage_error("paged_decode", "the query heads do not divide among the KV heads",
                      "a multiple");
  }
  const std::uint32_t group = p.heads / p.cache.kv_heads;
  const simt::Dim3 grid{work, p.cache.kv_heads, decode_passes<Key, tuning>(group)};
  const auto launch = [&]<class Kernel>() {
    simt::launch<Kernel>({grid, Kernel::shared_bytes}, p, stream);
  };
  if constexpr (groups_codes<typename Key::Access>) {
    launch.template operator()<PagedDecodeGrouped<Key, Variant, tuning>>();
  } else if constexpr (packs_codes<typename Key::Access>) {
    launch.template operator()<PagedDecodePacked<Key, Variant, tuning>>();
  } else {
    bool matrix = false;
    if constexpr (has_matrix_path<Key>) {
      matrix = group >= tuning.matrix_from;
      if (matrix) launch.template operator()<PagedDecodeMatrix<Key, Variant, tuning>>();
    }
    if (!matrix) launch.template operator()<PagedDecodeScalar<Key, Variant, tuning>>();
  }
  if (merges == 0) return;
  using Merge = MergeStates<typename Key::Query, Key::head_dim>;
  simt::launch<Merge>({{merges, p.heads}, Merge::shared_bytes},
                      {p.partial, p.partial_lse, merge_work, p.out, p.out_stride, p.heads, lse},
                      stream);
}

}  // namespace quire::kernels
