#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/cells.hpp>
#include <experiments/common/flag_words.hpp>
#include <experiments/common/make_run.hpp>
#include <experiments/common/peak_memory.hpp>
#include <experiments/common/rate_search.hpp>
#include <experiments/common/terminal.hpp>
#include <quire/engine/replay.hpp>
#include <quire/metrics/chrome_trace.hpp>
#include <quire/metrics/qoe.hpp>
#include <quire/metrics/result_row.hpp>
#include <quire/metrics/service.hpp>
#include <quire/metrics/utilization.hpp>

namespace quire::experiment {

/// How cells are measured; the same for all cells of a run.
struct Measurement {
  metrics::Slo slo{};
  std::vector<double> percentiles{99};
  bool stream = false;   // sums up as requests end, in constant memory: percentiles within 0.1 %
  double timeout_s = 0;  // wall-clock seconds for a cell; 0: none
  std::filesystem::path chrome_trace{};  // empty: none
  RateSearch search{};
};

/// What a cell gave.
struct Outcome {
  Report report{};
  double wall_seconds = 0;
  std::int64_t evicted_blocks = 0;
  std::int64_t requests = 0;              // of the workload, as long as it really is
  std::int64_t lines_without_tokens = 0;  // of a trace, left out
  std::int64_t prompts_over_budget = 0;   // longer than max_num_batched_tokens
  std::int64_t outputs_cut = 0;           // requests that ask for more than max_model_len leaves
  double mfu = std::numeric_limits<double>::quiet_NaN();  // where the device's peak is known
  std::string_view energy_from{};                         // what joules rest on; empty: not known
  std::optional<metrics::RateInterval> highest_rate{};    // where it was looked for
  double rate = 0;                                        // and the rate of this outcome
  /// Memory of this process that was resident at once, at most, where the run was measured.
  std::optional<std::int64_t> peak_memory{};
  /// Blocks of text that lay in the disk tier before the run, where it has one of its own.
  std::optional<BlockCount> found_on_disk{};
};

namespace detail {

/// Draws each step on a timeline: one track per sequence, one for preemptions and the pool.
class Timeline {
 public:
  explicit Timeline(const std::filesystem::path& path) : trace_(path) {
    trace_.name_process(pool, "KV pool");
    trace_.name_process(sequences, "sequences");
    trace_.name_track(pool, 0, "preemptions");
  }
  void step(const StepPlan& plan, const StepStats& stats, Seconds end) {
    const Seconds begin = end - stats.seconds;
    for (const SequencePlan& s : plan.sequences) {
      if (s.admitted) {
        trace_.name_track(sequences, s.sequence.value,
                          "request " + std::to_string(s.request.value));
      }
      const bool decode = s.computed >= s.prompt_tokens;
      trace_.span(sequences, s.sequence.value, decode ? "decode" : "prefill", begin, stats.seconds,
                  metrics::JsonObject()
                      .add("tokens", s.tokens.value)
                      .add("computed", s.computed.value)
                      .add("step", plan.step));
    }
    for (const RequestId r : plan.preempted) {
      trace_.instant(pool, 0, "preempted request " + std::to_string(r.value), begin);
    }
    const MemoryUsage& u = stats.usage;
    trace_.counter(pool, "KV tokens", end,
                   metrics::JsonObject()
                       .add("token states", u.token_states.value)
                       .add("reserved", u.reserved.value)
                       .add("internal", u.internal.value)
                       .add("rounding", u.rounding.value)
                       .add("holes", u.holes.value)
                       .add("free", u.free.value));
    trace_.counter(pool, "requests", end,
                   metrics::JsonObject()
                       .add("running", stats.running_groups)
                       .add("waiting", stats.waiting_groups)
                       .add("swapped", stats.swapped_groups));
  }
  void close() { trace_.close(); }

 private:
  static constexpr std::uint64_t pool = 1;
  static constexpr std::uint64_t sequences = 2;
  metrics::ChromeTrace trace_;
};

}  // namespace detail

/// Share of the devices' peak that the model's operations for what the requests asked were; what an
/// engine computes again does not count.
[[nodiscard]] inline double mfu_of(const Report& report, const Settings& settings) {
  const executor::Simulated::Options machine = simulated_options(settings);
  metrics::ModelFlops work(machine.model);
  for (const metrics::RequestRecord& r : report.records) {
    if (!r.completed()) continue;
    work.add(r.prefix_hit, r.prompt_tokens - r.prefix_hit, 1);
    const Tokens each = r.output_tokens.value / r.sequences;
    for (std::int64_t s = 0; s < r.sequences; ++s) {
      for (Tokens t = 1; t < each; t += 1) work.add(r.prompt_tokens + t - 1, 1, 1);
    }
  }
  if (!(machine.hardware.peak_flops > 0)) return std::numeric_limits<double>::quiet_NaN();
  return work.mfu(report.duration, machine.hardware.peak_flops, machine.tensor_parallel);
}

/// Runs one cell to its end. What it has cached is left in its disk tier, where it has one.
/// \errors Interrupted; quire::Error: the variant cannot run, the model does not fit, time is up.
[[nodiscard]] inline Outcome run_cell(const Cell& cell, const workload::Workload& requests,
                                      const Measurement& how) {
  const RunVariant& variant = *cell.variant;
  if (!variant.make) {
    throw usage_error(variant.name, "cannot run: " + std::string(variant.incompatible),
                      "a variant whose slots go together");
  }
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const bool measured = variant.mode == metrics::Mode::measured;
  if (measured) forget_peak_memory();
  const auto engine = variant.make(cell.settings);
  std::optional<detail::Timeline> timeline;
  if (!how.chrome_trace.empty()) timeline.emplace(how.chrome_trace);
  Outcome out;
  std::uint64_t steps = 0;
  ReplayOptions options;
  options.slo = how.slo;
  options.stream = how.stream;
  options.until = cell.settings.until_s;
  options.record_from = options.measure_from = cell.settings.warmup_s;
  options.on_step = [&](const StepStats& stats, Seconds end) {
    Interruption::check();
    if (how.timeout_s > 0 && ++steps % 256 == 0 && elapsed() > how.timeout_s) {
      throw state_error(variant.name, "has run longer than --timeout", "a longer --timeout");
    }
    const StepPlan& plan = engine->last_plan();
    out.evicted_blocks += static_cast<std::int64_t>(plan.evicted.size());
    if (timeline) timeline->step(plan, stats, end);
  };
  out.report = replay(*engine, requests, options);
  if (timeline) timeline->close();
  out.wall_seconds = elapsed();
  if (measured) out.peak_memory = peak_memory();
  if (lies_on_disk(cell)) {
    out.found_on_disk = engine->counters().restored_blocks;
    engine->persist();
  }
  if (variant.mode == metrics::Mode::simulated && !how.stream) {
    out.mfu = mfu_of(out.report, cell.settings);
  }
  if (variant.mode == metrics::Mode::simulated) {
    out.energy_from = simulated_options(cell.settings).hardware.energy_from;
  }
  out.requests = static_cast<std::int64_t>(requests.requests.size());
  out.lines_without_tokens = static_cast<std::int64_t>(requests.provenance.dropped);
  const Tokens longest = cell.resolved.max_model_len;
  out.outputs_cut = std::count_if(requests.requests.begin(), requests.requests.end(),
                                  [longest](const Request& q) {
                                    return q.output_length && q.prompt_length < longest &&
                                           q.prompt_length + *q.output_length > longest;
                                  });
  if (unread_because("max_num_batched_tokens", cell.settings, variant).empty()) {
    const Resolved& r = cell.resolved;
    out.prompts_over_budget =
        std::count_if(requests.requests.begin(), requests.requests.end(), [&r](const Request& q) {
          return q.prompt_length > Tokens{r.max_num_batched_tokens} &&
                 q.prompt_length < Tokens{r.max_model_len};
        });
  }
  return out;
}

[[nodiscard]] inline std::vector<std::pair<std::string, double>> values_of(
    const Report& r, const std::vector<double>& percentiles) {
  return r.is_streamed ? named_values(r.streamed, r.duration, percentiles)
                       : named_values(r.summary(), percentiles);
}

/// Bisects for the highest rate at which a cell keeps what is asked, to 2 %; the outcome is that of
/// the rate found, or of the lowest one where not even that keeps it. \errors as run_cell().
[[nodiscard]] inline Outcome run_at_highest_rate(const Cell& cell, const Measurement& how) {
  Outcome best;
  double best_rate = 0;
  const auto at = [&](double rate) {
    Cell one = cell;
    one.settings.request_rate = rate;
    Outcome out = run_cell(one, workload_of(one.settings), how);
    const bool kept = out.report.unfinished == 0 &&
                      keeps(how.search, !how.slo.empty(), values_of(out.report, how.percentiles));
    if (best_rate == 0 || (kept && rate > best_rate)) {
      best_rate = rate;
      best = std::move(out);
    }
    return kept ? 1.0 : 0.0;
  };
  const metrics::RateInterval found =
      metrics::highest_rate_between(at, 1, how.search.low, how.search.high, 0.02);
  best.highest_rate = found;
  best.rate = best_rate;
  return best;
}

/// What went wrong, commonest first: `12: the prompt has 5000 tokens, --max-model-len leaves it 2047; 3: ...`.
[[nodiscard]] inline std::string failures_of(const Report& report) {
  constexpr std::size_t most = 3;
  std::string text;
  const auto failures = report.failures();
  for (std::size_t i = 0; i < failures.size() && i < most; ++i) {
    text += (i == 0 ? "" : "; ") + std::to_string(failures[i].count) + ": " +
            in_flags(failures[i].reason);
  }
  if (failures.size() > most) {
    text += "; and " + std::to_string(failures.size() - most) + " other reasons";
  }
  return text;
}

/// The numbers of an outcome, in the order of a row. timed: also how long the run itself took, which
/// is all that differs when a simulated run is repeated.
[[nodiscard]] inline metrics::JsonObject metrics_of(const Outcome& outcome,
                                                    const std::vector<double>& percentiles,
                                                    bool timed) {
  const Report& r = outcome.report;
  metrics::JsonObject out;
  out.add("requests", outcome.requests);
  if (outcome.highest_rate) {
    out.add("highest_rate", outcome.highest_rate->attains)
        .add("highest_rate_fails_at", outcome.highest_rate->fails);
  }
  for (const auto& [name, value] : values_of(r, percentiles)) {
    if (name != "preemptions" && name != "prefix_hit_tokens") out.add(name, value);
  }
  const auto memory = r.memory.by_time();
  out.add("token_states_share", memory.shares.token_states)
      .add("reserved_share", memory.shares.reserved)
      .add("internal_share", memory.shares.internal)
      .add("rounding_share", memory.shares.rounding)
      .add("holes_share", memory.shares.holes)
      .add("free_share", memory.shares.free)
      .add("mean_batched_requests", memory.running_requests)
      .add("mean_batched_tokens", memory.batched_tokens)
      .add("peak_batched_requests", r.memory.peak_running_requests())
      .add("block_saving", r.memory.block_saving());
  out.add("steps", r.counters.steps)
      .add("preemptions", r.counters.preemptions)
      .add("swap_preemptions", r.counters.swap_preemptions)
      .add("recompute_preemptions", r.counters.preemptions - r.counters.swap_preemptions)
      .add("recomputed_tokens", r.counters.recomputed_tokens.value)
      .add("swapped_out_blocks", r.counters.swapped_out_blocks.value)
      .add("swapped_out_tokens", r.counters.swapped_out_tokens.value)
      .add("bytes_moved", r.counters.bytes_moved.value)
      .add("swaps_refused", r.counters.swaps_refused)
      .add("evictions", outcome.evicted_blocks)
      .add("hit_rate", ratio(r.counters.prefix_hit_tokens, r.counters.prompt_tokens))
      .add("block_hit_rate", ratio(r.counters.prefix_hit_blocks, r.counters.prompt_blocks))
      .add("drafted_tokens", r.counters.drafted_tokens.value)
      .add("accepted_tokens", r.counters.accepted_tokens.value)
      .add("rejected", r.counters.rejected)
      .add("unfinished", r.unfinished + r.not_submitted)
      .add("failures", failures_of(r))
      .add("prompts_over_budget", outcome.prompts_over_budget)
      .add("outputs_cut", outcome.outputs_cut)
      .add("lines_without_tokens", outcome.lines_without_tokens)
      .add("kv_blocks", r.geometry.device_blocks.value)
      .add("kv_bytes_per_token", static_cast<double>(r.geometry.block_bytes.value) /
                                     static_cast<double>(r.geometry.block_tokens.value))
      .add("kv_pool_bytes", r.geometry.block_bytes.value * r.geometry.device_blocks.value);
  if (outcome.found_on_disk) out.add("disk_blocks_found", outcome.found_on_disk->value);
  if (outcome.peak_memory) out.add("peak_memory_bytes", *outcome.peak_memory);
  if (timed) out.add("wall_seconds", outcome.wall_seconds);
  if (!r.is_streamed) {
    double qoe = 0, readers = 0;
    for (const metrics::RequestRecord& record : r.records) {
      if (const double q = metrics::qoe(record); !std::isnan(q)) {
        qoe += q;
        readers += 1;
      }
    }
    const auto service = metrics::service_over_time(r.records, r.duration, 60);
    out.add("mean_qoe", qoe / readers)
        .add("service_difference", metrics::service_difference(service))
        .add("service_jain_index", metrics::service_jain_index(service))
        .add("speed_jain_index", metrics::speed_jain_index(r.records));
  }
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  out.add("mfu", outcome.mfu)
      .add("joules", outcome.energy_from.empty() ? unknown : r.joules.value)
      .add("joules_from", outcome.energy_from.empty() ? "not known" : outcome.energy_from);
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(r.decision_hash));
  return out.add("decision_hash", hash);
}

}  // namespace quire::experiment
