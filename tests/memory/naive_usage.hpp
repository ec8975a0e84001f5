#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include <quire/memory/usage.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire::memory_test {

/// What a paged pool holds, the slow way: every slot of every block is looked at by itself. A slot
/// that one sequence has filled holds a token state, whatever others that share its block say; else
/// it is reserved when one of them will fill it, and internal when none will.
class NaiveUsage {
 public:
  NaiveUsage(BlockCount capacity, Tokens block_tokens)
      : block_(block_tokens.value),
        slots_(static_cast<std::size_t>(capacity.value * block_tokens.value), free) {}

  /// `final_length`: where the group's sequences will end.
  void add(const SequenceGroup& group, Tokens final_length) {
    const auto lead = std::find_if(group.sequences.begin(), group.sequences.end(),
                                   [](const Sequence& s) { return !s.finished(); });
    for (const Sequence& s : group.sequences) {
      logical_ += std::ssize(s.tables[0].blocks());
      // up to `shared`, the group's first sequence says what has been computed, also in a block that
      // it has exchanged meanwhile for one with the same text
      const std::int64_t begin = s.shared.value;
      for (std::int64_t t = 0; t < std::ssize(s.tables[0].blocks()) * block_; ++t) {
        const Tokens computed = t < begin ? lead->computed : s.computed;
        const auto block = s.tables[0].blocks()[static_cast<std::size_t>(t / block_)];
        auto& slot = slots_.at(static_cast<std::size_t>(block.value * block_ + t % block_));
        slot = std::max(slot, t < computed.value       ? token
                              : t < final_length.value ? reserved
                                                       : internal);
      }
      for (std::int64_t t = begin; t < s.computed.value && !s.host_blocks.empty(); ++t) {
        on_host_.emplace(s.host_blocks.at(static_cast<std::size_t>(t / block_)), t % block_);
      }
    }
  }

  /// The same numbers in what the memory says.
  void expect_equal(const MemoryUsage& usage) const {
    auto count = [this](What what) { return std::count(slots_.begin(), slots_.end(), what); };
    ASSERT_EQ(usage.token_states.value, count(token));
    ASSERT_EQ(usage.reserved.value, count(reserved));
    ASSERT_EQ(usage.internal.value, count(internal));
    ASSERT_EQ(usage.rounding.value, 0);
    ASSERT_EQ(usage.free.value, count(free));
    ASSERT_EQ(usage.capacity.value, std::ssize(slots_));
    ASSERT_EQ(usage.logical_blocks.value, logical_);
    ASSERT_EQ(usage.swapped.value, std::ssize(on_host_));
  }

 private:
  enum What { free, internal, reserved, token };
  std::int64_t block_, logical_ = 0;
  std::vector<What> slots_;
  std::set<std::pair<BlockId, std::int64_t>> on_host_;
};

}  // namespace quire::memory_test
