#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// Where the bytes of a tier's blocks are. The control plane decides which block lies in which slot;
/// a tier keeps what it is given and says whether it still has it.
///
/// - slots(): how many blocks it holds; block_bytes(): the size of each.
/// - write(slot, block): keeps a copy; may return before it is where it belongs, but what is read from
///   the slot afterwards is this block or nothing.
/// - read(slot, block): true with the block last written there in `block`, or false, when that is no
///   longer to be had; never anything else. `block` is undefined then.
/// \pre slot < slots(); blocks are of block_bytes(); a slot is written before it is read.
template <class T>
concept BlockTier = requires(T tier, const T& view, BlockId slot, std::span<const std::byte> block,
                             std::span<std::byte> target) {
  { T::name } -> std::convertible_to<std::string_view>;
  { view.slots() } -> std::same_as<BlockCount>;
  { view.block_bytes() } -> std::same_as<std::size_t>;
  { tier.write(slot, block) } -> std::same_as<void>;
  { tier.read(slot, target) } -> std::same_as<bool>;
};

}  // namespace quire
