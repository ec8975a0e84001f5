#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/engine/checks.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/group_progress.hpp>
#include <quire/engine/step_stats.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/prefix_pins.hpp>
#include <quire/memory/usage.hpp>
#include <quire/model/shape.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/concepts.hpp>

namespace quire {

/// The control plane of an engine: queues, planning and booking over one memory, scheduler, offload
/// policy and executor. The same objects whatever the executor is, so equal durations give equal
/// decisions. Engine composes it from a configuration; engines that differ in a format alone share
/// this code.
///
/// submit() queues requests; step() plans one iteration, has the executor run it, and books the
/// outcome; take_finished() hands over requests that ended. Time is the engine's own: it moves by what
/// the executor reports, and by advance_to().
///
/// With limits.asynchronous the plan of a step is made while the step before it runs: it counts on
/// the tokens that the running step will draw, and knows nothing that happens before that step ends.
/// So a request waits one step longer, and a seat that becomes free stays empty for one step.
/// \source vLLM's asynchronous scheduling. Deviation: rows of sequences that end at a stop token are
/// taken out of the plan that was made ahead; vLLM computes and discards them.
/// \errors throws quire::Error (usage) for limits that let nothing run, (state) when the pool is too
/// small to hold one block.
template <class MemoryType, class SchedulerType, class OffloadType, class ExecutorType>
class ControlPlane {
 public:
  using Memory = MemoryType;
  using Executor = ExecutorType;
  static constexpr Tokens block_tokens = Memory::block_tokens;
  static constexpr bool tracks_tokens = Executor::needs_tokens || Memory::needs_tokens;

  /// make_executor(geometry): the executor, once the geometry has been found sound.
  template <class MakeExecutor>
  ControlPlane(model::Shape shape, const SchedulerLimits& limits, const KvGeometry& geometry,
               MakeExecutor&& make_executor)
      : shape_(std::move(shape)),
        limits_(checked_limits(limits, shape_, SchedulerType::name,
                               SchedulerType::drains || SchedulerType::pads, step_by_step)),
        geometry_(geometry),
        executor_(make_executor(checked_geometry(geometry_))),
        memory_(make_memory()),
        scheduler_(limits_) {
    if constexpr (requires { memory_.restore(executor_.stored()); }) {
      memory_.restore(executor_.stored());
    }
  }

  /// Queues a request; its id is given by the engine, in order of submission.
  RequestId submit(Request request) {
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
    const RequestId id = group->request.id;
    if (auto why = refusal(*group)) {
      reject(std::move(group), *why);
      return id;
    }
    scheduler_.charge(SchedulerEvent::arrive, *group, group->prompt_length());
    if constexpr (tracks_tokens) s.tokens = prompt_tokens(group->request);
    enqueue(waiting_, group.get());
    group->place = groups_.size();
    groups_.push_back(std::move(group));
    return id;
  }

  /// Ends a request now; what it generated stays in its sequences. With request-level batching its
  /// memory, and the request, still come back with the batch. False when it is not known or has
  /// ended.
  bool cancel(RequestId id) {
    SequenceGroup* group = find(id);
    if (group == nullptr) return false;
    unsteady();
    for (std::size_t i = 0; i < group->sequences.size(); ++i) end(*group, i, FinishReason::abort);
    finish(*group);
    drain();
    drop_ended_rows();
    sweep();
    return true;
  }

  /// Ends one sequence, such as when its text ran into a stop string. False when it is not running,
  /// and for beams, which have no text of their own before the search ends.
  bool finish_sequence(RequestId id, std::int32_t sample_index, FinishReason reason) {
    SequenceGroup* group = find(id);
    if (group == nullptr || group->request.sampling.beam_width > 0) return false;
    unsteady();
    for (std::size_t i = 0; i < group->sequences.size(); ++i) {
      const Sequence& s = group->sequences[i];
      if (s.sample_index != sample_index || s.finished()) continue;
      end(*group, i, reason);
      if (group->unfinished() == 0) finish(*group);
      drain();
      drop_ended_rows();
      sweep();
      return true;
    }
    return false;
  }

  /// Runs one iteration. When nothing can run, stats.idle is set and stats.wake_at may say when to
  /// ask again; time does not move then. Valid until the next call.
  const StepStats& step() {
    auto gaps = std::move(stats_.token_gaps);
    gaps.clear();
    stats_ = {};
    stats_.token_gaps = std::move(gaps);  // keeps the memory
    events_.clear();
    while (!planned_ahead_) {
      const std::size_t ended = finish_order_.size();
      plan();
      if (!plan_.empty() || (plan_.preempted.empty() && finish_order_.size() == ended)) break;
      // nothing runs, but something made room: look again
    }
    stats_.waiting_groups = static_cast<std::int64_t>(waiting_.size());
    stats_.swapped_groups = static_cast<std::int64_t>(swapped_.size());
    if (plan_.empty()) {
      stats_.idle = true;
      stats_.scheduler = SchedulerType::name;
      stats_.wake_at = waiting_since_.empty() ? std::nullopt : scheduler_.wake_at(state());
      sweep();
      return stats_;
    }
    take_off();
    executor_.execute(flight_.plan, result_);
    if (limits_.asynchronous) {
      plan();  // at the time at which the step that runs began
      planned_ahead_ = !plan_.empty();
    }
    now_ += result_.seconds;
    stats_.seconds = result_.seconds;
    stats_.joules = result_.joules;
    stats_.bytes_moved = result_.bytes_moved;
    commit();
    drop_ended_rows();
    sweep();
    return stats_;
  }

  /// What is kept of generated tokens beside their number; all of it unless told otherwise. Long
  /// replays read StepStats::token_gaps in place of times. \pre no request was submitted yet
  void keep(TokenRecords what) { records_ = what; }

  /// Keeps the cached prefix of a text from eviction for so long, or until unpin(); see PagedMemory.
  std::optional<PinId> pin(std::span<const TokenId> text, std::uint64_t salt = 0,
                           std::optional<Seconds> time_to_live = std::nullopt) requires
      requires(Memory& m) {
    m.expire(Seconds{});
  }
  {
    if (time_to_live) return memory_.pin(text, salt, now_ + *time_to_live);
    return memory_.pin(text, salt);
  }
  bool unpin(PinId id) requires requires(Memory& m) { m.unpin(id); }
  { return memory_.unpin(id); }
  /// Copies all cached text that is not on disk there, as far as there is room, for the process that
  /// comes after this one. A step of its own; nothing happens without a disk tier.
  void persist() {
    unsteady();
    StepPlan& plan = flight_.plan;
    plan.clear();
    memory_.begin_step(plan);
    memory_.persist();
    memory_.end_step(plan);
    if (plan.empty()) return;
    plan.step = plans_run_++;
    decision_hash_ = hash_combine(decision_hash_, plan.hash(block_tokens));
    executor_.execute(plan, result_);
    now_ += result_.seconds;
    for (const BlockId slot : result_.lost) memory_.on_lost(slot);
  }

  [[nodiscard]] bool has_work() const { return !groups_.empty(); }
  [[nodiscard]] Seconds now() const { return now_; }
  /// Moves the clock to a later time; an earlier one is ignored.
  void advance_to(Seconds time) { now_ = std::max(now_, time); }

  /// Hash over the plans of all steps so far: equal logs, equal decisions.
  [[nodiscard]] std::uint64_t decision_hash() const { return decision_hash_; }
  /// The plan of the last step that ran. Its spans are no longer valid.
  [[nodiscard]] const StepPlan& last_plan() const { return flight_.plan; }
  /// Requests that have not been handed over as finished, in no order.
  [[nodiscard]] std::span<const std::unique_ptr<SequenceGroup>> requests() const { return groups_; }
  /// Tokens generated in the last step, in batch order; none of beams, which change until the end.
  [[nodiscard]] std::span<const TokenEvent> events() const { return events_; }
  /// Requests that ended since the last call, in the order in which they ended.
  [[nodiscard]] std::vector<std::unique_ptr<SequenceGroup>> take_finished() {
    return std::exchange(finished_, {});
  }

  [[nodiscard]] const Memory& memory() const { return memory_; }
  [[nodiscard]] const SchedulerType& scheduler() const { return scheduler_; }
  [[nodiscard]] Executor& executor() { return executor_; }
  [[nodiscard]] const model::Shape& shape() const { return shape_; }
  [[nodiscard]] const KvGeometry& geometry() const { return geometry_; }
  [[nodiscard]] const SchedulerLimits& limits() const { return limits_; }
  [[nodiscard]] const EngineCounters& counters() const { return counters_; }

  /// Where the KV slots are now. \complexity O(requests that run or are swapped); steady ones are
  /// summed up already.
  [[nodiscard]] MemoryUsage usage() const {
    MemoryUsage usage = steady_usage_;
    auto add = [&](const std::vector<SequenceGroup*>& groups) {
      for (const SequenceGroup* group : groups) {
        if (!group->steady) memory_.add_usage(*group, final_length(*group), usage);
      }
    };
    if (running_.size() > steady_.size() - steady_ended_) add(running_);
    add(draining_);
    add(swapped_);
    memory_.finish_usage(usage);
    return usage;
  }

 private:
  /// Whether the memory takes blocks for the tokens of a step, not for a whole prompt ahead, because
  /// a retention policy will have dropped some by then.
  static constexpr bool step_by_step = requires { Memory::takes_blocks_step_by_step; };

  static constexpr bool may_be_steady = !SchedulerType::dynamic_rank && !SchedulerType::drains &&
                                        !SchedulerType::pads && !step_by_step &&
                                        !scheduler::keeps_accounts<SchedulerType>;
  static constexpr bool grows_by_block = requires(Memory & memory, Sequence& s) {
    memory.append_block(s);
  };

  [[nodiscard]] Memory make_memory() const {
    if constexpr (step_by_step) {
      return Memory(geometry_, shape_, limits_);
    } else {
      return Memory(geometry_, shape_, limits_.watermark);
    }
  }
  [[nodiscard]] std::optional<std::string> refusal(const SequenceGroup& group) const {
    if (auto why = refusal_of(group.request, limits_)) return why;
    const Request& r = group.request;
    if (r.delivered != Tokens{0}) {
      if (Executor::needs_tokens || step_by_step) {
        return "keys and values from elsewhere are known to simulated time without retention alone";
      }
      if (r.delivered < Tokens{0} || r.delivered >= r.prompt_length) {
        return "`delivered` leaves no token of the prompt to compute";
      }
    }
    return memory_.rejects(group, limits_.max_length);
  }

  [[nodiscard]] Tokens final_length(const SequenceGroup& group) const {
    const Tokens output = group.request.output_length.value_or(group.request.sampling.max_tokens);
    return std::min(group.prompt_length() + std::min(output, limits_.max_length),
                    limits_.max_length);
  }

  // ---- queues -----------------------------------------------------------------------------------

  [[nodiscard]] double rank(const SequenceGroup& group) const {
    const double rank = scheduler_.rank(group, now_);
    if (std::isnan(rank)) {  // no order has a place for it
      refuse_rank(SchedulerType::name, group.request.id);
    }
    return rank;
  }
  [[nodiscard]] bool before(const SequenceGroup* a, const SequenceGroup* b) const {
    const double ra = rank(*a), rb = rank(*b);
    if (ra != rb) return ra < rb;
    if (a->timeline.arrival != b->timeline.arrival)
      return a->timeline.arrival < b->timeline.arrival;
    return a->request.id < b->request.id;
  }
  /// Sorts a queue by rank, which is asked for once a group.
  template <class Queue>
  void sort(Queue& queue) {
    for (SequenceGroup* group : queue) group->rank = rank(*group);
    if (std::is_sorted(queue.begin(), queue.end(), stood_before)) return;
    std::stable_sort(queue.begin(), queue.end(), stood_before);
  }
  /// before(), by the ranks of the last sort().
  [[nodiscard]] static bool stood_before(const SequenceGroup* a, const SequenceGroup* b) {
    if (a->rank != b->rank) return a->rank < b->rank;
    if (a->timeline.arrival != b->timeline.arrival) {
      return a->timeline.arrival < b->timeline.arrival;
    }
    return a->request.id < b->request.id;
  }
  template <class Queue>
  void enqueue(Queue& queue, SequenceGroup* group) {
    if (queue.empty() || !before(group, queue.back())) {
      queue.push_back(group);
    } else {
      const auto at = std::upper_bound(queue.begin(), queue.end(), group,
                                       [this](auto* a, auto* b) { return before(a, b); });
      queue.insert(at, group);
    }
    if (group->status != GroupStatus::running) {
      waiting_since_.insert(group->timeline.arrival.value);
    }
  }
  /// Takes a group out of the queue that its status names.
  void dequeue(const SequenceGroup& group) {
    auto take = [&group](auto& queue) {
      const auto at = std::find(queue.begin(), queue.end(), &group);
      assert(at != queue.end());
      queue.erase(at);
    };
    if (group.status == GroupStatus::running) return take(running_);
    if (group.status == GroupStatus::waiting) take(waiting_);
    if (group.status == GroupStatus::swapped) take(swapped_);
    waiting_since_.erase(waiting_since_.find(group.timeline.arrival.value));
  }
  /// A request that runs or waits, or nullptr.
  [[nodiscard]] SequenceGroup* find(RequestId id) const {
    for (const auto& group : groups_) {
      if (group->request.id == id && group->status != GroupStatus::finished) return group.get();
    }
    return nullptr;
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

  // ---- planning ---------------------------------------------------------------------------------

  void plan() {
    plan_.clear();
    rows_.clear();
    planned_ = admitted_ = 0;
    ++plans_;
    drain();
    idle_ = running_.empty();
    if constexpr (SchedulerType::dynamic_rank) {
      if constexpr (requires { SchedulerType::wants_cached_prefix; }) {
        for (SequenceGroup* group : waiting_) group->cached_prefix = memory_.cached_prefix(*group);
      }
      sort(running_);
      sort(waiting_);
      sort(swapped_);
    }
    count_running();
    if constexpr (requires { memory_.expire(now_); }) memory_.expire(now_);
    memory_.begin_step(plan_);
    exchange();
    const std::size_t exchanged = plan_.preempted.size();
    if (!continue_steady()) continue_running(/*prompts=*/false);
    if (running_.size() > steady_.size()) continue_running(/*prompts=*/true);
    drain();
    if (plan_.preempted.size() == exchanged) join_others();
    look_ahead();
    if constexpr (SchedulerType::pads) pad();
    memory_.end_step(plan_);
    if (limits_.asynchronous) count_on();
  }

  void count_running() {
    const std::size_t steady = steady_.size() - steady_ended_;
    running_sequences_ = static_cast<std::int64_t>(steady);
    if (running_.size() == steady) return;
    for (const SequenceGroup* g : running_) {
      if (!g->steady) running_sequences_ += g->running_sequences();
    }
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
  /// Whether the tokens that are counted on bring a sequence to its end.
  [[nodiscard]] bool is_spent(const SequenceGroup& group, const Sequence& s) const {
    if (s.expected == 0) return false;
    const Tokens generated = s.length - group.prompt_length();
    const Tokens most = group.request.output_length.value_or(group.request.sampling.max_tokens);
    return s.length >= limits_.max_length || generated >= most;
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
    flight_.plan.step = plans_run_++;
    decision_hash_ = hash_combine(decision_hash_, flight_.plan.hash(block_tokens));
    for (std::size_t r = steady_.size(); r < flight_.rows.size(); ++r) {
      flight_.rows[r].first->sequences[flight_.rows[r].second].table_changed = false;
    }
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

  /// Preemptive schedulers: finds the groups of best rank that fit into memory and seats together, and
  /// where waiting or swapped ones are among them, preempts running ones that are not, worst rank
  /// first, until the newcomers have room.
  void exchange() {
    if constexpr (preempts_by_rank<SchedulerType>) {
      if (waiting_.empty() && swapped_.empty()) return;
      BlockCount room = memory_.capacity() - memory_.watermark();
      std::int64_t seats = limits_.max_sequences;
      BlockCount wanted = memory_.watermark();  // by newcomers, and by those who go on
      std::int64_t wanted_seats = running_sequences_;
      bool newcomer = false;
      auto r = running_.begin();
      auto s = swapped_.begin();
      auto w = waiting_.begin();
      // the queues were sorted just now, if ranks change at all
      const auto first = [this](const SequenceGroup* a, const SequenceGroup* b) {
        return SchedulerType::dynamic_rank ? stood_before(a, b) : before(a, b);
      };
      for (;;) {
        SequenceGroup* group = r == running_.end() ? nullptr : *r;
        if (s != swapped_.end() && (group == nullptr || first(*s, group))) group = *s;
        if (w != waiting_.end() && (group == nullptr || first(*w, group))) group = *w;
        if (group == nullptr) break;
        const bool runs = group->status == GroupStatus::running;
        if (runs) {
          ++r;
        } else if (group->status == GroupStatus::swapped) {
          ++s;
        } else {
          ++w;
        }
        const BlockCount blocks = memory_.blocks_wanted(*group);
        room -= blocks;
        seats -= group->running_sequences();
        if (room < BlockCount{0} || seats < 0) break;
        group->kept_in = plans_;
        if (runs) {
          wanted += group->unfinished();  // at most one more block each
        } else {
          newcomer = true;
          wanted += blocks;
          wanted_seats += group->running_sequences();
        }
      }
      if (!newcomer) return;
      for (std::size_t i = running_.size(); i-- > 0;) {
        if (memory_.available() >= wanted && wanted_seats <= limits_.max_sequences) return;
        SequenceGroup* victim = running_[i];
        if (victim->kept_in == plans_) continue;
        wanted_seats -= victim->running_sequences();
        preempt(*victim);
      }
    }
  }

  // Decodes that nothing can happen to but a token more and a block now and then are *steady*: the
  // first rows of each plan, in order of rank, kept from step to step. What the engine does for one of
  // them in a step is the same as for any other, only without asking again what has not changed.

  /// Plans the rows of all running groups that are past their prompts. False when they have to be
  /// looked at one by one: a group of several sequences, a policy that keeps accounts of tokens or
  /// gives a decode none, no room for a block.
  bool continue_steady() {
    if constexpr (!may_be_steady) {
      return false;
    } else {
      if (!is_steady_ && !find_steady()) return false;
      drop_steady_that_ended();
      for (SequenceGroup* group : joining_) join_steady(*group);
      joining_.clear();
      if (steady_.empty()) return true;
      BatchState s = state();
      BlockCount need = 0;
      for (const Steady& d : steady_) {
        if (allotment(s, 1) == Tokens{0}) return unsteady();
        s.batched_tokens += 1;
        if constexpr (grows_by_block) need += memory_.needs_block(*d.sequence) ? 1 : 0;
      }
      if constexpr (grows_by_block) {
        if (need > memory_.available()) return unsteady();
      }
      std::swap(plan_.sequences, flight_.plan.sequences);
      std::swap(rows_, flight_.rows);
      for (std::size_t r = 0; r < steady_.size(); ++r) {
        SequencePlan& row = plan_.sequences[r];
        Sequence& sequence = *steady_[r].sequence;
        row.computed = sequence.computed;
        row.admitted = false;
        if constexpr (tracks_tokens) {
          row.history = sequence.tokens;
          row.admitted = std::exchange(sequence.table_changed, false);
        }
      }
      if constexpr (grows_by_block) {
        if (need > BlockCount{0}) append_blocks();
      }
      planned_ += static_cast<std::int64_t>(steady_.size());
      plan_.batched_tokens += static_cast<std::int64_t>(steady_.size());
      return true;
    }
  }
  void append_blocks() {
    for (const Steady& d : steady_) {
      if (!memory_.needs_block(*d.sequence)) continue;
      MemoryUsage before;
      memory_.add_alone(*d.sequence, d.final_length, before);
      steady_usage_ -= before;
      memory_.append_block(*d.sequence);
      memory_.add_alone(*d.sequence, d.final_length, steady_usage_);
    }
  }

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
  [[nodiscard]] static bool is_single(const SequenceGroup& group) {
    const SamplingParams& p = group.request.sampling;
    return group.sequences.size() == 1 && p.width() == 1 && p.beam_width == 0;
  }
  void join_steady(SequenceGroup& group) {
    Sequence& s = group.sequences.front();
    const Request& r = group.request;
    Steady d{.group = &group, .sequence = &s, .final_length = final_length(group)};
    if (r.output_length && !wants_text(group)) {
      d.end = std::min(r.prompt_length + *r.output_length, limits_.max_length);
      group.forked = true;  // a prompt of which one token is left draws its first
    }
    std::size_t at = steady_.size();
    if (at > 0 && before(&group, steady_.back().group)) {
      at = static_cast<std::size_t>(
          std::upper_bound(steady_.begin(), steady_.end(), &group,
                           [this](auto* a, const Steady& b) { return before(a, b.group); }) -
          steady_.begin());
    }
    const auto place = static_cast<std::ptrdiff_t>(at);
    steady_.insert(steady_.begin() + place, d);
    flight_.rows.insert(flight_.rows.begin() + place, {&group, 0});
    flight_.plan.sequences.insert(flight_.plan.sequences.begin() + place, row_of(group, s, 1));
    s.table_changed = tracks_tokens && s.table_changed;
    memory_.add_alone(s, d.final_length, steady_usage_);
    group.steady = true;
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

  void continue_running(bool prompts) {
    for (std::size_t i = 0; i < running_.size();) {
      SequenceGroup* group = running_[i];
      if (is_planned(*group) || group->in_prompt() != prompts || !allot(*group)) {
        ++i;
        continue;
      }
      bool fits = memory_.grow(*group, allotted_, plan_);
      while (!fits) {
        SequenceGroup* victim = last_unplanned();
        if (victim == group && running_.size() == 1 && draining_.empty()) {
          give_up(*group, "the KV pool is too small for this request alone");
          return;
        }
        preempt(*victim);
        if (victim == group) break;
        fits = memory_.grow(*group, allotted_, plan_);
      }
      if (!fits) continue;  // it left the queue; its place holds the next one
      add_rows(*group);
      // victims stand behind the group, so its place has not changed
      ++i;
    }
  }

  /// Lets swapped groups back in, then waiting ones; by rank across both where ranks preempt, or a
  /// group that made way would take the place of the one that it made way for.
  void join_others() {
    for (;;) {
      if (!swapped_.empty()) {
        bool waiting_first = false;
        if constexpr (preempts_by_rank<SchedulerType>) {
          waiting_first = !waiting_.empty() && before(waiting_.front(), swapped_.front());
        }
        if (!waiting_first) {
          if (!swap_in_first()) return;
          continue;
        }
      }
      if (waiting_.empty() || !admit_first()) return;
    }
  }

  /// Brings the first swapped group back. False when it has to wait.
  bool swap_in_first() {
    SequenceGroup* group = swapped_.front();
    if (scheduler_.admit(state(), *group) == Admission::hold || !allot(*group)) return false;
    if (!memory_.swap_in(*group, plan_)) {
      if (!running_.empty()) return false;
      give_up(*group, "the KV pool is too small to bring this request back");
      return true;
    }
    dequeue(*group);
    [[maybe_unused]] const bool grown = memory_.grow(*group, allotted_, plan_);
    assert(grown);
    join(*group);
    return true;
  }

  /// Admits the first waiting group. False when it has to wait.
  bool admit_first() {
    SequenceGroup* group = waiting_.front();
    if (scheduler_.admit(state(), *group) == Admission::hold || !has_tokens_for(*group))
      return false;
    const auto fetch = [this](auto candidates) { return blocks_to_fetch(offload_, candidates); };
    if (!memory_.admit(*group, limits_.max_length, fetch)) {
      if (!running_.empty()) return false;
      give_up(*group, "the KV pool is too small for this request");
      return true;
    }
    Tokens& computed = group->sequences.front().computed;
    const Tokens found = computed;  // in the prefix index
    computed = std::max(computed, delivered_to(*group));
    bool starts = allot(*group);
    if constexpr (step_by_step) {
      if (starts && !memory_.begin(*group, allotted_, plan_)) {
        starts = false;
        if (running_.empty()) {
          give_up(*group, "the KV pool is too small for this request");
          return true;
        }
      }
    }
    if (!starts) {
      for (Sequence& s : group->sequences) memory_.release(s);
      memory_.release_spares(*group);
      return false;
    }
    dequeue(*group);
    count_recomputed(*group);
    const bool first = group->timeline.first_scheduled < Seconds{0.0};
    if (first) {
      group->timeline.first_scheduled = now_;
      group->timeline.prefix_hit = found;
      counters_.prompt_tokens += group->prompt_length();
      counters_.prefix_hit_tokens += group->timeline.prefix_hit;
    }
    scheduler_.charge(SchedulerEvent::admit, *group, first ? group->prompt_length() : Tokens{0});
    ++admitted_;
    join(*group);
    return true;
  }

  /// Has what the first waiting groups need brought nearer, each group once.
  void look_ahead() {
    if (geometry_.tiers.look_ahead == 0) return;
    std::int64_t ahead = 0;
    for (SequenceGroup* group : waiting_) {
      if (ahead++ == geometry_.tiers.look_ahead) return;
      if (group->prefetched) continue;
      group->prefetched = true;
      memory_.prefetch(*group);
    }
  }

  /// Whether the first sequence of a waiting group would be given tokens once it is admitted; asked
  /// before memory is touched, since making room may cost others their cached blocks.
  [[nodiscard]] bool has_tokens_for(const SequenceGroup& group) {
    const auto first = std::find_if(group.sequences.begin(), group.sequences.end(),
                                    [](const Sequence& s) { return !s.finished(); });
    if (allotment(state(), first->length) > Tokens{0}) return true;
    const Tokens found = std::max(memory_.cached_prefix(group), delivered_to(group));
    return found > Tokens{0} && allotment(state(), first->length - found) > Tokens{0};
  }

  /// Tokens whose keys and values come with a group that waits: none once it has run here.
  [[nodiscard]] static Tokens delivered_to(const SequenceGroup& group) {
    return group.timeline.first_scheduled < Seconds{0.0} ? group.request.delivered : Tokens{0};
  }

  /// After an admission: what a preemption dropped and the prefix index did not find again.
  void count_recomputed(SequenceGroup& group) {
    for (Sequence& s : group.sequences) {
      const Tokens again = std::max(s.dropped - s.computed, Tokens{0});
      s.dropped = 0;
      group.timeline.recomputed += again;
      counters_.recomputed_tokens += again;
    }
  }

  /// Makes room for what a sequence will draw, so that decoding does not allocate: for 4,096 tokens
  /// at most, since most requests end long before they have to.
  void make_room(SequenceGroup& group, Sequence& s) {
    const Tokens length = std::min(final_length(group), s.length + 4096);
    const auto more = static_cast<std::size_t>(std::max(length - s.length, Tokens{0}).value);
    if (wants_text(group)) s.logprobs.reserve(s.logprobs.size() + more);
    if constexpr (tracks_tokens) s.tokens.reserve(s.tokens.size() + more);
    s.tables[0].reserve(static_cast<std::size_t>(blocks_for(length, block_tokens).value));
    auto& times = group.timeline.token_times;
    if (records_.times && s.sample_index == 0) times.reserve(times.size() + more);
  }
  void join(SequenceGroup& group) {
    group.status = GroupStatus::running;
    for (Sequence& s : group.sequences) {
      if (!s.finished()) make_room(group, s);
    }
    group.timeline.resumed = now_;
    scheduler_.charge(SchedulerEvent::resume, group, 0);
    enqueue(running_, &group);
    running_sequences_ += group.running_sequences();
    add_rows(group);
  }

  /// What the scheduler gives a sequence, held against what it may give.
  [[nodiscard]] Tokens allotment(const BatchState& state, Tokens remaining) const {
    const Tokens given = scheduler_.allot(state, remaining);
    if (given < Tokens{0} || given > remaining) {
      refuse_allotment(SchedulerType::name, given, remaining);
    }
    return given;
  }

  /// Asks the scheduler for tokens of each sequence, into allotted_; false when all get none.
  /// Beams draw in the same step or not at all: those that are ahead stop one token short and wait.
  bool allot(const SequenceGroup& group) {
    BatchState s = state();
    allotted_.assign(group.sequences.size(), Tokens{0});
    const bool beams = group.request.sampling.beam_width > 0 && group.sequences.size() > 1;
    const bool apart = beams && group.in_prompt();
    bool all = true;
    auto ask = [&](std::size_t i) {
      const Tokens remaining = group.sequences[i].remaining();
      allotted_[i] = allotment(s, remaining);
      s.batched_tokens += allotted_[i];
      all = all && allotted_[i] == remaining;
    };
    Tokens lead = -1;  // where the first sequence will have computed to
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      const Sequence& seq = group.sequences[i];
      if (seq.finished() || is_spent(group, seq)) continue;
      if (lead >= Tokens{0} && seq.shared > lead) {
        all = false;  // what it shares with the first sequence must be computed by then
      } else if (!apart || seq.remaining() > Tokens{1}) {
        ask(i);
      }
      if (lead < Tokens{0}) lead = seq.computed + allotted_[i];
    }
    for (std::size_t i = 0; apart && all && i < group.sequences.size(); ++i) {
      if (group.sequences[i].remaining() == Tokens{1}) ask(i);
    }
    bool any = false;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      if (beams && !all && allotted_[i] == group.sequences[i].remaining()) {
        allotted_[i] = std::max(allotted_[i] - 1, Tokens{0});
      }
      any = any || allotted_[i] > Tokens{0};
    }
    return any;
  }

  void add_rows(SequenceGroup& group) {
    group.planned_in = plans_;
    ++planned_;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      if (group.sequences[i].finished() || allotted_[i] == Tokens{0}) continue;
      plan_.sequences.push_back(row_of(group, group.sequences[i], allotted_[i]));
      plan_.batched_tokens += allotted_[i];
      rows_.push_back({&group, i});
    }
  }
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
    if constexpr (step_by_step) {
      row.lanes = s.lanes;
      row.kept = memory_.kept(s) - row.tokens;
    }
    row.sampling = &p;
    row.sample_index = s.sample_index;
    row.admitted = s.table_changed;
    if (s.computed + tokens == s.length) {
      row.draws = p.beam_width > 0 ? 2 * p.beam_width
                                   : (group.forked ? 1 : static_cast<std::int32_t>(p.width()));
    }
    row.counted = row.draws > 0 && !wants_text(group);
    return row;
  }
  /// Whether anything depends on which tokens a request generates, or how likely they were.
  [[nodiscard]] bool wants_text(const SequenceGroup& group) const {
    return tracks_tokens || records_.text || !group.request.output_length || !is_single(group);
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

  [[nodiscard]] bool is_planned(const SequenceGroup& group) const {
    return group.steady || group.planned_in == plans_;
  }
  [[nodiscard]] SequenceGroup* last_unplanned() const {
    for (std::size_t i = running_.size(); i-- > 0;) {
      if (!is_planned(*running_[i])) return running_[i];
    }
    return nullptr;  // not reached: the group that asks is not planned
  }

  void preempt(SequenceGroup& group) {
    if (group.steady || !joining_.empty()) unsteady();
    dequeue(group);
    running_sequences_ -= group.running_sequences();
    plan_.preempted.push_back(group.request.id);
    group.timeline.preemptions += 1;
    group.timeline.waiting_since = now_;
    counters_.preemptions += 1;
    Tokens computed = 0;
    for (Sequence& s : group.sequences) {
      if (s.finished()) {
        memory_.release(s);  // a batch that drains kept it, but it will not be read again
      } else {
        computed += s.computed;
      }
    }
    const PreemptionContext context{
        .sequences = group.unfinished(),
        .computed = computed,
        .blocks = memory_.distinct_blocks(group),
        .host_free = memory_.host_free(),
        .recompute = geometry_.costs.compute(prompt_flops(computed)),
        .swap = geometry_.costs.host_block *
                static_cast<double>(2 * memory_.distinct_blocks(group).value)};
    if (offload_.on_preempt(context) == Preemption::swap) {
      if (memory_.swap_out(group, plan_)) {
        group.status = GroupStatus::swapped;
        scheduler_.charge(SchedulerEvent::preempt, group, 0);
        enqueue(swapped_, &group);
        counters_.swapped_out_blocks += context.blocks;
        return;
      }
      counters_.swaps_refused += 1;
      stats_.swaps_refused += 1;
    }
    for (Sequence& s : group.sequences) {
      s.dropped = s.finished() ? Tokens{0} : s.computed - s.shared;
    }
    drop(group);
  }

  /// Gives up all that a group holds and lets it wait. \pre it is in no queue
  void drop(SequenceGroup& group) {
    for (Sequence& s : group.sequences) memory_.release(s);
    group.status = GroupStatus::waiting;
    group.prefetched = false;
    scheduler_.charge(SchedulerEvent::preempt, group, 0);
    enqueue(waiting_, &group);
  }

  /// Arithmetic to compute a text of that length from its beginning.
  [[nodiscard]] Flops prompt_flops(Tokens tokens) const {
    const auto n = static_cast<double>(tokens.value);
    const auto width = static_cast<double>(shape_.layers * shape_.heads * shape_.head_dim);
    return 2.0 * static_cast<double>(shape_.parameters()) * n + 2.0 * width * n * n;
  }

  /// Groups whose blocks came back wrong from a tier are computed again from their text: what this
  /// step made of them is discarded.
  void recover() {
    for (const BlockId slot : result_.lost) memory_.on_lost(slot);
    if (result_.failed.empty()) return;
    unsteady();
    if (limits_.asynchronous) {
      throw state_error("limits.asynchronous",
                        "a fetch failed, and the next step was planned on what it was to bring",
                        "synchronous scheduling with a tier that can fail");
    }
    std::vector<BlockId> bad;
    for (const std::uint32_t i : result_.failed) {
      bad.push_back(flight_.plan.swap_in[i].device);
      memory_.on_lost(flight_.plan.swap_in[i].host);
    }
    counters_.failed_fetches += std::ssize(bad);
    const std::vector<SequenceGroup*> groups =
        groups_on(running_, std::move(bad), flight_.plan.copies);
    discard_rows(flight_.rows, groups, flight_.plan);
    for (SequenceGroup* group : groups) {
      counters_.recoveries += 1;
      dequeue(*group);
      running_sequences_ -= group->running_sequences();
      group->timeline.waiting_since = now_;
      for (Sequence& s : group->sequences) {
        s.dropped = s.finished() ? Tokens{0} : s.dropped + s.computed - s.shared;
      }
      drop(*group);
    }
  }

  // ---- booking ----------------------------------------------------------------------------------

  void commit() {
    const StepPlan& ran = flight_.plan;
    const Rows& rows = flight_.rows;
    stats_.batched_tokens = ran.batched_tokens;
    stats_.running_sequences = static_cast<std::int64_t>(ran.sequences.size());
    stats_.running_groups = flight_.groups;
    stats_.preempted_groups = static_cast<std::int64_t>(ran.preempted.size());
    counters_.steps += 1;
    counters_.steps_over_budget += plan_.batched_tokens > limits_.max_batched_tokens ? 1 : 0;
    if (!result_.failed.empty() || !result_.lost.empty()) recover();
    const std::size_t steady = steady_.size();
    if constexpr (tracks_tokens) {
      for (const Steady& d : steady_) {
        d.sequence->computed += 1;
        memory_.publish(*d.group, *d.sequence);
      }
    }
    steady_usage_.token_states += static_cast<std::int64_t>(steady);
    steady_usage_.reserved -= static_cast<std::int64_t>(steady);
    for (std::size_t r = steady; r < rows.size(); ++r) {
      const auto [group, i] = rows[r];
      if (group == nullptr) continue;  // computed on lost blocks
      Sequence& s = group->sequences[i];
      const Tokens begin = ran.sequences[r].computed, tokens = ran.sequences[r].tokens;
      if (begin < group->prompt_length()) {
        scheduler_.charge(SchedulerEvent::prompt_tokens, *group,
                          std::min(tokens, group->prompt_length() - begin));
      }
      if (!limits_.asynchronous) {
        s.computed += tokens;
      } else if (group->status != GroupStatus::running) {
        continue;  // preempted by the plan made ahead
      }
      if (s.computed >= s.shared) s.shared = 0;
      if constexpr (step_by_step) {
        memory_.retain(*group, s, tokens, result_.votes_of(r));
      }
      // what the plan made ahead counts on is not there yet
      const Tokens counted_on = std::exchange(s.computed, begin + tokens);
      memory_.publish(*group, s);
      s.computed = counted_on;
    }
    stats_.usage = usage();
    commit_steady();
    for (std::size_t r = steady; r < rows.size();) {
      if (rows[r].first == nullptr) {
        ++r;
        continue;
      }
      SequenceGroup& group = *rows[r].first;
      std::size_t end = r;
      while (end < rows.size() && rows[end].first == &group) ++end;
      if (group.request.sampling.beam_width > 0) {
        commit_beams(group, r, end);
      } else {
        for (; r < end; ++r) commit_samples(group, r);
      }
      if (group.status != GroupStatus::finished && group.unfinished() == 0) finish(group);
      r = end;
      if (!is_steady_ || group.status != GroupStatus::running) continue;
      if (!is_single(group)) {
        unsteady();
      } else if (group.sequences.front().remaining() == Tokens{1}) {
        joining_.push_back(&group);
      }
    }
    drain();
  }

  /// Books the tokens of the steady rows.
  void commit_steady() {
    double gap = -1;  // since the last token, of the `alike` rows before
    std::int64_t alike = 0;
    for (std::size_t r = 0; r < steady_.size(); ++r) {
      Steady& d = steady_[r];
      SequenceGroup& group = *d.group;
      Sequence& s = *d.sequence;
      if constexpr (!tracks_tokens) s.computed += 1;
      if (d.end == Tokens{0}) {
        note_gaps(gap, std::exchange(alike, 0));
        commit_samples(group, r);
      } else {
        s.length += 1;
        Timeline& t = group.timeline;
        if (t.last_token < Seconds{0.0}) {
          t.first_token = now_;
        } else {
          const double own = (now_ - t.last_token).value;
          if (own != gap) note_gaps(std::exchange(gap, own), std::exchange(alike, 0));
          ++alike;
        }
        t.last_token = now_;
        if (records_.times) t.token_times.push_back(now_.value);
        counters_.output_tokens += 1;
        if (s.length >= d.end) end(group, 0, FinishReason::length);
      }
      if (!s.finished()) continue;
      d.group = nullptr;
      finish(group);
    }
    note_gaps(gap, alike);
  }

  void commit_samples(SequenceGroup& group, std::size_t r) {
    static constexpr Draw unread[1] = {};
    std::span<const Draw> draws = result_.row(r);
    if (draws.empty() && flight_.plan.sequences[r].counted) draws = unread;
    if (draws.empty()) return;
    const std::size_t i = flight_.rows[r].second;
    if (group.sequences[i].finished()) return;  // given up by the plan made ahead
    if (!group.forked) {
      group.forked = true;
      for (std::int32_t k = 1; k < group.request.sampling.width(); ++k) {
        Sequence child = memory_.fork(group, group.sequences[i]);
        child.id = SequenceId{next_sequence_++};
        child.sample_index = k;
        make_room(group, child);
        group.sequences.push_back(std::move(child));
      }
      for (std::size_t k = 0; k < group.sequences.size(); ++k) append(group, k, draws[k]);
      return;
    }
    // an executor that speculates returns several tokens for one
    for (const Draw& draw : draws) {
      append(group, i, draw);
      if (group.sequences[i].finished()) break;
    }
  }

  void count_output(const SequenceGroup& group, Tokens tokens) {
    counters_.output_tokens += tokens;
    scheduler_.charge(SchedulerEvent::output_tokens, group, tokens);
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

  void append(SequenceGroup& group, std::size_t i, Draw draw) {
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
      record_draw(s, draw, result_, tracks_tokens);
    } else {
      s.length += 1;
    }
    if (i == 0) note_gap(group.timeline);
    mark_token(group.timeline, now_, i == 0 && records_.times);
    count_output(group, 1);
    const Tokens length = s.length - s.expected;
    const FinishReason reason = finish_reason(group.request, length, length - group.prompt_length(),
                                              draw.token, limits_.max_length);
    if (records_.text) {
      events_.push_back({group.request.id, s.sample_index, draw.token, draw.logprob, reason});
    }
    if (reason != FinishReason::none) end(group, i, reason);
  }

  void commit_beams(SequenceGroup& group, std::size_t begin, std::size_t end_row) {
    beams_.clear();
    for (std::size_t r = begin; r < end_row; ++r) {
      if (result_.row(r).empty()) return;  // the prompt is not complete yet
      for (const Draw& draw : result_.row(r)) {
        const std::size_t i = flight_.rows[r].second;
        const double score = group.sequences[i].cumulative_logprob + draw.logprob;
        beams_.push_back({i, draw, score});
      }
    }
    group.forked = true;
    advance_beams(group, beams_, result_, tracks_tokens, limits_.max_length, memory_,
                  [this] { return SequenceId{next_sequence_++}; });
    note_gap(group.timeline);
    mark_token(group.timeline, now_, records_.times);
    count_output(group, std::ssize(group.sequences));
  }

  void end(SequenceGroup& group, std::size_t i, FinishReason reason) {
    Sequence& s = group.sequences[i];
    if (s.finished()) return;
    if (group.steady) {
      MemoryUsage own;
      memory_.add_alone(s, final_length(group), own);
      steady_usage_ -= own;
      ++steady_ended_;
      group.steady = false;
    }
    s.finish = reason;
    s.length -= s.expected;
    s.expected = 0;
    hand_on_prompt(group, s);
    if constexpr (requires { memory_.on_end(group, s, now_); }) memory_.on_end(group, s, now_);
    if constexpr (!SchedulerType::drains) memory_.release(s);
  }

  void finish(SequenceGroup& group) {
    scheduler_.charge(SchedulerEvent::finish, group, 0);
    dequeue(group);
    const SamplingParams& p = group.request.sampling;
    if (p.beam_width > 0 || p.width() > 1) rank_sequences(group);
    const bool of_batch = SchedulerType::drains && group.status == GroupStatus::running;
    group.status = GroupStatus::finished;
    if (of_batch) {
      draining_.push_back(&group);
    } else {
      leave(group);
    }
  }

  void leave(SequenceGroup& group) {
    for (Sequence& s : group.sequences) memory_.release(s);
    memory_.release_spares(group);
    keep_best(group);
    group.timeline.finished = now_;
    finish_order_.push_back(&group);
  }

  /// Gives back a batch of a draining scheduler once the last of it has ended.
  void drain() {
    if (!running_.empty()) return;
    for (SequenceGroup* group : draining_) leave(*group);
    draining_.clear();
  }

  void give_up(SequenceGroup& group, std::string why) {
    if (group.steady || !joining_.empty()) unsteady();
    group.error = std::move(why);
    for (Sequence& s : group.sequences) {
      if (!s.finished()) s.finish = FinishReason::rejected;
    }
    counters_.rejected += 1;
    scheduler_.charge(SchedulerEvent::finish, group, 0);
    dequeue(group);
    group.status = GroupStatus::finished;
    leave(group);
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

  model::Shape shape_;
  SchedulerLimits limits_;
  KvGeometry geometry_;
  Executor executor_;
  Memory memory_;
  SchedulerType scheduler_;
  OffloadType offload_{};

  Seconds now_ = 0.0;
  std::uint64_t next_request_ = 0, next_sequence_ = 0, decision_hash_ = 0;
  std::vector<std::unique_ptr<SequenceGroup>> groups_, finished_;
  std::deque<SequenceGroup*> waiting_;             // in order of rank
  std::vector<SequenceGroup*> running_, swapped_;  // in order of rank
  std::multiset<double> waiting_since_;            // arrivals of those that wait or are swapped
  std::vector<SequenceGroup*> draining_, finish_order_;

  // of the plan at hand, and of the step that runs or ran last
  using Rows = PlanRows;
  struct Flight {
    StepPlan plan;
    Rows rows;  // the sequence behind each row of the plan
    std::int64_t groups = 0;
  };
  StepPlan plan_;
  Rows rows_;
  Flight flight_;
  bool planned_ahead_ = false;  // plan_ is the next step's
  std::uint64_t plans_run_ = 0;
  TokenRecords records_;
  StepResult result_;
  StepStats stats_;
  EngineCounters counters_;
  bool idle_ = true;
  std::int64_t running_sequences_ = 0, admitted_ = 0, planned_ = 0;
  std::uint64_t plans_ = 0;  // plans made, whether or not they ran
  /// A running sequence that decodes, alone in its group.
  struct Steady {
    SequenceGroup* group = nullptr;  // null: it ended in the step that ran last
    Sequence* sequence = nullptr;
    Tokens end = 0;           // the length at which it ends; 0: its tokens say
    Tokens final_length = 0;  // the length at which it ends at the latest
  };
  bool is_steady_ =
      false;  // steady_ and joining_ are all running groups that are past their prompt
  std::vector<Steady> steady_;           // the first rows of the plan, in order of rank
  std::vector<SequenceGroup*> joining_;  // past their prompt since the last step
  std::size_t steady_ended_ = 0;         // of steady_
  MemoryUsage steady_usage_;             // of those that have not ended

  std::vector<Tokens> allotted_;
  std::vector<TokenEvent> events_;
  std::vector<BeamCandidate> beams_;
};

}  // namespace quire
