// The laboratory: what a format does to a model, to memory and to speed.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/checkpoints.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/quality/calibration_texts.hpp>
#include <experiments/quality/joint_runs.hpp>
#include <experiments/quality/kv_calibration.hpp>
#include <experiments/quality/lab.hpp>
#include <experiments/quality/low_rank_runs.hpp>
#include <experiments/quality/memory_runs.hpp>
#include <experiments/quality/outliers.hpp>
#include <experiments/quality/prose_runs.hpp>
#include <experiments/quality/pruning_runs.hpp>
#include <experiments/quality/retention_runs.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/model/rotated_values.hpp>

namespace quire::quality {
namespace {
/// What the literature says is better, and what worse.
constexpr std::pair<std::string_view, std::string_view> orders[] = {
    {"kivi4_g32_r128", "int4_g32"},
    {"k_int4_channel_g32_v_int4_g32", "int4_g32"},
    {"k_int2_channel_g32_v_int2_g32", "int2"},
    {"kivi2_g32_r128", "int2"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_g32"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "int2"},
    {"k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_channel_g32"},
    {"k_int2_channel_g32_v_int2_g32", "k_int2_g32_v_int2_channel_g32"},
    {"k_fp32_v_int2", "k_int2_v_fp32"},
    {"nvfp4", "mxfp4"},
    {"nvfp4_4over6", "nvfp4"},
    {"rotated_int4_per_token_head", "int4_per_token_head"},
    {"rotated_int2_per_token_head", "int2_per_token_head"},
    {"kivi2_g32_r128", "kivi2_g32_r32"},
    {"turboquant4", "int4_per_token_head"},
    {"turboquant2", "int2_per_token_head"},
    {"kivi4_g32_r128", "int4_per_token_head"},
    {"qserve_kv4", "int4_per_token_head"},
    {"gear2_r1_s2", "k_int2_channel_g32_v_int2_g32"},
    {"kvquant2", "pre_rope_k_int2_channel_g32_v_int2_g32"},
    {"fp8_per_head_mse", "fp8_per_head_min_max"},
    {"kivi2_g32_r32", "k_int2_channel_g32_v_int2_g32"},
    {"kivi2_g32_r64", "kivi2_g32_r32"},
    {"kivi2_g32_r128", "kivi2_g32_r64"},
    {"k_int2_channel_g32_v_fp32", "k_int2_v_fp32"}};
/// What the claims and the figure need.
constexpr std::string_view drawn[] = {"fp32",
                                      "int8_per_token_head",
                                      "q8_0",
                                      "fp8_e4m3",
                                      "fp8_e5m2",
                                      "int4_per_token_head",
                                      "q4_0",
                                      "nf4",
                                      "nvfp4",
                                      "mxfp4",
                                      "rotated_int4_per_token_head",
                                      "turboquant4",
                                      "turboquant2",
                                      "int2",
                                      "int2_per_token_head",
                                      "int4_g32",
                                      "kivi4_g32_r128",
                                      "kivi2_g32_r128",
                                      "k_int2_v_fp32",
                                      "k_fp32_v_int2",
                                      "k_int2_channel_g32_v_int2_g32",
                                      "k_int2_channel_g32_v_int2_channel_g32",
                                      "pre_rope_k_int2_channel_g32_v_int2_g32",
                                      "fp8_per_head_min_max",
                                      "fp8_per_head_percentile",
                                      "fp8_per_head_mse",
                                      "fp8_per_tensor_min_max",
                                      "fp8_per_tensor_percentile",
                                      "fp8_per_tensor_mse",
                                      "fp8_e5m2_per_tensor_min_max",
                                      "kivi2_g32_r32",
                                      "kivi2_g32_r64",
                                      "qserve_kv4",
                                      "kvquant4",
                                      "kvquant3",
                                      "kvquant2",
                                      "gear4_r1_s2",
                                      "gear2_r1_s2"};
constexpr std::string_view drawn_with_outliers[] = {"int4_per_token_head",
                                                    "rotated_int4_per_token_head",
                                                    "nvfp4",
                                                    "mxfp4",
                                                    "kivi4_g32_r128",
                                                    "int2",
                                                    "k_int2_channel_g32_v_int2_g32"};
/// Where values come out of their projection rotated, folded into the weights.
constexpr std::string_view drawn_with_rotated_values[] = {
    "k_rotated_int4_per_token_head_v_int4_per_token_head"};
constexpr std::string_view drawn_with_larger_outliers[] = {
    "int4_per_token_head", "rotated_int4_per_token_head", "qserve_kv4", "kivi4_g32_r128"};
constexpr std::pair<std::string_view, std::string_view> drawn_orders[] = {
    {"kivi4_g32_r128", "int4_g32"},
    {"k_int2_channel_g32_v_int2_g32", "int2"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_g32"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "int2"},
    {"k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_channel_g32"},
    {"k_fp32_v_int2", "k_int2_v_fp32"},
    {"nvfp4", "mxfp4"},
    {"rotated_int4_per_token_head", "int4_per_token_head"},
    {"kivi4_g32_r128", "int4_per_token_head"},
    {"gear2_r1_s2", "k_int2_channel_g32_v_int2_g32"},
    {"kvquant2", "pre_rope_k_int2_channel_g32_v_int2_g32"},
    {"kivi2_g32_r32", "k_int2_channel_g32_v_int2_g32"},
    {"kivi2_g32_r64", "kivi2_g32_r32"},
    {"kivi2_g32_r128", "kivi2_g32_r64"}};
constexpr std::pair<std::string_view, std::string_view> drawn_orders_with_larger_outliers[] = {
    {"kivi4_g32_r128", "int4_per_token_head"},
    {"rotated_int4_per_token_head", "int4_per_token_head"},
    {"qserve_kv4", "int4_per_token_head"}};

/// What a figure or a claim needs of a subject.
bool is_drawn(std::string_view keys, std::string_view format) {
  const auto in = [&](const auto& list) {
    return std::find(std::begin(list), std::end(list), format) != std::end(list);
  };
  return keys == "as_trained"          ? in(drawn)
         : keys == "outliers_emulated" ? in(drawn_with_outliers)
         : keys == "values_rotated"    ? in(drawn_with_rotated_values)
                                       : in(drawn_with_larger_outliers);
}
bool is_drawn(std::string_view keys, const std::pair<std::string_view, std::string_view>& order) {
  const auto in = [&](const auto& list) {
    return std::find(std::begin(list), std::end(list), order) != std::end(list);
  };
  return keys == "as_trained"                 ? in(drawn_orders)
         : keys == "larger_outliers_emulated" ? in(drawn_orders_with_larger_outliers)
                                              : false;
}
}  // namespace
}  // namespace quire::quality

namespace quire::experiment {
namespace {

/// Whether there are matrices to round or to rescale: those of a dense model, in floats.
bool has_float_layers(const checkpoint::Checkpoint& model) {
  if (model.config.quantisation || model.config.transposed_linear) return false;
  if (model.config.shape.experts > 0 || checkpoint::has_low_rank(model.tensors)) return false;
  using checkpoint::DType;
  const auto& all = model.tensors.all();
  return std::all_of(all.begin(), all.end(), [](const checkpoint::TensorView& t) {
    return t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16;
  });
}

std::vector<Run> make_runs(const Options& options, const std::vector<quality::Format>& formats,
                           bool whole, const quality::KvCalibration& fitting) {
  const std::string source(QUIRE_SOURCE_DIR);
  const checkpoint::Checkpoint model = opened_checkpoint(
      options.model.empty() ? source + "/experiments/small_models/checkpoints/stories"
                            : options.model.string());
  if (!model.tokenizer) {
    throw data_error(options.model.string(), "it has no tokenizer, and the laboratory reads texts",
                     "a checkpoint with tokenizer.json");
  }
  const std::size_t count = options.pick<std::size_t>(2, 48, 128);
  const std::vector<Story> stories =
      fitting.read.empty()
          ? read_stories(source + "/experiments/retention/held_out.jsonl", *model.tokenizer, count)
          : quality::pieces_of(fitting.read, model, count);
  const std::string named_texts = fitting.read.empty() ? "stories" : fitting.read;
  const auto trained = std::make_shared<Subject>(model, stories, nullptr, named_texts);
  std::vector<Run> runs;
  const bool all = whole || options.scale == Scale::full || !options.axes.empty();
  std::vector<std::pair<SharedSubject, std::string_view>> subjects = {{trained, "as_trained"}};
  if (has_float_layers(model)) {
    subjects.emplace_back(std::make_shared<Subject>(quality::with_key_outliers(model, 2, 6.0f),
                                                    stories, trained, named_texts),
                          "outliers_emulated");
    subjects.emplace_back(std::make_shared<Subject>(quality::with_key_outliers(model, 2, 24.0f),
                                                    stories, trained, named_texts),
                          "larger_outliers_emulated");
    if (model::can_rotate_values(model)) {
      subjects.emplace_back(std::make_shared<Subject>(model::with_rotated_values(model), stories,
                                                      trained, named_texts),
                            "values_rotated");
    }
  }
  const quality::Texts calibration =
      fitting.text.empty()
          ? quality::calibration_texts(source + "/experiments/quality/calibration.jsonl",
                                       *model.tokenizer, 16)
          : quality::calibration_texts(fitting.text, *model.tokenizer);
  for (const auto& [subject, keys] : subjects) subject->calibrate_on(calibration);
  for (const auto& [subject, keys] : subjects) {
    for (const quality::Format& f : formats) {
      // the larger outliers ask one question alone: whether formats of 4 bits stand them; rotated values, what
      // folding does
      const bool every = all && (keys == "as_trained" || keys == "outliers_emulated");
      if (quality::is_drawn(keys, f.codec->name) || every) {
        metrics::JsonObject axes;
        axes.add("kv_format", f.codec->name).add("weight_format", "fp32").add("keys", keys);
        if (!fitting.text.empty() && kv_format::needs_calibration(*f.codec)) {
          axes.add("kv_calibration_text", fitting.text);
        }
        runs.push_back(detail::kv_run(subject, std::move(axes), f));
      }
    }
  }
  if (!whole || options.scale == Scale::full) {  // a user's own list is of KV formats
    if (has_float_layers(model)) {
      add_weight_runs(trained, source, options, all, runs);
      add_joint_runs(trained, source, options, formats, runs);
      add_pruning_runs(trained, source, options, runs);
      add_low_rank_runs(trained, source, options, runs);
    }
    if (fitting.read.empty()) {  // the same for any text
      add_memory_runs(trained, formats, all, runs);
      add_retention_runs(trained, all, runs);
    }
    // Formats that are asked for by name are asked of the stories; the second model, by its part.
    const auto& axes = options.axes;
    const bool prose = axes.empty() || std::any_of(axes.begin(), axes.end(), [](const Axis& axis) {
                         return axis.name == "part";
                       });
    if (prose && fitting.read.empty() && options.model.empty()) {
      add_prose_runs(source, options, formats, runs);
    }
  }
  const auto named = [&](std::string_view name) {
    return std::find_if(formats.begin(), formats.end(),
                        [&](const quality::Format& f) { return f.codec->name == name; });
  };
  for (const auto& [subject, keys] : subjects) {
    for (const auto& [better, worse] : quality::orders) {
      const bool needed = quality::is_drawn(keys, std::pair(better, worse));
      const bool every = all && (keys == "as_trained" || keys == "outliers_emulated");
      if (!needed && !every) continue;
      const auto a = named(better), b = named(worse);
      if (a == formats.end() || b == formats.end()) continue;  // not in this list
      metrics::JsonObject axes;
      axes.add("better", better).add("worse", worse).add("keys", keys);
      runs.push_back(detail::order_run(subject, std::move(axes), *a, *b));
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int quire::quality::run(int argc, char** argv, const std::vector<Format>& formats, bool whole) {
  std::vector<std::string> words(argv, argv + argc);
  bool names_file = false;
  for (const std::string& w : words) {
    names_file = names_file || w.starts_with("--out") || w == "--list" || w == "-l" ||
                 w == "--help" || w == "-h";
  }
  KvCalibration fitting;
  try {
    fitting = take_kv_calibration(words, formats);
  } catch (const Error& error) {
    std::cerr << "quality: " << error.what() << '\n';
    return error.exit_code();
  }
  if (!names_file) {
    words.insert(words.end(), {"--out", "quality.jsonl"});
    std::printf("rows are appended to quality.jsonl\n");
  }
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);
  return experiment::run_experiment(
      static_cast<int>(words.size()), arguments.data(), "quality",
      "What a KV or weight format does to a model: bits per byte, perplexity, divergence from "
      "fp32, recall,\n"
      "bytes a token and speed, with 95 % intervals over texts; what it does to a fixed memory.\n\n"
      "Examples:\n"
      "  quality --axis kv_format=[int8_per_token_head,kivi2_g32_r128]\n"
      "  quality --axis weight_format=[nf4,gptq_int3_zero_point_g128]\n"
      "  quality --out rows.jsonl --axis keys=outliers_emulated --jobs 2\n"
      "  quality --axis part=pruning --axis weight_format=[wanda_50_percent,sparse_gpt_2_of_4]\n"
      "  quality --axis part=low_rank --axis weight_format=[svd_llm_20_percent,asvd_20_percent]\n"
      "  quality --axis kv_format=[fp32,kivi2_g32_r128] --axis weight_format=[fp32,nf4,q8_0]\n"
      "  quality --text notes.txt --axis kv_format=nvfp4\n"
      "  quality --kv-calibration mse --kv-calibration-text notes.txt\n\n"
      "  --text FILE                    what is read, in pieces of 512 tokens, in place of "
      "stories\n"
      "  --kv-calibration METHOD        how fp8_per_head and fp8_per_tensor find their scales:\n"
      "                                 none, min-max, percentile or mse\n"
      "  --kv-calibration-text FILE     what formats that are fitted are fitted on, in place of 16 "
      "stories\n",
      [&](const experiment::Options& options) {
        return experiment::make_runs(options, formats, whole, fitting);
      },
      {}, experiment::Reads::any_checkpoint);
}
