// Whole steps of the CPU executor on llamas of random weights: a small one (768 wide, 6 layers, 12
// query and 4 KV heads) on one thread, and one of 1.1 billion weights on one thread and on all.
// Decoding one sequence reads all weights and its keys and values once; prefill and large batches are
// bound by multiply-adds.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/pair_products.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/config.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/model/onednn.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/weight_format/a8.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q8_0.hpp>
#include <quire/weight_format/sparse_24.hpp>
#include <quire/weight_format/w8a8.hpp>

// beside_bench.cpp uses it too.
template class quire::executor::Cpu::Steps<quire::kv_format::Bf16, quire::weight_format::Bf16>;

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

struct Bytes : Half {
  static constexpr std::string_view name = "q8_0";
  using WeightFormat = weight_format::Q80;
};
struct Nibbles : Half {
  static constexpr std::string_view name = "q4_0";
  using WeightFormat = weight_format::Q40;
};
/// Activations in 8 bits, as ggml has them.
struct NibblesA8 : Half {
  static constexpr std::string_view name = "q4_0_a8";
  using WeightFormat = weight_format::A8<weight_format::Q40>;
};
/// Two of each four weights, without the others.
struct Sparse : Half {
  static constexpr std::string_view name = "sparse_24";
  using WeightFormat = weight_format::Sparse24;
};
struct Pairs : Half {
  static constexpr std::string_view name = "bf16_w16a16";
  using WeightFormat = weight_format::Bf16W16a16;
};
#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2
/// The same, with oneDNN's products from where they are measured to be the faster ones.
struct PairsByLibrary : Pairs {
  static constexpr std::string_view name = "bf16_w16a16_onednn";
  static const weight_format::WeightCodec& weights() {
    static const weight_format::WeightCodec codec = [] {
      const std::size_t rows = model::onednn::crossover();
      std::fprintf(stderr, "oneDNN is the faster one from %zu rows on (0: never)\n", rows);
      return model::onednn::codec(rows);
    }();
    return codec;
  }
};
#endif
struct WholeNumbers : Half {
  static constexpr std::string_view name = "w8a8";
  using WeightFormat = weight_format::W8a8;
};

/// QUIRE_BENCH_QUICK, which tests set, asks for a quick look: at a model of the same shape, but small.
const bool quick = std::getenv("QUIRE_BENCH_QUICK") != nullptr;
const model::Shape small{.name = "random",
                         .layers = 6,
                         .hidden = 768,
                         .heads = 12,
                         .kv_heads = 4,
                         .head_dim = 64,
                         .ffn = 2048,
                         .vocab = 8192,
                         .max_length = 4096,
                         .tied_embedding = true};
const model::Shape one_billion{.name = "random",
                               .layers = quick ? 1 : 22,
                               .hidden = quick ? 256 : 2048,
                               .heads = quick ? 4 : 32,
                               .kv_heads = 4,
                               .head_dim = 64,
                               .ffn = quick ? 704 : 5632,
                               .vocab = quick ? 1000 : 32000,
                               .max_length = 8192,
                               .tied_embedding = true};

/// A checkpoint that exists in memory only; every tensor is a stretch of the same random numbers.
checkpoint::Checkpoint random_llama(const model::Shape& shape) {
  checkpoint::Checkpoint c;
  checkpoint::ModelConfig& config = c.config;
  config.shape = shape;
  config.windows.assign(static_cast<std::size_t>(shape.layers), 0);
  config.embedding_width = shape.hidden;
  auto numbers =
      std::make_shared<std::vector<float>>(static_cast<std::size_t>(shape.vocab * shape.hidden));
  Rng rng(1);
  for (float& x : *numbers) x = 0.05f * (static_cast<float>(rng.uniform()) - 0.5f);
  std::vector<checkpoint::TensorSet::Entry> entries;
  auto add = [&](const std::string& name, std::vector<std::int64_t> sizes) {
    std::size_t size = 1;
    for (const std::int64_t n : sizes) size *= static_cast<std::size_t>(n);
    entries.push_back({name + ".weight", checkpoint::DType::f32, std::move(sizes),
                       std::as_bytes(std::span(*numbers)).first(size * sizeof(float))});
  };
  const std::int64_t h = shape.hidden, kv = shape.kv_heads * shape.head_dim;
  add("model.embed_tokens", {shape.vocab, h});
  add("model.norm", {h});
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm", {h});
    add(layer + "post_attention_layernorm", {h});
    add(layer + "self_attn.q_proj", {h, h});
    add(layer + "self_attn.k_proj", {kv, h});
    add(layer + "self_attn.v_proj", {kv, h});
    add(layer + "self_attn.o_proj", {h, h});
    add(layer + "mlp.gate_proj", {shape.ffn, h});
    add(layer + "mlp.up_proj", {shape.ffn, h});
    add(layer + "mlp.down_proj", {h, shape.ffn});
  }
  c.tensors = checkpoint::TensorSet("memory", std::move(entries), {numbers});
  return c;
}

/// An executor with `blocks` blocks of 16 tokens, all of them written to.
template <class Config>
struct Model {
  executor::Cpu::Options options;
  executor::Cpu::Steps<kv_format::storage_of<typename Config::KvFormat>,
                       weight_format::storage_of<typename Config::WeightFormat>>
      executor;

  Model(const model::Shape& shape, std::size_t threads, std::int64_t blocks)
      : options{.model = random_llama(shape), .threads = threads},
        executor(options, {blocks, 0, 16}, kv_format::codec_of<typename Config::KvFormat>(),
                 weights_of()) {
    options.model.tensors = {};
    StepResult result;
    StepPlan plan = steps(1, 0, 16);
    executor.execute(plan, result);
    for (std::uint32_t b = 1; b < blocks; ++b) plan.copies.push_back({{0}, {b}});
    executor.execute(plan, result);
  }
  /// `sequences` sequences, each with `computed` tokens in the cache, run `tokens` more.
  [[nodiscard]] StepPlan steps(std::int64_t sequences, std::int64_t computed, std::int64_t tokens) {
    const std::int64_t length = computed + tokens, per = ceil_div(length, 16);
    history.assign(static_cast<std::size_t>(length), 5);
    tables.assign(static_cast<std::size_t>(sequences), std::vector<BlockTable>(1));
    greedy.temperature = 0;
    StepPlan plan;
    for (std::uint32_t s = 0; s < tables.size(); ++s) {
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
    return plan;
  }

 private:
  static const weight_format::WeightCodec& weights_of() {
    if constexpr (requires { Config::weights(); }) {
      return Config::weights();
    } else {
      return weight_format::codec_of<typename Config::WeightFormat>();
    }
  }

  std::vector<TokenId> history;
  std::vector<std::vector<BlockTable>> tables;
  SamplingParams greedy;
};

/// What one step does.
struct Work {
  std::int64_t sequences, computed, tokens;
  bool by_bytes;  // reading bounds it; multiply-adds otherwise
  std::size_t threads;
};

template <class Config>
void run(benchmark::State& state, Model<Config>& model, const Work& work) {
  const StepPlan plan = model.steps(work.sequences, work.computed, work.tokens);
  StepResult result;
  model.executor.execute(plan, result);
  for (auto _ : state) {
    model.executor.execute(plan, result);
    benchmark::DoNotOptimize(result.draws.data());
  }
  const model::Shape& shape = model.options.model.config.shape;
  const std::int64_t length = work.computed + work.tokens, rows = work.sequences * work.tokens;
  const double kv =
      static_cast<double>(work.sequences * length * 2 * shape.layers * shape.kv_heads) *
      Config::KvFormat::token_bytes(static_cast<std::size_t>(shape.head_dim));
  const double bytes = static_cast<double>(model.executor.decoder().weights().bytes()) + kv;
  const std::int64_t matrices =
      shape.layers * (shape.attention_weights() + shape.mlp_weights()) * rows +
      shape.vocab * shape.hidden * work.sequences;
  const std::int64_t attention = 2 * shape.layers * shape.heads * shape.head_dim * rows *
                                 (work.computed + (work.tokens + 1) / 2);
  const std::string threads = work.threads > 1 ? "_all_threads" : "";
  const bool pairs =
      Config::name.substr(0, Pairs::name.size()) == Pairs::name && simd::multiplies_pairs;
  const std::string products = Config::name == WholeNumbers::name ? "byte_products"
                               : pairs                            ? "bf16_products"
                                                                  : "fused_multiply_add";
  if (work.by_bytes) {
    quire_bench::count_bytes(state, static_cast<std::int64_t>(bytes));
    quire_bench::against(state, "read_memory" + threads);
  } else {
    quire_bench::count_items(state, 2 * (matrices + attention));
    quire_bench::against(state, products + threads);
    quire_bench::bound(state, "read_memory" + threads, bytes);
    quire_bench::bound(state, products + threads, static_cast<double>(2 * (matrices + attention)));
  }
}

template <class Config>
void add_small() {
  const std::string name(Config::name);
  auto one = [&](const std::string& what, const Work& work) {
    benchmark::RegisterBenchmark((what + "/" + name).c_str(), [work](benchmark::State& state) {
      Model<Config> model(small, 1, work.sequences * ceil_div(work.computed + work.tokens, 16));
      run(state, model, work);
    })->Unit(benchmark::kMillisecond);
  };
  one("decode_1_at_0", {1, 0, 1, true, 1});
  one("decode_1_at_1024", {1, 1024, 1, true, 1});
  one("decode_32_at_512", {32, 512, 1, false, 1});
  one("prefill_512", {1, 0, 512, false, 1});
}

/// Models stay loaded: measurements take turns.
template <class Config>
Model<Config>& loaded(std::size_t threads) {
  static std::map<std::size_t, Model<Config>> models;
  return models.try_emplace(threads, one_billion, threads, 32 * 33).first->second;
}

template <class Config>
void add_large() {
  const std::size_t all = std::max(1u, std::thread::hardware_concurrency());
  for (std::size_t threads = 1; threads <= all; threads += std::max<std::size_t>(1, all - 1)) {
    auto one = [&](const std::string& what, Work work) {
      work.threads = threads;
      const std::string name = "llama_1b_" + what + "/" + std::string(Config::name) +
                               (threads > 1 ? "/all_threads" : "/one_thread");
      benchmark::RegisterBenchmark(
          name.c_str(),
          [work](benchmark::State& state) { run(state, loaded<Config>(work.threads), work); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    };
    one("decode_1_at_0", {1, 0, 1, true, 1});
    one("decode_1_at_1024", {1, 1024, 1, true, 1});
    one("decode_1_at_4096", {1, 4096, 1, true, 1});
    if (threads == 1) continue;
    one("decode_32_at_512", {32, 512, 1, false, 1});
    one("prefill_512", {1, 0, 512, false, 1});
  }
}

const bool registered = [] {
  add_small<Full>();
  add_small<Half>();
  add_large<Half>();
  add_large<Bytes>();
  add_large<Nibbles>();
  add_large<NibblesA8>();
  add_large<Sparse>();
  add_large<WholeNumbers>();
  add_large<Pairs>();
#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2
  if (simd::multiplies_pairs) add_large<PairsByLibrary>();
#endif
  return true;
}();

}  // namespace
