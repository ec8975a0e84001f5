#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/engine/group_progress.hpp>
#include <quire/engine/request_book.hpp>
#include <quire/engine/step_stats.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/usage.hpp>
#include <quire/scheduler/concepts.hpp>

namespace quire {

/// The plans of an engine: the one being made, the one that runs or ran last, and the rows that go
/// from one to the next unchanged. Like RequestBook it asks no policy and compiles once.
///
/// Decodes that nothing can happen to but a token more and a block now and then are *steady*: the
/// first rows of each plan, in order of rank, kept from step to step. What the engine does for one of
/// them in a step is the same as for any other, only without asking again what has not changed.
class PlanBook : public RequestBook {
 public:
  /// Hash over the plans of all steps so far: equal logs, equal decisions.
  [[nodiscard]] std::uint64_t decision_hash() const { return decision_hash_; }
  /// The plan of the last step that ran. Its spans are no longer valid.
  [[nodiscard]] const StepPlan& last_plan() const { return flight_.plan; }
  /// Tokens generated in the last step, in batch order; none of beams, which change until the end.
  [[nodiscard]] std::span<const TokenEvent> events() const { return events_; }

 protected:
  using RequestBook::RequestBook;
  using Rows = PlanRows;
  struct Flight {
    StepPlan plan;
    Rows rows;  // the sequence behind each row of the plan
    std::int64_t groups = 0;
  };
  /// A running sequence that decodes, alone in its group.
  struct Steady {
    SequenceGroup* group = nullptr;  // null: it ended in the step that ran last
    Sequence* sequence = nullptr;
    Tokens end = 0;           // the length at which it ends; 0: its tokens say
    Tokens final_length = 0;  // the length at which it ends at the latest
  };

  // ---- planning ---------------------------------------------------------------------------------

  void begin_stats() {
    auto gaps = std::move(stats_.token_gaps);
    gaps.clear();
    stats_ = {};
    stats_.token_gaps = std::move(gaps);  // keeps the memory
    events_.clear();
  }
  void begin_plan() {
    plan_.clear();
    rows_.clear();
    planned_ = admitted_ = 0;
    ++plans_;
  }
  [[nodiscard]] BatchState state() const {
    BatchState s;
    s.now = now_;
    s.idle = idle_;
    s.running_groups = static_cast<std::int64_t>(running_.size());
    s.running_sequences = running_sequences_;
    s.admitted_groups = admitted_;
    s.waiting_groups = static_cast<std::int64_t>(waiting_since_.size());
    if (!waiting_since_.empty()) s.oldest_arrival = *waiting_since_.begin();
    s.batched_tokens = plan_.batched_tokens;
    return s;
  }
  void count_running() {
    const std::size_t steady = steady_.size() - steady_ended_;
    running_sequences_ = static_cast<std::int64_t>(steady);
    if (running_.size() == steady) return;
    for (const SequenceGroup* g : running_) {
      if (!g->steady) running_sequences_ += g->running_sequences();
    }
  }
  [[nodiscard]] bool is_planned(const SequenceGroup& group) const {
    return group.steady || group.planned_in == plans_;
  }
  [[nodiscard]] SequenceGroup* last_unplanned() const {
    for (std::size_t i = running_.size(); i-- > 0;) {
      if (!is_planned(*running_[i])) return running_[i];
    }
    return nullptr;  // not reached: the group that asks is not planned
  }
  /// The row of a sequence in a plan. What a retention policy adds to it is left out.
  [[nodiscard]] SequencePlan row_of(const SequenceGroup& group, const Sequence& s,
                                    Tokens tokens) const {
    const SamplingParams& p = group.request.sampling;
    SequencePlan row;
    row.sequence = s.id;
    row.request = group.request.id;
    row.computed = s.computed;
    row.tokens = tokens;
    row.prompt_tokens = group.prompt_length();
    row.history = s.tokens;
    row.tables = s.tables;
    row.sampling = &p;
    row.sample_index = s.sample_index;
    row.admitted = s.table_changed;
    row.drafts = static_cast<std::int32_t>(s.drafts.value);
    if (s.computed + tokens == s.length) {
      row.draws = p.beam_width > 0 ? 2 * p.beam_width
                                   : (group.forked ? 1 : static_cast<std::int32_t>(p.width()));
    }
    row.counted = row.draws > 0 && row.drafts == 0 && !wants_text(group);
    return row;
  }
  /// Static batching: what the batch computes beyond its real tokens, as one token each for
  /// sequences that have finished, and as padding to the longest prompt.
  void pad() {
    Tokens longest = 0;
    for (const SequencePlan& row : plan_.sequences) longest = std::max(longest, row.tokens);
    auto batch = static_cast<std::int64_t>(plan_.sequences.size());
    for (const SequenceGroup* group : draining_) batch += std::ssize(group->sequences);
    for (const SequenceGroup* group : running_) {
      batch += std::ssize(group->sequences) - group->unfinished();
    }
    if (!plan_.sequences.empty()) plan_.padding = longest * batch - plan_.batched_tokens;
  }
  /// Books what a plan will compute and draw before it has run, for the plan after it.
  void count_on() {
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      Sequence& s = rows_[r].first->sequences[rows_[r].second];
      s.computed += plan_.sequences[r].tokens;
      if (plan_.sequences[r].draws == 0) continue;
      s.length += 1;
      s.expected += 1;
    }
  }

  /// Makes the plan the one that runs: enters it in the decision log.
  void take_off() {
    swap(plan_, flight_.plan);
    std::swap(rows_, flight_.rows);
    flight_.groups = planned_;
    if (planned_ahead_) {  // the step before it has added tokens, and may have exchanged blocks
      for (std::size_t r = 0; r < flight_.rows.size(); ++r) {
        const Sequence& s = flight_.rows[r].first->sequences[flight_.rows[r].second];
        flight_.plan.sequences[r].history = s.tokens;
        flight_.plan.sequences[r].tables = s.tables;
        flight_.plan.sequences[r].admitted = s.table_changed;
      }
    }
    planned_ahead_ = false;
    log_plan();
    for (std::size_t r = steady_.size(); r < flight_.rows.size(); ++r) {
      flight_.rows[r].first->sequences[flight_.rows[r].second].table_changed = false;
    }
  }
  void log_plan() {
    flight_.plan.step = plans_run_++;
    decision_hash_ = hash_combine(decision_hash_, flight_.plan.hash(traits_.block_tokens));
  }
  /// Takes sequences that have ended out of the plan that was made ahead.
  void drop_ended_rows() {
    if (!planned_ahead_) return;
    std::size_t kept = 0;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      if (rows_[r].first->sequences[rows_[r].second].finished()) {
        plan_.batched_tokens -= plan_.sequences[r].tokens;
        --planned_;
        continue;
      }
      rows_[kept] = rows_[r];
      plan_.sequences[kept++] = plan_.sequences[r];
    }
    rows_.resize(kept);
    plan_.sequences.resize(kept);
    planned_ahead_ = !plan_.empty();
  }

  // ---- steady rows ------------------------------------------------------------------------------

  /// Whether the steady rows can be made anew: every running group is a single sequence.
  bool find_steady() {
    if (limits_.asynchronous) return false;
    for (const SequenceGroup* g : running_) {
      if (!is_single(*g)) return false;
    }
    for (SequenceGroup* g : running_) {
      if (g->sequences.front().remaining() == Tokens{1}) joining_.push_back(g);
    }
    is_steady_ = true;
    return true;
  }
  const Steady& join_steady(SequenceGroup& group, Before before, const void* plane) {
    Sequence& s = group.sequences.front();
    const Request& r = group.request;
    Steady d{.group = &group, .sequence = &s, .final_length = final_length(group)};
    if (r.output_length && !wants_text(group)) {
      d.end = std::min(r.prompt_length + *r.output_length, limits_.max_length);
      group.forked = true;  // a prompt of which one token is left draws its first
    }
    std::size_t at = steady_.size();
    if (at > 0 && before(plane, &group, steady_.back().group)) {
      at = static_cast<std::size_t>(
          std::upper_bound(steady_.begin(), steady_.end(), &group,
                           [&](auto* a, const Steady& b) { return before(plane, a, b.group); }) -
          steady_.begin());
    }
    const auto place = static_cast<std::ptrdiff_t>(at);
    steady_.insert(steady_.begin() + place, d);
    flight_.rows.insert(flight_.rows.begin() + place, {&group, 0});
    flight_.plan.sequences.insert(flight_.plan.sequences.begin() + place, row_of(group, s, 1));
    s.table_changed = traits_.tracks_tokens && s.table_changed;
    group.steady = true;
    return steady_[at];
  }
  /// Leaves the steady rows alone in the plan that ran last, which the next one takes over.
  void drop_steady_that_ended() {
    if (steady_.empty()) {
      if (joining_.empty()) return;
      flight_.rows.clear();
      flight_.plan.sequences.clear();
      return;
    }
    std::size_t kept = 0;
    if (steady_ended_ == 0) {
      kept = steady_.size();
    } else {
      for (std::size_t r = 0; r < steady_.size(); ++r) {
        if (steady_[r].group == nullptr) continue;
        if (kept != r) {
          steady_[kept] = steady_[r];
          flight_.rows[kept] = flight_.rows[r];
          flight_.plan.sequences[kept] = flight_.plan.sequences[r];
        }
        ++kept;
      }
    }
    steady_ended_ = 0;
    steady_.resize(kept);
    if (kept == 0 && joining_.empty()) return;  // last_plan() still shows what ran
    flight_.rows.resize(kept);
    flight_.plan.sequences.resize(kept);
  }
  /// Moves the steady rows from the plan that ran last to the one at hand.
  void take_steady_rows() {
    std::swap(plan_.sequences, flight_.plan.sequences);
    std::swap(rows_, flight_.rows);
    for (std::size_t r = 0; r < steady_.size(); ++r) {
      SequencePlan& row = plan_.sequences[r];
      Sequence& sequence = *steady_[r].sequence;
      row.computed = sequence.computed;
      row.admitted = false;
      if (!traits_.tracks_tokens) continue;
      row.history = sequence.tokens;
      row.admitted = std::exchange(sequence.table_changed, false);
    }
    planned_ += static_cast<std::int64_t>(steady_.size());
    plan_.batched_tokens += static_cast<std::int64_t>(steady_.size());
  }
  /// Forgets which rows are steady; returns false. \complexity O(steady)
  bool unsteady() {
    if (!is_steady_) return false;
    for (const Steady& d : steady_) {
      if (d.group != nullptr) d.group->steady = false;
    }
    steady_.clear();
    joining_.clear();
    steady_ended_ = 0;
    steady_usage_ = {};
    return is_steady_ = false;
  }

  // ---- booking ----------------------------------------------------------------------------------

  void begin_commit() {
    const StepPlan& ran = flight_.plan;
    stats_.batched_tokens = ran.batched_tokens;
    stats_.running_sequences = static_cast<std::int64_t>(ran.sequences.size());
    stats_.running_groups = flight_.groups;
    stats_.preempted_groups = static_cast<std::int64_t>(ran.preempted.size());
    counters_.steps += 1;
    counters_.steps_over_budget += plan_.batched_tokens > limits_.max_batched_tokens ? 1 : 0;
  }
  /// Groups whose blocks came back wrong from a tier: out of the batch and of their queue, and what
  /// this step made of them discarded.
  [[nodiscard]] std::vector<SequenceGroup*> take_lost_groups() {
    unsteady();
    if (limits_.asynchronous) {
      throw state_error("limits.asynchronous",
                        "a fetch failed, and the next step was planned on what it was to bring",
                        "synchronous scheduling with a tier that can fail");
    }
    std::vector<BlockId> bad;
    for (const std::uint32_t i : result_.failed) bad.push_back(flight_.plan.swap_in[i].device);
    counters_.failed_fetches += std::ssize(bad);
    std::vector<SequenceGroup*> groups = groups_on(running_, std::move(bad), flight_.plan.copies);
    discard_rows(flight_.rows, groups, flight_.plan);
    for (SequenceGroup* group : groups) {
      counters_.recoveries += 1;
      take(running_, *group);
      running_sequences_ -= group->running_sequences();
      group->timeline.waiting_since = now_;
      for (Sequence& s : group->sequences) {
        s.dropped = s.finished() ? Tokens{0} : s.dropped + s.computed - s.shared;
      }
    }
    return groups;
  }
  /// Takes a group that makes way out of the batch; returns the tokens it had computed.
  Tokens note_preemption(SequenceGroup& group) {
    take(running_, group);
    running_sequences_ -= group.running_sequences();
    plan_.preempted.push_back(group.request.id);
    group.timeline.preemptions += 1;
    group.timeline.waiting_since = now_;
    counters_.preemptions += 1;
    Tokens computed = 0;
    for (const Sequence& s : group.sequences) {
      if (!s.finished()) computed += s.computed;
    }
    return computed;
  }
  void note_gap(const Timeline& timeline) {
    if (timeline.last_token < Seconds{0.0}) return;
    note_gaps((now_ - timeline.last_token).value, 1);
  }
  void note_gaps(double gap, std::int64_t count) {
    if (count == 0) return;
    auto& gaps = stats_.token_gaps;
    if (!gaps.empty() && gaps.back().first == gap) {
      gaps.back().second += count;
    } else {
      gaps.emplace_back(gap, count);
    }
  }
  /// Books a drawn token of a sequence; returns whether, and why, it is the last.
  [[nodiscard]] FinishReason note_draw(SequenceGroup& group, std::size_t i, Draw draw) {
    Sequence& s = group.sequences[i];
    const Request& r = group.request;
    if (r.output_length && r.reply != 0 && s.sample_index == 0) {
      draw.token = chunk_token(r.reply, std::ssize(s.logprobs));
    }
    if (s.expected > 0) {  // counted already
      s.expected -= 1;
      s.length -= 1;
    }
    if (wants_text(group)) {
      record_draw(s, draw, result_, traits_.tracks_tokens);
    } else {
      s.length += 1;
    }
    if (i == 0) note_gap(group.timeline);
    mark_token(group.timeline, now_, i == 0 && records_.times);
    counters_.output_tokens += 1;
    const Tokens length = s.length - s.expected;
    const FinishReason reason =
        finish_reason(r, length, length - group.prompt_length(), draw.token, limits_.max_length);
    if (records_.text) {
      events_.push_back({r.id, s.sample_index, draw.token, draw.logprob, reason});
    }
    return reason;
  }
  /// Gathers what the rows [begin, end) of a beam search drew, into beams_; false while its prompt is
  /// not complete.
  [[nodiscard]] bool gather_beams(const SequenceGroup& group, std::size_t begin, std::size_t end) {
    beams_.clear();
    for (std::size_t r = begin; r < end; ++r) {
      if (result_.row(r).empty()) return false;
      for (const Draw& draw : result_.row(r)) {
        const std::size_t i = flight_.rows[r].second;
        const double score = group.sequences[i].cumulative_logprob + draw.logprob;
        beams_.push_back({i, draw, score});
      }
    }
    return true;
  }

  // the plan at hand, and the one that runs or ran last
  StepPlan plan_;
  Rows rows_;
  Flight flight_;
  bool planned_ahead_ = false;  // plan_ is the next step's
  std::uint64_t plans_run_ = 0, decision_hash_ = 0;
  StepResult result_;
  StepStats stats_;
  bool idle_ = true;
  std::int64_t running_sequences_ = 0, admitted_ = 0, planned_ = 0;
  std::uint64_t plans_ = 0;  // plans made, whether or not they ran

  bool is_steady_ = false;      // steady_ and joining_ are all running groups past their prompt
  std::vector<Steady> steady_;  // the first rows of the plan, in order of rank
  std::vector<SequenceGroup*> joining_;  // past their prompt since the last step
  std::size_t steady_ended_ = 0;         // of steady_
  MemoryUsage steady_usage_;             // of those that have not ended

  std::vector<TokenEvent> events_;
  std::vector<BeamCandidate> beams_;
};

}  // namespace quire
