#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/calibrated.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <quire/weight_format/pruning.hpp>
#include <quire/weight_format/sparse_24.hpp>
#include <quire/weight_format/weight_format.hpp>

/// Weights that are left out: how much of them, chosen how, and what their bytes buy otherwise.
namespace quire::experiment {
namespace detail {

/// Ways to prune by name: `<method>_<share>_percent`, Wanda's in bitmaps, others' zeros as weights among weights;
/// `<method>_2_of_4`, stored without zeros.
[[nodiscard]] inline std::vector<WeightRun> pruning_runs(
    const std::shared_ptr<CalibrationTexts>& seen) {
  using Method = weight_format::PruningOptions::Method;
  constexpr std::pair<std::string_view, Method> methods[] = {{"magnitude_", Method::magnitude},
                                                             {"wanda_", Method::wanda},
                                                             {"sparse_gpt_", Method::sparse_gpt}};
  std::vector<WeightRun> runs;
  for (const auto& [prefix, method] : methods) {
    const auto add = [&, prefix = prefix](const std::string& pattern,
                                          const weight_format::WeightCodec& codec,
                                          const weight_format::PruningOptions& o) {
      runs.push_back(
          {std::string(prefix) + pattern, &codec, [o, seen](const checkpoint::Checkpoint& model) {
             return quality::prune(model, seen->texts(), o);
           }});
    };
    weight_format::PruningOptions o;
    o.method = method;
    // Wanda keeps as many of each output, which a bitmap has room for.
    const bool rows = method == Method::wanda;
    const auto share = [&]<unsigned percent>(std::integral_constant<unsigned, percent>) {
      o.share = percent / 100.0;
      add(std::to_string(percent) + "_percent",
          rows ? layers_in<weight_format::Bitmap<100 - percent>>()
               : layers_in<weight_format::Bf16>(),
          o);
    };
    share(std::integral_constant<unsigned, 30>{});
    share(std::integral_constant<unsigned, 50>{});
    share(std::integral_constant<unsigned, 60>{});
    share(std::integral_constant<unsigned, 70>{});
    o.two_of_four = true;
    add("2_of_4", layers_in<weight_format::Sparse24>(), o);
  }
  return runs;
}

/// What the literature says is better, and what worse.
inline constexpr std::pair<std::string_view, std::string_view> pruning_orders[] = {
    {"wanda_50_percent", "magnitude_50_percent"},
    {"sparse_gpt_50_percent", "wanda_50_percent"},
    {"wanda_2_of_4", "magnitude_2_of_4"},
    {"sparse_gpt_2_of_4", "wanda_2_of_4"},
    {"wanda_50_percent", "wanda_2_of_4"},
    {"q4_0", "sparse_gpt_2_of_4"},
    {"rtn_int3_zero_point_g128", "sparse_gpt_2_of_4"}};

}  // namespace detail

/// Rows with part=pruning.
inline void add_pruning_runs(const SharedSubject& subject, const std::string& source,
                             const Options& options, std::vector<Run>& runs) {
  const auto seen =
      std::make_shared<CalibrationTexts>(source + "/experiments/quality/calibration.jsonl", subject,
                                         options.pick<std::size_t>(3, 16, 16));
  std::vector<WeightRun> weights = detail::pruning_runs(seen);
  for (const WeightRun& w : weights) {
    metrics::JsonObject axes;
    axes.add("part", "pruning").add("kv_format", "fp32").add("weight_format", w.name);
    runs.push_back(detail::weight_run(subject, w, std::move(axes)));
  }
  const std::vector<WeightRun> rounded = detail::weight_runs(seen);
  weights.insert(weights.end(), rounded.begin(), rounded.end());
  const auto named = [&](std::string_view name) -> const WeightRun& {
    return *std::find_if(weights.begin(), weights.end(),
                         [&](const WeightRun& w) { return w.name == name; });
  };
  for (const auto& [better, worse] : detail::pruning_orders) {
    metrics::JsonObject axes;
    axes.add("part", "pruning").add("better", better).add("worse", worse);
    runs.push_back(detail::weight_order_run(subject, named(better), named(worse), std::move(axes)));
  }
}

}  // namespace quire::experiment
