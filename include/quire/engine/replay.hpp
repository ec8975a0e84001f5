#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/engine/step_stats.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/metrics/memory_accounting.hpp>
#include <quire/metrics/request_record.hpp>
#include <quire/metrics/serving_summary.hpp>
#include <quire/metrics/streaming_summary.hpp>
#include <quire/workload/provenance.hpp>

namespace quire {

/// What a replay measures, and when it stops.
struct ReplayOptions {
  /// No step begins at or after this time; requests that have not ended then are counted, not
  /// recorded.
  Seconds until = std::numeric_limits<double>::infinity();
  /// Memory and batch averages count the time in [measure_from, measure_to).
  Seconds measure_from = 0.0;
  Seconds measure_to = std::numeric_limits<double>::infinity();
  /// Requests that arrive before this time are served but not recorded (warm-up).
  Seconds record_from = 0.0;
  metrics::Slo slo{};
  /// Called after each step that ran, with the time at its end.
  std::function<void(const StepStats&, Seconds)> on_step{};
  /// Whether Engine::events() and log-probabilities are there for on_step to read.
  bool keep_text = false;
  /// Keep the duration of every step in Report::step_seconds.
  bool keep_steps = false;
  /// Sums requests up as they end and keeps none: for runs whose records would not fit into memory.
  /// Report::records stays empty then, and Report::streamed is filled.
  bool stream = false;
};

/// A kind of failure: the sentence of the first request that met it, and how many did.
struct Failures {
  std::string reason;  // where numbers differ those of the first, and it says so
  std::int64_t count = 0;
};

/// Counts failures by kind; sentences that differ in numbers alone are one kind.
class FailureCount {
 public:
  void add(const metrics::RequestRecord& r) {
    if (r.completed()) return;
    std::string kind = r.error;
    std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
    const auto [at, fresh] = kinds_.emplace(std::move(kind), found_.size());
    if (fresh) found_.push_back({r.error, 0});
    Failures& alike = found_[at->second];
    ++alike.count;
    if (alike.reason != r.error && !alike.reason.ends_with(of_first)) alike.reason += of_first;
  }
  /// The commonest first.
  [[nodiscard]] std::vector<Failures> sorted() const {
    std::vector<Failures> found = found_;
    std::stable_sort(found.begin(), found.end(),
                     [](const Failures& a, const Failures& b) { return a.count > b.count; });
    return found;
  }

 private:
  static constexpr std::string_view of_first = " (the first of them)";
  std::vector<Failures> found_;
  std::map<std::string, std::size_t> kinds_;
};

/// What a replay found.
struct Report {
  std::string workload;
  std::vector<metrics::RequestRecord> records;  // requests that ended, in order of their end
  metrics::StreamingSummary streamed;
  FailureCount failed;
  metrics::MemoryAccounting memory;
  EngineCounters counters;
  KvGeometry geometry;
  metrics::Slo slo;
  Seconds duration = 0.0;          // on the engine's clock
  Joules joules = 0.0;             // of all steps; 0 where the executor knows of none
  std::int64_t unfinished = 0;     // submitted, not ended at `until`
  std::int64_t not_submitted = 0;  // arrive after `until`
  std::uint64_t decision_hash = 0;
  bool is_streamed = false;  // records are in `streamed`
  std::vector<double> step_seconds;

  [[nodiscard]] metrics::ServingSummary summary() const {
    return metrics::summarize(records, duration, slo);
  }
  /// Why requests failed, the commonest first. Sentences that differ in numbers alone count as one.
  [[nodiscard]] std::vector<Failures> failures() const { return failed.sorted(); }
};

inline std::ostream& operator<<(std::ostream& out, const Report& report) {
  if (report.is_streamed) {
    metrics::print(out, report.streamed, report.duration);
  } else {
    out << report.summary();
  }
  char text[240];
  std::snprintf(text, sizeof text, "KV memory: %lld blocks of %lld tokens",
                static_cast<long long>(report.geometry.device_blocks.value),
                static_cast<long long>(report.geometry.block_tokens.value));
  out << text;
  if (report.memory.iterations() == 0) {
    out << "; no step was measured\n";
  } else {
    const auto averages = report.memory.by_time();
    std::snprintf(text, sizeof text,
                  "; %.1f %% token states, %.1f %% reserved, %.1f %% internal, %.1f %% rounding, "
                  "%.1f %% holes, %.1f %% free\nmean batch: %.2f requests, %.1f tokens\n",
                  100 * averages.shares.token_states, 100 * averages.shares.reserved,
                  100 * averages.shares.internal, 100 * averages.shares.rounding,
                  100 * averages.shares.holes, 100 * averages.shares.free,
                  averages.running_requests, averages.batched_tokens);
    out << text;
  }
  if (report.counters.prefix_hit_tokens.value > 0) {
    std::snprintf(text, sizeof text, "prefix cache: %.1f %% of the prompts' tokens found\n",
                  100 * static_cast<double>(report.counters.prefix_hit_tokens.value) /
                      static_cast<double>(report.counters.prompt_tokens.value));
    out << text;
  }
  if (report.counters.steps_over_budget > 0) {
    out << "prompts longer than max_batched_tokens, each in a step of its own: "
        << report.counters.steps_over_budget << '\n';
  }
  for (const Failures& f : report.failures()) {
    out << "failed requests: " << f.count << ": " << f.reason << '\n';
  }
  if (report.counters.swaps_refused > 0) {
    out << "swaps refused (the host tier was full; recomputed): " << report.counters.swaps_refused
        << '\n';
  }
  if (report.unfinished > 0) out << "unfinished requests: " << report.unfinished << '\n';
  return out;
}

/// Plays a workload into an engine in order of arrival and runs it until all requests have ended.
/// Works on Engine and on AnyEngine. Time is the engine's: idle stretches are skipped.
/// \errors quire::Error (state) when the engine holds requests and can neither run nor say when;
/// that is a fault of a policy.
template <class AnEngine>
[[nodiscard]] Report replay(AnEngine& engine, const workload::Workload& workload,
                            const ReplayOptions& options = {}) {
  Report report;
  report.workload = workload.name;
  report.memory = metrics::MemoryAccounting(options.measure_from, options.measure_to);
  report.slo = options.slo;
  const auto& requests = workload.requests;
  std::size_t next = 0;
  std::int64_t ended = 0;
  report.streamed.slo = options.slo;
  report.is_streamed = options.stream;
  engine.keep({.times = !options.stream, .text = options.keep_text});
  const auto collect = [&] {
    for (const auto& group : engine.take_finished()) {
      ++ended;
      if (group->timeline.arrival < options.record_from) continue;
      metrics::RequestRecord record = metrics::record_of(*group);
      report.failed.add(record);
      if (options.stream) {
        report.streamed.add(record);
      } else {
        report.records.push_back(std::move(record));
      }
    }
  };
  while (next < requests.size() || engine.has_work()) {
    if (engine.now() >= options.until) break;
    while (next < requests.size() && requests[next].arrival <= engine.now()) {
      engine.submit(requests[next++]);
    }
    const StepStats& stats = engine.step();
    collect();
    if (!stats.idle) {
      report.memory.add(stats, engine.now());
      report.joules += stats.joules;
      if (options.stream && engine.now() >= options.record_from) {
        for (const auto& [gap, count] : stats.token_gaps) {
          report.streamed.itl.add(1e3 * gap, count);
        }
      }
      if (options.keep_steps) report.step_seconds.push_back(stats.seconds.value);
      if (options.on_step) options.on_step(stats, engine.now());
      continue;
    }
    std::optional<Seconds> later = stats.wake_at;
    if (next < requests.size()) {
      later = later ? std::min(*later, requests[next].arrival) : requests[next].arrival;
    }
    if (!later) {
      if (!engine.has_work()) break;
      throw state_error("scheduler " + std::string(stats.scheduler),
                        "requests wait, admit() holds them back or allot() gives nothing, and "
                        "wake_at() names no time to ask again",
                        "a step that runs, or a time");
    }
    if (*later <= engine.now()) {
      throw state_error("scheduler " + std::string(stats.scheduler),
                        "wake_at() lies in the past and nothing runs", "a later time");
    }
    engine.advance_to(*later);
  }
  collect();
  report.duration = engine.now();
  report.counters = engine.counters();
  report.geometry = engine.geometry();
  report.decision_hash = engine.decision_hash();
  report.unfinished = static_cast<std::int64_t>(next) - ended;
  report.not_submitted = static_cast<std::int64_t>(requests.size() - next);
  return report;
}

}  // namespace quire
