#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/model/decoder.hpp>

#include "tests/common/checkpoints.hpp"

namespace quire::model {
namespace {

/// Logits of a position depend on what stands before it and on nothing after it.
TEST(Decoder, IsCausal) {
  for (const char* name : {"llama", "qwen3_moe"}) {
    const auto c = quire::testing::golden(name);
    ThreadPool threads(1);
    const Decoder<weight_format::Fp32> model(c.config, c.tensors, threads);
    std::vector<TokenId> tokens(90);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 7 % 101);
    const auto all = full_logits(model, tokens, threads);
    for (std::size_t n : std::initializer_list<std::size_t>{1, 50, 89}) {
      const auto part = full_logits(model, std::span(tokens).first(n), threads);
      EXPECT_EQ(std::memcmp(part.data(), all.data(), part.size() * sizeof(float)), 0);
    }
    tokens[0] += 1;
    const auto other = full_logits(model, tokens, threads);
    EXPECT_NE(std::memcmp(&other[80 * model.vocab()], &all[80 * model.vocab()],
                          model.vocab() * sizeof(float)),
              0);
  }
}

TEST(Decoder, OnlyWantedRowsGetLogits) {
  const auto c = quire::testing::golden("qwen2");
  ThreadPool threads(2);
  const Decoder<weight_format::Fp32> model(c.config, c.tensors, threads);
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6};
  const auto all = full_logits(model, tokens, threads);
  kv_format::Arena<kv_format::Fp32> arena(c.config.shape, 1, 16);
  arena.poison();
  const std::vector<BlockId> table = {{0}};
  Batch batch;
  batch.add(tokens, 0, table);
  batch.logits_rows = {4, 1};
  Activations memory;
  std::vector<float> logits(2 * model.logits_stride());
  model.forward(batch, arena, memory, threads, logits.data());
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(
        std::memcmp(&logits[i * model.logits_stride()], &all[batch.logits_rows[i] * model.vocab()],
                    model.vocab() * sizeof(float)),
        0);
  }
}

TEST(Decoder, EmptyBatchIsNothing) {
  const auto c = quire::testing::golden("llama");
  ThreadPool threads(1);
  const Decoder<weight_format::Fp32> model(c.config, c.tensors, threads);
  EXPECT_TRUE(full_logits(model, {}, threads).empty());
}

}  // namespace
}  // namespace quire::model
