#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <quire/engine/serving_engine.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/proactive_swap.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/engines.hpp"
#include "tests/engine/scripted.hpp"

// Policies as a user of the library writes them, in a namespace of their own and without touching
// a file of ours: one for every slot, all in one engine.
namespace laboratory {

/// Reserves twice the prompt.
struct Doubled {
  static constexpr std::string_view name = "doubled";
  static constexpr bool contiguous = false;
  static quire::Tokens reserve(const quire::LengthHint& hint) { return 2 * hint.prompt.value; }
};

/// Prefixes in a map from text to block.
class TextMap {
 public:
  static constexpr std::string_view name = "text_map";
  static constexpr bool enabled = true;
  TextMap(quire::BlockCount, quire::Tokens block_tokens)
      : block_(static_cast<std::size_t>(block_tokens.value)) {}

  void match(std::span<const quire::TokenId> tokens, std::uint64_t salt,
             std::vector<quire::BlockId>& out) const {
    Text text{salt};
    for (std::size_t n = block_; n <= tokens.size(); n += block_) {
      text.insert(text.end(), tokens.begin() + static_cast<std::ptrdiff_t>(n - block_),
                  tokens.begin() + static_cast<std::ptrdiff_t>(n));
      const auto found = blocks_.find(text);
      if (found == blocks_.end()) return;
      out.push_back(found->second);
    }
  }
  bool insert(std::optional<quire::BlockId> parent, std::span<const quire::TokenId> tokens,
              std::uint64_t salt, quire::BlockId block) {
    Text text = parent ? texts_.at(*parent) : Text{salt};
    text.insert(text.end(), tokens.begin(), tokens.end());
    if (!blocks_.emplace(text, block).second) return false;
    texts_[block] = text;
    return true;
  }
  [[nodiscard]] std::uint64_t content(quire::BlockId block) const {
    std::uint64_t h = 1;
    for (const std::uint64_t t : texts_.at(block)) h = h * 31 + t;
    return h;
  }
  void erase(quire::BlockId block) {
    blocks_.erase(texts_.at(block));
    texts_.erase(block);
  }

 private:
  using Text = std::vector<std::uint64_t>;
  std::size_t block_;
  std::map<Text, quire::BlockId> blocks_;
  std::map<quire::BlockId, Text> texts_;
};

/// Gives up the block with the highest number.
class Highest {
 public:
  static constexpr std::string_view name = "highest";
  explicit Highest(quire::BlockCount capacity)
      : evictable_(static_cast<std::size_t>(capacity.value)) {}
  void on_insert(quire::BlockId b, const quire::BlockContext&) { evictable_[b.value] = false; }
  void on_access(quire::BlockId, const quire::BlockContext&) {}
  void set_evictable(quire::BlockId b, bool value) { evictable_[b.value] = value; }
  void on_remove(quire::BlockId b) { evictable_[b.value] = false; }
  [[nodiscard]] std::optional<quire::BlockId> victim() const {
    for (std::size_t i = evictable_.size(); i-- > 0;) {
      if (evictable_[i]) return quire::BlockId{static_cast<std::uint32_t>(i)};
    }
    return std::nullopt;
  }

 private:
  std::vector<bool> evictable_;
};

/// Caches the beginnings of texts.
struct Beginnings {
  static constexpr std::string_view name = "beginnings";
  static constexpr bool admits_all = false;
  explicit Beginnings(quire::BlockCount) {}
  void on_request(const quire::BlockContext&) {}
  [[nodiscard]] bool admit(const quire::BlockContext& c, std::optional<std::uint64_t>) const {
    return c.position < quire::Tokens{12};
  }
};

/// Swaps long sequences and recomputes short ones.
struct ByLength {
  static constexpr std::string_view name = "by_length";
  static constexpr bool uses_host = true;
  [[nodiscard]] quire::Preemption on_preempt(const quire::PreemptionContext& context) const {
    return context.computed > quire::Tokens{18} ? quire::Preemption::swap
                                                : quire::Preemption::recompute;
  }
};

struct KeepEverything {
  static constexpr std::string_view name = "keep_everything";
  static constexpr bool keeps_all = true;
};

/// Formats that say they are something else.
struct KvCopy : quire::kv_format::Fp32 {
  static constexpr std::string_view name = "kv_copy";
};
struct WeightCopy : quire::weight_format::Fp32 {
  static constexpr std::string_view name = "weight_copy";
};

/// Longest prompt first, at most three requests at once; counts what it is told.
class LongestFirst {
 public:
  static constexpr std::string_view name = "longest_first";
  static constexpr bool dynamic_rank = false, drains = false, pads = false;
  explicit LongestFirst(const quire::SchedulerLimits&) {}
  [[nodiscard]] double rank(const quire::SequenceGroup& g, quire::Seconds) const {
    return -static_cast<double>(g.prompt_length().value);
  }
  [[nodiscard]] quire::Admission admit(const quire::BatchState& s,
                                       const quire::SequenceGroup&) const {
    return s.running_groups < 3 ? quire::Admission::admit : quire::Admission::hold;
  }
  [[nodiscard]] quire::Tokens allot(const quire::BatchState&, quire::Tokens remaining) const {
    return remaining;
  }
  [[nodiscard]] std::optional<quire::Seconds> wake_at(const quire::BatchState&) const {
    return std::nullopt;
  }
  void charge(quire::SchedulerEvent, const quire::SequenceGroup&, quire::Tokens) {}
};

/// A member that may be left out is found where it is one of several, a template, or inherited.
struct InManyWays : LongestFirst {
  using LongestFirst::LongestFirst;
  template <class Group>
  [[nodiscard]] quire::Seconds next_turn(const Group&, quire::Seconds) const {
    return 0.0;
  }
  [[nodiscard]] quire::Seconds next_turn(int) const { return 0.0; }
};
struct LikeIt final : InManyWays {
  using InManyWays::InManyWays;
  static constexpr bool preemptive = true;
};
static_assert(sizeof(quire::explain::Scheduler<InManyWays>) > 0 &&
              sizeof(quire::explain::Scheduler<LikeIt>) > 0);
/// What swaps ahead no longer may keep what it swapped by.
struct AtLast : quire::offload::ProactiveSwap {
  static constexpr bool swaps_ahead = false;
};
static_assert(sizeof(quire::explain::Offload<AtLast>) > 0);

struct Mine {
  static constexpr std::string_view name = "mine";
  using BlockSize = quire::BlockSize<4>;
  using Reservation = Doubled;
  using PrefixIndex = TextMap;
  using Eviction = Highest;
  using Admission = Beginnings;
  using Offload = ByLength;
  using KvFormat = KvCopy;
  using WeightFormat = WeightCopy;
  using Retention = KeepEverything;
  using Scheduler = LongestFirst;
};

}  // namespace laboratory

namespace quire::engine_test {
namespace {

TEST(UserPolicies, FillEverySlotOfAnEngine) {
  std::vector<Request> requests;
  for (std::uint64_t i = 0; i < 30; ++i) {
    requests.push_back(
        request(i % 4, static_cast<std::int64_t>(3 + i % 17), 9, i % 5 == 0 ? 2 : 1));
  }
  Scripted::Options options{.device_blocks = 16, .host_blocks = 16};
  Engine<laboratory::Mine, Scripted> engine(options);
  for (const Request& r : requests) engine.submit(r);
  const Finished finished = drain(engine, [&] { check(engine); });
  EXPECT_EQ(outputs_of(finished), (run<presets::Vllm>({.device_blocks = 1000}, requests)));
  EXPECT_GT(engine.counters().prefix_hit_tokens, Tokens{0});
  EXPECT_GT(engine.counters().preemptions, 0);
  EXPECT_GT(engine.counters().swapped_out_blocks, BlockCount{0});
  EXPECT_TRUE(std::any_of(finished.begin(), finished.end(), [](const auto& group) {
    return group->timeline.preemptions > 0 && group->timeline.swapped_out_blocks == 0;
  })) << "nothing was recomputed";
  std::int64_t longest = 0;
  for (const Request& r : requests) longest = std::max(longest, std::ssize(r.prompt));
  EXPECT_EQ(finished.front()->prompt_length().value, longest);
}

}  // namespace
}  // namespace quire::engine_test
