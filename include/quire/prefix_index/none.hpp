#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/prefix_index/concepts.hpp>

namespace quire::prefix_index {

/// No prefix reuse: nothing is indexed, nothing is found; a freed block loses its content.
/// \complexity O(1).
/// \errors none.
/// \source The system of Kwon et al., SOSP '23, as evaluated: prefixes shared only within a
/// request.
class None {
 public:
  static constexpr std::string_view name = "none";
  static constexpr bool enabled = false;
  None(BlockCount, Tokens) {}

  void match(std::span<const TokenId>, std::uint64_t, std::vector<BlockId>&) const {}
  bool insert(std::optional<BlockId>, std::span<const TokenId>, std::uint64_t, BlockId) {
    return false;
  }
  [[nodiscard]] std::uint64_t content(BlockId) const { return 0; }
  void erase(BlockId) {}
};
static_assert(PrefixIndexPolicy<None>);

}  // namespace quire::prefix_index
