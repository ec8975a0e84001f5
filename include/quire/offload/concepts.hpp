#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// What happens to a preempted sequence group's keys and values.
enum class Preemption { recompute, swap };

/// What is known of a group at the moment it must give up its blocks.
struct PreemptionContext {
  std::int64_t sequences = 1;  // running sequences of the group
  Tokens computed = 0;         // tokens that recomputing would process again
  BlockCount blocks = 0;       // distinct device blocks that swapping would move
  BlockCount host_free = 0;    // free blocks of the tiers below the device
  // predicted, from TierCosts; 0 where nobody knows
  Seconds recompute = 0.0;  // to compute the tokens again
  Seconds swap = 0.0;       // to move the blocks out and back in
};

/// A cached block of a prefix that lies below the device, at the moment a request could use it.
struct FetchCandidate {
  bool on_disk = false;     // else on the host
  Seconds recompute = 0.0;  // predicted, 0 where nobody knows: to compute it again
  Seconds fetch = 0.0;      // likewise: to bring it to the device
};

/// Chooses what the tiers below the device are used for: the host, and below it the disk.
///
/// - on_preempt(context): drop or move the KV of a preempted group. A swap becomes a recompute when
///   the tiers are full, and is counted.
/// - uses_host: whether a host tier is needed at all.
///
/// Optional, off where a policy does not declare them, and refused where it declares them otherwise
/// (engine/explain_optional.hpp):
/// - uses_disk: the host's victims go on to a disk tier.
/// - keeps_evicted: a cached block that the device evicts goes down a tier and is found there again;
///   without it only preempted groups use the tiers.
/// - look_ahead (an integer): the first so many waiting requests have their blocks brought from disk
///   to the host before they are admitted, and kept from eviction in between.
/// - overlaps: a step fetches layer by layer, computing one while the next is under way.
/// - swaps_ahead: a preempted group keeps its blocks on the device until they are wanted. Who is expected
///   to run last (the scheduler's next_turn(), else its rank) makes way first. At the end of each plan
///   groups are moved out until keep_free(capacity) blocks are free, and those expected next are
///   brought back while there is room, or in place of those expected later, blocks_ahead(step, block)
///   blocks in all, given how long the last step took and what moving a block is predicted to take (0:
///   unknown). Not together with uses_disk.
/// - blocks_to_fetch(candidates) const -> std::size_t: how many leading blocks of a cached prefix to
///   fetch; the rest is computed. All of them by default.
template <class P>
concept OffloadPolicy = requires(const P& policy, const PreemptionContext& context) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::uses_host } -> std::convertible_to<bool>;
  { policy.on_preempt(context) } -> std::same_as<Preemption>;
};

/// What a policy asks of the tiers, as values: what it does not declare is off.
struct TierRules {
  bool uses_disk = false;
  bool keeps_evicted = false;
  bool overlaps = false;
  bool swaps_ahead = false;
  std::int64_t look_ahead = 0;  // waiting requests
};

template <class P>
[[nodiscard]] constexpr TierRules tier_rules() {
  TierRules rules;
  if constexpr (requires { P::uses_disk; }) rules.uses_disk = P::uses_disk;
  if constexpr (requires { P::keeps_evicted; }) rules.keeps_evicted = P::keeps_evicted;
  if constexpr (requires { P::overlaps; }) rules.overlaps = P::overlaps;
  if constexpr (requires { P::swaps_ahead; }) rules.swaps_ahead = P::swaps_ahead;
  if constexpr (requires { P::look_ahead; }) rules.look_ahead = P::look_ahead;
  return rules;
}

/// How many of the candidates a policy fetches. \pre candidates continue one another
/// \errors state error that names the policy: it asks for more than it was offered
template <class P>
[[nodiscard]] std::size_t blocks_to_fetch(const P& policy,
                                          std::span<const FetchCandidate> candidates) {
  if constexpr (requires { policy.blocks_to_fetch(candidates); }) {
    const std::size_t chosen = policy.blocks_to_fetch(candidates);
    if (chosen > candidates.size()) {
      throw state_error("offload policy " + std::string(P::name),
                        "blocks_to_fetch() asks for " + std::to_string(chosen) + " blocks",
                        "0 to the " + std::to_string(candidates.size()) + " that were offered");
    }
    return chosen;
  } else {
    return candidates.size();
  }
}

}  // namespace quire
