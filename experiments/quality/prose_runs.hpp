#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/calibration_texts.hpp>
#include <experiments/quality/kv_runs.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/trained_runs.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <quire/metrics/json_object.hpp>

/// A second model on another kind of text: bytes of prose that people wrote, and matrices of rows of 256 inputs, which
/// the super-blocks of K-quants need.
namespace quire::experiment {
namespace detail {

inline constexpr std::string_view prose_kv[] = {"fp32",
                                                "int8_per_token_head",
                                                "fp8_e4m3",
                                                "kivi4_g32_r128",
                                                "int4_g32",
                                                "int4_per_token_head",
                                                "rotated_int4_per_token_head",
                                                "nvfp4",
                                                "mxfp4",
                                                "kivi2_g32_r128",
                                                "int2",
                                                "k_int2_channel_g32_v_int2_g32",
                                                "pre_rope_k_int2_channel_g32_v_int2_g32",
                                                "k_fp32_v_int2",
                                                "k_int2_v_fp32"};
inline constexpr std::string_view prose_weights[] = {"q8_0",
                                                     "q6_k",
                                                     "q4_k",
                                                     "q4_0",
                                                     "nf4",
                                                     "fp4",
                                                     "nvfp4",
                                                     "mxfp4",
                                                     "int4_per_channel",
                                                     "rtn_int3_zero_point_g128",
                                                     "gptq_int3_zero_point_g128",
                                                     "gptq_act_order_int3_zero_point_g128",
                                                     "awq_int3_zero_point_g128"};
inline constexpr std::pair<std::string_view, std::string_view> prose_orders[] = {
    {"kivi4_g32_r128", "int4_g32"},
    {"k_int2_channel_g32_v_int2_g32", "int2"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_g32"},
    {"k_fp32_v_int2", "k_int2_v_fp32"},
    {"nvfp4", "mxfp4"},
    {"rotated_int4_per_token_head", "int4_per_token_head"}};
inline constexpr std::pair<std::string_view, std::string_view> prose_weight_orders[] = {
    {"gptq_int3_zero_point_g128", "rtn_int3_zero_point_g128"},
    {"awq_int3_zero_point_g128", "rtn_int3_zero_point_g128"},
    {"nf4", "int4_per_channel"},
    {"q4_k", "q4_0"}};

}  // namespace detail

/// Rows with part=prose, part=qat and part=distillation. Without the texts (build/texts, written by cmake/bootstrap.sh where the Debian package bible-kjv
/// is) none, and a line says so.
inline void add_prose_runs(const std::string& source, const Options& options,
                           const std::vector<quality::Format>& formats, std::vector<Run>& runs) {
  const std::string texts = source + "/build/texts/";
  if (!std::filesystem::exists(texts + "held_out.txt")) {
    std::fprintf(stderr,
                 "quality: rows of part=prose, qat and distillation are left out: %sheld_out.txt "
                 "is not there "
                 "(`cmake/bootstrap.sh paper`, with the Debian package bible-kjv)\n",
                 texts.c_str());
    return;
  }
  const checkpoint::Checkpoint model =
      opened_checkpoint(source + "/experiments/small_models/checkpoints/bytes");
  const auto subject = std::make_shared<Subject>(
      model,
      quality::pieces_of(texts + "held_out.txt", model, options.pick<std::size_t>(2, 32, 64)),
      nullptr, "prose");
  const auto seen = std::make_shared<CalibrationTexts>(texts + "training.txt", subject,
                                                       options.pick<std::size_t>(3, 16, 16));
  subject->calibrate_on(quality::calibration_texts(texts + "training.txt", *model.tokenizer, 16));
  const auto of = [](std::string_view kv, std::string_view weights) {
    metrics::JsonObject axes;
    axes.add("part", "prose").add("kv_format", kv).add("weight_format", weights);
    return axes;
  };
  const auto between = [](std::string_view better, std::string_view worse) {
    metrics::JsonObject axes;
    axes.add("part", "prose").add("better", better).add("worse", worse);
    return axes;
  };
  const auto kv_named = [&](std::string_view name) {
    return std::find_if(formats.begin(), formats.end(),
                        [&](const quality::Format& f) { return f.codec->name == name; });
  };
  for (const std::string_view name : detail::prose_kv) {
    const auto f = kv_named(name);
    if (f != formats.end()) runs.push_back(detail::kv_run(subject, of(name, "fp32"), *f));
  }
  for (const auto& [better, worse] : detail::prose_orders) {
    const auto a = kv_named(better), b = kv_named(worse);
    if (a == formats.end() || b == formats.end()) continue;
    runs.push_back(detail::order_run(subject, between(better, worse), *a, *b));
  }
  const std::vector<WeightRun> weights = detail::weight_runs(seen);
  const auto named = [&](std::string_view name) -> const WeightRun& {
    return *std::find_if(weights.begin(), weights.end(),
                         [&](const WeightRun& w) { return w.name == name; });
  };
  for (const std::string_view name : detail::prose_weights) {
    runs.push_back(detail::weight_run(subject, named(name), of("fp32", name)));
  }
  for (const auto& [better, worse] : detail::prose_weight_orders) {
    runs.push_back(
        detail::weight_order_run(subject, named(better), named(worse), between(better, worse)));
  }
  const std::string checkpoints = source + "/experiments/small_models/checkpoints/";
  add_qat_runs(subject, seen, checkpoints, runs);
  add_distillation_runs(model, texts + "held_out.txt", options.pick<std::size_t>(4, 64, 64),
                        checkpoints, runs);
}

}  // namespace quire::experiment
