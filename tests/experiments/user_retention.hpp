#pragma once

// What a user's own retention policy looks like.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/retention/compaction.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/retention/lowest.hpp>

namespace lab {

/// Keeps the first half of its budget and the latest tokens; drops what lies between.
class BothEnds {
 public:
  static constexpr std::string_view name = "both_ends";
  static constexpr bool keeps_all = false;
  static constexpr quire::retention::Scope scope = quire::retention::Scope::sequence;
  static constexpr bool reassigns_positions = false;
  using Votes = quire::retention::NoVotes;
  using Compaction = quire::retention::ReuseHoles;

  BothEnds(const quire::RetentionLimits& limits, std::int64_t /*layers*/)
      : budget_(limits.budget) {}

  void after_step(quire::retention::Lane& lane, std::span<const std::int64_t>,
                  const quire::retention::LaneStep&, std::vector<std::uint32_t>& drop) const {
    quire::retention::drop_range(static_cast<std::size_t>(budget_.value / 2),
                                 quire::retention::excess(lane, budget_), drop);
  }

 private:
  quire::Tokens budget_;
};

}  // namespace lab
