#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// A query that is to be seen from where dropped tokens are gone.
struct TurnedQuery {
  std::uint32_t row = 0;  // of the query
  std::uint32_t by = 0;   // tokens dropped between its keys and itself
};

template <class Query>
struct TurnQueriesParams {
  Query* q = nullptr;  // \shape (rows + turned, heads, head_dim): turned ones go behind the rows
  const TurnedQuery* turned = nullptr;  // \shape (grid.x)
  const float* angles = nullptr;        // \shape (positions, head_dim): cosines, then sines
  std::uint32_t rows = 0;
};

/// Turns queries back by the tokens that were dropped behind some keys, which gives their products the
/// distances in the cache, as turning those keys on would. Grid: (turned, heads).
/// \source Xiao et al., "Efficient Streaming Language Models with Attention Sinks", ICLR '24
template <class Query, unsigned head_dim>
struct TurnQueries {
  using Params = TurnQueriesParams<Query>;
  static constexpr std::string_view name = "turn_queries";
  static constexpr unsigned half = head_dim / 2;
  static constexpr unsigned threads = (half + 31) / 32 * 32;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned i = simt::thread();
    if (i >= half) return;
    const TurnedQuery of = p.turned[simt::block().x];
    const std::size_t heads = simt::grid().y, head = simt::block().y;
    const Query* from = p.q + (of.row * heads + head) * head_dim;
    Query* to = p.q + ((std::size_t{p.rows} + simt::block().x) * heads + head) * head_dim;
    const float* angles = p.angles + std::size_t{of.by} * head_dim;
    const float c = angles[i], s = angles[half + i];
    const float a = simt::widen(from[i]), b = simt::widen(from[half + i]);
    to[i] = simt::narrow<Query>(a * c + b * s);
    to[half + i] = simt::narrow<Query>(b * c - a * s);
  }
};

}  // namespace quire::kernels
