// mechanism: how a step's attention treats the cache, by the retention policy
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/attention/concepts.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/retained.hpp>
#include <quire/attention/selected.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/core/error.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/kept_lanes.hpp>
#include <quire/executor/own_attention.hpp>
#include <quire/executor/step.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/model/decoder.hpp>
#include <quire/retention/concepts.hpp>

namespace quire::executor {

/// Whether some layer of a decoder sees a window alone.
template <class Decoder>
[[nodiscard]] bool has_windows(const Decoder& decoder) {
  const auto& layers = decoder.weights().layers;
  return std::any_of(layers.begin(), layers.end(), [](const auto& l) { return l.window > 0; });
}

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

/// A variant within a layer's window: the narrower view of the two.
template <AttentionVariant Variant>
struct WithinWindow {
  static constexpr std::string_view name = Variant::name;
  static constexpr bool transforms_logits = Variant::transforms_logits;
  static constexpr bool has_sink = Variant::has_sink;
  attention::SlidingWindow window;
  const Variant& variant;

  [[nodiscard]] std::int64_t first_visible(std::int64_t position) const {
    return std::max(window.first_visible(position), variant.first_visible(position));
  }
  template <class Math>
  [[nodiscard]] typename Math::Value logit(Math math, typename Math::Value s, std::size_t head,
                                           typename Math::Value distance) const {
    return variant.logit(math, s, head, distance);
  }
  [[nodiscard]] float sink_logit(std::size_t head) const { return variant.sink_logit(head); }
};

/// Every token is kept and attended to as a variant says, within what the model's layers see.
template <AttentionVariant Variant>
class AttendsAs : public AttendsAll {
 public:
  static constexpr std::string_view variant_name = Variant::name;

  AttendsAs(const RetentionLimits& limits, const model::Shape& shape, const KvGeometry& geometry)
      : AttendsAll(limits, shape, geometry) {
    layers_.reserve(static_cast<std::size_t>(shape.layers));
    for (std::int64_t l = 0; l < shape.layers; ++l) {
      layers_.push_back(attention_of_layer<Variant>(shape, static_cast<std::size_t>(l)));
    }
  }
  template <kv_format::KvStorage KvFormat>
  void attend(const model::AttentionCall& call) const {
    model::attend_as<KvFormat>(call,
                               WithinWindow<Variant>{model::window_of(call), layers_[call.layer]});
  }

 private:
  std::vector<Variant> layers_;
};
/// What tells a cache of this attention from that of another; empty for the model's own.
template <class Attending>
[[nodiscard]] std::string attention_of() {
  if constexpr (requires { Attending::variant_name; }) {
    return ", attention: " + std::string(Attending::variant_name);
  } else {
    return {};
  }
}

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
    check_retained_model(has_windows(decoder), reassigns, decoder.config().rotary);
    rope_ = &decoder.rope();
  }

  [[nodiscard]] static std::int64_t slots(const SequencePlan& s) { return lane_slots(s); }

  /// \errors state for sequences whose lanes are not those of the model
  void begin(const StepPlan& plan) {
    rows_.clear();
    layout_.lay_out(plan, retention::lane_count(scope, layers_, kv_heads_));
    counts_.assign(Votes::enabled ? layout_.begin.back() : 0, 0);
    for (std::size_t s = 0; s < plan.sequences.size(); ++s) {
      const SequencePlan& from = plan.sequences[s];
      rows_.push_back({from.lanes,
                       from.computed.value,
                       from.prompt_tokens.value,
                       {layout_.at.data() + s * layout_.lanes, layout_.lanes},
                       counts_.data()});
    }
  }
  void end(StepResult& result) {
    if constexpr (Votes::enabled) {
      result.votes.swap(counts_);
      result.votes_begin.swap(layout_.begin);
    }
  }

  template <class Format>
  void move_slots(const StepPlan& plan, kv_format::Arena<Format>& arena) {
    const auto blocks = static_cast<std::size_t>(arena.blocks().value);
    for (const retention::SlotMove& m : plan.slot_moves) {
      check_slot_move(m, blocks, block_tokens_);
      for_heads_of_lane(scope, m.lane, layers_, kv_heads_, [&](std::size_t l, std::size_t h) {
        const auto view = arena.layer(l);
        const BlockId from{m.from_block}, to{m.to_block};
        if constexpr (std::is_same_v<Format, kv_format::Packed>) {
          attention::copy_slot(view.codec->keys, view.keys(from, h), m.from_slot, view.keys(to, h),
                               m.to_slot, view.block_tokens, view.head_dim);
          attention::copy_slot(view.codec->values, view.values(from, h), m.from_slot,
                               view.values(to, h), m.to_slot, view.block_tokens, view.head_dim);
        } else {
          attention::copy_slot<Format>(view.keys(from, h), m.from_slot, view.keys(to, h), m.to_slot,
                                       view.head_dim);
          attention::copy_slot<Format>(view.values(from, h), m.from_slot, view.values(to, h),
                                       m.to_slot, view.head_dim);
        }
      });
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
  LaneLayout layout_;
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
        stale_(geometry.device_blocks) {}

  template <class Decoder>
  void check(const Decoder& decoder) const {
    check_retained_model(has_windows(decoder), false, true);
  }
  [[nodiscard]] static std::int64_t slots(const SequencePlan& s) {
    return (s.computed + s.tokens).value;
  }
  void begin(const StepPlan& plan) {
    read_ = held_ = 0;
    parts_.clear();
    stale_.take(plan, block_tokens_, parts_);
  }
  void end(StepResult& result) {
    result.pages_read = read_;
    result.pages_held = held_;
  }
  template <class Arena>
  void move_slots(const StepPlan&, Arena&) {}
  void copied(BlockId from, BlockId to) {
    ranges_.copy(from, to);
    stale_.copied(from, to);
  }
  void brought_in(BlockId block) { stale_.brought_in(block); }

  template <kv_format::KvStorage KvFormat>
  void attend(const model::AttentionCall& call) {
    attention::write_kv<KvFormat>(call.cache, call.queries.sequences, call.keys, call.values,
                                  call.queries.q_stride, call.threads);
    for (const StaleBlocks::Part& part : parts_) {
      attention::find_range<KvFormat>(call.cache, {part.block, part.tokens}, call.layer, ranges_);
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
  StaleBlocks stale_;                     // blocks that came from a tier
  std::vector<StaleBlocks::Part> parts_;  // of these, those that the step reads
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
