// The laboratory: what a format does to a model, to memory and to speed.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/lab.hpp>
#include <experiments/quality/outliers.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/model/calibration.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/weight_format/weight_format.hpp>

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
    {"turboquant2", "int2_per_token_head"}};
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
                                      "kivi4_g32_r128",
                                      "kivi2_g32_r128",
                                      "k_int2_channel_g32_v_int2_g32",
                                      "pre_rope_k_int2_channel_g32_v_int2_g32"};
constexpr std::string_view drawn_with_outliers[] = {"int4_per_token_head",
                                                    "rotated_int4_per_token_head",
                                                    "nvfp4",
                                                    "mxfp4",
                                                    "kivi4_g32_r128",
                                                    "int2",
                                                    "k_int2_channel_g32_v_int2_g32"};
constexpr std::pair<std::string_view, std::string_view> drawn_orders[] = {
    {"kivi4_g32_r128", "int4_g32"},
    {"k_int2_channel_g32_v_int2_g32", "int2"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_g32"},
    {"pre_rope_k_int2_channel_g32_v_int2_g32", "int2"},
    {"k_int2_channel_g32_v_int2_g32", "k_int2_channel_g32_v_int2_channel_g32"},
    {"k_fp32_v_int2", "k_int2_v_fp32"},
    {"nvfp4", "mxfp4"},
    {"rotated_int4_per_token_head", "int4_per_token_head"}};

template <class List, class T>
bool has(const List& list, const T& what) {
  return std::find(std::begin(list), std::end(list), what) != std::end(list);
}
}  // namespace
}  // namespace quire::quality

namespace quire::experiment {
namespace {

using quality::Interval;
using quality::Reading;

/// A model, texts and what the model says about them in fp32; read when first asked for.
class Subject {
 public:
  Subject(checkpoint::Checkpoint model, std::vector<Story> stories)
      : model_(std::move(model)), stories_(std::move(stories)) {
    auto texts = std::make_shared<quality::Texts>();
    for (const Story& s : stories_) texts->push_back(s.tokens);
    texts_ = std::move(texts);
  }
  [[nodiscard]] const checkpoint::Checkpoint& model() const { return model_; }
  [[nodiscard]] const std::vector<Story>& stories() const { return stories_; }
  [[nodiscard]] const std::shared_ptr<const quality::Texts>& texts() const { return texts_; }
  [[nodiscard]] std::shared_ptr<const Reading> baseline() {
    std::call_once(once_, [&] {
      baseline_ = quality::read_texts(quality::format<kv_format::Fp32>(), model_, texts_, nullptr);
    });
    return baseline_;
  }
  /// What the model says with keys and values in a format; read once.
  [[nodiscard]] std::shared_ptr<const Reading> reading(const quality::Format& format) {
    const std::shared_ptr<const Reading> base = baseline();
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = readings_.find(format.codec); found != readings_.end()) {
        return found->second;
      }
    }
    const auto made = quality::read_texts(format, model_, texts_, base);
    const std::lock_guard lock(mutex_);
    return readings_[format.codec] = made;
  }

 private:
  checkpoint::Checkpoint model_;
  std::vector<Story> stories_;
  std::shared_ptr<const quality::Texts> texts_;
  std::once_flag once_;
  std::shared_ptr<const Reading> baseline_;
  std::mutex mutex_;
  std::map<const kv_format::KvCodec*, std::shared_ptr<const Reading>> readings_;
};
using SharedSubject = std::shared_ptr<Subject>;

void add_interval(metrics::JsonObject& out, const std::string& name, const Interval& i,
                  double factor = 1) {
  out.add(name, i.mean * factor);
  out.add(name + "_low", i.low * factor);
  out.add(name + "_high", i.high * factor);
}

/// Questions whose every token is the most probable one, by the distance of what states the answer.
void add_recall(metrics::JsonObject& out, const std::vector<Story>& stories, const Reading& r) {
  const std::pair<std::string_view, std::size_t> upto[] = {
      {"recall_64", 64}, {"recall_128", 128}, {"recall_256", 256}, {"recall_1024", 1024}};
  double all = 0, asked = 0;
  std::vector<std::pair<double, double>> by(std::size(upto));
  for (std::size_t i = 0; i < stories.size(); ++i) {
    for (std::size_t q = 0; q < stories[i].answers.size(); ++q) {
      const auto& [first, last] = stories[i].answers[q];
      bool right = true;
      for (std::size_t t = first; t < last; ++t) {
        right = right && r.best[i][t - 1] == stories[i].tokens[t];
      }
      all += right;
      asked += 1;
      for (std::size_t d = 0; d < by.size(); ++d) {
        if (stories[i].distances[q] > upto[d].second) continue;
        by[d].first += right;
        by[d].second += 1;
        break;
      }
    }
  }
  out.add("recall_percent", asked > 0 ? 100 * all / asked : 0.0).add("questions", asked);
  for (std::size_t d = 0; d < by.size(); ++d) {
    if (by[d].second == 0) continue;
    out.add(std::string(upto[d].first) + "_percent", 100 * by[d].first / by[d].second);
  }
}

/// What a reading lost against fp32, as every axis reports it.
metrics::JsonObject losses(Subject& subject, const Reading& reading, std::string_view name,
                           double bits) {
  const std::shared_ptr<const Reading> base = subject.baseline();
  const Reading* r = &reading;
  metrics::JsonObject out;
  const Interval nats =
      quality::over_positions(*r, [&](std::size_t i, std::size_t p) { return r->nats[i][p]; });
  const Interval more = quality::over_positions(*r, [&](std::size_t i, std::size_t p) {
    return static_cast<double>(r->nats[i][p]) - static_cast<double>(base->nats[i][p]);
  });
  const Interval divergence = quality::over_positions(
      *r, [&](std::size_t i, std::size_t p) { return r->divergence[i][p]; });
  double characters = 0, tokens = 0;
  for (const auto& text : *subject.texts()) {
    characters += static_cast<double>(subject.model().tokenizer->decode(text).size());
    tokens += static_cast<double>(text.size() - 1);
  }
  const auto percent = [](double nat) { return 100 * std::expm1(nat); };
  out.add("perplexity", std::exp(nats.mean))
      .add("bits_per_byte", nats.mean / std::log(2.0) * tokens / characters)
      .add("perplexity_change_percent", percent(more.mean))
      .add("perplexity_change_percent_low", percent(more.low))
      .add("perplexity_change_percent_high", percent(more.high));
  add_interval(out, "divergence", divergence);
  add_interval(out, "agreement_percent",
               quality::over_positions(*r,
                                       [&](std::size_t i, std::size_t p) {
                                         return r->best[i][p] == base->best[i][p] ? 1.0 : 0.0;
                                       }),
               100);
  add_recall(out, subject.stories(), *r);
  out.add("tokens_per_s", r->tokens / r->seconds)
      .add("tokens", tokens)
      .add("texts", std::ssize(*subject.texts()));
  std::printf("%-48s %6.2f bits  ppl %+8.3f %% [%+.3f, %+.3f]  KL %.5f  %.0f tokens/s\n",
              std::string(name).c_str(), bits, percent(more.mean), percent(more.low),
              percent(more.high), divergence.mean, r->tokens / r->seconds);
  return out;
}

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

Run kv_run(const SharedSubject& subject, std::string_view keys, const quality::Format& format) {
  Run run;
  run.row.variant = format.codec->name;
  run.row.workload = "stories";
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("kv_format", format.codec->name).add("weight_format", "fp32").add("keys", keys);
  run.measure = [subject, format] { return measure_kv(*subject, format); };
  return run;
}

/// A way to make weights, and the format that holds them. Embedding and output matrix stay as stored.
struct WeightRun {
  const weight_format::WeightCodec* codec;
  std::optional<model::CalibrationOptions> calibration;  // none: the format rounds by itself
  [[nodiscard]] std::string name() const {
    const std::string inner(codec->name.substr(0, codec->name.find("_head_")));
    if (!calibration) return inner;
    using Method = model::CalibrationOptions::Method;
    const std::string method = calibration->method == Method::gptq  ? "gptq_"
                               : calibration->method == Method::awq ? "awq_"
                                                                    : "rtn_";
    return method + (calibration->act_order ? "act_order_" : "") + inner;
  }
};
std::vector<WeightRun> weight_runs(bool all) {
  using namespace weight_format;
  std::vector<WeightRun> runs;
  const auto calibrated = [&]<class F>(bool symmetric) {
    using Method = model::CalibrationOptions::Method;
    for (const auto& [method, act_order] : {std::pair(Method::round_to_nearest, false),
                                            {Method::gptq, false},
                                            {Method::gptq, true},
                                            {Method::awq, false}}) {
      if (act_order && !all) continue;
      model::CalibrationOptions o;
      o.method = method;
      o.bits = F::Block::code_bits;
      o.group = F::Block::size;
      o.symmetric = symmetric;
      o.act_order = act_order;
      runs.push_back({&codec_of<LinearOnly<F, weight_format::Bf16>>(), o});
    }
  };
  const auto alone = [&]<class F>() {
    runs.push_back({&codec_of<LinearOnly<F, weight_format::Bf16>>(), std::nullopt});
  };
  calibrated.operator()<IntZeroPoint<3, 128>>(false);
  if (!all) return runs;
  calibrated.operator()<IntZeroPoint<4, 128>>(false);
  calibrated.operator()<IntGrouped<3, 128>>(true);
  calibrated.operator()<IntGrouped<4, 128>>(true);
  alone.operator()<Int8Grouped<128>>();
  alone.operator()<Nf4>();
  alone.operator()<Mxfp4>();
  alone.operator()<Nvfp4>();
  alone.operator()<Q80>();
  alone.operator()<Q40>();
  alone.operator()<W8a8>();
  alone.operator()<LlmInt8>();
  return runs;
}

Run weight_run(const SharedSubject& subject, const WeightRun& w, const std::string& source) {
  Run run;
  run.row.variant = w.name();
  run.row.workload = "stories";
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("kv_format", "fp32").add("weight_format", w.name()).add("keys", "as_trained");
  run.measure = [subject, w, source] {
    checkpoint::Checkpoint model = subject->model();
    if (w.calibration) {
      quality::Texts texts;
      for (const Story& s :
           read_stories(source + "/experiments/quality/calibration.jsonl", *model.tokenizer, 16)) {
        texts.push_back(s.tokens);
      }
      ThreadPool threads(1);
      model = model::calibrate(model, texts, *w.calibration, threads);
    }
    const auto r = quality::read_texts(quality::format<kv_format::Fp32>(), model, subject->texts(),
                                       subject->baseline(), 1, 64, *w.codec);
    const double bits =
        8 * w.codec->weight_bytes(static_cast<std::size_t>(model.config.shape.hidden));
    metrics::JsonObject out = losses(*subject, *r, w.name(), bits);
    out.add("bits_per_weight", bits)
        .add("weight_bytes", static_cast<std::int64_t>(r->weight_bytes));
    return out;
  };
  return run;
}

/// Two formats against each other on the same tokens.
Run order_run(const SharedSubject& subject, std::string_view keys, const quality::Format& better,
              const quality::Format& worse) {
  Run run;
  run.row.variant = better.codec->name;
  run.row.workload = "stories";
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("better", better.codec->name);
  run.row.axes.add("worse", worse.codec->name).add("keys", keys);
  run.measure = [subject, better, worse] {
    const auto a = subject->reading(better), b = subject->reading(worse);
    const Interval nats = quality::over_positions(*a, [&](std::size_t i, std::size_t p) {
      return static_cast<double>(b->nats[i][p]) - static_cast<double>(a->nats[i][p]);
    });
    const Interval divergence = quality::over_positions(*a, [&](std::size_t i, std::size_t p) {
      return static_cast<double>(b->divergence[i][p]) - static_cast<double>(a->divergence[i][p]);
    });
    const auto percent = [](double nat) { return 100 * std::expm1(nat); };
    metrics::JsonObject out;
    out.add("perplexity_gap_percent", percent(nats.mean))
        .add("perplexity_gap_percent_low", percent(nats.low))
        .add("perplexity_gap_percent_high", percent(nats.high));
    add_interval(out, "divergence_gap", divergence);
    std::printf("%s better than %s: ppl %+.3f %% [%+.3f, %+.3f]  KL %+.5f [%+.5f, %+.5f]\n",
                std::string(better.codec->name).c_str(), std::string(worse.codec->name).c_str(),
                percent(nats.mean), percent(nats.low), percent(nats.high), divergence.mean,
                divergence.low, divergence.high);
    return out;
  };
  return run;
}

std::vector<Run> make_runs(const Options& options, const std::vector<quality::Format>& formats,
                           bool whole) {
  const std::string source(QUIRE_SOURCE_DIR);
  const checkpoint::Checkpoint model = checkpoint::open_checkpoint(
      options.model.empty() ? source + "/experiments/small_models/checkpoints/stories"
                            : options.model.string());
  const std::vector<Story> stories =
      read_stories(source + "/experiments/retention/held_out.jsonl", *model.tokenizer,
                   options.pick<std::size_t>(4, 48, 128));
  const auto trained = std::make_shared<Subject>(model, stories);
  const auto emulated =
      std::make_shared<Subject>(quality::with_key_outliers(model, 2, 6.0f), stories);
  std::vector<Run> runs;
  const bool all = whole || options.scale == Scale::full || !options.axes.empty();
  const std::pair<const SharedSubject*, std::string_view> subjects[] = {
      {&trained, "as_trained"}, {&emulated, "outliers_emulated"}};
  for (const auto& [subject, keys] : subjects) {
    for (const quality::Format& f : formats) {
      const std::string_view name = f.codec->name;
      const bool is_drawn = keys == "as_trained" ? quality::has(quality::drawn, name)
                                                 : quality::has(quality::drawn_with_outliers, name);
      if (all || is_drawn) runs.push_back(kv_run(*subject, keys, f));
    }
  }
  if (!whole || options.scale == Scale::full) {  // a user's own list is of KV formats
    for (const WeightRun& w : weight_runs(all)) runs.push_back(weight_run(trained, w, source));
  }
  const auto named = [&](std::string_view name) {
    return std::find_if(formats.begin(), formats.end(),
                        [&](const quality::Format& f) { return f.codec->name == name; });
  };
  for (const auto& [subject, keys] : subjects) {
    for (const auto& [better, worse] : quality::orders) {
      const bool is_drawn =
          keys == "as_trained" && quality::has(quality::drawn_orders, std::pair(better, worse));
      if (!all && !is_drawn) continue;
      const auto a = named(better), b = named(worse);
      if (a == formats.end() || b == formats.end()) continue;  // not in this list
      runs.push_back(order_run(*subject, keys, *a, *b));
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
  if (!names_file) {
    words.insert(words.end(), {"--out", "quality.jsonl"});
    std::printf("rows are appended to quality.jsonl\n");
  }
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);
  return experiment::run_experiment(
      static_cast<int>(words.size()), arguments.data(), "quality",
      "What a KV format does to a model: bits per byte, perplexity, divergence from fp32, recall,\n"
      "bytes a token and speed, with 95 % intervals over texts.\n\n"
      "Examples:\n"
      "  quality --axis kv_format=[int8_per_token_head,kivi2_g32_r128]\n"
      "  quality --out rows.jsonl --axis keys=outliers_emulated --jobs 2\n",
      [&](const experiment::Options& options) {
        return experiment::make_runs(options, formats, whole);
      });
}
