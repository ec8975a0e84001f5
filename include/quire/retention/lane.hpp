// mechanism: which tokens a sequence still has, and in which slots
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/core/units.hpp>

namespace quire::retention {

/// What shares one set of kept tokens: all of a sequence, each layer, or each KV head of each layer.
enum class Scope { sequence, layer, head };

/// One kept token of a lane. Slot s is slot s % block_tokens of entry s / block_tokens of the
/// sequence's block table.
struct Entry {
  std::int64_t position = 0;  // in the text
  std::uint32_t slot = 0;
  std::int64_t score = 0;  // the policy's own
};

/// The kept tokens of one scope. All lanes of a sequence use the same blocks, each its own slots in
/// them.
struct Lane {
  std::vector<Entry> entries;         // in the order of the text; the last ones may be the step's
  std::vector<std::uint32_t> holes;   // slots below tail that lost their token, highest first
  std::uint32_t tail = 0;             // first slot that was never used
  std::vector<std::int64_t> history;  // the policy's own, entries.size() times as many
};

/// A step as a policy sees it, after it ran.
struct LaneStep {
  Tokens prompt = 0;    // tokens of the prompt
  Tokens computed = 0;  // tokens of the text computed so far, this step's included
  Tokens tokens = 0;    // of these, in this step: the lane's last entries
  std::int64_t layer = 0;
};

/// Lanes of one sequence.
[[nodiscard]] constexpr std::size_t lane_count(Scope scope, std::size_t layers,
                                               std::size_t kv_heads) {
  return scope == Scope::sequence ? 1 : scope == Scope::layer ? layers : layers * kv_heads;
}
/// The lane of a layer's KV head.
[[nodiscard]] constexpr std::size_t lane_index(Scope scope, std::size_t layer, std::size_t kv_heads,
                                               std::size_t head) {
  return scope == Scope::sequence ? 0 : scope == Scope::layer ? layer : layer * kv_heads + head;
}

/// A token's slot for one lane moves within its sequence's blocks; see StepPlan::slot_moves.
struct SlotMove {
  std::uint32_t lane = 0;
  std::uint32_t from_block = 0, from_slot = 0;  // block of the pool, slot in it
  std::uint32_t to_block = 0, to_slot = 0;
};

}  // namespace quire::retention
