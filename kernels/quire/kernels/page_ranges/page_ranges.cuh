#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/kv_access.hpp>
#include <quire/kernels/stored_element.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// A block whose range is to be made anew, from its first tokens.
struct RangeWork {
  std::uint32_t block = 0, tokens = 0;  // tokens > 0
};

struct PageRangesParams {
  KvPool cache;
  const RangeWork* work = nullptr;  // \shape (grid.x)
  /// \shape (blocks, kv_heads, 2, head_dim), blocks range_stride apart: smallest values, then largest
  float* ranges = nullptr;
  std::size_t range_stride = 0;  // as all layers of a block lie together
};

/// The smallest and the largest value of each dimension over a block's keys, as stored: what Quest
/// bounds the scores of a page by. Grid: (blocks that changed, kv_heads).
/// \cost reads each key of those blocks once \source Tang et al., "Quest", ICML '24
template <class Key>
struct PageRanges {
  using Params = PageRangesParams;
  static constexpr std::string_view name = "page_ranges";
  static constexpr unsigned threads = (Key::head_dim + 31) / 32 * 32;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const RangeWork work = p.work[simt::block().x];
    const unsigned kv_head = simt::block().y, d = simt::thread();
    if (d >= Key::head_dim) return;
    const std::byte* slab = Key::key_slab(p.cache, work.block, kv_head);
    float largest = -simt::infinity(), negative = -simt::infinity();
    for (unsigned slot = 0; slot < work.tokens; ++slot) {
      const float x = stored_element<Key>(slab, slot, d);
      largest = simt::max(largest, x);
      negative = simt::max(negative, -x);
    }
    float* to = p.ranges + work.block * p.range_stride + std::size_t{kv_head} * 2 * Key::head_dim;
    to[d] = -negative;
    to[Key::head_dim + d] = largest;
  }
};

}  // namespace quire::kernels
