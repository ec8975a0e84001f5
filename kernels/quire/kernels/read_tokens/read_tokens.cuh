#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/kv_access.hpp>
#include <quire/kernels/stored_element.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Out>
struct ReadTokensParams {
  KvPool cache;
  const std::uint32_t* blocks = nullptr;       // \shape (entries): all block tables
  const std::uint32_t* table_begin = nullptr;  // \shape (sequences)
  const std::uint32_t* sequence = nullptr;     // \shape (rows)
  const std::int32_t* position = nullptr;      // \shape (rows)
  Out* out = nullptr;                          // \shape (rows, 2, kv_heads, head_dim), keys first
};

/// Reads stored keys and values back as numbers (dequantises): the inverse of CacheWrite, for what
/// attends to contiguous arrays. Grid: (rows, 2 kv_heads). \cost reads and writes each value once
template <class Key, class Out>
struct ReadTokens {
  using Params = ReadTokensParams<Out>;
  static constexpr std::string_view name = "read_tokens";
  static constexpr unsigned threads = (Key::head_dim + 31) / 32 * 32;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned row = simt::block().x, head = simt::block().y, d = simt::thread();
    if (d >= Key::head_dim) return;
    const auto position = static_cast<unsigned>(p.position[row]);
    const std::uint32_t block =
        p.blocks[p.table_begin[p.sequence[row]] + position / Key::block_tokens];
    // keys of all heads, then values: as slabs lie in a block
    const std::byte* slab = Key::key_slab(p.cache, block, head);
    p.out[(std::size_t{row} * 2 * p.cache.kv_heads + head) * Key::head_dim + d] =
        simt::narrow<Out>(stored_element<Key>(slab, position % Key::block_tokens, d));
  }
};

}  // namespace quire::kernels
