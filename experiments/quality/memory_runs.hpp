#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/cost_model/roofline.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/model/known_shapes.hpp>

/// How many sequences a format lets into a fixed memory, and how fast they go on.
namespace quire::experiment {
namespace detail {

inline constexpr std::string_view measured_formats[] = {"fp32",
                                                        "fp16",
                                                        "fp8_e4m3",
                                                        "int8_per_token_head",
                                                        "int4_per_token_head",
                                                        "turboquant4",
                                                        "kivi4_g32_r128",
                                                        "kivi2_g32_r128",
                                                        "fp8_per_head_min_max",
                                                        "qserve_kv4",
                                                        "kvquant3",
                                                        "gear2_r1_s2"};

[[nodiscard]] inline Run memory_run(std::string_view hardware, std::string_view model,
                                    std::string_view kv, std::string_view weights,
                                    metrics::Mode mode) {
  Run run;
  run.row.variant = weights == "fp32" || weights == "bf16" ? std::string(kv) : std::string(weights);
  run.row.workload = mode == metrics::Mode::measured ? "stories" : "1024 + 1024 tokens";
  run.row.mode = mode;
  run.row.axes.add("part", "memory").add("hardware", hardware).add("model", model);
  run.row.axes.add("kv_format", kv).add("weight_format", weights);
  return run;
}

/// The engine itself on one thread: a pool of four MiB, less what the planner counts for a format's
/// windows, and as many texts at a time as then fit whole. used_bytes: the pool and the most that lay
/// beside it.
[[nodiscard]] inline metrics::JsonObject fixed_memory(Subject& subject,
                                                      const quality::Format& format) {
  constexpr std::int64_t memory = std::int64_t{4} << 20;
  constexpr std::size_t texts = 24;
  const Tokens block_tokens = quality::Variant<kv_format::Fp32>::BlockSize::tokens;
  auto some = std::make_shared<quality::Texts>(*subject.texts());
  if (some->size() > texts) some->resize(texts);
  std::int64_t longest = 0;
  for (const auto& text : *some) longest = std::max(longest, std::ssize(text));
  const quality::SequenceBytes bytes =
      quality::sequence_bytes(subject.model().config.shape, *format.codec, block_tokens);
  quality::ReadOptions how;
  how.together = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(static_cast<double>(memory) / bytes.of(longest, block_tokens)));
  how.device_blocks = static_cast<std::int64_t>(
      (static_cast<double>(memory) - static_cast<double>(how.together) * bytes.open) / bytes.block);
  how.notes = false;
  how.calibration = subject.calibration();
  const auto r = quality::read_texts(format, subject.model(), some, nullptr, how);
  const std::int64_t used =
      how.device_blocks.value * static_cast<std::int64_t>(r->pool_block_bytes) +
      static_cast<std::int64_t>(r->open_bytes);
  return metrics::JsonObject()
      .add("kv_memory_bytes", memory)
      .add("used_bytes", used)
      .add("used_percent", 100.0 * static_cast<double>(used) / static_cast<double>(memory))
      .add("open_bytes", static_cast<std::int64_t>(r->open_bytes))
      .add("open_bytes_planned", static_cast<double>(how.together) * bytes.open)
      .add("sequences", how.together)
      .add("most_together", r->most_together)
      .add("mean_together", r->tokens / r->steps)
      .add("tokens", r->tokens)
      .add("tokens_per_s", r->tokens / r->seconds);
}

/// A device's memory divided by the planner, and a decode step of the full batch by the roofline: 1,024
/// tokens of prompt and 1,024 of output, room for all of them, the step at the mean context.
[[nodiscard]] inline metrics::JsonObject planned(const Hardware& hardware,
                                                 const kv_format::KvCodec& kv,
                                                 const weight_format::WeightCodec& weights) {
  constexpr std::int64_t length = 2048, mean_context = 1536;
  const Tokens block_tokens = quality::Variant<kv_format::Fp32>::BlockSize::tokens;
  const model::Shape& m = model::llama3_8b;
  const auto hidden = static_cast<std::size_t>(m.hidden);
  const quality::SequenceBytes bytes = quality::sequence_bytes(m, kv, block_tokens);
  CostInputs in;
  in.model = m;
  in.hardware = hardware;
  const auto all = static_cast<double>(m.parameters());
  const double layers = static_cast<double>(m.layers * (m.attention_weights() + m.mlp_weights()));
  in.storage.weight_bytes = (layers * weights.weight_bytes(hidden) +
                             (all - layers) * weights.of_head().weight_bytes(hidden)) /
                            all;
  in.storage.block_tokens = block_tokens;
  in.storage.kv_block_bytes = bytes.block;
  const double token_bytes = bytes.block / static_cast<double>(block_tokens.value);
  in.storage.kv_token_bytes = token_bytes + bytes.unpacked / static_cast<double>(mean_context);
  const MemoryPlan plan = plan_memory(in, {});
  const auto sequences = static_cast<std::int64_t>(plan.kv_bytes / bytes.of(length, block_tokens));
  const cost_model::Roofline roofline(in);
  const auto step_seconds = [&](std::int64_t batch) {
    StepPlan step;
    for (std::int64_t i = 0; i < batch; ++i) {
      SequencePlan s{};
      s.computed = mean_context;
      s.tokens = 1;
      s.draws = 1;
      step.sequences.push_back(s);
    }
    step.batched_tokens = batch;
    return roofline.cost(step).seconds.value;
  };
  const double seconds = step_seconds(sequences);
  return metrics::JsonObject()
      .add("kv_gb", plan.kv_bytes / 1e9)
      .add("weight_gb", plan.weight_bytes / 1e9)
      .add("kv_token_bytes", token_bytes)
      .add("read_token_bytes", in.storage.kv_token_bytes)
      .add("open_sequence_bytes", bytes.open)
      .add("sequences", sequences)
      .add("step_ms", 1e3 * seconds)
      .add("tokens_per_s", static_cast<double>(sequences) / seconds)
      .add("tokens_per_s_alone", 1 / step_seconds(1));
}

}  // namespace detail

/// Rows of the same memory in every format: measured here, planned for GPUs. all: measured in every format
inline void add_memory_runs(const SharedSubject& subject,
                            const std::vector<quality::Format>& formats, bool all,
                            std::vector<Run>& runs) {
  using metrics::Mode;
  for (const quality::Format& f : formats) {
    const bool drawn =
        std::find(std::begin(detail::measured_formats), std::end(detail::measured_formats),
                  f.codec->name) != std::end(detail::measured_formats);
    if (!all && !drawn) continue;
    Run run = detail::memory_run("cpu", subject->model().config.shape.name, f.codec->name, "fp32",
                                 Mode::measured);
    run.measure = [subject, f] { return detail::fixed_memory(*subject, f); };
    runs.push_back(std::move(run));
  }
  for (const Hardware* hardware : {&hardware::a100_80gb, &hardware::h200}) {
    const auto add = [&](const kv_format::KvCodec& kv, const weight_format::WeightCodec& weights) {
      const std::string_view name = weights.name.substr(0, weights.name.find("_head_"));
      Run run =
          detail::memory_run(hardware->name, model::llama3_8b.name, kv.name, name, Mode::simulated);
      run.measure = [hardware, kv = &kv, weights = &weights] {
        return detail::planned(*hardware, *kv, *weights);
      };
      runs.push_back(std::move(run));
    };
    const auto& bf16 = detail::layers_in<weight_format::Bf16>();
    const auto& fp16 = kv_format::codec_of<kv_format::Fp16>();
    for (const quality::Format& f : formats) add(*f.codec, bf16);
    std::vector<const weight_format::WeightCodec*> seen{&bf16};
    for (const WeightRun& w : detail::weight_runs(nullptr)) {
      if (std::find(seen.begin(), seen.end(), w.codec) != seen.end()) continue;
      seen.push_back(w.codec);
      add(fp16, *w.codec);
    }
  }
}

}  // namespace quire::experiment
