#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/engine/checks.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/group_progress.hpp>
#include <quire/engine/plan_book.hpp>
#include <quire/engine/step_stats.hpp>
#include <quire/engine/wait_queue.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/prefix_pins.hpp>
#include <quire/memory/usage.hpp>
#include <quire/model/shape.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/scheduler/arrival_order.hpp>
#include <quire/scheduler/concepts.hpp>
#include <quire/speculation/none.hpp>

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
template <class MemoryType, class SchedulerType, class OffloadType, class ExecutorType,
          class SpeculationType = speculation::None>
class ControlPlane : public PlanBook {
 public:
  using Memory = MemoryType;
  using Executor = ExecutorType;
  static constexpr Tokens block_tokens = Memory::block_tokens;
  static constexpr bool tracks_tokens = Executor::needs_tokens || Memory::needs_tokens;

  /// make_executor(geometry): the executor, once the geometry has been found sound.
  template <class MakeExecutor>
  ControlPlane(model::Shape shape, const SchedulerLimits& limits, const KvGeometry& geometry,
               MakeExecutor&& make_executor)
      : PlanBook(std::move(shape), limits, geometry,
                 {.scheduler = SchedulerType::name,
                  .whole_batches = SchedulerType::drains || SchedulerType::pads,
                  .step_by_step = step_by_step,
                  .needs_tokens = Executor::needs_tokens,
                  .tracks_tokens = tracks_tokens,
                  .block_tokens = block_tokens}),
        executor_(make_executor(checked_geometry(geometry_))),
        memory_(make_memory()),
        scheduler_(limits_) {
    if (guesses && limits_.asynchronous) {
      throw usage_error("limits.asynchronous",
                        "plans a step before it is known how many drafts of the one before it held",
                        "synchronous scheduling, or speculation none");
    }
    if constexpr (requires { memory_.restore(executor_.stored()); }) {
      counters_.restored_blocks = memory_.restore(executor_.stored());
    }
  }

  /// Queues a request; its id is given by the engine, in order of submission.
  RequestId submit(Request request) {
    auto group = take_in(std::move(request));
    const RequestId id = group->request.id;
    if (auto why = refusal(*group)) {
      reject(std::move(group), *why);
      return id;
    }
    charge(SchedulerEvent::arrive, *group, group->prompt_length());
    if constexpr (tracks_tokens) {
      group->sequences.front().tokens = prompt_tokens(group->request);
    }
    wait(*group);
    hold(std::move(group));
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
    begin_stats();
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
    counters_.bytes_moved += result_.bytes_moved;
    commit();
    drop_ended_rows();
    sweep();
    return stats_;
  }

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
  /// comes after this one. A step of its own; nothing happens without a disk tier whose content stays.
  /// \errors state: a step was planned ahead (limits.asynchronous), and its blocks are not computed yet.
  void persist() {
    if constexpr (tier_rules<OffloadType>().uses_disk && requires { executor_.stored(); }) {
      if (planned_ahead_) {
        throw state_error("persist()", "comes between a plan and its step",
                          "an engine that has no work left");
      }
      unsteady();
      StepPlan& plan = flight_.plan;
      plan.clear();
      memory_.begin_step(plan);
      memory_.persist();
      memory_.end_step(plan);
      if (plan.empty()) return;
      log_plan();
      executor_.execute(plan, result_);
      now_ += result_.seconds;
      for (const BlockId slot : result_.lost) memory_.on_lost(slot);
    }
  }

  [[nodiscard]] const Memory& memory() const { return memory_; }
  [[nodiscard]] const SchedulerType& scheduler() const { return scheduler_; }
  [[nodiscard]] Executor& executor() { return executor_; }
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

  static constexpr bool guesses = speculation::guesses<SpeculationType>;
  static constexpr bool swaps_ahead =
      tier_rules<OffloadType>().swaps_ahead && requires(const Memory& memory) {
    memory.watermark();  // else all of a request is reserved, and nobody is preempted
  };
  static_assert(
      !swaps_ahead || !tier_rules<OffloadType>().uses_disk,
      "quire: offload: a policy that swaps ahead moves blocks to the host alone, from where "
      "they cannot come back wrong; drop uses_disk or swaps_ahead");
  static constexpr bool by_model = speculation::drafts_by_model<SpeculationType>;
  static constexpr bool may_be_steady = !guesses && !SchedulerType::dynamic_rank &&
                                        !SchedulerType::drains && !SchedulerType::pads &&
                                        !step_by_step && !scheduler::keeps_accounts<SchedulerType>;
  /// Whether the order of groups that wait is kept from step to step.
  static constexpr bool keeps_order =
      says_how_long_order_stands<SchedulerType> || ranks_clients<SchedulerType>;
  /// Whether the memory may tell of which groups another cached prefix would be found.
  static constexpr bool may_watch =
      keeps_order && Memory::needs_tokens && wants_cached_prefix<SchedulerType>;
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
  [[nodiscard]] static auto make_queue() {
    if constexpr (keeps_order) {
      return TournamentQueue(ranks_clients<SchedulerType>);
    } else {
      return SortedQueue();
    }
  }
  [[nodiscard]] std::optional<std::string> refusal(const SequenceGroup& group) const {
    if (auto why = refusal_by_limits(group.request)) return why;
    return memory_.rejects(group, limits_.max_length);
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
  [[nodiscard]] static bool stands_before(const void* plane, const SequenceGroup* a,
                                          const SequenceGroup* b) {
    return static_cast<const ControlPlane*>(plane)->before(a, b);
  }
  /// Sorts a queue by rank, which is asked for once a group.
  template <class Queue>
  void sort(Queue& queue) {
    for (SequenceGroup* group : queue) group->rank = rank(*group);
    sort_by_noted_rank(queue);
  }
  /// How groups that wait are ranked now.
  [[nodiscard]] WaitOrder wait_order() const {
    WaitOrder order{.plane = this, .now = now_};
    if constexpr (keeps_order) {
      order.rank = [](const void* plane, const SequenceGroup& group) {
        return static_cast<const ControlPlane*>(plane)->rank(group);
      };
    }
    if constexpr (says_how_long_order_stands<SchedulerType>) {
      order.stands_until = [](const void* plane, const SequenceGroup& a, const SequenceGroup& b) {
        const auto* self = static_cast<const ControlPlane*>(plane);
        return self->scheduler_.stands_until(a, b, self->now_);
      };
    }
    return order;
  }
  /// Enters a group into the queue of those that wait.
  void wait(SequenceGroup& group) {
    begins_to_wait(group);
    if constexpr (keeps_order) {
      waiting_.insert(group, wait_order());
      if constexpr (may_watch) {
        if (memory_.watches_prefixes()) memory_.begin_watch(group.slot);
      }
    } else {
      insert(waiting_.groups(), &group, stands_before, this);
    }
  }
  /// The groups that wait, in order of rank, one after the other; nullptr at the end.
  [[nodiscard]] SequenceGroup* first_waiting() {
    if constexpr (keeps_order) {
      return waiting_.first(wait_order());
    } else {
      return waiting_.first();
    }
  }
  [[nodiscard]] SequenceGroup* next_waiting() {
    if constexpr (keeps_order) {
      return waiting_.next(wait_order());
    } else {
      return waiting_.next();
    }
  }
  /// Has groups that wait know how much of them is cached.
  void match_waiting() {
    if constexpr (!keeps_order) {
      for (SequenceGroup* group : waiting_.groups()) {
        group->cached_prefix = memory_.cached_prefix(*group);
      }
    } else if constexpr (may_watch) {
      const auto found = [&](std::uint32_t slot, Tokens tokens) {
        SequenceGroup& group = *waiting_.at(slot);
        if (std::exchange(group.cached_prefix, tokens) == tokens) return;
        waiting_.changed(group, wait_order());
      };
      if (memory_.watches_prefixes()) {
        changed_.clear();
        memory_.take_changed(changed_);
        for (const std::uint32_t slot : changed_) {
          found(slot, memory_.match_again(*waiting_.at(slot), slot));
        }
      } else {
        for (std::uint32_t slot = 0; slot < waiting_.slots(); ++slot) {
          if (waiting_.at(slot) != nullptr) found(slot, memory_.cached_prefix(*waiting_.at(slot)));
        }
      }
    }
  }
  /// Takes a group out of the queue that its status names.
  void dequeue(const SequenceGroup& group) {
    if (group.status == GroupStatus::running) return take(running_, group);
    if (group.status == GroupStatus::swapped) {
      take(swapped_, group);
    } else if constexpr (keeps_order) {
      if constexpr (may_watch) {
        if (memory_.watches_prefixes()) memory_.end_watch(group.slot);
      }
      waiting_.erase(group, wait_order());
    } else {
      waiting_.erase(group);
    }
    waits_no_longer(group);
  }
  void charge(SchedulerEvent event, const SequenceGroup& group, Tokens tokens) {
    scheduler_.charge(event, group, tokens);
    if constexpr (ranks_clients<SchedulerType>) waiting_.charged(group);
  }

  // ---- planning ---------------------------------------------------------------------------------

  void plan() {
    begin_plan();
    drain();
    idle_ = running_.empty();
    if constexpr (SchedulerType::dynamic_rank) {
      if constexpr (wants_cached_prefix<SchedulerType>) match_waiting();
      sort(running_);
      if constexpr (!keeps_order) sort(waiting_.groups());
      sort(swapped_);
    }
    if constexpr (keeps_order) waiting_.refresh(wait_order());
    count_running();
    if constexpr (guesses) note_wants();
    if constexpr (requires { memory_.expire(now_); }) memory_.expire(now_);
    memory_.begin_step(plan_);
    exchange();
    const std::size_t exchanged = plan_.preempted.size();
    if (!continue_steady()) continue_running(/*prompts=*/false);
    if (running_.size() > steady_.size()) continue_running(/*prompts=*/true);
    drain();
    if (plan_.preempted.size() == exchanged) join_others();
    swap_ahead();
    look_ahead();
    if constexpr (SchedulerType::pads) pad();
    memory_.end_step(plan_);
    if (limits_.asynchronous) count_on();
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
      SequenceGroup* w = first_waiting();
      // the queues were sorted just now, if ranks change at all
      const auto first = [this](const SequenceGroup* a, const SequenceGroup* b) {
        return SchedulerType::dynamic_rank ? NotedOrder{}(a, b) : before(a, b);
      };
      for (;;) {
        SequenceGroup* group = r == running_.end() ? nullptr : *r;
        if (s != swapped_.end() && (group == nullptr || first(*s, group))) group = *s;
        if (w != nullptr && (group == nullptr || first(w, group))) group = w;
        if (group == nullptr) break;
        const bool runs = group->status == GroupStatus::running;
        if (runs) {
          ++r;
        } else if (group->status == GroupStatus::swapped) {
          ++s;
        } else {
          w = next_waiting();
        }
        const bool here = runs || group->parked > BlockCount{0};  // it has its blocks
        const BlockCount blocks = memory_.blocks_wanted(*group);
        room -= blocks;
        seats -= group->running_sequences();
        if (room < BlockCount{0} || seats < 0) break;
        group->kept_in = plans_;
        wanted += here ? group->unfinished() : blocks.value;  // at most one more block each
        if (!runs) {
          newcomer = true;
          wanted_seats += group->running_sequences();
        }
      }
      if (!newcomer) return;
      for (std::size_t i = running_.size(); i-- > 0;) {
        if (room_to_make() >= wanted && wanted_seats <= limits_.max_sequences) return;
        SequenceGroup* victim = running_[i];
        if (victim->kept_in == plans_) continue;
        wanted_seats -= victim->running_sequences();
        preempt(*victim);
      }
    }
  }

  /// Plans the rows of all running groups that are past their prompts. False when they have to be
  /// looked at one by one: a group of several sequences, a policy that keeps accounts of tokens or
  /// gives a decode none, no room for a block.
  bool continue_steady() {
    if constexpr (!may_be_steady) {
      return false;
    } else {
      if (!is_steady_ && !find_steady()) return false;
      drop_steady_that_ended();
      for (SequenceGroup* group : joining_) {
        const Steady& d = join_steady(*group, stands_before, this);
        memory_.add_alone(*d.sequence, d.final_length, steady_usage_);
      }
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
      take_steady_rows();
      if constexpr (grows_by_block) {
        if (need > BlockCount{0}) append_blocks();
      }
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

  void continue_running(bool prompts) {
    for (std::size_t i = 0; i < running_.size();) {
      SequenceGroup* group = running_[i];
      if (is_planned(*group) || group->in_prompt() != prompts) {
        ++i;
        continue;
      }
      if (guesses && !prompts) guess(*group);
      bool any = allot(*group);
      if (guesses && !keep_drafts_allotted(*group)) any = allot(*group);
      if (!any) {
        ++i;
        continue;
      }
      bool fits = memory_.grow(*group, allotted_, plan_);
      if (guesses && !fits) {
        drop_drafts(*group);
        fits = memory_.grow(*group, allotted_, plan_);
      }
      while (!fits) {
        if (make_way(nullptr)) {
          fits = memory_.grow(*group, allotted_, plan_);
          continue;
        }
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

  /// Adds drafts to the sequences of a group that decodes, as its next tokens until the step has
  /// run. Never so many that a sequence could end before the last of them, and only from a token
  /// budget that nobody else wants: not the others that run, nor the prompt that is next.
  void guess(SequenceGroup& group) {
    if (!group.forked || group.request.sampling.beam_width > 0 || group.request.reply != 0) return;
    Tokens drafts = plan_.batched_tokens - std::ssize(rows_);  // planned already
    const auto gets = [this](Tokens drafts_before) {           // the prompt that is served last
      BatchState s = state();
      s.batched_tokens = before_last_prompt_ + drafts_before;
      return allotment(s, last_prompt_);
    };
    for (Sequence& s : group.sequences) {
      if (s.finished() || s.remaining() != Tokens{1}) continue;
      const Tokens budget = limits_.max_batched_tokens - decoding_ - drafts;
      const Tokens most =
          std::min({Tokens{SpeculationType::most}, final_length(group) - s.length - 1, budget});
      if (most <= Tokens{0}) continue;
      if (last_prompt_ > Tokens{0} && gets(drafts + most) < gets(0)) continue;
      Tokens count = most;  // where no text is known, what a text that invites guesses would have
      if constexpr (by_model) {
        if constexpr (tracks_tokens) s.tokens.resize(s.tokens.size() + to_size(count));
      } else if constexpr (Executor::needs_tokens) {
        drafts_.clear();
        speculation_.propose(s.tokens, most, drafts_);
        if (std::ssize(drafts_) > most.value) {
          throw state_error("speculation policy " + std::string(SpeculationType::name),
                            "proposes " + std::to_string(drafts_.size()) + " tokens",
                            "at most " + std::to_string(most.value));
        }
        for (const TokenId draft : drafts_) check_draft(s, draft);
        count = std::ssize(drafts_);
        s.tokens.insert(s.tokens.end(), drafts_.begin(), drafts_.end());
      } else if constexpr (tracks_tokens) {
        s.tokens.resize(s.tokens.size() + to_size(count));
      }
      s.drafts = count;
      s.length += count;
      drafts += count;
    }
  }
  [[nodiscard]] static std::size_t to_size(Tokens tokens) {
    return static_cast<std::size_t>(tokens.value);
  }
  /// \errors state: a draft that no text of the model can hold; made-up texts may have any.
  void check_draft(const Sequence& s, TokenId draft) const {
    const auto in_vocabulary = [&](TokenId t) {
      return static_cast<std::int64_t>(t) < shape_.vocab;
    };
    if (in_vocabulary(draft) || !std::all_of(s.tokens.begin(), s.tokens.end(), in_vocabulary))
      return;
    throw state_error("speculation policy " + std::string(SpeculationType::name),
                      "propose() guesses token " + std::to_string(draft),
                      "an id below " + std::to_string(shape_.vocab));
  }

  /// Notes who wants token budget beside drafts: sequences that decode, and the prompts that this step
  /// would serve without drafts, begun ones and then those that wait.
  void note_wants() {
    decoding_ = last_prompt_ = 0;
    std::int64_t prompts = 0;
    for (const SequenceGroup* group : running_) {
      for (const Sequence& s : group->sequences) {
        if (s.finished()) continue;
        (s.remaining() == Tokens{1} ? decoding_.value : prompts) += 1;
      }
    }
    BatchState s = state();
    s.batched_tokens = decoding_;
    const auto serve = [&](Tokens remaining) {
      const Tokens given = allotment(s, remaining);
      if (given == Tokens{0}) return false;
      before_last_prompt_ = s.batched_tokens;
      last_prompt_ = remaining;
      s.batched_tokens += given;
      return given == remaining;
    };
    for (auto group = running_.begin(); prompts > 0 && group != running_.end(); ++group) {
      for (const Sequence& sequence : (*group)->sequences) {
        if (sequence.finished() || sequence.remaining() == Tokens{1}) continue;
        if (!serve(sequence.remaining())) return;
      }
    }
    for (const SequenceGroup* group = first_waiting(); group != nullptr; group = next_waiting()) {
      if (!serve(group->sequences.front().length)) return;
    }
  }
  /// Leaves a sequence its first `kept` drafts.
  static void keep_drafts(Sequence& s, Tokens kept) {
    const auto gone = static_cast<std::size_t>((s.drafts - kept).value);
    s.length -= s.drafts - kept;
    s.drafts = kept;
    if constexpr (tracks_tokens) s.tokens.resize(s.tokens.size() - gone);
  }
  /// Drafts beyond what the scheduler lets a sequence compute go. False, with all of them gone, where
  /// one is to compute nothing: it has to be asked for without.
  [[nodiscard]] bool keep_drafts_allotted(SequenceGroup& group) {
    bool all = true;
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      Sequence& s = group.sequences[i];
      if (s.drafts == Tokens{0}) continue;
      all = all && allotted_[i] > Tokens{0};
      keep_drafts(s, std::min(s.drafts, std::max(allotted_[i] - 1, Tokens{0})));
    }
    if (!all) {
      for (Sequence& s : group.sequences) keep_drafts(s, 0);
    }
    return all;
  }
  void drop_drafts(SequenceGroup& group) {
    for (std::size_t i = 0; i < group.sequences.size(); ++i) {
      allotted_[i] -= group.sequences[i].drafts;
      keep_drafts(group.sequences[i], 0);
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
    const bool here = group->parked > BlockCount{0};
    while (!bring_back(*group)) {
      if (make_way(group)) continue;
      if (!running_.empty()) return false;
      give_up(*group, "the KV pool is too small to bring this request back");
      return true;
    }
    dequeue(*group);
    if (here) {
      group->parked = 0;
      for (Sequence& s : group->sequences) s.table_changed = true;
    } else {
      [[maybe_unused]] const bool grown = memory_.grow(*group, allotted_, plan_);
      assert(grown);
    }
    join(*group);
    return true;
  }

  /// Admits the first waiting group. False when it has to wait.
  bool admit_first() {
    SequenceGroup* group = waiting_.front();
    if (scheduler_.admit(state(), *group) == Admission::hold || !has_tokens_for(*group))
      return false;
    const auto fetch = [this](auto candidates) { return blocks_to_fetch(offload_, candidates); };
    while (!memory_.admit(*group, limits_.max_length, fetch)) {
      if (make_way(nullptr)) continue;
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
    const bool first = note_admission(*group, found);
    charge(SchedulerEvent::admit, *group, first ? group->prompt_length() : Tokens{0});
    ++admitted_;
    join(*group);
    return true;
  }

  /// Has what the first waiting groups need brought nearer, each group once.
  void look_ahead() {
    if (geometry_.tiers.look_ahead == 0) return;
    std::int64_t ahead = 0;
    for (SequenceGroup* group = first_waiting(); group != nullptr; group = next_waiting()) {
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

  void join(SequenceGroup& group) {
    group.status = GroupStatus::running;
    for (Sequence& s : group.sequences) {
      if (!s.finished()) make_room(group, s);
    }
    group.timeline.resumed = now_;
    charge(SchedulerEvent::resume, group, 0);
    insert(running_, &group, stands_before, this);
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
      SequencePlan& row =
          plan_.sequences.emplace_back(row_of(group, group.sequences[i], allotted_[i]));
      if constexpr (step_by_step) {
        row.lanes = group.sequences[i].lanes;
        row.kept = memory_.kept(group.sequences[i]) - row.tokens;
      }
      if constexpr (by_model && tracks_tokens) {
        row.to_guess =
            std::span(group.sequences[i].tokens).last(to_size(group.sequences[i].drafts));
      }
      plan_.batched_tokens += allotted_[i];
      rows_.push_back({&group, i});
    }
  }
  void preempt(SequenceGroup& group) {
    if (group.steady || !joining_.empty()) unsteady();
    const Tokens computed = note_preemption(group);
    for (Sequence& s : group.sequences) {
      // a batch that drains kept it, but it will not be read again
      if (s.finished()) memory_.release(s);
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
      if (swaps_ahead && context.blocks > BlockCount{0}) {
        group.status = GroupStatus::swapped;
        group.parked = context.blocks;
        charge(SchedulerEvent::preempt, group, 0);
        insert(swapped_, &group, stands_before, this);
        begins_to_wait(group);
        counters_.swap_preemptions += 1;
        return;
      }
      if (memory_.swap_out(group, plan_)) {
        group.status = GroupStatus::swapped;
        charge(SchedulerEvent::preempt, group, 0);
        insert(swapped_, &group, stands_before, this);
        begins_to_wait(group);
        counters_.swap_preemptions += 1;
        counters_.swapped_out_blocks += context.blocks;
        counters_.swapped_out_tokens += computed;
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

  // ---- swapping ahead of need -------------------------------------------------------------------

  /// When a group that does not run is expected to, in whatever the scheduler can tell it by.
  [[nodiscard]] double turn(const SequenceGroup& group) const {
    if constexpr (requires { scheduler_.next_turn(group, now_); }) {
      return scheduler_.next_turn(group, now_).value;
    } else {
      return rank(group);
    }
  }
  /// Blocks that are free, or that groups hold which do not run and are not chosen for this step.
  [[nodiscard]] BlockCount room_to_make() const {
    BlockCount room = memory_.available();
    if constexpr (swaps_ahead) {
      for (const SequenceGroup* group : swapped_) {
        if (group->kept_in != plans_) room += group->parked;
      }
    }
    return room;
  }
  /// Has a group that does not run give up its blocks: the one that is expected to run last, of those not
  /// chosen for this step if there are any. False when there is none, or when blocks have come in: what
  /// goes out in the same plan would be written over what they come from.
  bool make_way([[maybe_unused]] const SequenceGroup* but) {
    if constexpr (swaps_ahead) {
      if (!plan_.swap_in.empty()) return false;
      SequenceGroup* last = nullptr;
      std::pair<bool, double> latest;
      for (SequenceGroup* group : swapped_) {
        if (group->parked == BlockCount{0} || group == but) continue;
        const std::pair<bool, double> at(group->kept_in != plans_, turn(*group));
        if (last != nullptr && at < latest) continue;
        last = group;
        latest = at;
      }
      if (last != nullptr) move_out(*last);
      return last != nullptr;
    } else {
      return false;
    }
  }
  /// Moves the blocks of a swapped group to the host, or drops them where that is full.
  void move_out(SequenceGroup& group) {
    const BlockCount blocks = std::exchange(group.parked, BlockCount{0});
    if (memory_.swap_out(group, plan_)) {
      counters_.swapped_out_blocks += blocks;
      for (const Sequence& s : group.sequences) {
        if (!s.finished()) counters_.swapped_out_tokens += s.computed;
      }
      return;
    }
    counters_.swap_preemptions -= 1;
    counters_.swaps_refused += 1;
    stats_.swaps_refused += 1;
    dequeue(group);
    for (Sequence& s : group.sequences) {
      s.dropped = s.finished() ? Tokens{0} : s.computed - s.shared;
    }
    drop(group);
  }
  /// Has the blocks of a swapped group on the device; one whose blocks are here gets room for the tokens of
  /// this step, above the watermark. False, and nothing changed, when there is too little.
  bool bring_back(SequenceGroup& group) {
    if constexpr (swaps_ahead) {
      if (group.parked > BlockCount{0}) {
        const BlockCount left = memory_.available() - group.unfinished();
        if (!running_.empty() && left < memory_.watermark()) return false;
        return memory_.grow(group, allotted_, plan_);
      }
    }
    return memory_.swap_in(group, plan_);
  }
  /// Moves groups that do not run ahead of need, out and back in.
  void swap_ahead() {
    if constexpr (swaps_ahead) {
      if (swapped_.empty()) return;
      BlockCount left = offload_.blocks_ahead(result_.seconds, geometry_.costs.host_block);
      BlockCount room = memory_.available() - offload_.keep_free(memory_.capacity());
      const bool may_go = plan_.swap_in.empty();
      turns_.clear();
      for (SequenceGroup* group : swapped_) turns_.emplace_back(turn(*group), group);
      std::stable_sort(turns_.begin(), turns_.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      std::size_t end = turns_.size();  // those behind have been looked at
      const auto move_last = [&](std::size_t but) {
        while (may_go && end > but) {
          SequenceGroup& group = *turns_[--end].second;
          if (group.parked == BlockCount{0}) continue;
          if (group.parked > left) return false;
          left -= group.parked;
          room += group.parked;
          move_out(group);
          return true;
        }
        return false;
      };
      while (room < BlockCount{0} && move_last(0)) {
      }
      std::size_t begin = 0, kept = 0;
      for (; begin < end; ++begin) {
        SequenceGroup& group = *turns_[begin].second;
        if (group.parked > BlockCount{0}) continue;
        const BlockCount blocks = memory_.blocks_wanted(group);
        if (blocks > left) break;
        while (room < blocks && move_last(begin + 1)) {
        }
        if (room < blocks) break;
        left -= blocks;
        room -= blocks;
        turns_[kept++].second = &group;
      }
      for (std::size_t i = 0; i < kept; ++i) {  // once all have gone out that go
        SequenceGroup& group = *turns_[i].second;
        if (memory_.swap_in(group, plan_)) group.parked = memory_.distinct_blocks(group);
      }
    }
  }

  /// Gives up all that a group holds and lets it wait. \pre it is in no queue
  void drop(SequenceGroup& group) {
    for (Sequence& s : group.sequences) memory_.release(s);
    group.status = GroupStatus::waiting;
    group.prefetched = false;
    charge(SchedulerEvent::preempt, group, 0);
    wait(group);
  }

  /// Groups whose blocks came back wrong from a tier are computed again from their text.
  void recover() {
    for (const BlockId slot : result_.lost) memory_.on_lost(slot);
    if (result_.failed.empty()) return;
    for (const std::uint32_t i : result_.failed) memory_.on_lost(flight_.plan.swap_in[i].host);
    for (SequenceGroup* group : take_lost_groups()) drop(*group);
  }

  // ---- booking ----------------------------------------------------------------------------------

  void commit() {
    const StepPlan& ran = flight_.plan;
    const Rows& rows = flight_.rows;
    begin_commit();
    if constexpr (guesses) {
      for (const auto& [group, i] : rows) keep_drafts(group->sequences[i], 0);
    }
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
      const std::int64_t drafts = ran.sequences[r].drafts;  // which of them hold is seen below
      const Tokens begin = ran.sequences[r].computed, tokens = ran.sequences[r].tokens - drafts;
      if (begin < group->prompt_length()) {
        charge(SchedulerEvent::prompt_tokens, *group,
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
    // one more for each draft that held, whose keys and values have come with it
    if constexpr (guesses) {
      counters_.drafted_tokens += flight_.plan.sequences[r].drafts;
      counters_.accepted_tokens += std::ssize(draws) - 1;
    }
    for (std::size_t k = 0; k < draws.size(); ++k) {
      Sequence& s = group.sequences[i];
      if (k > 0) {
        s.computed += 1;
        memory_.publish(group, s);
      }
      append(group, i, draws[k]);
      if (s.finished()) break;
    }
  }

  void append(SequenceGroup& group, std::size_t i, const Draw& draw) {
    const FinishReason reason = note_draw(group, i, draw);
    charge(SchedulerEvent::output_tokens, group, 1);
    if (reason != FinishReason::none) end(group, i, reason);
  }

  void commit_beams(SequenceGroup& group, std::size_t begin, std::size_t end_row) {
    if (!gather_beams(group, begin, end_row)) return;
    group.forked = true;
    advance_beams(group, beams_, result_, tracks_tokens, limits_.max_length, BeamMemory(memory_),
                  next_sequence_);
    note_gap(group.timeline);
    mark_token(group.timeline, now_, records_.times);
    const Tokens tokens = std::ssize(group.sequences);
    counters_.output_tokens += tokens;
    charge(SchedulerEvent::output_tokens, group, tokens);
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
    charge(SchedulerEvent::finish, group, 0);
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
    charge(SchedulerEvent::finish, group, 0);
    dequeue(group);
    group.status = GroupStatus::finished;
    leave(group);
  }

  Executor executor_;
  Memory memory_;
  SchedulerType scheduler_;
  std::conditional_t<keeps_order, TournamentQueue, SortedQueue> waiting_ = make_queue();
  OffloadType offload_{};
  SpeculationType speculation_{};
  Tokens decoding_ = 0, before_last_prompt_ = 0, last_prompt_ = 0;  // see note_wants()
  std::vector<Tokens> allotted_;
  std::vector<std::pair<double, SequenceGroup*>> turns_;  // see swap_ahead()
  std::vector<TokenId> drafts_;
  std::vector<std::uint32_t> changed_;  // see match_waiting()
};

}  // namespace quire
