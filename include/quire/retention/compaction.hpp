// mechanism: what becomes of slots that lose their token inside a block that others still use
#pragma once

#include <string_view>

namespace quire::retention {

/// A dropped token's slot stays empty until all of its block is; new tokens go behind the last one.
struct LeaveHoles {
  static constexpr std::string_view name = "leave_holes";
  static constexpr bool reuses = false, moves = false;
};

/// New tokens take the empty slots; nothing is copied.
struct ReuseHoles {
  static constexpr std::string_view name = "reuse_holes";
  static constexpr bool reuses = true, moves = false;
};

/// As reuse_holes; and where the tokens left, with room for one more, fit into fewer blocks, those
/// in the last blocks are copied into the holes of the first ones at the start of the next step.
struct CloseHoles {
  static constexpr std::string_view name = "close_holes";
  static constexpr bool reuses = true, moves = true;
};

/// A retention policy with another compaction: compacted<H2O, LeaveHoles>.
template <class Policy, class Way>
struct compacted : Policy {
  using Policy::Policy;
  using Compaction = Way;
};

}  // namespace quire::retention
