#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/simt/simt.cuh>

namespace quire::kernels {

struct BlockMove {
  std::uint32_t from = 0, to = 0;
};

struct CopyBlocksParams {
  const std::byte* source = nullptr;  // \shape (blocks, block_bytes)
  std::byte* target = nullptr;        // \shape (blocks, block_bytes); may be the source's pool
  std::size_t block_bytes = 0;        // a multiple of 64: all layers of a block, or some
  const BlockMove* moves = nullptr;   // \shape (moves): no block is both read and written
  std::size_t stride = 0;             // bytes from block to block; 0: block_bytes
};

/// Copies whole blocks within a pool (copy-on-write), or between the device's pool and pinned host
/// memory that the device can reach (swap). Grid: (parts of a block, times moves): neighbours in time
/// are neighbours in memory.
/// \cost reads and writes each byte once
struct CopyBlocks {
  using Params = CopyBlocksParams;
  static constexpr std::string_view name = "copy_blocks";
  static constexpr unsigned threads = 256;
  static constexpr unsigned unroll = 4;
  static constexpr std::size_t shared_bytes = 0;
  static constexpr std::size_t part_bytes = std::size_t{threads} * unroll * 16;

  QUIRE_DEVICE static void run(const Params& p) {
    const auto parts = static_cast<unsigned>((p.block_bytes + part_bytes - 1) / part_bytes);
    const BlockMove move = p.moves[simt::block().x / parts];
    const std::byte* from = p.source + move.from * p.stride;
    std::byte* to = p.target + move.to * p.stride;
    const std::size_t begin = simt::block().x % parts * part_bytes + simt::thread() * 16;
    simt::Vector<std::uint32_t, 4> v[unroll];
    QUIRE_UNROLL
    for (unsigned u = 0; u < unroll; ++u) {
      const std::size_t at = begin + u * threads * 16;
      if (at < p.block_bytes) {
        v[u] = simt::load_vector_once<4>(reinterpret_cast<const std::uint32_t*>(from + at));
      }
    }
    QUIRE_UNROLL
    for (unsigned u = 0; u < unroll; ++u) {
      const std::size_t at = begin + u * threads * 16;
      if (at < p.block_bytes)
        simt::store_vector_once<4>(reinterpret_cast<std::uint32_t*>(to + at), v[u]);
    }
  }
};

inline void copy_blocks(CopyBlocksParams p, std::uint32_t moves, simt::Stream stream = {}) {
  if (moves == 0 || p.block_bytes == 0) return;
  if (p.stride == 0) p.stride = p.block_bytes;
  const auto parts = static_cast<std::uint32_t>((p.block_bytes + CopyBlocks::part_bytes - 1) /
                                                CopyBlocks::part_bytes);
  simt::launch<CopyBlocks>({{moves * parts}, CopyBlocks::shared_bytes}, p, stream);
}

}  // namespace quire::kernels
