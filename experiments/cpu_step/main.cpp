// What a step of the CPU executor costs: by threads, by the batch, by the depth of the cache in each KV format, and
// what it is made of. README.md says what is run and why.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <tuple>
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
  /// From now on sequences that each have `computed` tokens draw one more in a step; all but the last block
  /// of these tokens are the same blocks for all, if they are `shared`.
  virtual void begin(std::int64_t sequences, std::int64_t computed, bool shared) = 0;
  virtual void step() = 0;
  /// What the steps since begin() cost. read: bytes a second
  [[nodiscard]] virtual metrics::JsonObject found(double read) = 0;
  [[nodiscard]] virtual ThreadPool& threads() = 0;
};

/// Steps of each by turns: what the machine does beside reaches all of them alike.
std::vector<metrics::JsonObject> measure(std::span<Loaded* const> all, std::int64_t sequences,
                                         std::int64_t computed, bool shared, std::size_t rounds) {
  for (Loaded* one : all) one->begin(sequences, computed, shared);
  double read = read_rate(all.front()->threads());
  for (std::size_t r = 0; r < rounds; ++r) {
    for (Loaded* one : all) one->step();
  }
  read = std::max(read, read_rate(all.front()->threads()));
  std::vector<metrics::JsonObject> rows;
  for (Loaded* one : all) rows.push_back(one->found(read));
  return rows;
}

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

  void begin(std::int64_t sequences, std::int64_t computed, bool shared) override {
    sequences_ = sequences, computed_ = computed, shared_ = shared;
    decode_ = plan(sequences, computed, 1, shared);
    for (int warm = 0; warm < 2; ++warm) steps_.execute(decode_, result_);
    found_.clear();
  }
  void step() override {
    steps_.step_seconds() = {};
    steps_.weight_load().clear();
    steps_.execute(decode_, result_);
    found_.emplace_back(result_.seconds.value, steps_.step_seconds());
  }
  [[nodiscard]] ThreadPool& threads() override { return steps_.threads(); }

  [[nodiscard]] metrics::JsonObject found(double read) override {
    // The parts are those of the step that took the median time, so that they add up to it.
    const auto middle = found_.begin() + static_cast<std::ptrdiff_t>(found_.size() / 2);
    std::nth_element(found_.begin(), middle, found_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const auto& [step, parts] = *middle;
    const model::Shape& shape = step_llama;
    const kv_format::KvCodec& codec = steps_.arena().codec();
    const auto dim = static_cast<std::size_t>(shape.head_dim);
    const std::int64_t common = shared_ ? shared_blocks(computed_) * block_tokens : 0;
    const double kv = static_cast<double>((common + sequences_ * (computed_ + 1 - common)) *
                                          shape.layers * shape.kv_heads) *
                      (codec.keys.token_bytes(dim) + codec.values.token_bytes(dim));
    const auto weights = static_cast<double>(steps_.weight_load().bytes);
    const double bound = (weights + kv) / read;
    const double named = parts.products + parts.attention + parts.head + parts.sampling;
    return metrics::JsonObject()
        .add("step_us", 1e6 * step)
        .add("tokens_per_s", static_cast<double>(sequences_) / step)
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
        .add("rounds", found_.size());
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
  std::int64_t sequences_ = 0, computed_ = 0;
  bool shared_ = false;
  StepPlan decode_;
  StepResult result_;
  std::vector<std::pair<double, model::StepSeconds>>
      found_;  // seconds of steps, and of their parts
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

/// What rows share: the models of the row before, where they fit, and what was measured by turns with it.
class Loader {
 public:
  /// The row of formats[which].
  metrics::JsonObject measure(std::span<const kv_format::KvCodec* const> formats, std::size_t which,
                              std::size_t threads, std::int64_t sequences, std::int64_t depth,
                              bool shared, std::size_t rounds) {
    const std::lock_guard lock(mutex_);
    if (!llama_) llama_ = std::make_unique<RandomLlama>(step_llama);
    const std::int64_t tokens = sequences * (depth + 2 * block_tokens);
    if (!std::equal(formats.begin(), formats.end(), formats_.begin(), formats_.end()) ||
        threads_ != threads || tokens_ < tokens) {
      loaded_.clear();
      done_.clear();
      for (const kv_format::KvCodec* codec : formats) {
        loaded_.push_back(load(*llama_, *codec, threads, tokens));
      }
      formats_.assign(formats.begin(), formats.end());
      threads_ = threads, tokens_ = tokens;
    }
    std::vector<metrics::JsonObject>& rows = done_[{sequences, depth, shared}];
    if (rows.empty()) {
      std::vector<Loaded*> all;
      for (const auto& one : loaded_) all.push_back(one.get());
      rows = experiment::measure(all, sequences, depth, shared, rounds);
    }
    return rows[which];
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<RandomLlama> llama_;
  std::vector<std::unique_ptr<Loaded>> loaded_;
  std::vector<const kv_format::KvCodec*> formats_;
  std::size_t threads_ = 0;
  std::int64_t tokens_ = 0;
  // by sequences, depth and whether their blocks are shared: a row of each format
  std::map<std::tuple<std::int64_t, std::int64_t, bool>, std::vector<metrics::JsonObject>> done_;
};

std::vector<Run> make_runs(const Options& options) {
  const std::size_t rounds = options.pick<std::size_t>(2, 21, 101);
  const std::size_t most = std::max(1u, std::thread::hardware_concurrency());
  const auto loader = std::make_shared<Loader>();
  std::vector<Run> runs;
  // formats: those that are measured by turns; which: the row's own
  const auto add = [&](std::string_view part, std::span<const kv_format::KvCodec* const> formats,
                       std::size_t which, std::size_t threads, std::int64_t sequences,
                       std::int64_t depth, bool shared = false) {
    const kv_format::KvCodec& codec = *formats[which];
    Run run;
    run.row.variant = std::string(codec.name);
    run.row.workload = "decode";
    run.row.mode = metrics::Mode::measured;
    run.row.axes.add("part", part).add("kv_format", codec.name).add("threads", threads);
    run.row.axes.add("sequences", sequences).add("depth", depth);
    run.row.axes.add("prefix", shared ? "shared" : "own");
    run.measure = [=] {
      return loader->measure(formats, which, threads, sequences, depth, shared, rounds);
    };
    runs.push_back(std::move(run));
  };
  static constexpr std::array halves{&kv_format::codec_of<kv_format::Bf16>()};
  for (std::size_t threads = 1; threads < most; threads *= 2) {
    add("threads", halves, 0, threads, 1, thread_depth);
  }
  add("threads", halves, 0, most, 1, thread_depth);
  // The largest first: the ones behind it fit into its pool.
  for (auto batch = step_batches.rbegin(); batch != step_batches.rend(); ++batch) {
    add("batch", halves, 0, most, *batch, batch_depth);
  }
  for (const bool shared : {false, true}) {
    add("prefix", halves, 0, most, prefix_sequences, prefix_depth, shared);
  }
  for (auto depth = step_depths.rbegin(); depth != step_depths.rend(); ++depth) {
    for (std::size_t which = 0; which < step_formats.size(); ++which) {
      add("depth", step_formats, which, most, 1, *depth);
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
