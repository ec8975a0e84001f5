#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/engine/config.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/cpu_attention.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/count_allocations.hpp"
#include "tests/common/cpu_steps.hpp"

namespace quire::executor {
namespace {

struct Full {
  using BlockSize = quire::BlockSize<16>;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::SwapToHost;
  using Retention = retention::KeepAll;
};
struct Half : Full {
  using KvFormat = kv_format::Bf16;
  using WeightFormat = weight_format::Bf16;
};
static_assert(ExecutorFor<Cpu, Full>);

checkpoint::Checkpoint golden(const std::string& name) {
  return testing::opened(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models" / name).string());
}
std::vector<TokenId> text(std::size_t length, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> ids;
  while (ids.size() < length) ids.push_back(static_cast<TokenId>(rng.below(101)));
  return ids;
}

/// Drives a bound executor by hand-made plans, with blocks taken from scattered places.
template <class Config, class Executor = Cpu>
struct Driver {
  struct Sequence {
    std::vector<TokenId> tokens;
    std::size_t prompt = 0;
    std::int64_t computed = 0;
    std::vector<BlockTable> tables{1};
  };
  using Row = std::pair<Sequence*, std::int64_t>;  // and how many tokens of it to run

  KvGeometry geometry;
  typename Executor::template Bound<Config> bound;
  std::vector<BlockId> free;
  SamplingParams greedy;
  StepPlan plan;
  StepResult result;

  Driver(const checkpoint::Checkpoint& model, std::int64_t block_tokens, std::size_t threads = 1,
         std::int64_t blocks = 0, const model::Fusion& fusion = {})
      : geometry{blocks > 0 ? blocks : 512 / block_tokens + 4, 64, block_tokens},
        bound(Cpu::Options{.model = model, .threads = threads, .poison = true, .fusion = fusion},
              geometry) {
    greedy.temperature = 0;
    for (std::uint32_t b = 0; b < geometry.device_blocks.value; ++b) free.push_back({b});
    Rng rng(17);
    for (std::size_t i = free.size(); i > 1; --i) std::swap(free[i - 1], free[rng.below(i)]);
  }

  BlockId take() {
    const BlockId b = free.back();
    free.pop_back();
    return b;
  }
  void reserve(Sequence& s, std::int64_t length) {
    while (static_cast<std::int64_t>(s.tables[0].size()) * geometry.block_tokens.value < length) {
      s.tables[0].append(take());
    }
  }
  Sequence start(std::vector<TokenId> prompt) {
    Sequence s;
    s.prompt = prompt.size();
    s.tokens = std::move(prompt);
    return s;
  }
  /// Runs a batch; returns the logits of each row, and appends the greedy token where a row ran all
  /// of its tokens.
  std::vector<std::vector<float>> step(const std::vector<Row>& rows) {
    plan.sequences.clear();
    for (const auto& [s, count] : rows) {
      reserve(*s, s->computed + count);
      SequencePlan row;
      row.sequence = SequenceId{plan.sequences.size()};
      row.computed = s->computed;
      row.tokens = count;
      row.prompt_tokens = static_cast<std::int64_t>(s->prompt);
      row.history = s->tokens;
      row.tables = s->tables;
      row.sampling = &greedy;
      row.draws = 1;
      plan.sequences.push_back(row);
    }
    bound.execute(plan, result);
    std::vector<std::vector<float>> logits;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto row = bound.logits(r);
      logits.emplace_back(row.begin(), row.end());
      Sequence& s = *rows[r].first;
      s.computed += rows[r].second;
      if (s.computed == static_cast<std::int64_t>(s.tokens.size())) {
        s.tokens.push_back(result.row(r).front().token);
      }
    }
    plan.clear();
    return logits;
  }
  std::vector<float> step(Sequence& s, std::int64_t count) { return step({{&s, count}}).front(); }

  /// A prompt in chunks, then `more` tokens one by one; the logits of every token generated.
  std::vector<std::vector<float>> generate(Sequence& s, std::int64_t chunk, int more) {
    std::vector<std::vector<float>> all;
    const auto length = static_cast<std::int64_t>(s.tokens.size());
    while (s.computed < length) {
      auto logits = step(s, std::min(chunk, length - s.computed));
      if (s.computed == length) all.push_back(std::move(logits));
    }
    for (int i = 0; i < more; ++i) all.push_back(step(s, 1));
    return all;
  }
};

using Logits = std::vector<std::vector<float>>;
void expect_same(const Logits& a, const Logits& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    EXPECT_EQ(std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)), 0)
        << what << ", token " << i;
    for (float x : a[i]) ASSERT_FALSE(std::isnan(x)) << what;
  }
}

template <class Config>
Logits contiguous(const std::string& model, const std::vector<TokenId>& prompt, int more) {
  Driver<Config> driver(golden(model), 512);
  auto s = driver.start(prompt);
  return driver.generate(s, 1000, more);
}

template <class Config>
void expect_block_sizes_agree(const std::string& model) {
  const auto prompt = text(83, 1);
  const Logits want = contiguous<Config>(model, prompt, 12);
  for (std::int64_t block : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    Driver<Config> driver(golden(model), block);
    auto s = driver.start(prompt);
    expect_same(driver.generate(s, 1000, 12), want, model + ", block " + std::to_string(block));
  }
}

TEST(Cpu, PagedEqualsContiguous) {
  for (const char* model : {"llama", "mistral", "qwen3", "opt", "mixtral"}) {
    expect_block_sizes_agree<Full>(model);
  }
  expect_block_sizes_agree<Half>("qwen2");
}

TEST(Cpu, ChunkedPrefillEqualsOneShot) {
  for (const char* model : {"llama_rope_llama3", "qwen2_window", "gpt2", "qwen3_moe"}) {
    const auto prompt = text(75, 2);
    const Logits want = contiguous<Full>(model, prompt, 5);
    for (std::int64_t chunk : {1, 5, 16, 33, 64}) {
      Driver<Full> driver(golden(model), 8);
      auto s = driver.start(prompt);
      expect_same(driver.generate(s, chunk, 5), want,
                  std::string(model) + ", chunk " + std::to_string(chunk));
    }
  }
}

TEST(Cpu, BatchAndThreadsDoNotChangeABit) {
  const std::vector<std::size_t> lengths = {1, 40, 17, 64, 5, 33, 90};
  for (const char* model : {"llama", "mixtral"}) {
    std::vector<Logits> alone;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      alone.push_back(contiguous<Full>(model, text(lengths[i], 10 + i), 4));
    }
    for (std::size_t threads : std::initializer_list<std::size_t>{1, 2, 3}) {
      Driver<Full> driver(golden(model), 16, threads);
      std::vector<Driver<Full>::Sequence> sequences;
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        sequences.push_back(driver.start(text(lengths[i], 10 + i)));
      }
      std::vector<Logits> together(lengths.size());
      // one joins the batch per step, so prompts and decoding mix
      for (std::size_t step = 0; step < lengths.size() + 4; ++step) {
        std::vector<Driver<Full>::Row> rows;
        std::vector<std::size_t> who;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
          if (i > step || together[i].size() == 5) continue;
          auto& s = sequences[i];
          rows.push_back({&s, static_cast<std::int64_t>(s.tokens.size()) - s.computed});
          who.push_back(i);
        }
        const auto logits = driver.step(rows);
        for (std::size_t r = 0; r < who.size(); ++r) together[who[r]].push_back(logits[r]);
      }
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        expect_same(together[i], alone[i],
                    std::string(model) + ", " + std::to_string(threads) + " threads, sequence " +
                        std::to_string(i));
      }
    }
  }
}

TEST(Cpu, CopyOnWriteKeepsBothForks) {
  Driver<Full> driver(golden("llama"), 16);
  auto s = driver.start(text(21, 3));
  (void)driver.step(s, 21);
  s.tokens.pop_back();
  auto fork = s;  // shares block 0 and the partly filled block 1
  s.tokens.push_back(7);
  fork.tokens.push_back(8);
  const BlockId own = driver.take();
  driver.plan.copies.push_back({s.tables[0][1], own});
  fork.tables[0].replace(1, own);
  const Logits forked = {driver.step(fork, 1), driver.step(fork, 1)};
  EXPECT_GT(driver.result.seconds, Seconds{0.0});
  const Logits original = {driver.step(s, 1), driver.step(s, 1)};
  auto prompt = text(21, 3);
  prompt.push_back(7);
  expect_same(original, contiguous<Full>("llama", prompt, 1), "original");
  prompt.back() = 8;
  expect_same(forked, contiguous<Full>("llama", prompt, 1), "fork");
}

TEST(Cpu, SwappedEqualsNeverSwapped) {
  Driver<Full> driver(golden("qwen3"), 4, 1, 24);
  auto s = driver.start(text(30, 4));
  Logits got = driver.generate(s, 30, 2);
  std::vector<BlockId> host;
  for (std::uint32_t i = 0; i < s.tables[0].size(); ++i) {
    host.push_back({63 - i});
    driver.plan.swap_out.push_back({s.tables[0][i], host.back()});
    driver.free.insert(driver.free.begin(), s.tables[0][i]);
  }
  auto other = driver.start(text(70, 5));  // overwrites the blocks that were given up
  (void)driver.step(other, 70);
  EXPECT_EQ(driver.result.bytes_moved.value,
            static_cast<std::int64_t>(host.size()) * 2 * 2 * 2 * 4 * 16 * 4)
      << "8 blocks of 2 layers, K and V, 2 heads, 4 tokens, 16 floats";
  for (const BlockId b : other.tables[0].blocks()) driver.free.push_back(b);
  for (std::size_t i = 0; i < host.size(); ++i) {
    s.tables[0].replace(i, driver.take());
    driver.plan.swap_in.push_back({s.tables[0][i], host[i]});
  }
  for (int i = 0; i < 3; ++i) got.push_back(driver.step(s, 1));
  expect_same(got, contiguous<Full>("qwen3", text(30, 4), 5), "swapped");
}

TEST(Cpu, RecomputedEqualsNeverPreempted) {
  Driver<Full> driver(golden("gpt2"), 8);
  auto s = driver.start(text(26, 6));
  Logits got = driver.generate(s, 26, 4);
  s.tables[0].clear();
  s.computed = 0;
  got.push_back(driver.step(s, static_cast<std::int64_t>(s.tokens.size())));
  got.push_back(driver.step(s, 1));
  expect_same(got, contiguous<Full>("gpt2", text(26, 6), 6), "recomputed");
}

TEST(Cpu, SharedPrefixEqualsOwnPrefix) {
  Driver<Full> driver(golden("mistral"), 8);
  auto first = driver.start(text(50, 7));
  (void)driver.step(first, 50);
  auto second = driver.start(text(50, 7));
  for (TokenId& t : std::span(second.tokens).subspan(40)) t = (t + 1) % 101;
  const auto prompt = second.tokens;
  second.computed = 40;
  for (std::size_t b = 0; b < 5; ++b) second.tables[0].append(first.tables[0][b]);
  expect_same(driver.generate(second, 10, 3), contiguous<Full>("mistral", prompt, 3), "shared");
}

TEST(Cpu, GreedyTokensAgreeWithTransformers) {
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models")) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    const auto file =
        checkpoint::safetensors::open_file((entry.path() / "golden.safetensors").string());
    auto integers = [&file](const char* name) {
      const auto& view = file.at(name);
      std::vector<std::int64_t> values(static_cast<std::size_t>(view.elements()));
      std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
      return std::vector<TokenId>(values.begin(), values.end());
    };
    Driver<Full> driver(golden(entry.path().filename().string()), 4, 2);
    for (const auto& [ids, greedy] :
         {std::pair{"seq1.ids", "seq1.greedy"}, std::pair{"seq2.ids", "seq2.greedy"}}) {
      auto s = driver.start(integers(ids));
      auto want = s.tokens;
      for (const TokenId t : integers(greedy)) want.push_back(t);
      (void)driver.generate(s, 9, 23);
      EXPECT_EQ(s.tokens, want) << entry.path().filename();
      ++compared;
    }
  }
  EXPECT_GE(compared, 12);  // two texts of each family
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// Prompts and decoding together: what a step needs, those before it have taken.
TEST(Cpu, AStepLikeTheLastOneAllocatesNothing) {
  for (const char* model : {"llama", "mixtral", "opt", "qwen3"}) {
    Driver<Full> driver(golden(model), 16, 2);
    std::vector<typename Driver<Full>::Sequence> sequences;
    for (const std::size_t length : {40u, 60u, 110u}) {
      sequences.push_back(driver.start(text(length, length)));
    }
    StepPlan plan;
    for (auto& s : sequences) {
      driver.reserve(s, 120);
      driver.step(s, static_cast<std::int64_t>(s.prompt));
      SequencePlan row;
      row.sequence = SequenceId{plan.sequences.size()};
      row.computed = plan.sequences.size() == 1 ? 0 : static_cast<std::int64_t>(s.prompt) - 1;
      row.tokens = static_cast<std::int64_t>(s.prompt) - row.computed;
      row.prompt_tokens = static_cast<std::int64_t>(s.prompt);
      row.history = s.tokens;
      row.tables = s.tables;
      row.sampling = &driver.greedy;
      row.draws = 1;
      plan.sequences.push_back(row);
    }
    StepResult result;
    for (int warm = 0; warm < 2; ++warm) driver.bound.execute(plan, result);
    const std::size_t before = testing::allocations.load();
    for (int step = 0; step < 5; ++step) driver.bound.execute(plan, result);
    EXPECT_EQ(testing::allocations.load() - before, 0u) << model;
  }
}

/// Attention to the last 16 tokens.
struct LastSixteen : attention::Causal {
  static constexpr std::string_view name = "last_sixteen";
  [[nodiscard]] std::int64_t first_visible(std::int64_t position) const {
    return std::max<std::int64_t>(0, position - 15);
  }
};
/// The same from the second layer on.
struct LastSixteenAbove : attention::SlidingWindow {
  static constexpr std::string_view name = "last_sixteen_above";
  LastSixteenAbove(const model::Shape& shape, std::size_t layer) {
    EXPECT_LT(static_cast<std::int64_t>(layer), shape.layers);
    if (layer > 0) window = 16;
  }
};
struct Scaled : attention::Causal {
  static constexpr std::string_view name = "scaled";
  static constexpr bool transforms_logits = true;
  static inline float factor = 1;
  template <class Math>
  [[nodiscard]] typename Math::Value logit(Math, typename Math::Value s, std::size_t,
                                           typename Math::Value) const {
    return Math::mul(s, Math::set(factor));
  }
};
template <class Executor>
Logits generated(const checkpoint::Checkpoint& model) {
  Driver<Full, Executor> driver(model, 4, 2);
  auto s = driver.start(text(50, 5));
  return driver.generate(s, 13, 6);
}
static_assert(ExecutorFor<CpuAttention<LastSixteen>, Full>);

// A model's windows, written as a variant for the model without them: bit for bit.
TEST(CpuAttention, AttendsAsTheVariantSays) {
  const auto without_windows = [](checkpoint::Checkpoint model) {
    std::fill(model.config.windows.begin(), model.config.windows.end(), 0);
    return model;
  };
  const checkpoint::Checkpoint mistral = golden("mistral"), qwen2 = golden("qwen2_window");
  const Logits windows = generated<Cpu>(mistral);
  const checkpoint::Checkpoint wide = without_windows(mistral);
  ASSERT_NE(generated<Cpu>(wide), windows);
  expect_same(generated<CpuAttention<LastSixteen>>(wide), windows, "mistral");
  const Logits above = generated<Cpu>(qwen2);
  ASSERT_NE(generated<Cpu>(without_windows(qwen2)), above);
  ASSERT_NE(generated<CpuAttention<LastSixteen>>(without_windows(qwen2)), above);
  expect_same(generated<CpuAttention<LastSixteenAbove>>(without_windows(qwen2)), above, "qwen2");
  // the narrower of the two: nothing is seen that the model does not see
  expect_same(generated<CpuAttention<LastSixteenAbove>>(mistral), windows, "both");
}
TEST(CpuAttention, VariantsMayChangeLogits) {
  const Logits plain = generated<Cpu>(golden("llama"));
  const auto farthest = [&plain](const Logits& other) {
    float most = 0;
    for (std::size_t i = 0; i < plain.front().size(); ++i) {
      most = std::max(most, std::abs(plain.front()[i] - other.front()[i]));
    }
    return most;
  };
  Scaled::factor = 1;
  EXPECT_LT(farthest(generated<CpuAttention<Scaled>>(golden("llama"))), 1e-4f);
  Scaled::factor = 0.25f;
  EXPECT_GT(farthest(generated<CpuAttention<Scaled>>(golden("llama"))), 1e-2f);
}
TEST(CpuAttention, RefusesADraftModel) {
  Cpu::Options options{.model = golden("llama")};
  options.draft_model = golden("llama");
  EXPECT_THAT(
      [&] {
        CpuAttention<LastSixteen>::Bound<Full>(options, KvGeometry{16, 16, 16});
      },
      ::testing::ThrowsMessage<Error>(::testing::HasSubstr("draft_model: an attention")));
}

TEST(Cpu, RefusesPlansThatCannotRun) {
  Driver<Full> driver(golden("opt"), 16, 1, 12);
  auto s = driver.start(text(20, 1));
  s.tables[0].append({0});
  s.tables[0].append({12});
  EXPECT_EQ(error_of([&] { (void)driver.step(s, 20); }),
            "step plan: it names block 12; expected a block below 12");
  s.tables[0].replace(1, {1});
  s.tokens[3] = 101;
  EXPECT_EQ(
      error_of([&] { (void)driver.step(s, 20); }),
      "token 101: is not in the vocabulary; expected ids below 101; made-up prompts, as workloads "
      "have them, are replayed with executor::Cpu::Options::wrap_tokens = true");
  s.tokens[3] = 1;
  EXPECT_EQ(error_of([&] { (void)driver.step(s, 21); }),
            "step plan: sequence 0 lacks a block table or tokens; expected a table and the ids of "
            "all tokens up to the last of the step");
  driver.plan.swap_out.push_back({BlockId{1}, BlockId{64}});
  EXPECT_EQ(error_of([&] { (void)driver.step(s, 20); }),
            "step plan: it names block 64 of the host pool; expected a block below 64");
  driver.plan.clear();
  auto beyond = driver.start(text(140, 1));
  EXPECT_EQ(error_of([&] { (void)driver.step(beyond, 140); }),
            "position 128: lies beyond the model's position table; expected at most 128 tokens");
}

TEST(Cpu, WrapsTokensOnlyWhenAsked) {
  const KvGeometry geometry{8, 0, 16};
  Cpu::Bound<Full> bound(Cpu::Options{.model = golden("llama"), .wrap_tokens = true}, geometry);
  const std::vector<TokenId> made_up = {101, 5000001};
  std::vector<BlockTable> tables(1);
  tables[0].append({3});
  SequencePlan row;
  row.tokens = 2;
  row.history = made_up;
  row.tables = tables;
  StepPlan plan;
  plan.sequences.push_back(row);
  StepResult result;
  bound.execute(plan, result);
  EXPECT_TRUE(result.draws.empty());
  ASSERT_EQ(result.begin.size(), 2u);
}

TEST(Cpu, GeometryFollowsMemory) {
  Cpu::Options options{.model = golden("llama")};
  options.kv_memory = 1 << 20;
  options.host_memory = 1 << 19;
  const auto& s = options.model.config.shape;
  const std::int64_t block = 2 * s.layers * s.kv_heads * s.head_dim * 16 * 4;
  EXPECT_EQ(Cpu::geometry<Full>(options).device_blocks.value, (1 << 20) / block);
  EXPECT_EQ(Cpu::geometry<Half>(options).device_blocks.value, (1 << 20) / (block / 2));
  EXPECT_EQ(Cpu::geometry<Full>(options).host_blocks.value, (1 << 19) / block);
  options.device_blocks = 7;
  EXPECT_EQ(Cpu::geometry<Full>(options).device_blocks.value, 7);
}

TEST(Cpu, FusionsLeaveEveryBitAsItIs) {
  using model::Fusion;
  for (const char* family : {"llama", "qwen3", "mixtral", "opt_post_norm", "gpt2", "llama_bias"}) {
    const checkpoint::Checkpoint model = golden(family);
    const auto outputs = [&](const Fusion& fusion) {
      Driver<Full> driver(model, 16, 2, 0, fusion);
      auto a = driver.start(text(40, 3)), b = driver.start(text(20, 4));
      std::vector<std::vector<float>> all = driver.step({{&a, 33}, {&b, 20}});
      for (const auto& rows : {driver.step({{&a, 7}, {&b, 1}}), driver.step({{&a, 1}})}) {
        all.insert(all.end(), rows.begin(), rows.end());
      }
      return std::pair(all, driver.bound.weight_load().activation_bytes);
    };
    const auto together = outputs({});
    for (bool Fusion::*part :
         {&Fusion::residual_norm, &Fusion::rotary_cache_write, &Fusion::gated_activation,
          &Fusion::sampled_logits, &Fusion::partial_sort}) {
      Fusion without;
      without.*part = !(without.*part);
      EXPECT_EQ(outputs(without).first, together.first) << family;
    }
    const auto apart = outputs(model::no_fusion);
    EXPECT_EQ(apart.first, together.first) << family;
    EXPECT_GT(apart.second, together.second) << family;
  }
}

TEST(Cpu, CountsTheBytesOfWeightsThatAStepReadsAndTheRowsOfEachExpert) {
  const checkpoint::Checkpoint model = golden("mixtral");
  const model::Shape& shape = model.config.shape;
  Driver<Full> driver(model, 16);
  const auto& weights = driver.bound.decoder().weights();
  auto sequence = driver.start(text(40, 3));
  model::WeightLoad& load = driver.bound.weight_load();
  const auto rows = [&](std::size_t layer) {
    std::vector<std::int64_t> out;
    for (std::int64_t e = 0; e < shape.experts; ++e) {
      out.push_back(load.expert_rows[layer * static_cast<std::size_t>(shape.experts) +
                                     static_cast<std::size_t>(e)]);
    }
    return out;
  };
  const auto bytes = [&](std::int64_t experts_a_layer) {
    std::size_t all = weights.output.bytes();
    for (const auto& layer : weights.layers) {
      const auto& expert = layer.experts.front();
      all += layer.qkv.bytes() + layer.attention_output.bytes() + layer.router.bytes() +
             static_cast<std::size_t>(experts_a_layer) * (expert.in.bytes() + expert.out.bytes());
    }
    return static_cast<std::int64_t>(all);
  };
  driver.step({{&sequence, 40}});
  std::int64_t touched = 0;
  for (std::size_t l = 0; l < weights.layers.size(); ++l) {
    const auto given = rows(l);
    EXPECT_EQ(std::accumulate(given.begin(), given.end(), std::int64_t{0}),
              40 * shape.experts_per_token);
    touched += std::ssize(given) - std::count(given.begin(), given.end(), 0);
  }
  EXPECT_GT(touched, 2 * std::ssize(weights.layers));  // a prompt goes to most experts
  load.clear();
  driver.step({{&sequence, 1}});  // a token to two
  EXPECT_EQ(load.bytes, bytes(shape.experts_per_token));
  EXPECT_LT(load.bytes, bytes(shape.experts));
  for (std::size_t l = 0; l < weights.layers.size(); ++l) {
    const auto given = rows(l);
    EXPECT_EQ(std::count(given.begin(), given.end(), 1), shape.experts_per_token);
    EXPECT_EQ(std::accumulate(given.begin(), given.end(), std::int64_t{0}),
              shape.experts_per_token);
  }
}

}  // namespace
}  // namespace quire::executor
