#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/sampling/penalties.hpp>

namespace quire::sampling {
namespace {

/// The definition, written from the formulas: repetition over prompt and output, then frequency,
/// then presence over the output.
std::vector<double> reference(const SamplingParams& p, const std::vector<TokenId>& prompt,
                              const std::vector<TokenId>& output,
                              const std::vector<float>& logits) {
  std::map<TokenId, int> all, generated;
  for (TokenId t : prompt) ++all[t];
  for (TokenId t : output) ++all[t], ++generated[t];
  std::vector<double> out(logits.begin(), logits.end());
  for (const auto& [t, count] : all) {
    out[t] = out[t] > 0 ? out[t] / p.repetition_penalty : out[t] * p.repetition_penalty;
  }
  for (const auto& [t, count] : generated) {
    out[t] -= p.frequency_penalty * count;
    out[t] -= p.presence_penalty;
  }
  return out;
}

TEST(Penalties, EqualTheirDefinition) {
  Rng rng(3);
  Penalties penalties;
  for (int round = 0; round < 200; ++round) {
    SamplingParams p;
    p.repetition_penalty = round % 3 == 0 ? 1.0 : 0.5 + rng.uniform();
    p.presence_penalty = round % 4 == 0 ? 0.0 : 4 * rng.uniform() - 2;
    p.frequency_penalty = round % 5 == 0 ? 0.0 : 4 * rng.uniform() - 2;
    std::vector<float> logits(37);
    for (float& x : logits) x = static_cast<float>(3 * rng.normal());
    std::vector<TokenId> prompt(rng.below(20)), output(rng.below(30));
    for (TokenId& t : prompt) t = static_cast<TokenId>(rng.below(37));
    for (TokenId& t : output) t = static_cast<TokenId>(rng.below(37));
    const auto want = reference(p, prompt, output, logits);
    penalties.apply(p, prompt, output, logits);
    for (std::size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], want[i], 2e-5);
  }
}

TEST(Penalties, IgnoreTokensOutsideTheVocabulary) {
  SamplingParams p;
  p.presence_penalty = 1;
  std::vector<float> logits = {1, 2};
  const std::vector<TokenId> output = {1, 2, 4000000000u};
  Penalties().apply(p, {}, output, logits);
  EXPECT_EQ(logits, (std::vector<float>{1, 1}));
}

TEST(Penalties, EarlyStopsAreBannedUntilMinTokens) {
  SamplingParams p;
  p.min_tokens = 3;
  p.stop_token_ids = {1, 99};
  const float gone = -std::numeric_limits<float>::infinity();
  for (std::int64_t generated : {0, 2, 3, 10}) {
    std::vector<float> logits = {1, 2, 3};
    ban_early_stops(p, generated, logits);
    EXPECT_EQ(logits, (std::vector<float>{1, generated < 3 ? gone : 2, 3}));
  }
}

}  // namespace
}  // namespace quire::sampling
