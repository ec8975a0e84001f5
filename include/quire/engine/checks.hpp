#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/model/shape.hpp>
#include <quire/scheduler/limits.hpp>
#include <quire/workload/request.hpp>

// What an engine refuses, and in which words. None of it depends on the engine's type, so it is
// compiled once for all of them.
namespace quire {

/// Limits with their defaults filled in for a model.
/// `by_request`: the scheduler gives a batch back, or pads it, as a whole. `step_by_step`: what the
/// retention policy keeps is known only when a step has run.
/// \errors usage error for limits that let nothing run, or that contradict the policies.
[[nodiscard]] inline SchedulerLimits checked_limits(SchedulerLimits limits,
                                                    const model::Shape& shape,
                                                    std::string_view scheduler, bool by_request,
                                                    bool step_by_step) {
  if (limits.max_length <= Tokens{0} || limits.max_length > shape.max_length) {
    limits.max_length = shape.max_length;
  }
  if (limits.max_batched_tokens == Tokens{0}) {
    limits.max_batched_tokens = std::max(Tokens{2560}, limits.max_length);
  }
  const auto at_least_one = [](std::int64_t value, const char* name) {
    if (value >= 1) return;
    throw usage_error(std::string("limits.") + name,
                      std::to_string(value) + " would let nothing run", "at least 1");
  };
  at_least_one(limits.max_batched_tokens.value, "max_batched_tokens");
  at_least_one(limits.max_sequences, "max_sequences");
  at_least_one(limits.max_batch, "max_batch");
  at_least_one(limits.chunk.value, "chunk");
  if (limits.asynchronous && step_by_step) {
    throw usage_error("limits.asynchronous",
                      "what this retention policy keeps is known only when a step has run",
                      "false");
  }
  if (limits.asynchronous && by_request) {
    throw usage_error("limits.asynchronous",
                      "scheduler " + std::string(scheduler) +
                          " gives a batch back when its last sequence has ended, which is not "
                          "known a step ahead",
                      "a scheduler that batches by iteration, or false");
  }
  if (!(limits.watermark >= 0 && limits.watermark < 1)) {
    throw usage_error("limits.watermark", "it is no share of the blocks", "from 0 to below 1");
  }
  if (!(limits.max_delay >= Seconds{0.0})) {
    throw usage_error("limits.max_delay", "it is no waiting time", "0 seconds or more");
  }
  return limits;
}

/// \errors state error for a pool without a block.
[[nodiscard]] inline const KvGeometry& checked_geometry(const KvGeometry& geometry) {
  if (geometry.device_blocks < BlockCount{1}) {
    throw state_error("KV pool", "the memory left for keys and values holds no block",
                      "room for one at least" +
                          (geometry.block_bytes > Bytes{0}
                               ? ", of " + std::to_string(geometry.block_bytes.value) + " bytes"
                               : std::string()) +
                          ": more memory for them, or less for the weights");
  }
  return geometry;
}

/// Why no engine with these limits can serve a request; nothing when only its memory has a say.
[[nodiscard]] inline std::optional<std::string> refusal_of(const Request& r,
                                                           const SchedulerLimits& limits) {
  if (r.prompt_length < Tokens{1}) return "the prompt is empty";
  for (const PromptChunk& chunk : r.chunks) {
    if (chunk.tokens < Tokens{0}) return "a chunk of the prompt has a negative length";
  }
  if (r.sampling.n < 1 || r.sampling.width() < 1)
    return "n, best_of and beam_width must ask for a sequence";
  if (r.sampling.width() > limits.max_sequences) {
    return "the request asks for " + std::to_string(r.sampling.width()) +
           " sequences, max_sequences is " + std::to_string(limits.max_sequences);
  }
  if (r.sampling.beam_width > 0 && r.sampling.n > r.sampling.beam_width) {
    return "n is larger than beam_width";
  }
  if (limits.asynchronous && r.sampling.width() > 1) {
    return "asynchronous scheduling plans before tokens are known: one sequence a request";
  }
  // beams draw together, so all of them fit into one step
  if (Tokens{r.sampling.beam_width} > limits.max_batched_tokens) {
    return "beam_width is " + std::to_string(r.sampling.beam_width) +
           ", and max_batched_tokens is " + std::to_string(limits.max_batched_tokens.value);
  }
  if (r.output_length && *r.output_length < Tokens{1}) return "the output length is below 1";
  if (!r.output_length && r.sampling.max_tokens < Tokens{1}) return "max_tokens is below 1";
  if (r.prompt_length >= limits.max_length) {
    return "the prompt has " + std::to_string(r.prompt_length.value) + " tokens, the limit is " +
           std::to_string(limits.max_length.value - 1);
  }
  return std::nullopt;
}

[[noreturn]] inline void refuse_rank(std::string_view scheduler, RequestId request) {
  throw state_error("scheduler " + std::string(scheduler),
                    "rank() gives NaN for request " + std::to_string(request.value), "a number");
}
[[noreturn]] inline void refuse_allotment(std::string_view scheduler, Tokens given,
                                          Tokens remaining) {
  throw state_error("scheduler " + std::string(scheduler),
                    "allot() gives " + std::to_string(given.value) + " tokens",
                    "0 to the " + std::to_string(remaining.value) + " that remain");
}

}  // namespace quire
