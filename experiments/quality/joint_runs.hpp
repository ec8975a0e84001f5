#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>

/// KV formats and weight formats together: do their costs add up?
namespace quire::experiment {
namespace detail {

/// interaction_percent: what both cost together beyond the sum of each alone, on the same tokens.
[[nodiscard]] inline Run joint_run(const SharedSubject& subject, const quality::Format& kv,
                                   const WeightRun& weights) {
  Run run;
  run.row.variant = std::string(kv.codec->name) + "+" + weights.name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", "together").add("kv_format", kv.codec->name);
  run.row.axes.add("weight_format", weights.name);
  run.measure = [subject, kv, weights] {
    const auto packed = subject->reading(kv);
    const auto rounded = weight_reading(*subject, weights);
    const auto base = subject->baseline();
    const std::string name = std::string(kv.codec->name) + " + " + weights.name;
    const auto both = subject->reading(name, [&](const Subject::SharedReading& expected) {
      quality::ReadOptions how;
      how.weights = weights.codec;
      how.calibration = subject->calibration();
      return quality::read_texts(kv,
                                 weights.make ? weights.make(subject->model()) : subject->model(),
                                 subject->texts(), expected, how);
    });
    const model::Shape& s = subject->model().config.shape;
    const double values = 2.0 * static_cast<double>(s.layers * s.kv_heads * s.head_dim);
    const double matrices =
        static_cast<double>(s.layers * (s.attention_weights() + s.mlp_weights()));
    const double bits = 8 * both->pool_bytes_per_token() / values;
    metrics::JsonObject out = losses(*subject, *both, name, bits);
    const Interval more = quality::over_positions(*both, [&](std::size_t i, std::size_t p) {
      return static_cast<double>(both->nats[i][p]) - static_cast<double>(packed->nats[i][p]) -
             static_cast<double>(rounded->nats[i][p]) + static_cast<double>(base->nats[i][p]);
    });
    out.add("interaction_percent", as_percent(more.mean))
        .add("interaction_percent_low", as_percent(more.low))
        .add("interaction_percent_high", as_percent(more.high))
        .add("pool_bits_per_value", bits)
        .add("stored_bits_per_weight", 8 * static_cast<double>(both->layer_weight_bytes) / matrices)
        .add("weight_bytes", static_cast<std::int64_t>(both->weight_bytes));
    return out;
  };
  return run;
}

/// What an axis names; empty where it is not given.
[[nodiscard]] inline std::vector<std::string> named_on(const Options& options,
                                                       std::string_view axis) {
  for (const Axis& a : options.axes) {
    if (a.name == axis) return a.values;
  }
  return {};
}

}  // namespace detail

/// Every pair of the two axes where both are given; a few pairs where neither is.
inline void add_joint_runs(const SharedSubject& subject, const std::string& source,
                           const Options& options, const std::vector<quality::Format>& formats,
                           std::vector<Run>& runs) {
  std::vector<std::string> kv = detail::named_on(options, "kv_format");
  std::vector<std::string> weights = detail::named_on(options, "weight_format");
  if (kv.empty() != weights.empty()) return;  // one axis alone was asked for
  if (kv.empty()) {
    kv = {"int8_per_token_head", "int4_per_token_head", "kivi2_g32_r128"};
    weights = {"w8a8", "nf4", "gptq_int4_zero_point_g128"};
  }
  const auto seen =
      std::make_shared<CalibrationTexts>(source + "/experiments/quality/calibration.jsonl", subject,
                                         options.pick<std::size_t>(3, 16, 16));
  const std::vector<WeightRun> all = detail::weight_runs(seen);
  for (const quality::Format& f : formats) {
    if (f.codec->name == "fp32" || std::find(kv.begin(), kv.end(), f.codec->name) == kv.end()) {
      continue;
    }
    for (const WeightRun& w : all) {
      if (std::find(weights.begin(), weights.end(), w.name) == weights.end()) continue;
      runs.push_back(detail::joint_run(subject, f, w));
    }
  }
}

}  // namespace quire::experiment
