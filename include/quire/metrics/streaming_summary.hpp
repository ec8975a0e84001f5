#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/metrics/quantile_sketch.hpp>
#include <quire/metrics/slo.hpp>

namespace quire::metrics {

/// What summarize() says of a run, kept up to date request by request in constant memory: for runs of
/// millions of requests. Percentiles are a QuantileSketch's. \unit as in ServingSummary
struct StreamingSummary {
  Slo slo{};
  std::int64_t completed = 0, failed = 0, met = 0, preemptions = 0;
  Tokens input_tokens = 0, output_tokens = 0, prefix_hit = 0;
  QuantileSketch ttft, tpot, itl, e2el, scheduling_delay, normalized_latency;

  void add(const RequestRecord& r) {
    preemptions += r.preemptions;
    if (!r.completed()) {
      ++failed;
      return;
    }
    ++completed;
    met += !slo.empty() && meets(r, slo);
    input_tokens += r.prompt_tokens;
    output_tokens += r.output_tokens;
    prefix_hit += r.prefix_hit;
    ttft.add(1e3 * metrics::ttft(r).value);
    if (const double t = metrics::tpot(r).value; !std::isnan(t)) tpot.add(1e3 * t);
    for (std::size_t i = 1; i < r.token_times.size(); ++i) {
      itl.add(1e3 * (r.token_times[i] - r.token_times[i - 1]));
    }
    e2el.add(1e3 * metrics::e2el(r).value);
    scheduling_delay.add(1e3 * metrics::scheduling_delay(r).value);
    normalized_latency.add(metrics::normalized_latency(r).value);
  }
  void merge(const StreamingSummary& other) {
    completed += other.completed;
    failed += other.failed;
    met += other.met;
    preemptions += other.preemptions;
    input_tokens += other.input_tokens;
    output_tokens += other.output_tokens;
    prefix_hit += other.prefix_hit;
    ttft.merge(other.ttft);
    tpot.merge(other.tpot);
    itl.merge(other.itl);
    e2el.merge(other.e2el);
    scheduling_delay.merge(other.scheduling_delay);
    normalized_latency.merge(other.normalized_latency);
  }
};

/// The numbers of a streaming summary of a run that took `duration`, under the names of ServingSummary.
[[nodiscard]] inline std::vector<std::pair<std::string, double>> named_values(
    const StreamingSummary& s, Seconds duration, std::span<const double> percentiles = {}) {
  static constexpr double p99[] = {99};
  if (percentiles.empty()) percentiles = p99;
  const auto number = [](auto n) { return static_cast<double>(n); };
  const double seconds = duration.value;
  const double all = number(s.completed + s.failed);
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::pair<std::string, double>> out{
      {"completed", number(s.completed)},
      {"failed", number(s.failed)},
      {"duration", seconds},
      {"total_input_tokens", number(s.input_tokens.value)},
      {"total_output_tokens", number(s.output_tokens.value)},
      {"request_throughput", number(s.completed) / seconds},
      {"output_throughput", number(s.output_tokens.value) / seconds},
      {"total_token_throughput", number((s.input_tokens + s.output_tokens).value) / seconds},
      {"request_goodput", s.slo.empty() ? nothing : number(s.met) / seconds},
      {"slo_attainment", s.slo.empty() || all == 0 ? nothing : number(s.met) / all},
      {"preemptions", number(s.preemptions)},
      {"prefix_hit_tokens", number(s.prefix_hit.value)}};
  const auto add = [&](const std::string& name, const QuantileSketch& d) {
    out.emplace_back("mean_" + name, d.mean());
    out.emplace_back("median_" + name, d.median());
    out.emplace_back("std_" + name, d.standard_deviation());
    for (const double p : percentiles) {
      char label[32];
      std::snprintf(label, sizeof label, "p%g_", p);
      out.emplace_back(label + name, d.percentile(p));
    }
  };
  add("ttft_ms", s.ttft);
  add("tpot_ms", s.tpot);
  add("itl_ms", s.itl);
  add("e2el_ms", s.e2el);
  add("scheduling_delay_ms", s.scheduling_delay);
  add("normalized_latency_s", s.normalized_latency);
  return out;
}

}  // namespace quire::metrics
