#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/admission/concepts.hpp>
#include <quire/eviction/ghost_list.hpp>

namespace quire::admission {

/// A block is cached once its text has been asked for so many times.
///
/// Counts are kept by name for the texts asked for last, four for each block of the pool; a text that
/// falls out starts again. What is asked for once never costs another block its place.
/// \complexity O(1) expected. No allocation after construction.
/// \errors none.
/// \source vLLM's KV offloading, `store_threshold` of the CPU tier (2 turns it on, 64,000 names are
/// tracked). Deviation: the pool's size decides how many names are tracked.
template <std::uint32_t Times>
class BasicReuseThreshold {
 public:
  static_assert(Times >= 1, "a block cannot be asked for less than once");
  static constexpr std::string_view name = "reuse_threshold";
  static constexpr bool admits_all = false;
  static constexpr std::int64_t names_per_block = 4;
  explicit BasicReuseThreshold(BlockCount capacity) : counts_(capacity * names_per_block) {}

  void on_request(const BlockContext& context) {
    const std::uint32_t* known = counts_.value(context.content);
    counts_.push(context.content, std::min(known == nullptr ? 1 : *known + 1, Times));
  }
  [[nodiscard]] bool admit(const BlockContext& context, std::optional<std::uint64_t>) const {
    const std::uint32_t* known = counts_.value(context.content);
    return known != nullptr && *known >= Times;
  }

 private:
  eviction::GhostMap<std::uint32_t> counts_;
};

/// The second request for a text caches it.
using ReuseThreshold = BasicReuseThreshold<2>;
static_assert(AdmissionPolicy<ReuseThreshold>);

}  // namespace quire::admission
