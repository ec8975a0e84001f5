// mechanism: what executors read of a plan whose sequences have dropped tokens
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/executor/step.hpp>
#include <quire/retention/lane.hpp>

namespace quire::executor {

/// \errors usage for models that no retention policy serves: any_window: whether some layer has one
inline void check_retained_model(bool any_window, bool reassigns, bool rotary) {
  if (any_window) {
    throw usage_error("retention", "the model has layers with a sliding window of their own",
                      "a model whose layers attend to everything, or keep_all");
  }
  if (reassigns && !rotary) {
    throw usage_error("retention", "it re-assigns positions, and the model's are not rotary ones",
                      "a model with rotary positions, or a policy that leaves them");
  }
}

/// Slots of its block table that a sequence with lanes needs.
[[nodiscard]] inline std::int64_t lane_slots(const SequencePlan& s) {
  std::uint32_t most = 0;
  for (const retention::Lane& lane : s.lanes) most = std::max(most, lane.tail);
  return most;
}

/// All entries of a plan in one list: sequence after sequence, lane after lane.
struct LaneLayout {
  std::vector<std::size_t> begin;  // of each sequence, and the end
  std::vector<std::size_t> at;     // \shape (sequences, lanes): of each lane
  std::size_t lanes = 0;           // of a sequence

  /// \errors state for sequences whose lanes are not as many, or lack slots for the step's tokens
  void lay_out(const StepPlan& plan, std::size_t lanes_each) {
    lanes = lanes_each;
    begin.clear();
    at.clear();
    std::size_t total = 0;
    for (const SequencePlan& s : plan.sequences) {
      begin.push_back(total);
      if (s.lanes.size() != lanes) {
        throw state_error("step plan",
                          "sequence " + std::to_string(s.sequence.value) + " has " +
                              std::to_string(s.lanes.size()) + " lanes of kept tokens",
                          std::to_string(lanes));
      }
      for (const retention::Lane& lane : s.lanes) {
        if (std::ssize(lane.entries) < s.tokens.value) {
          throw state_error("step plan",
                            "a lane of sequence " + std::to_string(s.sequence.value) +
                                " lacks slots for the step's tokens",
                            std::to_string(s.tokens.value));
        }
        at.push_back(total);
        total += lane.entries.size();
      }
    }
    begin.push_back(total);
  }
};

/// \errors state for a move of a slot that does not exist
inline void check_slot_move(const retention::SlotMove& m, std::size_t blocks,
                            std::size_t block_tokens) {
  if (std::max(m.from_block, m.to_block) < blocks &&
      std::max(m.from_slot, m.to_slot) < block_tokens) {
    return;
  }
  throw state_error(
      "step plan", "it moves a slot that does not exist",
      "slots below " + std::to_string(block_tokens) + " of blocks below " + std::to_string(blocks));
}

/// body(layer, head), for each KV head that a lane stands for.
template <class Body>
void for_heads_of_lane(retention::Scope scope, std::size_t lane, std::size_t layers,
                       std::size_t kv_heads, const Body& body) {
  for (std::size_t l = 0; l < layers; ++l) {
    for (std::size_t h = 0; h < kv_heads; ++h) {
      if (retention::lane_index(scope, l, kv_heads, h) == lane) body(l, h);
    }
  }
}

/// Which blocks came from elsewhere since the ranges of their keys were known.
class StaleBlocks {
 public:
  /// The first tokens of a block.
  struct Part {
    BlockId block;
    std::size_t tokens = 0;
  };
  explicit StaleBlocks(BlockCount blocks) : stale_(static_cast<std::size_t>(blocks.value)) {}

  void brought_in(BlockId block) { stale_[block.value] = 1; }
  void copied(BlockId from, BlockId to) { stale_[to.value] = stale_[from.value]; }

  /// Takes out those that the plan's sequences read computed tokens of.
  void take(const StepPlan& plan, Tokens block_tokens, std::vector<Part>& parts) {
    for (const SequencePlan& s : plan.sequences) {
      std::int64_t left = s.computed.value;
      for (const BlockId block : s.tables.front().blocks()) {
        if (stale_[block.value] && left > 0) {
          parts.push_back({block, static_cast<std::size_t>(std::min(left, block_tokens.value))});
        }
        stale_[block.value] = 0;
        left -= block_tokens.value;
      }
    }
  }

 private:
  std::vector<char> stale_;
};

}  // namespace quire::executor
