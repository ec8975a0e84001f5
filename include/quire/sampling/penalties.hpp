#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/sampling/params.hpp>

namespace quire::sampling {

[[nodiscard]] inline bool has_penalties(const SamplingParams& p) {
  return p.repetition_penalty != 1.0 || p.presence_penalty != 0.0 || p.frequency_penalty != 0.0;
}

/// Makes tokens that occurred less likely: the repetition penalty divides positive logits and
/// multiplies negative ones, for tokens of prompt and output; frequency and presence penalties
/// subtract, for tokens of the output. In the order and with the meaning of vLLM.
/// \shape logits (vocab); tokens at or above vocab are ignored
/// \source repetition: Keskar et al., "CTRL", 2019; frequency, presence: OpenAI API.
class Penalties {
 public:
  void apply(const SamplingParams& params, std::span<const TokenId> prompt,
             std::span<const TokenId> output, std::span<float> logits) {
    if (!has_penalties(params)) return;
    seen_.assign(logits.size(), 0);
    count_.assign(logits.size(), 0);
    for (const TokenId t : prompt) {
      if (t < logits.size()) seen_[t] = 1;
    }
    for (const TokenId t : output) {
      if (t < logits.size()) {
        seen_[t] = 1;
        ++count_[t];
      }
    }
    const auto repetition = static_cast<float>(params.repetition_penalty);
    const auto frequency = static_cast<float>(params.frequency_penalty);
    const auto presence = static_cast<float>(params.presence_penalty);
    for (std::size_t t = 0; t < logits.size(); ++t) {
      if (seen_[t] == 0) continue;
      logits[t] = logits[t] > 0 ? logits[t] / repetition : logits[t] * repetition;
      if (count_[t] == 0) continue;
      logits[t] -= frequency * static_cast<float>(count_[t]);
      logits[t] -= presence;
    }
  }

 private:
  std::vector<std::uint8_t> seen_;
  std::vector<std::uint32_t> count_;
};

/// Takes stop tokens out while fewer than min_tokens were generated.
/// \shape logits (vocab)
inline void ban_early_stops(const SamplingParams& params, std::int64_t generated,
                            std::span<float> logits) {
  if (generated >= params.min_tokens.value) return;
  for (const TokenId t : params.stop_token_ids) {
    if (t < logits.size()) logits[t] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace quire::sampling
