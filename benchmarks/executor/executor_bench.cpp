// Whole steps of the CPU executor, one thread, on a llama of random weights (768 wide, 6 layers, 12
// query and 4 KV heads). Decoding one sequence reads all weights and its keys and values once;
// prefill and large batches are bound by multiply-adds.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/engine/config.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp32.hpp>

namespace {

using namespace quire;

struct Full {
  static constexpr std::string_view name = "fp32";
  using BlockSize = quire::BlockSize<16>;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::Recompute;
  using Retention = retention::KeepAll;
};
struct Half : Full {
  static constexpr std::string_view name = "bf16";
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
};

/// A checkpoint that exists in memory only; every tensor is a stretch of the same random numbers.
checkpoint::Checkpoint random_llama() {
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
    add(layer + "mlp.gate_proj", {2048, 768});
    add(layer + "mlp.up_proj", {2048, 768});
    add(layer + "mlp.down_proj", {768, 2048});
  }
  c.tensors = checkpoint::TensorSet("memory", std::move(entries), {numbers});
  return c;
}

/// `sequences` sequences, each with `computed` tokens in the cache, run `tokens` more.
template <class Config>
void step(benchmark::State& state, std::int64_t sequences, std::int64_t computed,
          std::int64_t tokens, bool by_bytes) {
  const std::int64_t length = computed + tokens, per = ceil_div(length, 16);
  const executor::Cpu::Options options{.model = random_llama()};
  executor::Cpu::Bound<Config> bound(options, {sequences * per, 0, 16});
  const std::vector<TokenId> history(static_cast<std::size_t>(length), 5);
  std::vector<std::vector<BlockTable>> tables(static_cast<std::size_t>(sequences));
  SamplingParams greedy;
  greedy.temperature = 0;
  StepPlan plan;
  for (std::uint32_t s = 0; s < tables.size(); ++s) {
    tables[s].resize(1);
    for (std::uint32_t b = 0; b < per; ++b) {
      tables[s][0].append({s * static_cast<std::uint32_t>(per) + b});
    }
    SequencePlan row;
    row.computed = computed;
    row.tokens = tokens;
    row.prompt_tokens = length;
    row.history = history;
    row.tables = tables[s];
    row.sampling = &greedy;
    row.draws = 1;
    plan.sequences.push_back(row);
  }
  StepResult result;
  bound.execute(plan, result);  // memory is touched for the first time
  for (auto _ : state) {
    bound.execute(plan, result);
    benchmark::DoNotOptimize(result.draws.data());
  }
  const model::Shape& shape = options.model.config.shape;
  if (by_bytes) {
    const double kv = static_cast<double>(sequences * length * 2 * shape.layers * shape.kv_heads) *
                      Config::KvFormat::token_bytes(64);
    quire_bench::count_bytes(state, static_cast<std::int64_t>(bound.decoder().weights().bytes()) +
                                        static_cast<std::int64_t>(kv));
    quire_bench::against(state, "read_memory");
  } else {
    const std::int64_t rows = sequences * tokens;
    const std::int64_t matrices =
        shape.layers * (shape.attention_weights() + shape.mlp_weights()) * rows +
        shape.vocab * shape.hidden * sequences;
    const std::int64_t attention =
        2 * shape.layers * shape.heads * 64 * rows * (computed + (tokens + 1) / 2);
    quire_bench::count_items(state, 2 * (matrices + attention));
    quire_bench::against(state, "fused_multiply_add");
  }
}

template <class Config>
void add() {
  const std::string name(Config::name);
  auto one = [&](const std::string& what, std::int64_t sequences, std::int64_t computed,
                 std::int64_t tokens, bool by_bytes) {
    benchmark::RegisterBenchmark((what + "/" + name).c_str(), [=](benchmark::State& state) {
      step<Config>(state, sequences, computed, tokens, by_bytes);
    })->Unit(benchmark::kMillisecond);
  };
  one("decode_1_at_0", 1, 0, 1, true);
  one("decode_1_at_1024", 1, 1024, 1, true);
  one("decode_32_at_512", 32, 512, 1, false);
  one("prefill_512", 1, 0, 512, false);
}

const bool registered = [] {
  add<Full>();
  add<Half>();
  return true;
}();

}  // namespace
