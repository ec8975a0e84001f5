#pragma once

#include <optional>
#include <string_view>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>

namespace quire::memory_test {

/// An eviction policy of somebody else's that answers whatever the test says.
struct Stranger {
  static constexpr std::string_view name = "stranger";
  static inline std::optional<BlockId> answer;

  explicit Stranger(BlockCount) {}
  void on_insert(BlockId, const BlockContext&) {}
  void on_access(BlockId, const BlockContext&) {}
  void set_evictable(BlockId, bool) {}
  void on_remove(BlockId) {}
  [[nodiscard]] std::optional<BlockId> victim() const { return answer; }
};
static_assert(EvictionPolicy<Stranger>);

}  // namespace quire::memory_test
