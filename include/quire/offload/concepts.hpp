#pragma once

#include <concepts>
#include <string_view>

#include <quire/core/units.hpp>

namespace quire {

/// What happens to a preempted sequence group's keys and values.
enum class Preemption { recompute, swap };

/// What is known of a group at the moment it must give up its blocks.
struct PreemptionContext {
  std::int64_t sequences = 1;  // running sequences of the group
  Tokens computed = 0;         // tokens that recomputing would process again
  BlockCount blocks = 0;       // distinct device blocks that swapping would move
  BlockCount host_free = 0;    // free blocks of the host tier
};

/// Chooses between dropping and moving the KV of a preempted group.
/// uses_host: whether a host tier is needed at all. The pool turns a swap into a recompute when the
/// host tier is full, and counts it.
template <class P>
concept OffloadPolicy = requires(const P& policy, const PreemptionContext& context) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::uses_host } -> std::convertible_to<bool>;
  { policy.on_preempt(context) } -> std::same_as<Preemption>;
};

}  // namespace quire
