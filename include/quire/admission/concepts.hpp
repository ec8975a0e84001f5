#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>

namespace quire {

/// Decides which computed blocks are kept findable once their sequence is gone.
///
/// Eviction says what goes, admission what enters at all. A request asks for each block of its text
/// once: for those found in the prefix index when it is admitted, for the others when they are full
/// and computed. The pool reports each with on_request, and asks admit for the others right after.
/// A block that is refused stays private to its sequence and is free when that ends; since a block is
/// found through those before it, everything that continues it stays private as well, admitted or
/// not, until the same text is asked for again.
///
/// - context.content names the text up to the end of the block, equal for equal text and salt, and
///   is never 0; a policy must remember by this alone. context.next_use is empty.
/// - rival: the name of the cached block that would be given up next; empty while there are free
///   blocks, and when nothing may be given up.
/// - admit changes nothing that a later answer depends on; what a policy learns it learns from
///   on_request.
/// - admits_all: true when every block is admitted, so that nobody has to name or ask.
///
/// A policy is built for the number of blocks in the pool, and never fails.
template <class P>
concept AdmissionPolicy = std::constructible_from<P, BlockCount> &&
    requires(P policy, const BlockContext& context, std::optional<std::uint64_t> rival) {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::admits_all } -> std::convertible_to<bool>;
  { policy.on_request(context) } -> std::same_as<void>;
  {
    policy.admit(context, rival)
    } -> std::same_as<bool>;  // pre: on_request for it came just before
};

}  // namespace quire
