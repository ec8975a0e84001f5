#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/memory/usage.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// What one step did.
struct StepStats {
  bool idle = false;  // nothing could run, and no time passed
  std::optional<Seconds> wake_at;
  std::string_view scheduler;  // the policy's name: who to ask when nothing runs
  Seconds seconds = 0.0;
  Joules joules = 0.0;
  Bytes bytes_moved = 0;  // swaps and block copies
  Tokens batched_tokens = 0;
  std::int64_t running_groups = 0;  // requests in the batch
  std::int64_t running_sequences = 0;
  std::int64_t waiting_groups = 0;
  std::int64_t swapped_groups = 0;
  std::int64_t preempted_groups = 0;
  std::int64_t swaps_refused = 0;  // of these, to be swapped, and recomputed for want of room
  MemoryUsage usage;               // with the step's tokens written and nothing given back yet
  /// Seconds since the last token, of requests whose first sequence got another one in this step, and
  /// how many in a row had the same: inter-token latencies without a list of times.
  std::vector<std::pair<double, std::int64_t>> token_gaps;
};

/// Totals since an engine was made.
struct EngineCounters {
  std::int64_t steps = 0;
  std::int64_t steps_over_budget = 0;  // of more than max_batched_tokens: a prompt that ran alone
  std::int64_t preemptions = 0;        // of both kinds
  std::int64_t swap_preemptions =
      0;  // of these, by moving to the host; the rest are computed again
  std::int64_t rejected = 0;
  std::int64_t swaps_refused = 0;  // the host tier was full, so the group was recomputed
  BlockCount swapped_out_blocks = 0;
  Tokens swapped_out_tokens = 0;    // whose keys and values these blocks hold
  std::int64_t failed_fetches = 0;  // blocks of a tier whose content was not what had been written
  std::int64_t recoveries = 0;      // groups that were computed again because of them
  Tokens recomputed_tokens = 0;
  Tokens prompt_tokens = 0;                             // of requests admitted
  Tokens prefix_hit_tokens = 0;                         // of those, found in the prefix index
  BlockCount prompt_blocks = 0, prefix_hit_blocks = 0;  // the same in blocks, begun ones counted
  BlockCount restored_blocks = 0;  // of text that an earlier engine had left in the disk tier
  Bytes bytes_moved = 0;           // swaps and block copies
  Tokens output_tokens = 0;
  Tokens drafted_tokens = 0;   // guesses that steps have checked
  Tokens accepted_tokens = 0;  // of these, the ones that held
};

/// What an engine keeps of generated tokens beside their number.
struct TokenRecords {
  bool times = true;  // Timeline::token_times
  /// Engine::events(), and log-probabilities. Without it requests of a given length still get their
  /// tokens, but an executor need not draw what nobody reads.
  bool text = true;
};

/// One generated token, as it is streamed to a client.
struct TokenEvent {
  RequestId request;
  std::int32_t sample_index = 0;
  TokenId token = 0;
  float logprob = 0;
  FinishReason finish = FinishReason::none;
};

}  // namespace quire
