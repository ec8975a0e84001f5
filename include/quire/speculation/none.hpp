#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <quire/speculation/concepts.hpp>

namespace quire::speculation {

/// One token a step.
/// \complexity O(1), nothing to do.
/// \errors none.
/// \source Plain autoregressive decoding.
struct None {
  static constexpr std::string_view name = "none";
  static constexpr Tokens most = 0;

  void propose(std::span<const TokenId>, Tokens, std::vector<TokenId>&) const {}
};
static_assert(SpeculationPolicy<None>);

}  // namespace quire::speculation
