#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/calibrated.hpp>
#include <experiments/quality/calibration_texts.hpp>
#include <experiments/quality/outliers.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/model/calibration_options.hpp>
#include <quire/weight_format/weight_format.hpp>

/// Weight formats: what they cost in quality, alone and against each other.
namespace quire::experiment {

/// A way to make weights, and the format that holds the layers'. Embedding and output matrix are bf16.
struct WeightRun {
  std::string name;
  const weight_format::WeightCodec* codec = nullptr;
  std::function<checkpoint::Checkpoint(const checkpoint::Checkpoint&)> make;  // empty: as it is
};

/// Texts that weights are calibrated on, read when first asked for.
class CalibrationTexts {
 public:
  /// subject: whose tokens they are in
  CalibrationTexts(std::string path, SharedSubject subject, std::size_t count)
      : path_(std::move(path)), subject_(std::move(subject)), count_(count) {}
  [[nodiscard]] const quality::Texts& texts() {
    std::call_once(once_, [&] {
      texts_ = quality::calibration_texts(path_, *subject_->model().tokenizer, count_);
    });
    return texts_;
  }

 private:
  std::string path_;
  SharedSubject subject_;
  std::size_t count_;
  std::once_flag once_;
  quality::Texts texts_;
};

namespace detail {

template <class F>
[[nodiscard]] const weight_format::WeightCodec& layers_in() {
  return weight_format::codec_of<weight_format::LinearOnly<F, weight_format::Bf16>>();
}

/// Integers with groups of inputs: rounded to nearest, or by GPTQ or AWQ.
template <class F>
void add_calibrated(bool symmetric, const std::shared_ptr<CalibrationTexts>& seen,
                    std::vector<WeightRun>& runs) {
  using Method = model::CalibrationOptions::Method;
  const std::pair<std::string_view, Method> methods[] = {{"rtn_", Method::round_to_nearest},
                                                         {"gptq_", Method::gptq},
                                                         {"gptq_act_order_", Method::gptq},
                                                         {"awq_", Method::awq}};
  for (const auto& [prefix, method] : methods) {
    model::CalibrationOptions o;
    o.method = method;
    o.bits = F::Block::code_bits;
    o.group = F::Block::size;
    o.symmetric = symmetric;
    o.act_order = prefix == "gptq_act_order_";
    runs.push_back({std::string(prefix) + std::string(F::name), &layers_in<F>(),
                    [o, seen](const checkpoint::Checkpoint& model) {
                      return quality::calibrate(model, seen->texts(), o);
                    }});
  }
}

[[nodiscard]] inline std::vector<WeightRun> weight_runs(
    const std::shared_ptr<CalibrationTexts>& seen) {
  using namespace weight_format;
  std::vector<WeightRun> runs;
  add_calibrated<IntZeroPoint<3, 128>>(false, seen, runs);
  add_calibrated<IntZeroPoint<4, 128>>(false, seen, runs);
  add_calibrated<IntZeroPoint<3, 32>>(false, seen, runs);
  add_calibrated<IntZeroPoint<4, 32>>(false, seen, runs);
  add_calibrated<IntGrouped<3, 128>>(true, seen, runs);
  add_calibrated<IntGrouped<4, 128>>(true, seen, runs);
  const auto alone = [&]<class... F>(type_list<F...>) {
    (runs.push_back({std::string(F::name), &layers_in<F>(), {}}), ...);
  };
  alone(type_list<weight_format::Bf16, Int8PerChannel, Int8Grouped<128>, Int8Grouped<64>,
                  Int8Grouped<32>, IntZeroPoint<8, 128>, IntZeroPoint<8, 32>, Q80, A8<Q80>, W8a8,
                  Fp8W8a8, LlmInt8, Q6K, Int4PerChannel, Int4ZeroPointPerChannel,
                  Int8ZeroPointPerChannel, Int4Grouped<64>, Int4Grouped<32>, Nf4,
                  weight_format::Fp4, Nvfp4, Mxfp4, Q40, A8<Q40>, Q4K>{});
  return runs;
}

/// Those under emulated outliers: activations that are rounded too.
[[nodiscard]] inline std::vector<WeightRun> outlier_runs(
    const std::shared_ptr<CalibrationTexts>& seen) {
  using namespace weight_format;
  return {{"w8a8", &layers_in<W8a8>(), {}},
          {"llm_int8", &layers_in<LlmInt8>(), {}},
          {"smooth_quant_w8a8", &layers_in<W8a8>(), [seen](const checkpoint::Checkpoint& model) {
             return quality::smooth(model, seen->texts());
           }}};
}

/// What the figure and the claims need; the rest is run with `--scale full` or `--axis`.
inline constexpr std::string_view drawn_weights[] = {"rtn_int3_zero_point_g128",
                                                     "gptq_int3_zero_point_g128",
                                                     "gptq_act_order_int3_zero_point_g128",
                                                     "awq_int3_zero_point_g128",
                                                     "rtn_int4_zero_point_g128",
                                                     "gptq_int4_zero_point_g128",
                                                     "awq_int4_zero_point_g128",
                                                     "int8_per_channel",
                                                     "int8_g128",
                                                     "int8_g64",
                                                     "int8_g32",
                                                     "int8_zero_point_g128",
                                                     "int8_zero_point_g32",
                                                     "q8_0",
                                                     "q8_0_a8",
                                                     "w8a8",
                                                     "fp8_w8a8",
                                                     "llm_int8",
                                                     "q6_k",
                                                     "int4_per_channel",
                                                     "nf4",
                                                     "fp4",
                                                     "nvfp4",
                                                     "mxfp4",
                                                     "q4_0",
                                                     "q4_0_a8",
                                                     "q4_k"};
/// What the literature says is better, and what worse.
inline constexpr std::pair<std::string_view, std::string_view> weight_orders[] = {
    {"gptq_int3_zero_point_g128", "rtn_int3_zero_point_g128"},
    {"gptq_act_order_int3_zero_point_g128", "rtn_int3_zero_point_g128"},
    {"awq_int3_zero_point_g128", "rtn_int3_zero_point_g128"},
    {"gptq_int4_zero_point_g128", "rtn_int4_zero_point_g128"},
    {"awq_int4_zero_point_g128", "rtn_int4_zero_point_g128"},
    {"nf4", "int4_per_channel"},
    {"nf4", "fp4"},
    {"nvfp4", "mxfp4"}};
inline constexpr std::pair<std::string_view, std::string_view> outlier_orders[] = {
    {"llm_int8", "w8a8"}, {"smooth_quant_w8a8", "w8a8"}};

[[nodiscard]] inline std::shared_ptr<const Reading> weight_reading(Subject& subject,
                                                                   const WeightRun& w) {
  return subject.reading("weights " + w.name, [&](const Subject::SharedReading& base) {
    quality::ReadOptions how;
    how.weights = w.codec;
    return quality::read_texts(quality::format<kv_format::Fp32>(),
                               w.make ? w.make(subject.model()) : subject.model(), subject.texts(),
                               base, how);
  });
}

/// How much of what `worse` costs in perplexity `better` takes away, with its interval.
[[nodiscard]] inline Interval removed(const Reading& base, const Reading& better,
                                      const Reading& worse, std::size_t draws = 10000) {
  struct Sums {
    double better = 0, worse = 0, count = 0;
    [[nodiscard]] double share() const {
      return 1 - std::expm1(better / count) / std::expm1(worse / count);
    }
  };
  const auto add = [](Sums& to, const Sums& s) {
    to.better += s.better;
    to.worse += s.worse;
    to.count += s.count;
  };
  std::vector<Sums> texts(base.nats.size());
  Sums all;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (std::size_t p = 0; p < base.nats[i].size(); ++p) {
      const auto before = static_cast<double>(base.nats[i][p]);
      texts[i].better += static_cast<double>(better.nats[i][p]) - before;
      texts[i].worse += static_cast<double>(worse.nats[i][p]) - before;
      texts[i].count += 1;
    }
    add(all, texts[i]);
  }
  Rng rng(1);
  std::vector<double> shares;
  for (std::size_t d = 0; d < draws; ++d) {
    Sums sum;
    for (std::size_t i = 0; i < texts.size(); ++i) add(sum, texts[rng.below(texts.size())]);
    shares.push_back(sum.share());
  }
  std::sort(shares.begin(), shares.end());
  return {all.share(), shares[draws / 40], shares[draws - 1 - draws / 40]};
}

/// axes: of its row
[[nodiscard]] inline Run weight_run(const SharedSubject& subject, const WeightRun& w,
                                    metrics::JsonObject axes) {
  Run run;
  run.row.variant = w.name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes = std::move(axes);
  run.measure = [subject, w] {
    const auto r = weight_reading(*subject, w);
    const model::Shape& s = subject->model().config.shape;
    const double weights =
        static_cast<double>(s.layers * (s.attention_weights() + s.mlp_weights()));
    const double stored = 8 * static_cast<double>(r->layer_weight_bytes) / weights;
    metrics::JsonObject out = losses(*subject, *r, w.name, stored);
    out.add("bits_per_weight", 8 * w.codec->weight_bytes(static_cast<std::size_t>(s.hidden)))
        .add("stored_bits_per_weight", stored)
        .add("weight_bytes", static_cast<std::int64_t>(r->weight_bytes));
    return out;
  };
  return run;
}

[[nodiscard]] inline Run weight_order_run(const SharedSubject& subject, const WeightRun& better,
                                          const WeightRun& worse, metrics::JsonObject axes) {
  Run run;
  run.row.variant = better.name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes = std::move(axes);
  run.measure = [subject, better, worse] {
    const auto a = weight_reading(*subject, better), b = weight_reading(*subject, worse);
    metrics::JsonObject out = gap(*a, *b, better.name + " better than " + worse.name);
    add_interval(out, "removed_percent", removed(*subject->baseline(), *a, *b), 100);
    return out;
  };
  return run;
}

}  // namespace detail

/// Rows of weight formats, and of one against another. all: those too that no figure draws
inline void add_weight_runs(const SharedSubject& trained, const std::string& source,
                            const Options& options, bool all, std::vector<Run>& runs) {
  const auto seen =
      std::make_shared<CalibrationTexts>(source + "/experiments/quality/calibration.jsonl", trained,
                                         options.pick<std::size_t>(3, 16, 16));
  const auto add = [&](const SharedSubject& subject, const std::vector<WeightRun>& weights,
                       const auto& orders, std::string_view inputs, bool some) {
    for (const WeightRun& w : weights) {
      const bool drawn =
          std::find(std::begin(detail::drawn_weights), std::end(detail::drawn_weights), w.name) !=
          std::end(detail::drawn_weights);
      if (some && !drawn) continue;
      metrics::JsonObject axes;
      axes.add("kv_format", "fp32").add("weight_format", w.name).add("inputs", inputs);
      runs.push_back(detail::weight_run(subject, w, std::move(axes)));
    }
    const auto named = [&](std::string_view name) -> const WeightRun& {
      return *std::find_if(weights.begin(), weights.end(),
                           [&](const WeightRun& w) { return w.name == name; });
    };
    for (const auto& [better, worse] : orders) {
      metrics::JsonObject axes;
      axes.add("better", better).add("worse", worse).add("inputs", inputs);
      runs.push_back(
          detail::weight_order_run(subject, named(better), named(worse), std::move(axes)));
    }
  };
  add(trained, detail::weight_runs(seen), detail::weight_orders, "as_trained", !all);
  if (trained->model().config.norm != checkpoint::Norm::rms) return;  // names of the llama family
  const auto rough = std::make_shared<Subject>(quality::with_input_outliers(trained->model(), 60),
                                               trained->stories(), trained, trained->texts_name());
  add(rough, detail::outlier_runs(seen), detail::outlier_orders, "outliers_emulated", false);
}

}  // namespace quire::experiment
