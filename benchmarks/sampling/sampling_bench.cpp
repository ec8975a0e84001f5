// One draw from 128,256 logits (Llama 3's vocabulary), one thread. The logits must be read once.
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/sampling/sampling.hpp>

namespace {

using namespace quire;

void draw(benchmark::State& state, const SamplingParams& params) {
  constexpr std::size_t vocab = 128'256;
  Rng rng(1);
  std::vector<float> logits(vocab), work;
  for (float& x : logits) x = static_cast<float>(3 * rng.normal());
  std::vector<TokenId> history(1000);
  for (TokenId& t : history) t = static_cast<TokenId>(rng.below(vocab));
  SequencePlan plan;
  plan.computed = 999;
  plan.tokens = 1;
  plan.prompt_tokens = 500;
  plan.history = history;
  plan.sampling = &params;
  plan.draws = params.beam_width > 0 ? 2 * params.beam_width : 1;
  std::vector<Draw> draws(static_cast<std::size_t>(plan.draws));
  std::vector<TokenLogprob> alternatives(draws.size() *
                                         sampling::alternatives_per_draw(params, vocab));
  sampling::Sampler sampler;
  for (auto _ : state) {
    work = logits;  // a sampler changes what it is given
    sampler.sample(plan, work, draws, 0, alternatives);
    benchmark::DoNotOptimize(draws.data());
  }
  quire_bench::count_bytes(state, static_cast<std::int64_t>(vocab * sizeof(float)));
  quire_bench::against(state, "read_cache");
}

SamplingParams with(auto&& change) {
  SamplingParams p;
  change(p);
  return p;
}
BENCHMARK_CAPTURE(draw, greedy, with([](auto& p) { p.temperature = 0; }))
    -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, temperature, with([](auto&) {})) -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, top_k_50, with([](auto& p) { p.top_k = 50; }))
    -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, top_p_90, with([](auto& p) { p.top_p = 0.9; }))
    -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, min_p_05, with([](auto& p) { p.min_p = 0.05; }))
    -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, penalties, with([](auto& p) {
                    p.temperature = 0;
                    p.repetition_penalty = 1.1;
                    p.frequency_penalty = 0.2;
                  })) -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, logprobs_20, with([](auto& p) {
                    p.temperature = 0;
                    p.logprobs = 20;
                  })) -> Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(draw, beam_4, with([](auto& p) { p.beam_width = 4; }))
    -> Unit(benchmark::kMicrosecond);

}  // namespace
