// mechanism: the sequences of one request, as schedulers and the memory see them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/block_table.hpp>
#include <quire/memory/buddy_allocator.hpp>
#include <quire/retention/lane.hpp>
#include <quire/workload/request.hpp>

namespace quire {

/// Why a sequence ended.
enum class FinishReason { none, stop, length, abort, rejected };

[[nodiscard]] constexpr std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::none:
      return "none";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::abort:
      return "abort";
    case FinishReason::rejected:
      return "rejected";
  }
  return "none";
}

/// One sample or beam of a request: its text so far and where its keys and values are.
struct Sequence {
  SequenceId id;
  std::int32_t sample_index = 0;
  Tokens length = 0;    // prompt and generated tokens
  Tokens computed = 0;  // tokens whose keys and values exist
  Tokens shared = 0;    // leading tokens that the group's first sequence computes for this one
  Tokens dropped = 0;   // tokens that were computed before a preemption dropped them
  Tokens expected = 0;  // of `length`: not drawn yet, but counted on by a plan made ahead
  Tokens drafts = 0;    // of `length`: guesses that the step at hand checks
  std::vector<TokenId> tokens;             // all `length` ids, or none when only lengths are known
  std::vector<float> logprobs;             // one a generated token
  std::vector<TokenLogprob> alternatives;  // SamplingParams::logprobs of them a token
  std::vector<std::uint32_t> alternatives_begin;  // one a generated token
  double cumulative_logprob = 0;

  std::vector<BlockTable> tables = std::vector<BlockTable>(1);  // one per KV group
  std::vector<retention::Lane> lanes;  // a retention policy that drops: what is left of it
  std::vector<BlockId> host_blocks;    // where the blocks of tables[0] are while swapped out
  BlockRun run;                        // contiguous reservation: the run that tables[0] lists
  Tokens reserved = 0;                 // contiguous reservation: tokens asked for
  std::size_t published = 0;           // leading blocks of tables[0] that the prefix index knows
  bool table_changed = true;           // the decision log must show the whole table again
  FinishReason finish = FinishReason::none;

  [[nodiscard]] bool finished() const { return finish != FinishReason::none; }
  [[nodiscard]] Tokens remaining() const { return length - computed; }
};

/// Where a request is in its life.
enum class GroupStatus { waiting, running, swapped, finished };

/// When things happened to a request, on the engine's clock.
struct Timeline {
  Seconds arrival = 0.0;
  Seconds queued = 0.0;  // when the engine took it in: the end of the step in which it arrived
  Seconds first_scheduled = -1.0;
  Seconds first_token = -1.0;
  Seconds last_token = -1.0;
  Seconds finished =
      -1.0;  // when the client has the answer: with request-level batching, batch end
  std::vector<double> token_times;  // seconds; of the request's first sequence
  Seconds waiting_since = 0.0;      // arrival, or the last preemption
  Seconds resumed = -1.0;           // when it last joined the running ones
  std::int64_t preemptions = 0;
  std::int64_t swapped_out_blocks = 0;
  Tokens recomputed = 0;  // tokens processed again after a preemption
  Tokens prefix_hit = 0;  // prompt tokens found in the prefix index at the first admission
};

/// All sequences of one request; scheduled, admitted and preempted together.
struct SequenceGroup {
  Request request;
  GroupStatus status = GroupStatus::waiting;
  std::vector<Sequence> sequences;       // running ones, and finished samples
  std::vector<Sequence> finished_beams;  // beam search: hypotheses that ended
  std::vector<BlockRun> spare_runs;      // contiguous reservation: runs for later forks
  Timeline timeline;
  bool forked = false;  // the prompt has been computed and split into samples or beams
  std::string error;    // why it was rejected

  // The engine's marks.
  Tokens cached_prefix = 0;      // while it waits, if the scheduler wants to know
  double rank = 0;               // when it was looked at last
  std::uint64_t kept_in = 0;     // the last plan for which it was chosen to run
  std::uint64_t planned_in = 0;  // the last plan that has rows of this group
  std::size_t place = 0;         // where it stands in the list of requests
  std::uint32_t slot = 0;        // where it stands in the queue, while it waits
  BlockCount parked = 0;         // while it is swapped: blocks that it still has on the device
  bool prefetched = false;       // while waiting, what it needs was brought nearer
  bool steady = false;           // it decodes, and keeps its row from step to step

  [[nodiscard]] Tokens prompt_length() const { return request.prompt_length; }
  /// Tokens generated by its longest sequence.
  [[nodiscard]] Tokens generated() const {
    Tokens most = 0;
    for (const Sequence& s : sequences) most = std::max(most, s.length - request.prompt_length);
    return most;
  }
  [[nodiscard]] std::int64_t unfinished() const {
    return std::count_if(sequences.begin(), sequences.end(),
                         [](const Sequence& s) { return !s.finished(); });
  }
  /// Sequences that will run at once: one until the prompt is computed, then `width`.
  [[nodiscard]] std::int64_t running_sequences() const {
    return forked ? unfinished() : request.sampling.width();
  }
  [[nodiscard]] bool in_prompt() const {
    return std::any_of(sequences.begin(), sequences.end(),
                       [](const Sequence& s) { return !s.finished() && s.remaining().value > 1; });
  }
};

}  // namespace quire
