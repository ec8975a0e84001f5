#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <quire/scheduler/sequence_group.hpp>

namespace quire::metrics {

/// What is kept of a request when it has ended. Times are on the engine's clock.
struct RequestRecord {
  RequestId id{};
  TenantId tenant{};
  Seconds arrival = 0.0;
  Seconds queued = 0.0;  // when the engine took it in: at or after its arrival
  Seconds first_scheduled = 0.0;
  Seconds first_token = 0.0;
  Seconds last_token = 0.0;
  Seconds finished = 0.0;  // the client has the whole answer; with request-level batches, their end
  std::vector<double> token_times{};  // of the first sequence, seconds; empty: not recorded
  Tokens prompt_tokens = 0;
  Tokens output_tokens = 0;    // of all sequences together
  std::int64_t sequences = 1;  // samples or beams
  std::int64_t preemptions = 0;
  Tokens recomputed = 0;  // tokens processed again after preemptions
  Tokens prefix_hit = 0;  // prompt tokens found in the prefix index
  std::string error{};    // why it failed; empty: it completed

  [[nodiscard]] bool completed() const { return error.empty(); }
  /// Mean output length of its sequences.
  [[nodiscard]] double output_length() const {
    return static_cast<double>(output_tokens.value) / static_cast<double>(sequences);
  }
};

/// The record of a request that an engine has finished.
[[nodiscard]] inline RequestRecord record_of(const SequenceGroup& group) {
  const Timeline& t = group.timeline;
  RequestRecord r;
  r.id = group.request.id;
  r.tenant = group.request.tenant;
  r.arrival = t.arrival;
  r.queued = t.queued;
  r.first_scheduled = t.first_scheduled;
  r.first_token = t.first_token;
  r.last_token = t.last_token;
  r.finished = t.finished;
  r.token_times = t.token_times;
  r.prompt_tokens = group.prompt_length();
  for (const Sequence& s : group.sequences) r.output_tokens += s.length - group.prompt_length();
  r.sequences = std::max<std::int64_t>(1, static_cast<std::int64_t>(group.sequences.size()));
  r.preemptions = t.preemptions;
  r.recomputed = t.recomputed;
  r.prefix_hit = t.prefix_hit;
  r.error = group.error;
  if (r.error.empty()) {
    for (const Sequence& s : group.sequences) {
      if (s.finish == FinishReason::abort) r.error = "aborted";
    }
  }
  if (r.error.empty() && r.output_tokens < Tokens(1)) r.error = "no token was generated";
  return r;
}

/// Time to first token: from arrival to the first token. \source vLLM's benchmark.
[[nodiscard]] inline Seconds ttft(const RequestRecord& r) { return r.first_token - r.arrival; }

/// End-to-end latency: from arrival to the whole answer. \source vLLM's benchmark.
[[nodiscard]] inline Seconds e2el(const RequestRecord& r) { return r.finished - r.arrival; }

/// Time per output token after the first: (end-to-end - TTFT) / (output tokens - 1).
/// NaN for a single token. \source vLLM's benchmark.
[[nodiscard]] inline Seconds tpot(const RequestRecord& r) {
  if (r.output_length() <= 1) return std::numeric_limits<double>::quiet_NaN();
  return (e2el(r) - ttft(r)) / (r.output_length() - 1);
}

/// End-to-end latency over output length, waiting included.
/// \unit seconds a token. \source Kwon et al., SOSP '23, section 6.1; Yu et al., "Orca", OSDI '22.
[[nodiscard]] inline Seconds normalized_latency(const RequestRecord& r) {
  return e2el(r) / r.output_length();
}

/// From arrival to the first time the request is scheduled.
[[nodiscard]] inline Seconds scheduling_delay(const RequestRecord& r) {
  return r.first_scheduled - r.arrival;
}

/// Gaps between consecutive tokens of the first sequence; also known as time between tokens.
[[nodiscard]] inline std::vector<double> inter_token_latencies(const RequestRecord& r) {
  std::vector<double> gaps;
  for (std::size_t i = 1; i < r.token_times.size(); ++i) {
    gaps.push_back(r.token_times[i] - r.token_times[i - 1]);
  }
  return gaps;
}

}  // namespace quire::metrics
