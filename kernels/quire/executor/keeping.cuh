// mechanism: what a step on a device does besides, where a retention policy drops tokens or selects pages
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/core/error.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/kept_lanes.hpp>
#include <quire/executor/step.hpp>
#include <quire/executor/step_data.cuh>
#include <quire/kernels/attention_votes/attention_votes.cuh>
#include <quire/kernels/choose_pages/choose_pages.cuh>
#include <quire/kernels/move_tokens/move_tokens.cuh>
#include <quire/kernels/page_ranges/page_ranges.cuh>
#include <quire/kernels/page_scores/page_scores.cuh>
#include <quire/kernels/paged_decode/plan.hpp>
#include <quire/kernels/turn_queries/turn_queries.cuh>
#include <quire/model/shape.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// Everything is kept and attended to: nothing besides, and no member.
struct KeepsAll {
  static constexpr bool lists = false, selects = false;
  KeepsAll(const RetentionLimits&, const model::Shape&, const KvGeometry&) {}
  static void check(bool /*windows*/, bool /*rotary*/) {}
  [[nodiscard]] static std::size_t device_bytes() { return 0; }
  [[nodiscard]] static std::uint64_t fetched_bytes() { return 0; }
};

/// Each lane of a sequence lists the tokens that it still has. Where a policy asks for votes they come back
/// after each step, 8 bytes an entry, since it decides on the host; the lists go to the device with each
/// step, 4 bytes an entry.
template <class VotesType, retention::Scope scope, bool reassigns>
class KeepsSome {
  static_assert(
      !reassigns || scope == retention::Scope::sequence,
      "quire: retention: the CUDA executor turns a query once for all layers and heads: a "
      "policy that re-assigns positions has Scope::sequence; smallest model: "
      "quire::retention::StreamingLlm");
  static_assert(!(reassigns && VotesType::enabled),
                "quire: retention: the CUDA executor has no votes of turned queries: a policy that "
                "re-assigns positions has NoVotes; smallest model: quire::retention::StreamingLlm");

 public:
  using Votes = VotesType;
  static constexpr bool lists = true, selects = false, votes = Votes::enabled, turns = reassigns;
  /// Whether ranks that have some of the heads each know all that the policy does.
  static constexpr bool is_of_all_heads = votes || scope == retention::Scope::head;

  KeepsSome(const RetentionLimits& limits, const model::Shape& shape, const KvGeometry& geometry)
      : cast_(make_votes(limits)),
        layers_(static_cast<std::size_t>(shape.layers)),
        kv_heads_(static_cast<std::size_t>(shape.kv_heads)),
        blocks_(static_cast<std::size_t>(geometry.device_blocks.value)),
        block_tokens_(static_cast<std::size_t>(geometry.block_tokens.value)),
        kept_(scope == retention::Scope::sequence ? 1 : layers_) {}

  /// \errors usage for models that the policy cannot serve
  static void check(bool windows, bool rotary) { check_retained_model(windows, reassigns, rotary); }
  [[nodiscard]] std::size_t device_bytes() const { return votes_.bytes() + lse_.bytes(); }
  /// Bytes of votes that came back to the host so far.
  [[nodiscard]] std::uint64_t fetched_bytes() const { return fetched_; }

  /// What rows see in a layer.
  struct Kept {
    std::vector<std::uint32_t>
        begin;  // \shape (rows and turned queries, kv_heads): into the tables
    std::vector<std::int32_t> lengths;  // likewise
    std::vector<kernels::KeyRun> runs;
    std::vector<kernels::DecodeWork> voting;  // parts of rows that vote
    std::uint32_t work = 0, merges = 0;
    std::size_t begin_at = 0, lengths_at = 0, work_at = 0, merges_at = 0, voting_at = 0;
  };
  [[nodiscard]] const Kept& kept(std::size_t layer) const {
    return kept_[scope == retention::Scope::sequence ? 0 : layer];
  }

  /// The plan's lists; `tables` begins with the slot that padded rows write to.
  /// \errors state for lanes that are not those of the model, and slots that do not exist
  void gather(const StepPlan& plan, std::vector<std::uint32_t>& tables) {
    layout_.lay_out(plan, retention::lane_count(scope, layers_, kv_heads_));
    for (Kept& k : kept_) {
      k.begin.clear();
      k.lengths.clear();
      k.runs.clear();
      k.voting.clear();
    }
    voters_.clear();
    turned_.clear();
    asked_ = 0;
    tables.assign(1, static_cast<std::uint32_t>(blocks_ * block_tokens_));
    tables.reserve(layout_.begin.back() + 1);
    for (std::size_t s = 0; s < plan.sequences.size(); ++s) list(plan.sequences[s], s, tables);
    moves_.clear();
    for (const retention::SlotMove& m : plan.slot_moves) {
      check_slot_move(m, blocks_, block_tokens_);
      for_heads_of_lane(scope, m.lane, layers_, kv_heads_, [&](std::size_t l, std::size_t h) {
        // keys of all layers lie in one block, each followed by as many slabs of values
        const std::size_t slab = l * 2 * kv_heads_ + h;
        moves_.push_back(
            {static_cast<std::uint32_t>(slab), m.from_block, m.from_slot, m.to_block, m.to_slot});
      });
    }
  }

  [[nodiscard]] std::size_t turned() const { return turned_.size(); }
  /// Rows that vote.
  [[nodiscard]] std::size_t asked() const { return asked_; }
  /// Whether rows of one token vote alike, so that a recorded step does for them.
  [[nodiscard]] bool alike(std::size_t rows) const {
    return turned_.empty() && (asked_ == 0 || asked_ == rows);
  }

  /// Adds the lists whose lengths follow from the number of rows, recorded steps' padded with nothing.
  /// room: parts that a plan for so many rows has at most
  void add(StepData& data, const kernels::DecodeSlots& slots, std::size_t rows, bool padded,
           std::size_t room) {
    voters_.resize(rows);
    turned_at_ = data.add(turned_);
    if constexpr (votes) voters_at_ = data.add(voters_);
    for (Kept& k : kept_) {
      if (padded) {
        k.begin.resize(rows * kv_heads_, 0);
        k.lengths.resize(rows * kv_heads_, 1);
      }
      list_turned(k);
      for (kernels::KeyRun& run : k.runs) {
        if ((run.query & is_turned) != 0) {
          run.query = static_cast<std::uint32_t>(rows) + (run.query & ~is_turned);
        }
      }
      kernels::DecodePlan plan = kernels::plan_runs(k.runs, slots, asked_ > 0);
      if constexpr (votes) {
        for (const kernels::DecodeWork& w : plan.work) {
          if (asks(voters_[w.sequence])) k.voting.push_back(w);
        }
      }
      if (padded) {  // parts and merges of nothing, which write where nobody reads
        plan.work.resize(room, {0, 0, 0, static_cast<std::int32_t>(room), 0});
        plan.merges.resize(rows, {static_cast<std::uint32_t>(rows), 0, 0});
        if (asked_ > 0) k.voting.resize(room, {});
      }
      k.work = static_cast<std::uint32_t>(plan.work.size());
      k.merges = static_cast<std::uint32_t>(plan.merges.size());
      k.begin_at = data.add(k.begin);
      k.lengths_at = data.add(k.lengths);
      k.work_at = data.add(plan.work);
      k.merges_at = data.add(plan.merges);
      k.voting_at = data.add(k.voting);
    }
  }
  /// Adds those whose lengths differ from step to step.
  void add_moves(StepData& data) { moves_at_ = data.add(moves_); }

  /// Makes room for what comes of `rows`; returns whether something moved.
  bool reserve(std::size_t rows, std::size_t heads) {
    bool moved = false;
    if constexpr (votes) {
      if ((rows + 1) * heads > lse_.size()) {
        lse_ = simt::DeviceArray<float>((rows + 1) * heads);  // and what padded merges write
        moved = true;
      }
      const std::size_t entries = asked_ > 0 ? layout_.begin.back() + 1 : 0;
      if (entries > votes_.size()) {
        votes_ = simt::DeviceArray<long long>(2 * entries);
        host_votes_ = simt::PinnedArray<long long>(2 * entries);
        moved = true;
      }
    }
    return moved;
  }

  /// Whether the moves, or the step's own tokens, write to one of these blocks.
  [[nodiscard]] bool moves_into(const std::unordered_set<std::uint32_t>& blocks) const {
    return std::any_of(moves_.begin(), moves_.end(),
                       [&](const kernels::TokenMove& m) { return blocks.contains(m.to_block); });
  }
  [[nodiscard]] bool writes(const SequencePlan& s,
                            const std::unordered_set<std::uint32_t>& blocks) const {
    const auto table = s.tables.front().blocks();
    for (const retention::Lane& lane : s.lanes) {
      const auto own = std::span(lane.entries).last(static_cast<std::size_t>(s.tokens.value));
      for (const retention::Entry& e : own) {
        if (blocks.contains(table[e.slot / block_tokens_].value)) return true;
      }
    }
    return false;
  }
  [[nodiscard]] bool has_moves() const { return !moves_.empty(); }

  /// Runs the moves, in the order of the plan where that matters. base: of the pool
  template <class Key>
  void move_slots(const kernels::KvPool& pool, const StepData& data, simt::Stream stream) const {
    std::span<const kernels::TokenMove> left(moves_);
    const auto* at = data.at<kernels::TokenMove>(moves_at_);
    while (!left.empty()) {
      const std::size_t count = kernels::independent(left);
      kernels::move_tokens<Key>({pool, at, static_cast<std::uint32_t>(count)}, stream);
      at += count;
      left = left.subspan(count);
    }
  }

  void clear_votes(simt::Stream stream) {
    if (asked_ > 0) simt::clear(votes_.data(), layout_.begin.back() + 1, stream, "votes");
  }
  /// Turned queries behind the step's own.
  template <unsigned head_dim, class Value>
  void turn(Value* q, std::size_t rows, std::uint32_t heads, const float* angles,
            const StepData& data, simt::Stream stream) const {
    if (turned_.empty()) return;
    using Kernel = kernels::TurnQueries<Value, head_dim>;
    simt::launch<Kernel>(
        {{static_cast<unsigned>(turned_.size()), heads}, Kernel::shared_bytes},
        {q, data.at<kernels::TurnedQuery>(turned_at_), angles, static_cast<std::uint32_t>(rows)},
        stream);
  }
  /// Where merges leave what votes need; null: nobody is asked.
  [[nodiscard]] float* lse() { return asked_ > 0 ? lse_.data() : nullptr; }
  /// What the rows that vote make of a layer's attention, as `of` has attended.
  template <class Key, class Params>
  void vote(const Params& of, const Kept& k, const StepData& data, simt::Stream stream) {
    if constexpr (votes) {
      if (k.voting.empty()) return;
      using Kernel = kernels::AttentionVotes<Key, attention::Causal, Votes>;
      const typename Kernel::Params p{of.q,
                                      of.q_stride,
                                      of.cache,
                                      of.blocks,
                                      of.table_begin,
                                      of.lengths,
                                      data.at<kernels::DecodeWork>(k.voting_at),
                                      lse_.data(),
                                      votes_.data(),
                                      0,
                                      of.heads,
                                      of.scale,
                                      {},
                                      data.at<retention::VoteRow>(voters_at_),
                                      cast_};
      simt::launch<Kernel>({{static_cast<unsigned>(k.voting.size()), of.cache.kv_heads},
                            Kernel::shared_bytes(of.heads / of.cache.kv_heads)},
                           p, stream);
    }
  }
  /// Starts to bring the votes to the host.
  void fetch_votes(simt::Stream stream) {
    if (asked_ == 0) return;
    fetched_ += layout_.begin.back() * sizeof(long long);
    simt::copy_to_host(host_votes_.data(), votes_.data() + 1, layout_.begin.back(), stream,
                       "votes");
  }
  /// \pre the stream has come so far
  void end(StepResult& result) {
    if constexpr (votes) {
      if (asked_ > 0) {
        result.votes.assign(host_votes_.data(), host_votes_.data() + layout_.begin.back());
      } else {
        result.votes.assign(layout_.begin.back(), 0);
      }
      result.votes_begin.swap(layout_.begin);
    }
  }

 private:
  static constexpr std::uint32_t is_turned = 1u << 31;

  static Votes make_votes(const RetentionLimits& limits) {
    if constexpr (Votes::enabled) {
      return Votes(limits);
    } else {
      return {};
    }
  }
  [[nodiscard]] bool asks([[maybe_unused]] const retention::VoteRow& row) const {
    if constexpr (votes) {
      return cast_.counts(row);
    } else {
      return false;
    }
  }

  /// A sequence's part of the lists.
  void list(const SequencePlan& s, std::size_t index, std::vector<std::uint32_t>& tables) {
    const auto table = s.tables.front().blocks();
    for (const retention::Lane& lane : s.lanes) {
      for (const retention::Entry& e : lane.entries) {
        const auto slot = static_cast<std::uint32_t>(e.slot % block_tokens_);
        tables.push_back(
            table[e.slot / block_tokens_].value * static_cast<std::uint32_t>(block_tokens_) + slot);
      }
    }
    const auto rows = static_cast<std::size_t>(s.tokens.value), first = voters_.size();
    for (std::size_t i = 0; i < rows; ++i) {
      voters_.push_back({s.computed.value + static_cast<std::int64_t>(i), s.prompt_tokens.value,
                         static_cast<std::int64_t>(rows - 1 - i), 0});
      asked_ += asks(voters_.back()) ? 1 : 0;
    }
    const std::size_t* at = layout_.at.data() + index * layout_.lanes;
    for (std::size_t l = 0; l < kept_.size(); ++l) {
      Kept& k = kept_[l];
      for (std::size_t i = 0; i < rows; ++i) {
        std::int32_t longest = 0;
        for (std::size_t h = 0; h < kv_heads_; ++h) {
          const std::size_t lane = retention::lane_index(scope, l, kv_heads_, h);
          const std::size_t seen = s.lanes[lane].entries.size() - rows + i + 1;
          k.begin.push_back(static_cast<std::uint32_t>(at[lane] + 1));
          k.lengths.push_back(static_cast<std::int32_t>(seen));
          longest = std::max(longest, static_cast<std::int32_t>(seen));
        }
        const auto row = static_cast<std::uint32_t>(first + i);
        if constexpr (reassigns) {
          list_runs(s.lanes.front(), s, row, longest, k);
        } else {
          k.runs.push_back({row, row, 0, longest});
        }
      }
    }
  }
  /// Keys between which nothing was dropped are a run; all but the last of a row have a query of their own.
  void list_runs(const retention::Lane& lane, const SequencePlan& s, std::uint32_t row,
                 std::int32_t seen, Kept& k) {
    const std::int64_t before = std::ssize(lane.entries) - s.tokens.value;
    const auto shift = [&](std::int32_t p) {
      const retention::Entry& e = lane.entries[static_cast<std::size_t>(p)];
      return (s.computed.value - e.position) - (before - p);
    };
    for (std::int32_t begin = 0; begin < seen;) {
      const std::int64_t by = shift(begin);
      std::int32_t end = begin + 1;
      while (end < seen && shift(end) == by) ++end;
      std::uint32_t query = row;
      if (by != 0) {
        query = is_turned | static_cast<std::uint32_t>(turned_.size());
        turned_.push_back({row, static_cast<std::uint32_t>(by)});
      }
      k.runs.push_back({query, row, begin, end});
      begin = end;
    }
  }
  /// The tables of turned queries are those of their rows.
  void list_turned(Kept& k) const {
    for (const kernels::TurnedQuery& t : turned_) {
      for (std::size_t h = 0; h < kv_heads_; ++h) {
        k.begin.push_back(k.begin[t.row * kv_heads_ + h]);
        k.lengths.push_back(k.lengths[t.row * kv_heads_ + h]);
      }
    }
  }

  Votes cast_;
  std::size_t layers_, kv_heads_, blocks_, block_tokens_;
  LaneLayout layout_;
  std::vector<Kept> kept_;  // of each layer; one where all see the same
  std::vector<retention::VoteRow> voters_;
  std::vector<kernels::TurnedQuery> turned_;
  std::vector<kernels::TokenMove> moves_;
  std::size_t asked_ = 0;
  std::uint64_t fetched_ = 0;
  std::size_t turned_at_ = 0, voters_at_ = 0, moves_at_ = 0;
  simt::DeviceArray<long long> votes_;  // one an entry of the tables
  simt::DeviceArray<float> lse_;
  simt::PinnedArray<long long> host_votes_;
};

/// Everything is kept; queries of sequences with one row read the pages with the highest scores, which are
/// found and chosen on the device.
template <PageSelectingPolicy Policy>
class SelectsPages {
  static_assert(
      requires(const Policy& p) {
        requires Policy::chooses_highest;
        p.pages();
      },
      "quire: retention: the CUDA executor chooses pages on the device, as Quest does; declare "
      "chooses_highest and pages(); smallest model: quire::retention::Quest");

 public:
  static constexpr bool lists = false, selects = true;
  using Block = kernels::PortableBlock<simt::emulated ? 32 : 256>;

  SelectsPages(const RetentionLimits& limits, const model::Shape& shape, const KvGeometry& geometry)
      : policy_(limits, geometry.block_tokens),
        layers_(static_cast<std::size_t>(shape.layers)),
        kv_heads_(static_cast<std::size_t>(shape.kv_heads)),
        head_dim_(static_cast<std::size_t>(shape.head_dim)),
        block_tokens_(static_cast<std::size_t>(geometry.block_tokens.value)),
        stale_(geometry.device_blocks),
        ranges_(static_cast<std::size_t>(geometry.device_blocks.value) * range_stride()) {}

  static void check(bool windows, bool /*rotary*/) { check_retained_model(windows, false, true); }
  [[nodiscard]] static std::uint64_t fetched_bytes() { return 0; }
  [[nodiscard]] std::size_t device_bytes() const {
    return ranges_.bytes() + scores_.bytes() + chosen_.bytes();
  }

  void brought_in(BlockId block) { stale_.brought_in(block); }

  /// What the step reads and writes. \shape row_begin: of each sequence's first row in the step
  void gather(const StepPlan& plan) {
    work_.clear();
    parts_.clear();
    choosers_.clear();
    read_ = held_ = 0;
    longest_ = 0;
    stale_.take(plan, static_cast<std::int64_t>(block_tokens_), parts_);
    for (const StaleBlocks::Part& part : parts_) {
      work_.push_back({part.block.value, static_cast<std::uint32_t>(part.tokens)});
    }
    std::uint32_t row = 0;
    const auto page = static_cast<std::int64_t>(block_tokens_);
    for (const SequencePlan& s : plan.sequences) {
      const auto table = s.tables.front().blocks();
      const std::int64_t end = (s.computed + s.tokens).value;
      for (std::int64_t b = s.computed.value / page; b * page < end; ++b) {
        work_.push_back({table[static_cast<std::size_t>(b)].value,
                         static_cast<std::uint32_t>(std::min(page, end - b * page))});
      }
      if (s.tokens == Tokens{1}) {
        const auto pages = static_cast<std::size_t>((end + page - 1) / page);
        choosers_.push_back({row, pages, static_cast<std::int32_t>((end - 1) % page + 1)});
      }
      row += static_cast<std::uint32_t>(s.tokens.value);
    }
    // blocks that came and are written to: what was computed stands first, and is made anew below
    std::stable_sort(work_.begin(), work_.end(),
                     [](const kernels::RangeWork& a, const kernels::RangeWork& b) {
                       return std::tie(a.block, b.tokens) < std::tie(b.block, a.tokens);
                     });
    work_.erase(std::unique(work_.begin(), work_.end(),
                            [](const auto& a, const auto& b) { return a.block == b.block; }),
                work_.end());
    for (std::size_t l = 0; l < layers_; ++l) {
      for (const Chooser& c : choosers_) {
        const bool all = policy_.attends_to_all(static_cast<std::int64_t>(l), c.pages);
        held_ += static_cast<std::int64_t>(kv_heads_ * c.pages);
        read_ += static_cast<std::int64_t>(
            kv_heads_ * (all ? c.pages : static_cast<std::size_t>(policy_.pages())));
      }
    }
  }

  /// Rows that choose in a layer, and how those and the others attend. Layers that choose alike share one.
  struct Choice {
    std::vector<std::uint32_t> rows;  // that choose
    std::size_t rows_at = 0, begin_at = 0, lengths_at = 0;
    // of rows that attend to all, and of those that choose
    std::uint32_t work = 0, merges = 0, chosen_work = 0, chosen_merges = 0;
    std::size_t work_at = 0, merges_at = 0, chosen_work_at = 0, chosen_merges_at = 0;
  };
  [[nodiscard]] const Choice& choice(std::size_t layer) const {
    return choices_[choice_of_[layer]];
  }

  /// \shape rows (those that decode kernels take); lengths (all rows)
  void add(StepData& data, const kernels::DecodeSlots& slots, std::span<const std::uint32_t> rows,
           std::span<const std::int32_t> lengths) {
    choices_.clear();
    choice_of_.clear();
    work_at_ = data.add(work_);
    std::size_t most = 0;
    for (std::size_t l = 0; l < layers_; ++l) {
      std::vector<const Chooser*> choosers;
      std::vector<std::uint32_t> who;
      for (const Chooser& c : choosers_) {
        if (policy_.attends_to_all(static_cast<std::int64_t>(l), c.pages)) continue;
        choosers.push_back(&c);
        who.push_back(c.row);
        longest_ = std::max(longest_, c.pages);
      }
      most = std::max(most, who.size());
      const auto same = std::find_if(choices_.begin(), choices_.end(),
                                     [&](const Choice& c) { return c.rows == who; });
      choice_of_.push_back(static_cast<std::size_t>(same - choices_.begin()));
      if (same == choices_.end()) plan(data, slots, rows, lengths, choosers, std::move(who));
    }
    const std::size_t scores = most * kv_heads_ * longest_;
    if (scores > scores_.size()) scores_ = simt::DeviceArray<float>(2 * scores);
    const std::size_t chosen = most * kv_heads_ * count() * block_tokens_;
    if (chosen > chosen_.size()) chosen_ = simt::DeviceArray<std::uint32_t>(2 * chosen);
  }

  /// Brings a layer's ranges up to date. \pre the step has rows: it writes to some block
  template <class Key>
  void update(const kernels::KvPool& cache, std::size_t layer, const StepData& data,
              simt::Stream stream) {
    using Kernel = kernels::PageRanges<Key>;
    simt::launch<Kernel>(
        {{static_cast<unsigned>(work_.size()), cache.kv_heads}, Kernel::shared_bytes},
        {cache, data.at<kernels::RangeWork>(work_at_), ranges_of(layer), range_stride()}, stream);
  }
  /// Chooses for the rows of a layer that do; `of`: how all rows attend.
  template <class Key, class Params>
  void choose(const Params& of, const Choice& c, std::size_t layer, const StepData& data,
              simt::Stream stream) {
    using Scores = kernels::PageScores<Key>;
    const auto rows = static_cast<unsigned>(c.rows.size());
    const auto parts = static_cast<unsigned>(std::min<std::size_t>(
        simt::emulated ? 2 : 16, (longest_ + Scores::warps - 1) / Scores::warps));
    simt::launch<Scores>(
        {{rows, of.cache.kv_heads, parts}, Scores::shared_bytes(of.heads / of.cache.kv_heads)},
        {of.q, of.q_stride, ranges_of(layer), range_stride(), of.blocks, of.table_begin, of.lengths,
         scores_.data(), longest_, of.heads, of.cache.kv_heads, data.at<std::uint32_t>(c.rows_at)},
        stream);
    using Choose = kernels::ChoosePages<Block>;
    simt::launch<Choose>(
        {{rows, of.cache.kv_heads}, Choose::shared_bytes},
        {scores_.data(), longest_, of.blocks, of.table_begin, of.lengths,
         data.at<std::uint32_t>(c.rows_at), chosen_.data(), static_cast<std::uint32_t>(count()),
         static_cast<std::uint32_t>(block_tokens_)},
        stream);
  }
  [[nodiscard]] const std::uint32_t* chosen() const { return chosen_.data(); }
  void end(StepResult& result) const {
    result.pages_read = read_;
    result.pages_held = held_;
  }

 private:
  /// A row whose query may choose.
  struct Chooser {
    std::uint32_t row = 0;
    std::size_t pages = 0;
    std::int32_t last = 0;  // tokens of the last page
  };

  [[nodiscard]] std::size_t count() const { return static_cast<std::size_t>(policy_.pages()); }
  [[nodiscard]] std::size_t range_stride() const { return layers_ * kv_heads_ * 2 * head_dim_; }
  [[nodiscard]] float* ranges_of(std::size_t layer) {
    return ranges_.data() + layer * kv_heads_ * 2 * head_dim_;
  }

  void plan(StepData& data, const kernels::DecodeSlots& slots, std::span<const std::uint32_t> rows,
            std::span<const std::int32_t> lengths, std::span<const Chooser* const> choosers,
            std::vector<std::uint32_t> who) {
    Choice c;
    std::vector<kernels::KeyRun> all, chosen;
    for (const std::uint32_t row : rows) {
      if (!std::binary_search(who.begin(), who.end(), row))
        all.push_back({row, row, 0, lengths[row]});
    }
    std::vector<std::uint32_t> begin(lengths.size() * kv_heads_, 0);
    std::vector<std::int32_t> tokens(lengths.size() * kv_heads_, 0);
    const std::size_t slots_each = count() * block_tokens_;
    for (std::size_t i = 0; i < choosers.size(); ++i) {
      const Chooser& from = *choosers[i];
      const auto n = static_cast<std::int32_t>(slots_each - block_tokens_) + from.last;
      for (std::size_t h = 0; h < kv_heads_; ++h) {
        begin[from.row * kv_heads_ + h] =
            static_cast<std::uint32_t>((i * kv_heads_ + h) * slots_each);
        tokens[from.row * kv_heads_ + h] = n;
      }
      chosen.push_back({from.row, from.row, 0, n});
    }
    const kernels::DecodePlan plain = kernels::plan_runs(all, slots, false);
    const kernels::DecodePlan few = kernels::plan_runs(chosen, slots, false, plain.partials);
    c.work = static_cast<std::uint32_t>(plain.work.size());
    c.merges = static_cast<std::uint32_t>(plain.merges.size());
    c.chosen_work = static_cast<std::uint32_t>(few.work.size());
    c.chosen_merges = static_cast<std::uint32_t>(few.merges.size());
    c.work_at = data.add(plain.work);
    c.merges_at = data.add(plain.merges);
    c.chosen_work_at = data.add(few.work);
    c.chosen_merges_at = data.add(few.merges);
    if (!who.empty()) {
      c.rows_at = data.add(who);
      c.begin_at = data.add(begin);
      c.lengths_at = data.add(tokens);
    }
    c.rows = std::move(who);
    choices_.push_back(std::move(c));
  }

  Policy policy_;
  std::size_t layers_, kv_heads_, head_dim_, block_tokens_;
  StaleBlocks stale_;
  std::vector<StaleBlocks::Part> parts_;
  std::vector<kernels::RangeWork> work_;
  std::size_t work_at_ = 0, longest_ = 0;
  std::vector<Chooser> choosers_;
  std::vector<Choice> choices_;
  std::vector<std::size_t> choice_of_;  // of each layer
  std::int64_t read_ = 0, held_ = 0;
  simt::DeviceArray<float> ranges_;  // \shape (blocks, layers, kv_heads, 2, head_dim)
  simt::DeviceArray<float> scores_;
  simt::DeviceArray<std::uint32_t> chosen_;
};

namespace detail {
template <class P>
struct KeepingOf {
  using type = KeepsAll;
};
template <DroppingPolicy P>
struct KeepingOf<P> {
  using type = KeepsSome<typename P::Votes, P::scope, P::reassigns_positions>;
};
template <PageSelectingPolicy P>
struct KeepingOf<P> {
  using type = SelectsPages<P>;
};
/// Configurations that say nothing of retention keep all.
template <class C>
struct KeepingOfConfig {
  using type = KeepsAll;
};
template <class C>
requires requires { typename C::Retention; }
struct KeepingOfConfig<C> {
  using type = typename KeepingOf<typename C::Retention>::type;
};
}  // namespace detail

/// How steps of a configuration keep tokens on a device; those that keep alike share it.
template <class C>
using KeepingFor = typename detail::KeepingOfConfig<C>::type;

}  // namespace quire::executor
