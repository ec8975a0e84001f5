#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/calibrated.hpp>
#include <experiments/quality/pruning_runs.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <quire/weight_format/low_rank.hpp>
#include <quire/weight_format/weight_format.hpp>

/// Layers as two matrices of a low rank: what a share of their numbers less costs, and what its bytes buy otherwise.
namespace quire::experiment {
namespace detail {

inline constexpr std::pair<std::string_view, weight_format::LowRankOptions::Method>
    low_rank_methods[] = {{"svd", weight_format::LowRankOptions::Method::svd},
                          {"asvd", weight_format::LowRankOptions::Method::asvd},
                          {"svd_llm", weight_format::LowRankOptions::Method::svd_llm}};
[[nodiscard]] inline std::string low_rank_name(std::string_view method, unsigned percent) {
  return std::string(method) + "_" + std::to_string(percent) + "_percent";
}

struct LowRankRun {
  WeightRun run;
  double share = 0;  // of each layer's numbers that goes
};
/// `<method>_<share>_percent` in bf16; SVD-LLM at more shares, and in 8 bits too.
[[nodiscard]] inline std::vector<LowRankRun> low_rank_runs(
    const std::shared_ptr<CalibrationTexts>& seen) {
  std::vector<LowRankRun> runs;
  for (const auto& [name, method] : low_rank_methods) {
    const bool best = method == weight_format::LowRankOptions::Method::svd_llm;
    for (const unsigned percent : {10u, 20u, 30u, 40u, 50u, 60u, 70u}) {
      const bool common = percent == 20 || percent == 40 || percent == 60;
      if (!best && !common) continue;
      weight_format::LowRankOptions o;
      o.method = method;
      o.share = percent / 100.0;
      const WeightRun run{low_rank_name(name, percent), &layers_in<weight_format::Bf16>(),
                          [o, seen](const checkpoint::Checkpoint& model) {
                            return quality::factor(model, seen->texts(), o);
                          }};
      runs.push_back({run, o.share});
      if (!best || !common) continue;
      runs.push_back({{run.name + "_q8_0", &layers_in<weight_format::Q80>(), run.make}, o.share});
    }
  }
  return runs;
}

/// What the literature says is better, and what worse; then what takes fewer bytes, and loses less.
inline constexpr std::pair<std::string_view, std::string_view> low_rank_orders[] = {
    {"asvd_20_percent", "svd_20_percent"},
    {"svd_llm_20_percent", "asvd_20_percent"},
    {"asvd_40_percent", "svd_40_percent"},
    {"svd_llm_40_percent", "asvd_40_percent"},
    {"asvd_60_percent", "svd_60_percent"},
    {"svd_llm_60_percent", "asvd_60_percent"},
    {"q8_0", "svd_llm_40_percent"},
    {"q4_0", "svd_llm_70_percent"},
    {"wanda_50_percent", "svd_llm_40_percent"},
    {"q4_0", "wanda_70_percent"}};

/// Of the layers' numbers, the part that is left: of both factors, and of layers that stay whole. What fills a
/// factor's last panel in memory is not in it.
[[nodiscard]] inline double numbers_left(const checkpoint::Checkpoint& model, double share) {
  double left = 0, whole = 0;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    if (t.name.find("layers.") == std::string_view::npos || t.shape.size() != 2) continue;
    const auto outputs = static_cast<std::size_t>(t.shape[0]);
    const auto inputs = static_cast<std::size_t>(t.shape[1]);
    const std::size_t rank = weight_format::rank_without(share, outputs, inputs);
    whole += static_cast<double>(outputs * inputs);
    left += static_cast<double>(rank == 0 ? outputs * inputs : rank * (outputs + inputs));
  }
  return left / whole;
}

/// The model with all numbers in fp32, so that factors are not rounded.
[[nodiscard]] inline checkpoint::Checkpoint in_fp32(const checkpoint::Checkpoint& model) {
  checkpoint::TensorList list;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    std::vector<float> numbers(static_cast<std::size_t>(t.elements()));
    checkpoint::read_floats(t, 0, numbers);
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape.begin(), t.shape.end()},
             std::move(numbers));
  }
  checkpoint::Checkpoint out = model;
  out.tensors = list.set(model.tensors.where() + " in fp32");
  return out;
}

/// What the layers' outputs lose on the calibration texts, and how far that is from what the method says.
[[nodiscard]] inline Run layer_loss_run(const SharedSubject& subject,
                                        const std::shared_ptr<CalibrationTexts>& seen,
                                        std::string_view name,
                                        weight_format::LowRankOptions::Method method,
                                        unsigned percent) {
  Run run;
  run.row.variant = low_rank_name(name, percent);
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", "low_rank").add("layers", run.row.variant).add("method", name);
  run.measure = [subject, seen, method, percent, label = run.row.variant] {
    weight_format::LowRankOptions o;
    o.method = method;
    o.share = percent / 100.0;
    std::vector<model::LayerError> errors;
    (void)quality::factor(in_fp32(subject->model()), seen->texts(), o, &errors);
    double lost = 0, apart = 0;
    for (const model::LayerError& e : errors) {
      lost += e.error / e.outputs / static_cast<double>(errors.size());
      apart = std::max(apart, std::abs(e.error - e.promised) / e.promised);
    }
    std::printf("%-32s layers lose %.3f %% of their outputs' squares\n", label.c_str(), 100 * lost);
    metrics::JsonObject out;
    out.add("lost_percent", 100 * lost).add("matrices", std::ssize(errors));
    if (method == weight_format::LowRankOptions::Method::svd_llm) out.add("identity_error", apart);
    return out;
  };
  return run;
}

}  // namespace detail

/// Rows with part=low_rank.
inline void add_low_rank_runs(const SharedSubject& subject, const std::string& source,
                              const Options& options, std::vector<Run>& runs) {
  const auto seen =
      std::make_shared<CalibrationTexts>(source + "/experiments/quality/calibration.jsonl", subject,
                                         options.pick<std::size_t>(3, 16, 16));
  std::vector<WeightRun> weights;
  for (const detail::LowRankRun& w : detail::low_rank_runs(seen)) {
    weights.push_back(w.run);
    metrics::JsonObject axes;
    axes.add("part", "low_rank").add("kv_format", "fp32").add("weight_format", w.run.name);
    Run run = detail::weight_run(subject, w.run, std::move(axes));
    run.measure = [subject, w, measure = std::move(run.measure)] {
      const double left = detail::numbers_left(subject->model(), w.share);
      return measure()
          .add("factor_bits_per_weight", 8 * w.run.codec->weight_bytes(128) * left)
          .add("removed_numbers_percent", 100 * (1 - left));
    };
    runs.push_back(std::move(run));
  }
  for (const auto& [name, method] : detail::low_rank_methods) {
    for (const unsigned percent : {20u, 40u, 60u}) {
      runs.push_back(detail::layer_loss_run(subject, seen, name, method, percent));
    }
  }
  for (auto others : {detail::pruning_runs(seen), detail::weight_runs(seen)}) {
    weights.insert(weights.end(), others.begin(), others.end());
  }
  const auto named = [&](std::string_view name) -> const WeightRun& {
    return *std::find_if(weights.begin(), weights.end(),
                         [&](const WeightRun& w) { return w.name == name; });
  };
  for (const auto& [better, worse] : detail::low_rank_orders) {
    metrics::JsonObject axes;
    axes.add("part", "low_rank").add("better", better).add("worse", worse);
    runs.push_back(detail::weight_order_run(subject, named(better), named(worse), std::move(axes)));
  }
}

}  // namespace quire::experiment
