// Plans made by hand for an executor, and what the CPU executor draws for some of them.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/core/rng.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/mxfp4.hpp>
#include <quire/kv_format/nvfp4.hpp>

#include "tests/common/temp_file.hpp"

namespace quire::testing {

/// A row of a plan made by hand: tokens [computed, computed + tokens) of one of the texts.
struct HandRow {
  std::size_t text;
  std::int64_t computed, tokens;
  std::vector<std::uint32_t> blocks;
  std::int32_t draws = 0;
  std::int32_t beams = 0;  // width
};
struct HandStep {
  std::vector<BlockSwap> out, in;
  std::vector<HandRow> rows;
  std::vector<TierMove> spills{}, prefetches{};
};
/// What is drawn, token and log-probability. execute(plan, result): as an executor's
template <class Execute>
[[nodiscard]] std::vector<Draw> drawn_by(const std::vector<HandStep>& steps, Execute&& execute) {
  std::vector<std::vector<TokenId>> texts(5);
  Rng rng(23);
  for (auto& text : texts) {
    while (text.size() < 80) text.push_back(static_cast<TokenId>(rng.below(101)));
  }
  SamplingParams greedy;
  greedy.temperature = 0;
  greedy.logprobs = 0;
  SamplingParams beams;
  std::vector<Draw> all;
  StepPlan plan;
  StepResult result;
  for (const HandStep& step : steps) {
    plan.clear();
    plan.swap_out = step.out;
    plan.swap_in = step.in;
    plan.spills = step.spills;
    plan.prefetches = step.prefetches;
    std::vector<std::vector<BlockTable>> tables;
    for (const HandRow& r : step.rows) {
      auto& table = tables.emplace_back(1).front();
      for (const std::uint32_t b : r.blocks) table.append(BlockId{b});
    }
    for (std::size_t i = 0; i < step.rows.size(); ++i) {
      const HandRow& r = step.rows[i];
      SequencePlan s;
      s.sequence = SequenceId{r.text};
      s.computed = r.computed;
      s.tokens = r.tokens;
      s.prompt_tokens = 80;
      s.history = texts[r.text];
      s.tables = tables[i];
      if (r.beams > 0) beams.beam_width = r.beams;
      s.sampling = r.beams > 0 ? &beams : &greedy;
      s.draws = r.draws;
      plan.sequences.push_back(s);
    }
    execute(plan, result);
    all.insert(all.end(), result.draws.begin(), result.draws.end());
    ++plan.step;
  }
  return all;
}
template <class Executor>
[[nodiscard]] typename Executor::Options options_by_hand(const checkpoint::Checkpoint& model) {
  typename Executor::Options options;
  options.model = model;
  options.poison = true;
  return options;
}
inline const KvGeometry geometry_by_hand = {
    .device_blocks = 12, .host_blocks = 8, .block_tokens = 16};
template <class Executor, class Config>
[[nodiscard]] std::vector<Draw> drawn_by_hand(const std::vector<HandStep>& steps,
                                              const checkpoint::Checkpoint& model,
                                              std::int64_t share_from = 0) {
  auto options = options_by_hand<Executor>(model);
  if constexpr (requires { options.share_from; }) options.share_from = share_from;
  typename Executor::template Bound<Config> bound(options, geometry_by_hand);
  return drawn_by(steps, [&bound](const StepPlan& p, StepResult& r) { bound.execute(p, r); });
}
inline void expect_close(const std::vector<Draw>& got, const std::vector<Draw>& cpu,
                         float allowed) {
  ASSERT_EQ(got.size(), cpu.size());
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    EXPECT_EQ(got[i].token, cpu[i].token) << "draw " << i;
    if (!std::isfinite(cpu[i].logprob)) continue;  // beyond the vocabulary
    EXPECT_NEAR(got[i].logprob, cpu[i].logprob, allowed) << "draw " << i;
  }
}

constexpr BlockSwap between(std::uint32_t device, std::uint32_t host) {
  return {BlockId{device}, BlockId{host}};
}

/// Prompts, chunks, swaps, and a prefix that two sequences share, for a model with keys and values in
/// 4 bits, and its layers' weights in groups of 32 inputs and 4 bits, the others in fp16.
[[nodiscard]] inline std::vector<HandStep> four_bit_steps() {
  return {{{}, {}, {{0, 0, 20, {0, 1}, 1}, {1, 0, 40, {2, 3, 4}, 1}}},
          {{between(0, 3)}, {}, {{1, 40, 1, {2, 3, 4}, 1}, {3, 0, 1, {5}, 1}}},
          {{}, {between(7, 3)}, {{0, 20, 3, {7, 1}, 1}, {1, 41, 1, {2, 3, 4}, 1}}},
          {{}, {}, {{0, 23, 1, {7, 1}, 1}, {1, 42, 1, {2, 3, 4}, 1}, {4, 32, 1, {2, 3, 8}, 1}}}};
}
/// \pre the folder stays as long as the model does
[[nodiscard]] inline checkpoint::Checkpoint four_bit_model(const TempDir& folder) {
  const model::Shape shape{.name = "random",
                           .layers = 2,
                           .hidden = 96,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 64,
                           .ffn = 100,
                           .vocab = 101};
  checkpoint::save_random_model(shape, checkpoint::DType::f32, 3, folder.path().string());
  return checkpoint::open_checkpoint(folder.path().string());
}
/// What the CPU executor draws there with a KV format: written down, because kernels' tests would have
/// to compile it for their weights, half a minute. tests/executor/four_bits_test.cpp draws it again,
/// and prints what it drew where that is something else.
template <class KvFormat>
inline const std::vector<Draw> four_bit_draws;
template <>
inline const std::vector<Draw> four_bit_draws<kv_format::Int4PerTokenHead> = {
    {11, -3.937506f, 0, 0}, {40, -4.013479f, 0, 0}, {40, -4.016215f, 0, 0},
    {64, -4.154601f, 0, 0}, {11, -4.179355f, 0, 0}, {40, -3.959896f, 0, 0},
    {40, -4.090480f, 0, 0}, {40, -4.035899f, 0, 0}, {40, -4.047337f, 0, 0}};
template <>
inline const std::vector<Draw> four_bit_draws<kv_format::Mxfp4> = {
    {11, -3.953358f, 0, 0}, {40, -4.041810f, 0, 0}, {40, -4.049278f, 0, 0},
    {35, -4.194777f, 0, 0}, {11, -4.197086f, 0, 0}, {40, -3.993789f, 0, 0},
    {40, -4.116873f, 0, 0}, {40, -4.073447f, 0, 0}, {40, -4.082087f, 0, 0}};
template <>
inline const std::vector<Draw> four_bit_draws<kv_format::Nvfp4> = {
    {11, -3.978710f, 0, 0}, {40, -4.027336f, 0, 0}, {40, -4.026165f, 0, 0},
    {64, -4.166086f, 0, 0}, {11, -4.217243f, 0, 0}, {40, -3.974980f, 0, 0},
    {40, -4.073488f, 0, 0}, {40, -4.056635f, 0, 0}, {40, -4.061426f, 0, 0}};
template <>
inline const std::vector<Draw> four_bit_draws<kv_format::Int4Grouped<32>> = {
    {11, -3.931559f, 0, 0}, {40, -4.035848f, 0, 0}, {40, -4.041062f, 0, 0},
    {64, -4.147405f, 0, 0}, {11, -4.172660f, 0, 0}, {40, -3.987671f, 0, 0},
    {40, -4.097413f, 0, 0}, {40, -4.059508f, 0, 0}, {40, -4.074870f, 0, 0}};

}  // namespace quire::testing
