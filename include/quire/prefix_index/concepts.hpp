#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// A block whose first `tokens` tokens continue a text, while the others may not.
struct PartOfBlock {
  BlockId block;
  Tokens tokens = 0;
};

/// Finds cached blocks by the text they hold.
///
/// A block enters once it is full and computed, as the continuation of a parent block (none for the
/// first block of a text), and is found again by text and salt. The index never owns a block: the
/// pool tells it when one loses its content (erase), children before parents.
///
/// - match(tokens, salt, out): appends the blocks of the longest indexed prefix of `tokens`, in order;
///   only whole blocks count. Equality of hashes alone is not a match: the tokens are compared.
/// - insert(parent, tokens, salt, block): true when the block is now indexed, false when the same text
///   already is, or when the parent is not indexed (the pool then keeps `block` private).
/// - content(block): names an indexed block's text with all that precedes it: equal for equal text and
///   salt, whichever block holds it; policies remember evicted blocks by it.
/// - erase(block): forgets an indexed block.
/// - enabled: false when it never matches, so that nobody needs token ids.
///
/// \pre insert: tokens.size() == block_tokens; erase: no indexed block continues this one.
template <class P>
concept PrefixIndexPolicy = std::constructible_from<P, BlockCount, Tokens> &&
    requires(P index, const P& view, std::span<const TokenId> tokens, std::uint64_t salt,
             BlockId block, std::optional<BlockId> parent, std::vector<BlockId>& out) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::enabled } -> std::convertible_to<bool>;  // false: never matches; tokens are not needed
  { view.match(tokens, salt, out) } -> std::same_as<void>;
  { index.insert(parent, tokens, salt, block) } -> std::same_as<bool>;
  { view.content(block) } -> std::same_as<std::uint64_t>;  // pre: indexed
  { index.erase(block) } -> std::same_as<void>;            // pre: indexed, without indexed children
};

/// A prefix index that is cut at any token, not at whole blocks only.
///
/// - match_part(parent, tokens, salt): of the indexed blocks that continue `parent` (that begin a text,
///   for none) the one that shares the longest beginning with `tokens`, at least one token. The caller
///   copies it, since the text goes on differently behind.
/// - insert takes a block that is filled in part too (fewer tokens than a block has): only match_part
///   finds it, and nothing continues it. It is refused where an indexed block begins with its tokens.
template <class P>
concept MatchesParts = PrefixIndexPolicy<P> &&
    requires(const P& view, std::optional<BlockId> parent, std::span<const TokenId> tokens,
             std::uint64_t salt) {
  { view.match_part(parent, tokens, salt) } -> std::same_as<std::optional<PartOfBlock>>;
};

}  // namespace quire
