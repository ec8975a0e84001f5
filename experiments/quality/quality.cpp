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
#include <experiments/quality/memory_runs.hpp>
#include <experiments/quality/outliers.hpp>
#include <experiments/quality/retention_runs.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/model/known_shapes.hpp>

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
                                       : in(drawn_with_larger_outliers);
}
bool is_drawn(std::string_view keys, const std::pair<std::string_view, std::string_view>& order) {
  const auto in = [&](const auto& list) {
    return std::find(std::begin(list), std::end(list), order) != std::end(list);
  };
  return keys == "as_trained"          ? in(drawn_orders)
         : keys == "outliers_emulated" ? false
                                       : in(drawn_orders_with_larger_outliers);
}
}  // namespace
}  // namespace quire::quality

namespace quire::experiment {
namespace {

metrics::JsonObject measure_kv(Subject& subject, const quality::Format& format) {
  const std::shared_ptr<const Reading> r = subject.reading(format);
  const model::Shape& s = subject.model().config.shape;
  const double values = 2.0 * static_cast<double>(s.layers * s.kv_heads * s.head_dim);
  const double bits = 8 * r->pool_bytes_per_token() / values;
  metrics::JsonObject out = losses(subject, *r, format.codec->name, bits);
  out.add("bits_per_value", 8 *
                                format.token_bytes(static_cast<std::size_t>(s.layers),
                                                   static_cast<std::size_t>(s.kv_heads),
                                                   static_cast<std::size_t>(s.head_dim)) /
                                values)
      .add("pool_bytes_per_token", r->pool_bytes_per_token())
      .add("pool_bits_per_value", bits)
      .add("open_bytes", static_cast<std::int64_t>(r->open_bytes))
      .add("sequences_in_40gb_of_llama3_8b",
           quality::sequences_in(std::int64_t{40'000'000'000}, model::llama3_8b, *format.codec, 32,
                                 2048));
  return out;
}

Run kv_run(const SharedSubject& subject, std::string_view keys, const quality::Format& format,
           const quality::KvCalibration& fitting) {
  Run run;
  run.row.variant = format.codec->name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("kv_format", format.codec->name).add("weight_format", "fp32").add("keys", keys);
  if (!fitting.text.empty() && kv_format::needs_calibration(*format.codec)) {
    run.row.axes.add("kv_calibration_text", fitting.text);
  }
  run.measure = [subject, format] { return measure_kv(*subject, format); };
  return run;
}

/// Two formats against each other on the same tokens.
Run order_run(const SharedSubject& subject, std::string_view keys, const quality::Format& better,
              const quality::Format& worse) {
  Run run;
  run.row.variant = better.codec->name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("better", better.codec->name);
  run.row.axes.add("worse", worse.codec->name).add("keys", keys);
  run.measure = [subject, better, worse] {
    return gap(*subject->reading(better), *subject->reading(worse),
               std::string(better.codec->name) + " better than " + std::string(worse.codec->name));
  };
  return run;
}

/// Whether there are matrices to round or to rescale: those of a dense model, in floats.
bool has_float_layers(const checkpoint::Checkpoint& model) {
  if (model.config.quantisation || model.config.transposed_linear) return false;
  if (model.config.shape.experts > 0) return false;
  using checkpoint::DType;
  const auto& all = model.tensors.all();
  return std::all_of(all.begin(), all.end(), [](const checkpoint::TensorView& t) {
    return t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16;
  });
}

/// Pieces of a text of one's own, of 512 tokens, each begun as the model's texts begin. No questions.
/// \errors data where there are too few tokens for an interval
std::vector<Story> stories_of_text(const std::string& path, const checkpoint::Checkpoint& model,
                                   std::size_t count) {
  const std::int64_t longest = model.config.shape.max_length.value;
  const auto length = static_cast<std::size_t>(std::min<std::int64_t>(512, longest));
  std::vector<Story> stories;
  for (std::vector<TokenId>& text :
       quality::calibration_texts(path, *model.tokenizer, count, length)) {
    if (text.size() < 2) continue;
    const bool begun =
        !stories.empty() && model.config.bos && stories.front().tokens.front() == *model.config.bos;
    if (begun) text.front() = *model.config.bos;
    Story s;
    s.tokens = std::move(text);
    s.asked = s.tokens.size();
    stories.push_back(std::move(s));
  }
  if (stories.size() < 2) {
    throw data_error(path, "it holds one piece of " + std::to_string(length) + " tokens",
                     "two or more: intervals are over pieces");
  }
  return stories;
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
  const std::size_t count = options.pick<std::size_t>(4, 48, 128);
  const std::vector<Story> stories =
      fitting.read.empty()
          ? read_stories(source + "/experiments/retention/held_out.jsonl", *model.tokenizer, count)
          : stories_of_text(fitting.read, model, count);
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
  }
  const quality::Texts calibration =
      fitting.text.empty()
          ? quality::calibration_texts(source + "/experiments/quality/calibration.jsonl",
                                       *model.tokenizer, 16)
          : quality::calibration_texts(fitting.text, *model.tokenizer);
  for (const auto& [subject, keys] : subjects) subject->calibrate_on(calibration);
  for (const auto& [subject, keys] : subjects) {
    for (const quality::Format& f : formats) {
      // the larger outliers ask one question alone: whether formats of 4 bits stand them
      if (quality::is_drawn(keys, f.codec->name) || (all && keys != "larger_outliers_emulated")) {
        runs.push_back(kv_run(subject, keys, f, fitting));
      }
    }
  }
  if (!whole || options.scale == Scale::full) {  // a user's own list is of KV formats
    if (has_float_layers(model)) {
      add_weight_runs(trained, source, options, all, runs);
      add_joint_runs(trained, source, options, formats, runs);
    }
    if (fitting.read.empty()) {  // the same for any text
      add_memory_runs(trained, formats, all, runs);
      add_retention_runs(trained, all, runs);
    }
  }
  const auto named = [&](std::string_view name) {
    return std::find_if(formats.begin(), formats.end(),
                        [&](const quality::Format& f) { return f.codec->name == name; });
  };
  for (const auto& [subject, keys] : subjects) {
    for (const auto& [better, worse] : quality::orders) {
      const bool needed = quality::is_drawn(keys, std::pair(better, worse));
      if (!needed && (!all || keys == "larger_outliers_emulated")) continue;
      const auto a = named(better), b = named(worse);
      if (a == formats.end() || b == formats.end()) continue;  // not in this list
      runs.push_back(order_run(subject, keys, *a, *b));
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
