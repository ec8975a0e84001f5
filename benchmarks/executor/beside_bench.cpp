// Steps of the CPU executor beside other steps, by turns, in bf16 on a llama of random weights (768 wide, 6
// layers, 12 query and 4 KV heads): a mixture of experts, whose tokens should take what their bytes take,
// and decoding on all processors beside a busy process.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/engine/config.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/weight_format/bf16.hpp>

// executor_bench.cpp compiles it.
extern template class quire::executor::Cpu::Steps<quire::kv_format::Bf16,
                                                  quire::weight_format::Bf16>;

namespace {

using namespace quire;

struct Half {
  static constexpr std::string_view name = "bf16";
  using BlockSize = quire::BlockSize<16>;
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
  using Offload = offload::Recompute;
  using Retention = retention::KeepAll;
};

/// A checkpoint that exists in memory only; every tensor is a stretch of the same random numbers.
/// experts > 0: a mixtral, whose experts are as wide as the llama's MLP; two of them take each token.
checkpoint::Checkpoint random_llama(int experts = 0) {
  checkpoint::Checkpoint c;
  checkpoint::ModelConfig& config = c.config;
  config.shape = {.name = "random",
                  .layers = 6,
                  .hidden = 768,
                  .heads = 12,
                  .kv_heads = 4,
                  .head_dim = 64,
                  .ffn = 2048,
                  .vocab = 8192,
                  .max_length = 4096,
                  .tied_embedding = true};
  if (experts > 0) {
    config.shape.family = model::Family::mixtral;
    config.shape.experts = experts;
    config.shape.experts_per_token = 2;
  }
  config.windows.assign(6, 0);
  config.embedding_width = 768;
  auto numbers = std::make_shared<std::vector<float>>(std::size_t{8192} * 768);
  Rng rng(1);
  for (float& x : *numbers) x = 0.05f * (static_cast<float>(rng.uniform()) - 0.5f);
  std::vector<checkpoint::TensorSet::Entry> entries;
  auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t size = 1;
    for (const std::int64_t n : shape) size *= static_cast<std::size_t>(n);
    entries.push_back({name + ".weight", checkpoint::DType::f32, std::move(shape),
                       std::as_bytes(std::span(*numbers)).first(size * sizeof(float))});
  };
  add("model.embed_tokens", {8192, 768});
  add("model.norm", {768});
  for (int i = 0; i < 6; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm", {768});
    add(layer + "post_attention_layernorm", {768});
    add(layer + "self_attn.q_proj", {768, 768});
    add(layer + "self_attn.k_proj", {256, 768});
    add(layer + "self_attn.v_proj", {256, 768});
    add(layer + "self_attn.o_proj", {768, 768});
    if (experts > 0) {
      add(layer + "block_sparse_moe.gate", {experts, 768});
      for (int e = 0; e < experts; ++e) {
        const std::string expert = layer + "block_sparse_moe.experts." + std::to_string(e) + ".";
        add(expert + "w1", {2048, 768});
        add(expert + "w3", {2048, 768});
        add(expert + "w2", {768, 2048});
      }
      continue;
    }
    add(layer + "mlp.gate_proj", {2048, 768});
    add(layer + "mlp.up_proj", {2048, 768});
    add(layer + "mlp.down_proj", {768, 2048});
  }
  c.tensors = checkpoint::TensorSet("memory", std::move(entries), {numbers});
  return c;
}

/// `sequences` sequences, each with `computed` tokens in the cache, that run `tokens` more.
struct Steps {
  executor::Cpu::Options options;
  executor::Cpu::Bound<Half> bound;
  std::vector<TokenId> history;
  std::vector<std::vector<BlockTable>> tables;
  SamplingParams greedy;
  StepPlan plan;
  StepResult result;

  Steps(std::int64_t sequences, std::int64_t computed, std::int64_t tokens, int experts = 0,
        std::size_t threads = 1)
      : options{.model = random_llama(experts), .threads = threads},
        bound(options, {sequences * ceil_div(computed + tokens, 16), 0, 16}),
        history(static_cast<std::size_t>(computed + tokens), 5),
        tables(static_cast<std::size_t>(sequences)) {
    greedy.temperature = 0;
    const auto per = static_cast<std::uint32_t>(ceil_div(computed + tokens, 16));
    for (std::uint32_t s = 0; s < tables.size(); ++s) {
      tables[s].resize(1);
      for (std::uint32_t b = 0; b < per; ++b) tables[s][0].append({s * per + b});
      SequencePlan row;
      row.computed = computed;
      row.tokens = tokens;
      row.prompt_tokens = computed + tokens;
      row.history = history;
      row.tables = tables[s];
      row.sampling = &greedy;
      row.draws = 1;
      plan.sequences.push_back(row);
    }
    run();  // memory is touched for the first time
  }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  /// Seconds of one step.
  double run() {
    bound.execute(plan, result);
    benchmark::DoNotOptimize(result.draws.data());
    return result.seconds.value;
  }
  /// Bytes of weights, keys and values that one step reads; those of weights are counted.
  [[nodiscard]] double bytes() {
    bound.weight_load().clear();
    run();
    const model::Shape& shape = options.model.config.shape;
    const auto tokens = static_cast<std::int64_t>(history.size() * tables.size());
    return static_cast<double>(bound.weight_load().bytes) +
           static_cast<double>(tokens * 2 * shape.layers * shape.kv_heads) *
               Half::KvFormat::token_bytes(64);
  }
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A mixture of eight experts of which two take each token, and the llama whose MLP is as wide as one of
/// them, by turns, in time that this thread ran; cost_percent: by how much the mixture's token takes
/// longer than its bytes, at the llama's bytes a second.
void mixture(benchmark::State& state) {
  Steps dense(1, 0, 1), routed(1, 0, 1, 8);
  const double more = routed.bytes() / dense.bytes();
  const auto seconds = [](Steps& steps) {
    const auto now = [] {
      timespec t{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
    };
    const double start = now();
    steps.run();
    return now() - start;
  };
  std::vector<double> ratios;
  for (auto _ : state) {
    const double expected = more * seconds(dense), taken = seconds(routed);
    ratios.push_back(taken / expected);
    state.SetIterationTime(taken);
  }
  state.counters["cost_percent"] = 100 * (median(ratios) - 1);
  quire_bench::count_bytes(state, static_cast<std::int64_t>(routed.bytes()));
  quire_bench::against(state, "read_memory");
}

/// A process that computes for ever, on whatever processor it is given, while it is let.
class BusyProcess {
 public:
  BusyProcess() : id_(::fork()) {
    if (id_ != 0) return;
    for (std::uint64_t i = 0;; ++i) benchmark::DoNotOptimize(i);
  }
  BusyProcess(const BusyProcess&) = delete;
  BusyProcess& operator=(const BusyProcess&) = delete;
  ~BusyProcess() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  [[nodiscard]] bool runs() const { return id_ > 0; }
  void let(bool run) const { ::kill(id_, run ? SIGCONT : SIGSTOP); }

 private:
  pid_t id_;
};

/// Decoding on all processors, alone and beside a process that never waits, by turns of a tenth of a
/// second or more; cost_percent: by how much tokens a second fall.
void beside_a_busy_process(benchmark::State& state) {
  const BusyProcess busy;  // before there are threads
  if (!busy.runs()) return state.SkipWithError("no second process can be started");
  busy.let(false);
  Steps steps(1, 1024, 1, 0, std::max(1u, std::thread::hardware_concurrency()));
  const auto seconds_a_step = [&](bool beside) {
    busy.let(beside);
    double all = 0;
    int count = 0;
    for (; all < 0.1; ++count) all += steps.run();
    return all / count;
  };
  std::vector<double> falls;
  for (auto _ : state) {
    const double alone = seconds_a_step(false), beside = seconds_a_step(true);
    busy.let(false);
    falls.push_back(1 - alone / beside);
    state.SetIterationTime(beside);
  }
  state.counters["cost_percent"] = 100 * median(falls);
  quire_bench::count_bytes(state, static_cast<std::int64_t>(steps.bytes()));
  quire_bench::against(state, "read_memory_all_threads");
}

const bool registered = [] {
  benchmark::RegisterBenchmark("decode_mixture_1_at_0/bf16", mixture)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("decode_beside_a_busy_process/bf16", beside_a_busy_process)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
