#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/engine/checks.hpp>
#include <quire/engine/step_stats.hpp>
#include <quire/engine/wait_queue.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/model/shape.hpp>
#include <quire/scheduler/concepts.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// What an engine's policies and executor say about themselves, as values.
struct EngineTraits {
  std::string_view scheduler;  // its name
  bool whole_batches = false;  // the scheduler drains or pads
  bool step_by_step = false;  // blocks are taken for the tokens of a step: a retention policy drops
  bool needs_tokens = false;  // the executor reads tokens
  bool tracks_tokens = false;  // it or the memory does
  Tokens block_tokens = 0;
};

/// The requests of an engine, from submission until they are handed over: who waits, runs, is swapped
/// out or has ended, and in which order. It asks no policy, so that it compiles once for all engines;
/// ControlPlane, which does, is built on it. Time is the engine's own.
class RequestBook {
 public:
  /// What is kept of generated tokens beside their number; all of it unless told otherwise. Long
  /// replays read StepStats::token_gaps in place of times. \pre no request was submitted yet
  void keep(TokenRecords what) { records_ = what; }

  [[nodiscard]] bool has_work() const { return !groups_.empty(); }
  [[nodiscard]] Seconds now() const { return now_; }
  /// Moves the clock to a later time; an earlier one is ignored.
  void advance_to(Seconds time) { now_ = std::max(now_, time); }
  /// Requests that have not been handed over as finished, in no order.
  [[nodiscard]] std::span<const std::unique_ptr<SequenceGroup>> requests() const { return groups_; }
  /// Requests that ended since the last call, in the order in which they ended.
  [[nodiscard]] std::vector<std::unique_ptr<SequenceGroup>> take_finished() {
    return std::exchange(finished_, {});
  }
  [[nodiscard]] const model::Shape& shape() const { return shape_; }
  [[nodiscard]] const KvGeometry& geometry() const { return geometry_; }
  [[nodiscard]] const SchedulerLimits& limits() const { return limits_; }
  [[nodiscard]] const EngineCounters& counters() const { return counters_; }

 protected:
  RequestBook(model::Shape shape, const SchedulerLimits& limits, const KvGeometry& geometry,
              const EngineTraits& traits)
      : traits_(traits),
        shape_(std::move(shape)),
        limits_(checked_limits(limits, shape_, traits.scheduler, traits.whole_batches,
                               traits.step_by_step)),
        geometry_(geometry) {}

  // ---- arrival and departure --------------------------------------------------------------------

  /// A new request as a group of one sequence, in no queue yet.
  [[nodiscard]] std::unique_ptr<SequenceGroup> take_in(Request request) {
    auto group = std::make_unique<SequenceGroup>();
    request.id = RequestId{next_request_++};
    if (!request.prompt.empty()) {
      request.prompt_length = static_cast<std::int64_t>(request.prompt.size());
    } else if (!request.chunks.empty()) {
      request.prompt_length = 0;
      for (const PromptChunk& chunk : request.chunks) request.prompt_length += chunk.tokens;
    }
    group->timeline.arrival = request.arrival;
    group->timeline.queued = std::max(request.arrival, now_);
    group->timeline.waiting_since = request.arrival;
    Sequence& s = group->sequences.emplace_back();
    s.id = SequenceId{next_sequence_++};
    s.length = request.prompt_length;
    group->request = std::move(request);
    return group;
  }
  /// Why no engine of these limits takes the request.
  [[nodiscard]] std::optional<std::string> refusal_by_limits(const Request& r) const {
    if (auto why = refusal_of(r, limits_)) return why;
    if (r.delivered == Tokens{0}) return std::nullopt;
    if (traits_.needs_tokens || traits_.step_by_step) {
      return "keys and values from elsewhere are known to simulated time without retention alone";
    }
    if (r.delivered < Tokens{0} || r.delivered >= r.prompt_length) {
      return "`delivered` leaves no token of the prompt to compute";
    }
    return std::nullopt;
  }
  void hold(std::unique_ptr<SequenceGroup> group) {
    group->place = groups_.size();
    groups_.push_back(std::move(group));
  }
  void reject(std::unique_ptr<SequenceGroup> group, std::string why) {
    group->error = std::move(why);
    group->sequences.front().finish = FinishReason::rejected;
    group->status = GroupStatus::finished;
    group->timeline.finished = now_;
    counters_.rejected += 1;
    finished_.push_back(std::move(group));
  }
  /// Hands groups that ended over to finished_, in the order in which they ended.
  void sweep() {
    for (SequenceGroup* group : finish_order_) {
      const std::size_t place = group->place;
      finished_.push_back(std::move(groups_[place]));
      if (place + 1 != groups_.size()) {
        groups_[place] = std::move(groups_.back());
        groups_[place]->place = place;
      }
      groups_.pop_back();
    }
    finish_order_.clear();
  }
  /// A request that runs or waits, or nullptr.
  [[nodiscard]] SequenceGroup* find(RequestId id) const {
    for (const auto& group : groups_) {
      if (group->request.id == id && group->status != GroupStatus::finished) return group.get();
    }
    return nullptr;
  }

  // ---- queues -----------------------------------------------------------------------------------

  /// Whether one group stands before another, as the engine behind `plane` ranks them now.
  using Before = bool (*)(const void* plane, const SequenceGroup*, const SequenceGroup*);

  template <class Queue>
  static void sort_by_noted_rank(Queue& queue) {
    if (std::is_sorted(queue.begin(), queue.end(), NotedOrder{})) return;
    std::stable_sort(queue.begin(), queue.end(), NotedOrder{});
  }
  template <class Queue>
  static void insert(Queue& queue, SequenceGroup* group, Before before, const void* plane) {
    if (queue.empty() || !before(plane, group, queue.back())) {
      queue.push_back(group);
    } else {
      queue.insert(std::upper_bound(queue.begin(), queue.end(), group,
                                    [&](auto* a, auto* b) { return before(plane, a, b); }),
                   group);
    }
  }
  static void take(std::vector<SequenceGroup*>& queue, const SequenceGroup& group) {
    const auto at = std::find(queue.begin(), queue.end(), &group);
    assert(at != queue.end());
    queue.erase(at);
  }
  /// Notes the arrival of a group that waits or is swapped, and that it no longer is.
  void begins_to_wait(const SequenceGroup& group) {
    waiting_since_.insert(group.timeline.arrival.value);
  }
  void waits_no_longer(const SequenceGroup& group) {
    waiting_since_.erase(waiting_since_.find(group.timeline.arrival.value));
  }

  // ---- what is known of a request ---------------------------------------------------------------

  /// The length at which its sequences end at the latest.
  [[nodiscard]] Tokens final_length(const SequenceGroup& group) const {
    const Tokens output = group.request.output_length.value_or(group.request.sampling.max_tokens);
    return std::min(group.prompt_length() + std::min(output, limits_.max_length),
                    limits_.max_length);
  }
  [[nodiscard]] static bool is_single(const SequenceGroup& group) {
    const SamplingParams& p = group.request.sampling;
    return group.sequences.size() == 1 && p.width() == 1 && p.beam_width == 0;
  }
  /// Whether anything depends on which tokens a request generates, or how likely they were.
  [[nodiscard]] bool wants_text(const SequenceGroup& group) const {
    return traits_.tracks_tokens || records_.text || !group.request.output_length ||
           !is_single(group);
  }
  /// Tokens whose keys and values come with a group that waits: none once it has run here.
  [[nodiscard]] static Tokens delivered_to(const SequenceGroup& group) {
    return group.timeline.first_scheduled < Seconds{0.0} ? group.request.delivered : Tokens{0};
  }
  /// Whether the tokens that are counted on bring a sequence to its end.
  [[nodiscard]] bool is_spent(const SequenceGroup& group, const Sequence& s) const {
    if (s.expected == 0) return false;
    const Tokens generated = s.length - group.prompt_length();
    const Tokens most = group.request.output_length.value_or(group.request.sampling.max_tokens);
    return s.length >= limits_.max_length || generated >= most;
  }
  /// Arithmetic to compute a text of that length from its beginning.
  [[nodiscard]] Flops prompt_flops(Tokens tokens) const {
    const auto n = static_cast<double>(tokens.value);
    const auto width = static_cast<double>(shape_.layers * shape_.heads * shape_.head_dim);
    return 2.0 * static_cast<double>(shape_.parameters()) * n + 2.0 * width * n * n;
  }

  // ---- changes of state -------------------------------------------------------------------------

  /// Books the admission of a group of which `found` tokens were in the prefix index; returns whether
  /// it is the first one.
  bool note_admission(SequenceGroup& group, Tokens found) {
    for (Sequence& s : group.sequences) {  // what a preemption dropped and was not found again
      const Tokens again = std::max(s.dropped - s.computed, Tokens{0});
      s.dropped = 0;
      group.timeline.recomputed += again;
      counters_.recomputed_tokens += again;
    }
    if (group.timeline.first_scheduled >= Seconds{0.0}) return false;
    group.timeline.first_scheduled = now_;
    group.timeline.prefix_hit = found;
    counters_.prompt_tokens += group.prompt_length();
    counters_.prefix_hit_tokens += found;
    counters_.prompt_blocks += blocks_for(group.prompt_length(), geometry_.block_tokens);
    counters_.prefix_hit_blocks += blocks_for(found, geometry_.block_tokens);
    return true;
  }
  /// Makes room for what a sequence will draw, so that decoding does not allocate: for 4,096 tokens
  /// at most, since most requests end long before they have to.
  void make_room(SequenceGroup& group, Sequence& s) const {
    const Tokens length = std::min(final_length(group), s.length + 4096);
    const auto more = static_cast<std::size_t>(std::max(length - s.length, Tokens{0}).value);
    if (wants_text(group)) s.logprobs.reserve(s.logprobs.size() + more);
    if (traits_.tracks_tokens) s.tokens.reserve(s.tokens.size() + more);
    s.tables[0].reserve(static_cast<std::size_t>(blocks_for(length, traits_.block_tokens).value));
    auto& times = group.timeline.token_times;
    if (records_.times && s.sample_index == 0) times.reserve(times.size() + more);
  }

  EngineTraits traits_;
  model::Shape shape_;
  SchedulerLimits limits_;
  KvGeometry geometry_;
  Seconds now_ = 0.0;
  std::uint64_t next_request_ = 0, next_sequence_ = 0;
  std::vector<std::unique_ptr<SequenceGroup>> groups_, finished_;
  std::vector<SequenceGroup*> running_, swapped_;  // in order of rank
  std::multiset<double> waiting_since_;            // arrivals of those that wait or are swapped
  std::vector<SequenceGroup*> draining_, finish_order_;
  TokenRecords records_;
  EngineCounters counters_;
};

}  // namespace quire
