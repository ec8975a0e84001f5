// mechanism: how a step's attention treats the cache, by the retention policy
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/attention/paged.hpp>
#include <quire/attention/retained.hpp>
#include <quire/attention/selected.hpp>
#include <quire/core/error.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/model/decoder.hpp>
#include <quire/retention/concepts.hpp>

namespace quire::executor {

/// Every token is kept and attended to.
struct AttendsAll : model::FullAttention {
  AttendsAll(const RetentionLimits&, const model::Shape&, const KvGeometry&) {}
  template <class Decoder>
  void check(const Decoder&) const {}
  /// Slots of its block table that a sequence needs.
  [[nodiscard]] static std::int64_t slots(const SequencePlan& s) {
    return (s.computed + s.tokens).value;
  }
  void begin(const StepPlan&) {}
  void end(StepResult&) {}
  template <class Arena>
  void move_slots(const StepPlan&, Arena&) {}
  /// A block was copied on the device, or came back to it from a tier.
  void copied(BlockId, BlockId) {}
  void brought_in(BlockId) {}
};

/// Each lane of a sequence lists the tokens that it still has.
template <class Votes, retention::Scope scope, bool reassigns>
class AttendsKept {
 public:
  AttendsKept(const RetentionLimits& limits, const model::Shape& shape, const KvGeometry& geometry)
      : votes_(make_votes(limits)),
        layers_(static_cast<std::size_t>(shape.layers)),
        kv_heads_(static_cast<std::size_t>(shape.kv_heads)),
        block_tokens_(static_cast<std::size_t>(geometry.block_tokens.value)) {}

  /// \errors usage for models that the policy cannot serve
  template <class Decoder>
  void check(const Decoder& decoder) {
    for (const auto& layer : decoder.weights().layers) {
      if (layer.window > 0) {
        throw usage_error("retention", "the model has layers with a sliding window of their own",
                          "a model whose layers attend to everything, or keep_all");
      }
    }
    if (reassigns && !decoder.config().rotary) {
      throw usage_error("retention", "it re-assigns positions, and the model's are not rotary ones",
                        "a model with rotary positions, or a policy that leaves them");
    }
    rope_ = &decoder.rope();
  }

  [[nodiscard]] static std::int64_t slots(const SequencePlan& s) {
    std::uint32_t most = 0;
    for (const retention::Lane& lane : s.lanes) most = std::max(most, lane.tail);
    return most;
  }

  /// \errors state for sequences whose lanes are not those of the model
  void begin(const StepPlan& plan) {
    rows_.clear();
    begin_.clear();
    at_.clear();
    std::size_t total = 0;
    const std::size_t lanes = retention::lane_count(scope, layers_, kv_heads_);
    for (const SequencePlan& s : plan.sequences) {
      begin_.push_back(total);
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
        at_.push_back(total);
        if (Votes::enabled) total += lane.entries.size();
      }
    }
    begin_.push_back(total);
    counts_.assign(total, 0);
    for (std::size_t s = 0; s < plan.sequences.size(); ++s) {
      const SequencePlan& from = plan.sequences[s];
      rows_.push_back({from.lanes,
                       from.computed.value,
                       from.prompt_tokens.value,
                       {at_.data() + s * lanes, lanes},
                       counts_.data()});
    }
  }
  void end(StepResult& result) {
    if constexpr (Votes::enabled) {
      result.votes.swap(counts_);
      result.votes_begin.swap(begin_);
    }
  }

  template <class Format>
  void move_slots(const StepPlan& plan, kv_format::Arena<Format>& arena) {
    const auto blocks = static_cast<std::size_t>(arena.blocks().value);
    for (const retention::SlotMove& m : plan.slot_moves) {
      if (std::max(m.from_block, m.to_block) >= blocks ||
          std::max(m.from_slot, m.to_slot) >= block_tokens_) {
        throw state_error("step plan", "it moves a slot that does not exist",
                          "slots below " + std::to_string(block_tokens_) + " of blocks below " +
                              std::to_string(blocks));
      }
      for (std::size_t l = 0; l < layers_; ++l) {
        for (std::size_t h = 0; h < kv_heads_; ++h) {
          if (retention::lane_index(scope, l, kv_heads_, h) != m.lane) continue;
          const auto view = arena.layer(l);
          const BlockId from{m.from_block}, to{m.to_block};
          if constexpr (std::is_same_v<Format, kv_format::Packed>) {
            attention::copy_slot(view.codec->keys, view.keys(from, h), m.from_slot,
                                 view.keys(to, h), m.to_slot, view.block_tokens, view.head_dim);
            attention::copy_slot(view.codec->values, view.values(from, h), m.from_slot,
                                 view.values(to, h), m.to_slot, view.block_tokens, view.head_dim);
          } else {
            attention::copy_slot<Format>(view.keys(from, h), m.from_slot, view.keys(to, h),
                                         m.to_slot, view.head_dim);
            attention::copy_slot<Format>(view.values(from, h), m.from_slot, view.values(to, h),
                                         m.to_slot, view.head_dim);
          }
        }
      }
    }
  }
  void copied(BlockId, BlockId) {}
  void brought_in(BlockId) {}

  template <kv_format::KvStorage KvFormat>
  void attend(const model::AttentionCall& call) {
    const attention::RetainedLayer kept{rows_, scope, call.layer, rope_};
    attention::write_retained<KvFormat>(call.cache, call.queries.sequences, kept, call.keys,
                                        call.values, call.queries.q_stride, call.threads);
    attention::retained<KvFormat, Votes, reassigns>(call.readable(), call.queries, kept, votes_,
                                                    call.workspace, call.threads);
  }

 private:
  static Votes make_votes(const RetentionLimits& limits) {
    if constexpr (Votes::enabled) {
      return Votes(limits);
    } else {
      return {};
    }
  }

  Votes votes_;
  std::size_t layers_, kv_heads_, block_tokens_;
  const model::Rope* rope_ = nullptr;
  std::vector<attention::RetainedRows> rows_;
  std::vector<std::size_t> begin_, at_;
  std::vector<std::int64_t> counts_;
};

/// Everything is kept; decoding reads the pages that the policy chooses.
template <PageSelectingPolicy Policy>
class AttendsPages {
 public:
  AttendsPages(const RetentionLimits& limits, const model::Shape& shape, const KvGeometry& geometry)
      : policy_(limits, geometry.block_tokens),
        block_tokens_(geometry.block_tokens),
        ranges_(shape, geometry.device_blocks),
        unknown_(static_cast<std::size_t>(geometry.device_blocks.value)) {}

  template <class Decoder>
  void check(const Decoder& decoder) const {
    for (const auto& layer : decoder.weights().layers) {
      if (layer.window > 0) {
        throw usage_error("retention", "the model has layers with a sliding window of their own",
                          "a model whose layers attend to everything, or keep_all");
      }
    }
  }
  [[nodiscard]] static std::int64_t slots(const SequencePlan& s) {
    return (s.computed + s.tokens).value;
  }
  void begin(const StepPlan& plan) {
    read_ = held_ = 0;
    parts_.clear();
    for (const SequencePlan& s : plan.sequences) {
      std::int64_t left = s.computed.value;
      for (const BlockId block : s.tables.front().blocks()) {
        if (unknown_[block.value] && left > 0) {
          parts_.push_back({block, static_cast<std::size_t>(std::min(left, block_tokens_.value))});
        }
        unknown_[block.value] = 0;
        left -= block_tokens_.value;
      }
    }
  }
  void end(StepResult& result) {
    result.pages_read = read_;
    result.pages_held = held_;
  }
  template <class Arena>
  void move_slots(const StepPlan&, Arena&) {}
  void copied(BlockId from, BlockId to) {
    ranges_.copy(from, to);
    unknown_[to.value] = unknown_[from.value];
  }
  void brought_in(BlockId block) { unknown_[block.value] = 1; }

  template <kv_format::KvStorage KvFormat>
  void attend(const model::AttentionCall& call) {
    attention::write_kv<KvFormat>(call.cache, call.queries.sequences, call.keys, call.values,
                                  call.queries.q_stride, call.threads);
    for (const attention::PartOfPage& part : parts_) {
      attention::find_range<KvFormat>(call.cache, part, call.layer, ranges_);
    }
    attention::add_to_ranges<KvFormat>(call.cache, call.queries.sequences, call.layer, ranges_);
    const auto [read, held] = attention::selected<KvFormat>(
        call.readable(), call.queries, policy_, call.layer, ranges_, call.workspace, call.threads);
    read_ += read;
    held_ += held;
  }

 private:
  Policy policy_;
  Tokens block_tokens_;
  attention::PageRanges ranges_;
  std::vector<char> unknown_;  // blocks that came from a tier since their ranges were known
  std::vector<attention::PartOfPage> parts_;  // of these, those that the step reads
  std::int64_t read_ = 0, held_ = 0;
};

namespace detail {
template <class P>
struct AttendingOf {
  using type = AttendsAll;
};
template <DroppingPolicy P>
struct AttendingOf<P> {
  using type = AttendsKept<typename P::Votes, P::scope, P::reassigns_positions>;
};
template <PageSelectingPolicy P>
struct AttendingOf<P> {
  using type = AttendsPages<P>;
};
}  // namespace detail

/// How the data plane attends under a retention policy; those that attend alike share it.
template <class P>
using AttendingFor = typename detail::AttendingOf<P>::type;

}  // namespace quire::executor
