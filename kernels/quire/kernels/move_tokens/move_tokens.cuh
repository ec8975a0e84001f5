#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>
#include <tuple>

#include <quire/kernels/kv_access.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// A token of one KV head that changes its slot.
struct TokenMove {
  std::uint32_t head = 0;  // or layer * 2 * kv_heads + head, from a pool's first layer on
  std::uint32_t from_block = 0, from_slot = 0;
  std::uint32_t to_block = 0, to_slot = 0;
};

struct MoveTokensParams {
  KvPool cache;
  /// \shape (moves): no slot is both read and written
  const TokenMove* moves = nullptr;
  std::uint32_t count = 0;
};

/// Copies keys and values of single tokens between blocks, bit for bit, with their scales: what closes
/// the holes that dropped tokens left. A warp takes the keys or the values of one token.
/// Grid: (ceil(moves / warps), 2). \cost reads and writes each byte once
template <class Key>
struct MoveTokens {
  using Params = MoveTokensParams;
  static_assert(Key::row_bytes % 4 == 0);
  static constexpr std::string_view name = "move_tokens";
  static constexpr unsigned warps = 4;
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr std::size_t shared_bytes = 0;
  static constexpr unsigned words = Key::row_bytes / 4;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned i = simt::block().x * warps + simt::warp();
    if (i >= p.count) return;
    const TokenMove move = p.moves[i];
    const bool values = simt::block().y == 1;
    const auto slab = [&](std::uint32_t block) {
      return const_cast<std::byte*>(values ? Key::value_slab(p.cache, block, move.head)
                                           : Key::key_slab(p.cache, block, move.head));
    };
    const std::byte* from = slab(move.from_block);
    std::byte* to = slab(move.to_block);
    const auto* source =
        reinterpret_cast<const std::uint32_t*>(from + move.from_slot * Key::row_bytes);
    auto* target = reinterpret_cast<std::uint32_t*>(to + move.to_slot * Key::row_bytes);
    for (unsigned w = simt::lane(); w < words; w += simt::warp_lanes) target[w] = source[w];
    if constexpr (groups_codes<typename Key::Access>) {
      constexpr std::size_t block = Key::block_tokens, dim = Key::head_dim;
      for (std::size_t i = simt::lane(); i < Key::Access::ends_bytes(dim); i += simt::warp_lanes) {
        to[Key::Access::ends_at(block, dim, move.to_slot) + i] =
            from[Key::Access::ends_at(block, dim, move.from_slot) + i];
      }
    }
    if constexpr (scale_lies_apart()) {
      constexpr std::size_t block = Key::block_tokens, dim = Key::head_dim;
      if (simt::lane() == 0) {
        *reinterpret_cast<float*>(to + Key::Access::scale_at(block, dim, move.to_slot)) =
            *reinterpret_cast<const float*>(from +
                                            Key::Access::scale_at(block, dim, move.from_slot));
      }
    }
  }

 private:
  [[nodiscard]] static constexpr bool scale_lies_apart() {
    if constexpr (Key::Access::scaled) {
      return Key::Access::scale_at(Key::block_tokens, Key::head_dim, 0) >= Key::row_bytes;
    } else {
      return false;
    }
  }
};

/// The length of the longest beginning of `moves` whose order does not matter.
[[nodiscard]] inline std::size_t independent(std::span<const TokenMove> moves) {
  using Slot = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;
  std::set<Slot> read, written;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const TokenMove& m = moves[i];
    const Slot from{m.head, m.from_block, m.from_slot}, to{m.head, m.to_block, m.to_slot};
    if (written.contains(from) || written.contains(to) || read.contains(to)) return i;
    read.insert(from);
    written.insert(to);
  }
  return moves.size();
}

template <class Key>
void move_tokens(const MoveTokensParams& p, simt::Stream stream = {}) {
  using Kernel = MoveTokens<Key>;
  if (p.count == 0) return;
  simt::launch<Kernel>({{(p.count + Kernel::warps - 1) / Kernel::warps, 2}, 0}, p, stream);
}

}  // namespace quire::kernels
