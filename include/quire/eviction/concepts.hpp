#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// What a policy may know about a cached block when it enters or is used.
struct BlockContext {
  Tokens position = 0;    // tokens of the prefix before the block
  Tokens length = 0;      // tokens of the whole prompt it is used for; 0 when unknown
  Flops recompute = 0.0;  // arithmetic to make its content again
  Bytes size = 0;
  TenantId tenant{};
  std::int32_t priority = 0;  // smaller is more urgent
  /// Uses of the pool's blocks (insertions and accesses) after which the priority lapses; 0: never.
  std::uint64_t duration = 0;
  std::int32_t category = 0;  // request class, such as the turn of a conversation
  /// Names the text up to the end of the block: equal for equal text and salt, whichever block
  /// holds it; 0 when unknown. What a policy remembers of evicted blocks it must remember by this.
  std::uint64_t content = 0;
  /// When its content is wanted next, on the policy's own count of insertions and accesses; empty
  /// when nobody knows. Only offline policies (Belady) may depend on it.
  std::optional<std::uint64_t> next_use{};
};

/// Chooses which cached block to give up when the pool is full.
///
/// The pool owns the rules, the policy only the order. A block is *resident* from on_insert to
/// on_remove: its content can be found again. It is *evictable* while no sequence refers to it and
/// no resident block continues its prefix; the pool says so through set_evictable, and a new block
/// starts out not evictable. victim() picks among the evictable blocks, leaves it resident (the
/// pool calls on_remove), and is empty exactly when none is evictable.
///
/// Asking for the victim changes nothing, neither the next answer nor a later one: what a policy
/// does follows from the events alone. Removing the block that victim() names is its eviction, and
/// that is when scans, promotions and ghosts take effect; any other removal is a loss.
///
/// A policy is built for `capacity` blocks, sees ids below it only, and never fails.
///
/// Optional: `static constexpr bool needs_next_use = true`: it orders blocks by next_use, which engines do
/// not know, so that they refuse it where a prefix index is used.
/// Optional: `void prefetch(std::uint64_t content) const`: a text of that name may soon enter. Brings what
/// on_insert would then wait for nearer to the processor, and changes nothing. Told by those that know the
/// names of a whole prompt before its blocks, as eviction::replay does.
template <class P>
concept EvictionPolicy = std::constructible_from<P, BlockCount> &&
    requires(P policy, BlockId block, const BlockContext& context, bool evictable) {
  { P::name } -> std::convertible_to<std::string_view>;
  { policy.on_insert(block, context) } -> std::same_as<void>;        // pre: not resident
  { policy.on_access(block, context) } -> std::same_as<void>;        // pre: resident
  { policy.set_evictable(block, evictable) } -> std::same_as<void>;  // pre: resident, changed
  { policy.on_remove(block) } -> std::same_as<void>;                 // pre: resident
  { policy.victim() } -> std::same_as<std::optional<BlockId>>;
};

namespace eviction {
/// Whether a policy wants to be told of names that may soon enter.
template <class P>
concept FetchesNames = requires(const P& policy, std::uint64_t content) {
  { policy.prefetch(content) } -> std::same_as<void>;
};
}  // namespace eviction

}  // namespace quire
