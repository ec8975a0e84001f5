#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <quire/cost_model/affine.hpp>
#include <quire/engine/cluster.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {

using Affine = executor::BasicSimulated<cost_model::Affine>;
using Roofline = executor::Simulated;
using Engines = std::vector<std::unique_ptr<AnyEngine>>;
using Play =
    std::function<ClusterReport(Engines, const ClusterOptions&, const workload::Workload&)>;

template <class R>
ClusterReport play(Engines engines, const ClusterOptions& options, const workload::Workload& w) {
  return Cluster<R>(std::move(engines), options).replay(w);
}
template <class C, class E>
[[nodiscard]] std::unique_ptr<AnyEngine> engine(const typename E::Options& options) {
  return std::make_unique<ErasedEngine<Engine<C, E>>>(options);
}
/// Keys and values of a token, two bytes a number.
[[nodiscard]] inline double kv_bytes(const model::Shape& m) {
  return 4.0 * static_cast<double>(m.layers * m.kv_heads * m.head_dim);
}
[[nodiscard]] inline double mean(const std::vector<double>& v) {
  return v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}
[[nodiscard]] inline double largest(const std::vector<double>& v) {
  return v.empty() ? 0 : *std::max_element(v.begin(), v.end());
}

[[nodiscard]] inline metrics::JsonObject metrics_of(const ClusterReport& report,
                                                    const metrics::Slo& slo) {
  const metrics::ServingSummary seen = report.summary(slo);
  metrics::JsonObject out;
  for (const auto& [name, value] : metrics::named_values(seen)) out.add(name, value);
  if (!slo.empty()) {
    out.add("met_percent", 100 * seen.attainment);
    out.add("missed_percent", 100 * (1 - seen.attainment));
  }
  std::int64_t recomputed = 0, prompts = 0, found = 0;
  for (const metrics::RequestRecord& r : report.records) recomputed += r.recomputed.value;
  for (const EngineCounters& c : report.counters) {
    prompts += c.prompt_tokens.value;
    found += c.prefix_hit_tokens.value;
  }
  const auto& sent = report.transfer_seconds;
  const double latency = 1e-3 * seen.e2el.mean() * static_cast<double>(seen.completed);
  const auto [least, most] = std::minmax_element(report.placed.begin(), report.placed.end());
  return out.add("recomputed_tokens", recomputed)
      .add("hit_rate", ratio(Tokens{found}, Tokens{prompts}))
      .add("moved", report.downtimes.size())
      .add("moves_given_up", report.moves_given_up)
      .add("mean_downtime_ms", 1e3 * mean(report.downtimes))
      .add("max_downtime_ms", 1e3 * largest(report.downtimes))
      .add("mean_transfer_ms", 1e3 * mean(sent))
      .add("max_transfer_ms", 1e3 * largest(sent))
      .add("transfer_percent_of_latency",
           100 * mean(sent) * static_cast<double>(sent.size()) / std::max(1e-9, latency))
      .add("held_tokens_peak", report.held_peak.value)
      .add("least_placed", *least)
      .add("most_placed", *most);
}

/// One run by what names it; the caller adds its axes.
[[nodiscard]] inline Run run_of(std::string_view part, std::string_view router,
                                const workload::Workload& w, std::uint64_t seed,
                                std::function<metrics::JsonObject()> measure) {
  Run run;
  run.row.variant = router;
  run.row.workload = w.name;
  run.row.trace_sha256 = w.provenance.sha256;
  run.row.seed = seed;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("router", router);
  run.measure = std::move(measure);
  return run;
}

}  // namespace quire::experiment
