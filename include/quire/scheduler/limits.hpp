// mechanism: run-time quantities that every scheduler may read.
#pragma once

#include <cstdint>

#include <quire/core/units.hpp>
#include <quire/retention/limits.hpp>

namespace quire {

/// Run-time quantities of scheduling; behaviours are types, these are values.
struct SchedulerLimits {
  /// Tokens one step may process; a longer prompt waits for a step of its own. 0: as vLLM, which
  /// wants room for a prompt of any length: 2,560, or what one sequence may have if that is more.
  Tokens max_batched_tokens = 0;
  std::int64_t max_sequences = 256;  // sequences running at once
  Tokens max_length = 0;             // prompt + output of one sequence; 0: the model's own
  double watermark = 0.01;           // share of blocks kept free when a request is admitted
  std::int64_t max_batch = 8;        // requests in one batch of request-level schedulers
  Seconds max_delay = 0.0;           // longest wait of a request-level scheduler for a full batch
  Tokens chunk = 512;                // tokens a step of a chunked-prefill scheduler processes
  bool asynchronous = false;         // the next step is planned while one runs
  RetentionLimits retention{};       // what a retention policy keeps of each sequence
};

}  // namespace quire
