#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/kv_access.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Query>
struct PageScoresParams {
  const Query* q = nullptr;  // \shape (sequences, heads, head_dim), rows q_stride elements apart
  std::size_t q_stride = 0;
  const float* ranges = nullptr;  // as PageRangesParams::ranges
  std::size_t range_stride = 0;
  const std::uint32_t* blocks = nullptr;       // \shape (entries): all block tables
  const std::uint32_t* table_begin = nullptr;  // \shape (sequences)
  const std::int32_t* lengths = nullptr;       // \shape (sequences): tokens
  /// \shape (grid.x, kv_heads, score_stride): a score a page, -infinity behind the last one
  float* scores = nullptr;
  std::size_t score_stride = 0;
  std::uint32_t heads = 0, kv_heads = 0;
  const std::uint32_t* rows = nullptr;  // \shape (grid.x): which sequences; null: all, in order
};

/// The highest product that any key of a page can have with a query, for every page of a sequence:
/// the most over the query heads that share a KV head. A warp takes a page.
/// Grid: (sequences, kv_heads, parts of the pages). Shared memory: shared_bytes(group).
/// \cost reads each range once \source Tang et al., "Quest", ICML '24
template <class Key>
struct PageScores {
  using Query = typename Key::Query;
  using Params = PageScoresParams<Query>;
  static constexpr std::string_view name = "page_scores";
  static constexpr unsigned warps = 4;
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  [[nodiscard]] static constexpr std::size_t shared_bytes(std::size_t group) {
    return group * head_dim * sizeof(float);
  }

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned sequence = p.rows != nullptr ? p.rows[simt::block().x] : simt::block().x;
    const unsigned kv_head = simt::block().y;
    const unsigned group = p.heads / p.kv_heads;
    const simt::Shared<float> q(0, group * head_dim);
    const Query* from = p.q + sequence * p.q_stride + std::size_t{kv_head} * group * head_dim;
    for (unsigned i = simt::thread(); i < group * head_dim; i += threads) {
      q.store(i, simt::widen(from[i]));
    }
    simt::sync();
    const auto length = static_cast<unsigned>(p.lengths[sequence]);
    const unsigned pages = (length + Key::block_tokens - 1) / Key::block_tokens;
    const std::uint32_t* table = p.blocks + p.table_begin[sequence];
    float* scores =
        p.scores + (std::size_t{simt::block().x} * p.kv_heads + kv_head) * p.score_stride;
    for (unsigned page = simt::block().z * warps + simt::warp(); page < p.score_stride;
         page += simt::grid().z * warps) {
      float best = -simt::infinity();
      if (page < pages) {
        const float* smallest =
            p.ranges + table[page] * p.range_stride + std::size_t{kv_head} * 2 * head_dim;
        for (unsigned h = 0; h < group; ++h) {
          float sum = 0;
          for (unsigned d = simt::lane(); d < head_dim; d += simt::warp_lanes) {
            const float x = q.load(h * head_dim + d);
            sum += simt::max(x * smallest[d], x * smallest[head_dim + d]);
          }
          QUIRE_UNROLL
          for (unsigned bits = 16; bits > 0; bits /= 2) sum += simt::shuffle_xor(sum, bits);
          best = simt::max(best, sum);
        }
      }
      if (simt::lane() == 0) scores[page] = best;
    }
  }
};

}  // namespace quire::kernels
