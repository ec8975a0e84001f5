// What a step of the CPU executor costs: by threads, by the batch, by the depth of the cache in each KV format, and
// what it is made of. README.md says what is run and why.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/random_llama.hpp>
#include <experiments/cpu_step/axes.hpp>
#include <experiments/kernel_roofline/ceilings.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>

namespace quire::experiment {
namespace {

constexpr std::int64_t block_tokens = 16;

/// Bytes a second that the threads read from memory together, best of some tries.
double read_rate(ThreadPool& threads) {
  static const huge_vector<float> values(std::size_t{64} << 20, 1.0f);  // 256 MiB
  const std::size_t part = values.size() / threads.size();
  double best = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    threads.parallel_for(threads.size(), [&](std::size_t t) {
      (void)read_bandwidth(std::span(values.data() + t * part, part));
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(4 * part * threads.size()) / seconds.count());
  }
  return best;
}

/// The model with a KV format and so many threads.
class Loaded {
 public:
  virtual ~Loaded() = default;
  /// Sequences that each have `computed` tokens draw one more, `rounds` times; all but the last block of
  /// these tokens are the same blocks for all, if they are `shared`.
  [[nodiscard]] virtual metrics::JsonObject measure(std::int64_t sequences, std::int64_t computed,
                                                    bool shared, std::size_t rounds) = 0;
};

/// Its pool is full of tokens that were really computed. Storage: as an engine with this format compiles it.
template <kv_format::KvStorage Storage>
class LoadedWith final : public Loaded {
 public:
  LoadedWith(const RandomLlama& llama, const kv_format::KvCodec& codec, std::size_t threads,
             std::int64_t tokens)
      : blocks_(ceil_div(tokens, block_tokens)),
        steps_({.model = llama.open(), .threads = threads}, KvGeometry{blocks_, 0, block_tokens},
               codec) {
    StepResult result;
    StepPlan first = plan(1, 0, block_tokens, false);
    steps_.execute(first, result);
    for (std::uint32_t b = 1; b < static_cast<std::uint32_t>(blocks_); ++b) {
      first.copies.push_back({{0}, {b}});
    }
    steps_.execute(first, result);
  }

  [[nodiscard]] metrics::JsonObject measure(std::int64_t sequences, std::int64_t computed,
                                            bool shared, std::size_t rounds) override {
    const StepPlan decode = plan(sequences, computed, 1, shared);
    StepResult result;
    for (int warm = 0; warm < 2; ++warm) steps_.execute(decode, result);
    double read = read_rate(steps_.threads());
    std::vector<std::pair<double, model::StepSeconds>> found;
    for (std::size_t r = 0; r < rounds; ++r) {
      steps_.step_seconds() = {};
      steps_.weight_load().clear();
      steps_.execute(decode, result);
      found.emplace_back(result.seconds.value, steps_.step_seconds());
    }
    read = std::max(read, read_rate(steps_.threads()));
    // The parts are those of the step that took the median time, so that they add up to it.
    const auto middle = found.begin() + static_cast<std::ptrdiff_t>(rounds / 2);
    std::nth_element(found.begin(), middle, found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const auto& [step, parts] = *middle;
    const model::Shape& shape = step_llama;
    const kv_format::KvCodec& codec = steps_.arena().codec();
    const auto dim = static_cast<std::size_t>(shape.head_dim);
    const std::int64_t common = shared ? shared_blocks(computed) * block_tokens : 0;
    const double kv = static_cast<double>((common + sequences * (computed + 1 - common)) *
                                          shape.layers * shape.kv_heads) *
                      (codec.keys.token_bytes(dim) + codec.values.token_bytes(dim));
    const auto weights = static_cast<double>(steps_.weight_load().bytes);
    const double bound = (weights + kv) / read;
    const double named = parts.products + parts.attention + parts.head + parts.sampling;
    return metrics::JsonObject()
        .add("step_us", 1e6 * step)
        .add("tokens_per_s", static_cast<double>(sequences) / step)
        .add("products_us", 1e6 * parts.products)
        .add("attention_us", 1e6 * parts.attention)
        .add("head_us", 1e6 * parts.head)
        .add("sampling_us", 1e6 * parts.sampling)
        .add("rest_us", 1e6 * (step - named))
        .add("weight_bytes", weights)
        .add("kv_bytes", kv)
        .add("read_gigabytes_per_s", 1e-9 * read)
        .add("bandwidth_bound_us", 1e6 * bound)
        .add("of_bandwidth_percent", 100 * bound / step)
        .add("rounds", rounds);
  }

 private:
  [[nodiscard]] static std::int64_t shared_blocks(std::int64_t computed) {
    return std::max<std::int64_t>(0, computed / block_tokens - 1);
  }
  [[nodiscard]] StepPlan plan(std::int64_t sequences, std::int64_t computed, std::int64_t tokens,
                              bool shared) {
    const std::int64_t length = computed + tokens, per = ceil_div(length, block_tokens);
    history_.assign(static_cast<std::size_t>(length), 5);
    tables_.assign(static_cast<std::size_t>(sequences), std::vector<BlockTable>(1));
    params_.temperature = 0;
    StepPlan all;
    for (std::uint32_t s = 0; s < tables_.size(); ++s) {
      for (std::uint32_t b = 0; b < per; ++b) {
        const bool common = shared && b < shared_blocks(computed);
        tables_[s][0].append({(common ? 0 : s * static_cast<std::uint32_t>(per)) + b});
      }
      SequencePlan row;
      row.sequence = {s};
      row.computed = computed;
      row.tokens = tokens;
      row.prompt_tokens = length;
      row.history = history_;
      row.tables = tables_[s];
      row.sampling = &params_;
      row.draws = 1;
      all.sequences.push_back(row);
    }
    return all;
  }

  std::int64_t blocks_;
  executor::Cpu::Steps<Storage, weight_format::Fp32> steps_;
  std::vector<TokenId> history_;
  std::vector<std::vector<BlockTable>> tables_;
  SamplingParams params_;
};

/// Plain formats with kernels of their own, as engines have them: read through a codec they would be slower.
std::unique_ptr<Loaded> load(const RandomLlama& llama, const kv_format::KvCodec& codec,
                             std::size_t threads, std::int64_t tokens) {
  const auto with = [&]<class Storage>() -> std::unique_ptr<Loaded> {
    return std::make_unique<LoadedWith<Storage>>(llama, codec, threads, tokens);
  };
  if (&codec == &kv_format::codec_of<kv_format::Fp32>()) return with.operator()<kv_format::Fp32>();
  if (&codec == &kv_format::codec_of<kv_format::Bf16>()) return with.operator()<kv_format::Bf16>();
  return with.operator()<kv_format::Packed>();
}

/// One model at a time: the one that the row before had, where it fits.
class Loader {
 public:
  template <class Body>
  auto with(const kv_format::KvCodec& codec, std::size_t threads, std::int64_t tokens,
            const Body& body) {
    const std::lock_guard lock(mutex_);
    if (!llama_) llama_ = std::make_unique<RandomLlama>(step_llama);
    if (codec_ != &codec || threads_ != threads || tokens_ < tokens) {
      loaded_.reset();
      loaded_ = load(*llama_, codec, threads, tokens);
      codec_ = &codec, threads_ = threads, tokens_ = tokens;
    }
    return body(*loaded_);
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<RandomLlama> llama_;
  std::unique_ptr<Loaded> loaded_;
  const kv_format::KvCodec* codec_ = nullptr;
  std::size_t threads_ = 0;
  std::int64_t tokens_ = 0;
};

std::vector<Run> make_runs(const Options& options) {
  const std::size_t rounds = options.pick<std::size_t>(2, 21, 101);
  const std::size_t most = std::max(1u, std::thread::hardware_concurrency());
  const auto loader = std::make_shared<Loader>();
  std::vector<Run> runs;
  const auto add = [&](std::string_view part, const kv_format::KvCodec& codec, std::size_t threads,
                       std::int64_t sequences, std::int64_t depth, bool shared = false) {
    Run run;
    run.row.variant = std::string(codec.name);
    run.row.workload = "decode";
    run.row.mode = metrics::Mode::measured;
    run.row.axes.add("part", part).add("kv_format", codec.name).add("threads", threads);
    run.row.axes.add("sequences", sequences).add("depth", depth);
    run.row.axes.add("prefix", shared ? "shared" : "own");
    const std::int64_t tokens = sequences * (depth + 2 * block_tokens);
    run.measure = [=, &codec] {
      return loader->with(codec, threads, tokens, [&](Loaded& loaded) {
        return loaded.measure(sequences, depth, shared, rounds);
      });
    };
    runs.push_back(std::move(run));
  };
  const kv_format::KvCodec& halves = kv_format::codec_of<kv_format::Bf16>();
  for (std::size_t threads = 1; threads < most; threads *= 2) {
    add("threads", halves, threads, 1, thread_depth);
  }
  add("threads", halves, most, 1, thread_depth);
  // The largest first: the ones behind it fit into its pool.
  for (auto batch = step_batches.rbegin(); batch != step_batches.rend(); ++batch) {
    add("batch", halves, most, *batch, batch_depth);
  }
  for (const bool shared : {false, true}) {
    add("prefix", halves, most, prefix_sequences, prefix_depth, shared);
  }
  for (const kv_format::KvCodec* codec : step_formats) {
    for (auto depth = step_depths.rbegin(); depth != step_depths.rend(); ++depth) {
      add("depth", *codec, most, 1, *depth);
    }
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "cpu_step",
      "What a decode step of the CPU executor costs and is made of, by threads, batch, depth and "
      "shared prefix.\n\n"
      "Examples:\n"
      "  cpu_step --out rows.jsonl\n"
      "  cpu_step --out rows.jsonl --axis part=depth --axis kv_format=[bf16,q8_0]\n",
      quire::experiment::make_runs);
}
