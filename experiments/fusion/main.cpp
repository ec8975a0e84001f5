// What it buys to do parts of a CPU step together: each fusion switched off, by turns with all of them on.
// README.md says what is run and why.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/random_llama.hpp>
#include <experiments/fusion/axes.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>

namespace quire::experiment {
namespace {

using Steps = executor::Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;

const model::Shape random_llama{.name = "random_llama",
                                .layers = 4,
                                .hidden = 768,
                                .heads = 12,
                                .kv_heads = 4,
                                .head_dim = 64,
                                .ffn = 2048,
                                .vocab = 32000,
                                .max_length = 1024,
                                .tied_embedding = true};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// One kind of step on a model that is loaded.
class Work {
 public:
  Work(Steps& steps, const StepAxis& axis) : steps_(steps) {
    const std::int64_t length = axis.computed + axis.tokens, per = ceil_div(length, 16);
    Rng rng(1);
    for (std::int64_t i = 0; i < length; ++i) {
      history_.push_back(static_cast<TokenId>(rng.below(32000)));
    }
    params_.temperature = axis.temperature;
    params_.top_p = axis.top_p;
    tables_.resize(static_cast<std::size_t>(axis.sequences));
    for (std::uint32_t s = 0; s < tables_.size(); ++s) {
      tables_[s].resize(1);
      for (std::uint32_t b = 0; b < per; ++b) {
        tables_[s][0].append({s * static_cast<std::uint32_t>(per) + b});
      }
      SequencePlan row;
      row.sequence = {s};
      row.prompt_tokens = length;
      row.history = history_;
      row.tables = tables_[s];
      row.sampling = &params_;
      row.draws = 1;
      if (axis.computed > 0) {  // what lies in the cache
        row.computed = 0;
        row.tokens = axis.computed;
        plan_.sequences.assign(1, row);
        run();
      }
      row.computed = axis.computed;
      row.tokens = axis.tokens;
      all_.push_back(row);
    }
    plan_.sequences = all_;
    run();
  }
  double run() {
    steps_.execute(plan_, result_);
    return result_.seconds.value;
  }
  /// The same in time that this thread ran, where it is the only one: what else the machine does
  /// stands still in it.
  double run_alone() {
    const auto now = [] {
      timespec t{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
    };
    const double start = now();
    steps_.execute(plan_, result_);
    return now() - start;
  }
  [[nodiscard]] std::vector<TokenId> tokens() const {
    std::vector<TokenId> out;
    for (const Draw& d : result_.draws) out.push_back(d.token);
    return out;
  }

 private:
  Steps& steps_;
  std::vector<TokenId> history_;
  SamplingParams params_;
  std::vector<std::vector<BlockTable>> tables_;
  std::vector<SequencePlan> all_;
  StepPlan plan_;
  StepResult result_;
};

/// The model with so many threads, loaded when the first row asks; rows take turns with it.
class Loaded {
 public:
  Loaded(std::shared_ptr<const RandomLlama> llama, std::size_t threads)
      : llama_(std::move(llama)), threads_(threads) {}
  template <class Body>
  auto with(const Body& body) {
    const std::lock_guard lock(mutex_);
    if (!steps_) {
      executor::Cpu::Options options{.model = llama_->open(), .threads = threads_};
      steps_ = std::make_unique<Steps>(options, KvGeometry{512, 0, 16});
    }
    return body(*steps_);
  }

 private:
  std::shared_ptr<const RandomLlama> llama_;
  std::size_t threads_;
  std::mutex mutex_;
  std::unique_ptr<Steps> steps_;
};

/// Steps with everything fused and with one part apart (or all of them), by turns.
metrics::JsonObject compare(Steps& steps, const StepAxis& axis, const model::Fusion& apart,
                            std::size_t rounds) {
  Work work(steps, axis);
  const bool alone = steps.threads().size() == 1;
  std::vector<double> with, without, ratios;
  std::vector<TokenId> tokens;
  std::int64_t bytes[2]{}, weights = 0;
  const auto timed = [&](const model::Fusion& fusion, std::size_t which) {
    steps.fuse(fusion);
    steps.weight_load().clear();
    const double seconds = alone ? work.run_alone() : work.run();
    bytes[which] = steps.weight_load().activation_bytes;
    weights = steps.weight_load().bytes;
    if (tokens.empty()) tokens = work.tokens();
    if (tokens != work.tokens()) {
      throw state_error("fusion", "a token differs with a fusion switched off", "the same tokens");
    }
    return seconds;
  };
  for (std::size_t r = 0; r < rounds; ++r) {
    const bool first = r % 2 == 0;
    if (first) with.push_back(timed({}, 0));
    without.push_back(timed(apart, 1));
    if (!first) with.push_back(timed({}, 0));
    ratios.push_back(without.back() / with.back());
  }
  return metrics::JsonObject()
      .add("fused_us", 1e6 * median(with))
      .add("apart_us", 1e6 * median(without))
      .add("saved_percent", 100 * (1 - 1 / median(ratios)))
      .add("fused_activation_bytes", bytes[0])
      .add("apart_activation_bytes", bytes[1])
      .add("weight_bytes", weights)
      .add("rounds", rounds);
}

std::vector<Run> make_runs(const Options& options) {
  const std::size_t rounds = options.pick<std::size_t>(3, 11, 51);
  const std::size_t most = std::max(1u, std::thread::hardware_concurrency());
  const auto llama = std::make_shared<const RandomLlama>(random_llama);
  const auto one = std::make_shared<Loaded>(llama, 1), all = std::make_shared<Loaded>(llama, most);
  std::vector<Run> runs;
  const auto add = [&](const StepAxis& axis, std::string_view name, const model::Fusion& apart,
                       std::size_t threads) {
    Run run;
    run.row.variant = "vllm_fp32";
    run.row.workload = axis.name;
    run.row.mode = metrics::Mode::measured;
    run.row.axes.add("part", "step").add("apart", name).add("threads", threads);
    run.row.axes.add("sequences", axis.sequences).add("tokens", axis.tokens);
    run.measure = [=, loaded = threads == 1 ? one : all] {
      // a prefill takes as long as ten decodes
      const std::size_t count = axis.tokens > 1 ? rounds / 4 + 1 : rounds;
      return loaded->with([&](Steps& steps) { return compare(steps, axis, apart, count); });
    };
    runs.push_back(std::move(run));
  };
  for (const StepAxis& axis : steps) {
    const bool samples = axis.temperature > 0;
    for (const std::size_t threads : {std::size_t{1}, most}) {
      if (threads > 1 && (samples || axis.sequences * axis.tokens == 1 || most == 1)) continue;
      for (const FusionAxis& fusion : fusions) {
        if (samples != (fusion.name == "partial_sort")) continue;
        if (axis.tokens == 1 && fusion.name == "sampled_logits") continue;  // all rows sample
        model::Fusion apart;
        apart.*fusion.part = false;
        add(axis, fusion.name, apart, threads);
      }
      if (!samples) add(axis, "all", model::no_fusion, threads);
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(argc, argv, "fusion",
                                           "What it buys to do parts of a CPU step together.\n\n"
                                           "Examples:\n"
                                           "  fusion --out rows.jsonl\n"
                                           "  fusion --out rows.jsonl --filter prefill\n",
                                           quire::experiment::make_runs);
}
