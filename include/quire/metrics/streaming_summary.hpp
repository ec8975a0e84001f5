#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/metrics/quantile_sketch.hpp>
#include <quire/metrics/serving_summary.hpp>
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
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  const auto met = static_cast<double>(s.met);
  const auto all = static_cast<double>(s.completed + s.failed);
  return detail::named_values(s, duration, s.slo.empty() ? nothing : met / duration.value,
                              s.slo.empty() || all == 0 ? nothing : met / all, percentiles);
}

/// Prints a streaming summary of a run that took `duration` as a ServingSummary is printed.
inline void print(std::ostream& out, const StreamingSummary& s, Seconds duration) {
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  detail::print(out, s, duration,
                s.slo.empty() ? nothing : static_cast<double>(s.met) / duration.value);
}

}  // namespace quire::metrics
