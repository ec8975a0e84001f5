#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/speculation/concepts.hpp>

namespace quire::speculation {

/// Guesses that a text goes on as it did before: finds the last place where its last `longest` tokens
/// stood already, or as many of them as ever did but no fewer than `shortest`, and copies what
/// followed there.
/// \complexity O(text) a call, no memory of its own.
/// \errors none.
/// \source Prompt lookup decoding (Saxena, 2023): n-grams of up to 3 tokens, 10 drafts; n-gram
/// speculation of vLLM. Deviations: of several places the last one, not the first, is copied; and a
/// copy that reaches the end of the text goes on with itself, so that a text that repeats with a
/// short period still gets all its drafts.
template <std::int64_t drafts_a_step, std::int64_t longest, std::int64_t shortest>
struct BasicPromptLookup {
  static_assert(drafts_a_step >= 1 && shortest >= 1 && longest >= shortest);
  static constexpr std::string_view name = "prompt_lookup";
  static constexpr Tokens most = drafts_a_step;

  void propose(std::span<const TokenId> text, Tokens limit, std::vector<TokenId>& drafts) const {
    const std::size_t end = text.size();
    std::size_t best = 0, from = 0;  // tokens that agree, and the place behind them
    for (std::size_t behind = end - std::min<std::size_t>(end, 1); behind > 0; --behind) {
      if (text[behind - 1] != text[end - 1]) continue;
      const std::size_t here = std::min(behind, static_cast<std::size_t>(longest));
      std::size_t agree = 1;
      while (agree < here && text[behind - 1 - agree] == text[end - 1 - agree]) ++agree;
      if (agree <= best) continue;
      best = agree;
      from = behind;
      if (best == static_cast<std::size_t>(longest)) break;
    }
    if (best < static_cast<std::size_t>(shortest)) return;
    const auto count = static_cast<std::size_t>(std::min(limit, most).value);
    for (std::size_t i = 0; i < count; ++i) {
      drafts.push_back(from + i < end ? text[from + i] : drafts[from + i - end]);
    }
  }
};

/// The published setting: up to ten tokens, after one to three that agree.
using PromptLookup = BasicPromptLookup<10, 3, 1>;
static_assert(SpeculationPolicy<PromptLookup>);

}  // namespace quire::speculation
