// Tokens a second of one model on this machine, as llama-bench measures and prints them: prompts and
// single tokens, each behind so many tokens that are in the cache already. benchmarks/peers/run runs it
// beside a peer. Keys and values are fp16, as a peer has them; each step ends with a greedy draw, which
// llama-bench leaves out.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <quire/core/error.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/weight_format/weight_format.hpp>

namespace {

using namespace quire;

struct Asked {
  std::string model, weights;
  std::vector<std::int64_t> prompt, generate, depth{0};
  std::size_t threads = 1, repetitions = 5;
};

template <class Format>
class Speed {
 public:
  Speed(const Asked& asked, std::int64_t longest)
      : options_{.model = checkpoint::open_checkpoint(asked.model), .threads = asked.threads},
        steps_(options_, {blocks(longest), 0, block_tokens}, kv_format::codec_of<kv_format::Fp16>(),
               weight_format::codec_of<Format>()),
        table_(1),
        history_(static_cast<std::size_t>(longest)) {
    Rng rng(1);
    const auto vocab = static_cast<std::uint64_t>(options_.model.config.shape.vocab);
    for (TokenId& t : history_) t = static_cast<TokenId>(rng.below(vocab));
    for (std::uint32_t b = 0; b < blocks(longest).value; ++b) table_[0].append({b});
    greedy_.temperature = 0;
  }
  /// Seconds of a step that computes `tokens` tokens behind `computed` others.
  double step(std::int64_t computed, std::int64_t tokens) {
    plan_.clear();
    SequencePlan& row = plan_.sequences.emplace_back();
    row.computed = computed;
    row.tokens = plan_.batched_tokens = tokens;
    row.prompt_tokens = computed + tokens;
    row.history = history_;
    row.tables = table_;
    row.sampling = &greedy_;
    row.draws = 1;
    steps_.execute(plan_, result_);
    return result_.seconds.value;
  }
  /// Prompts in steps of 512 tokens, what is generated one by one.
  double run(std::int64_t depth, std::int64_t prompt, std::int64_t generate) {
    double seconds = 0;
    for (std::int64_t at = 0; at < prompt; at += chunk) {
      seconds += step(depth + at, std::min(chunk, prompt - at));
    }
    for (std::int64_t i = 0; i < generate; ++i) seconds += step(depth + prompt + i, 1);
    return seconds;
  }
  [[nodiscard]] std::size_t weight_bytes() const { return steps_.decoder().weights().bytes(); }

 private:
  static constexpr std::int64_t block_tokens = 16, chunk = 512;
  static BlockCount blocks(std::int64_t tokens) { return ceil_div(tokens, block_tokens); }

  executor::Cpu::Options options_;
  executor::Cpu::Steps<kv_format::Fp16, weight_format::storage_of<Format>> steps_;
  std::vector<BlockTable> table_;
  std::vector<TokenId> history_;
  SamplingParams greedy_;
  StepPlan plan_;
  StepResult result_;
};

std::string list_of(const std::vector<double>& values) {
  std::string out;
  for (const double v : values) out += (out.empty() ? "" : ", ") + metrics::json_number(v);
  return "[" + out + "]";
}

template <class Format>
void measure(const Asked& asked) {
  std::int64_t longest = 1;
  for (const auto* counts : {&asked.prompt, &asked.generate}) {
    for (const std::int64_t n : *counts) {
      longest = std::max(longest, n + *std::max_element(asked.depth.begin(), asked.depth.end()));
    }
  }
  Speed<Format> speed(asked, longest);
  speed.run(0, longest, 0);  // what lies in the cache, and the memory of every step, once
  bool first = true;
  const auto report = [&](std::int64_t depth, std::int64_t prompt, std::int64_t generate) {
    std::vector<double> nanoseconds, rates;
    double mean = 0;
    speed.run(depth, prompt, std::min<std::int64_t>(generate, 1));
    for (std::size_t r = 0; r < asked.repetitions; ++r) {
      const double seconds = speed.run(depth, prompt, generate);
      nanoseconds.push_back(std::round(1e9 * seconds));
      rates.push_back(static_cast<double>(prompt + generate) / seconds);
      mean += rates.back() / static_cast<double>(asked.repetitions);
    }
    std::cout << (first ? "[\n" : ",\n")
              << metrics::JsonObject()
                     .add("model_filename", asked.model)
                     .add("model_type", std::string(Format::name))
                     .add("model_size", static_cast<std::int64_t>(speed.weight_bytes()))
                     .add("backends", "Quire")
                     .add("n_threads", static_cast<std::int64_t>(asked.threads))
                     .add("type_k", "f16")
                     .add("type_v", "f16")
                     .add("n_prompt", prompt)
                     .add("n_gen", generate)
                     .add("n_depth", depth)
                     .add("avg_ts", mean)
                     .raw("samples_ns", list_of(nanoseconds))
                     .raw("samples_ts", list_of(rates))
                     .text();
    first = false;
  };
  for (const std::int64_t depth : asked.depth) {
    for (const std::int64_t n : asked.prompt) report(depth, n, 0);
    for (const std::int64_t n : asked.generate) report(depth, 0, n);
  }
  std::cout << (first ? "[" : "\n") << "]\n";
}

int speed_program(int argc, char** argv) {
  CLI::App app("Tokens a second of a model, printed as llama-bench prints them (JSON).",
               "quire_speed");
  Asked asked;
  app.add_option("-m,--model", asked.model, "folder or GGUF file")->required();
  app.add_option(
         "--weights", asked.weights,
         "format in memory; bf16_w16a16, w8a8 and those that end in _a8 round activations as "
         "well, as peers do")
      ->required()
      ->check(CLI::IsMember(
          {"f32", "f16", "bf16", "q8_0", "q4_0", "bf16_w16a16", "w8a8", "q8_0_a8", "q4_0_a8"}));
  const CLI::Range count(std::int64_t{0}, std::int64_t{1} << 20);
  app.add_option("-p,--n-prompt", asked.prompt)->delimiter(',')->check(count);
  app.add_option("-n,--n-gen", asked.generate)->delimiter(',')->check(count);
  app.add_option("-d,--n-depth", asked.depth)->delimiter(',')->check(count);
  app.add_option("-t,--threads", asked.threads)->check(CLI::Range(1, 4096));
  app.add_option("-r,--repetitions", asked.repetitions)->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  for (auto* counts : {&asked.prompt, &asked.generate})
    std::erase(*counts, 0);  // llama-bench's none
  if (asked.weights == "f32") {
    measure<weight_format::Fp32>(asked);
  } else if (asked.weights == "f16") {
    measure<weight_format::Fp16>(asked);
  } else if (asked.weights == "bf16") {
    measure<weight_format::Bf16>(asked);
  } else if (asked.weights == "bf16_w16a16") {
    measure<weight_format::Bf16W16a16>(asked);
  } else if (asked.weights == "w8a8") {
    measure<weight_format::W8a8>(asked);
  } else if (asked.weights == "q8_0_a8") {
    measure<weight_format::A8<weight_format::Q80>>(asked);
  } else if (asked.weights == "q4_0_a8") {
    measure<weight_format::A8<weight_format::Q40>>(asked);
  } else if (asked.weights == "q8_0") {
    measure<weight_format::Q80>(asked);
  } else {
    measure<weight_format::Q40>(asked);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return speed_program(argc, argv);
  } catch (const quire::Error& error) {
    std::cerr << "quire_speed: " << error.what() << '\n';
    return error.exit_code();
  }
}
