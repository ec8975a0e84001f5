#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>

namespace quire {

/// How tokens are chosen and when a sequence ends; names and defaults as in vLLM.
struct SamplingParams {
  std::int32_t n = 1;        // completions returned
  std::int32_t best_of = 0;  // completions generated, the n best by mean log-probability kept; 0: n
  std::int32_t beam_width = 0;  // > 0: beam search of that width, the n best beams returned
  double length_penalty = 1.0;  // beam score = sum of log-probabilities / length^length_penalty
  bool early_stopping = false;  // beam search ends at beam_width finished beams

  double temperature = 1.0;         // 0: greedy
  std::int32_t top_k = 0;           // 0: all
  double top_p = 1.0;               // in (0, 1]
  double min_p = 0.0;               // in [0, 1], relative to the most likely token
  double repetition_penalty = 1.0;  // from 1e-6 to 1e6, on prompt and output
  double presence_penalty = 0.0;    // from -1e6 to 1e6, on output
  double frequency_penalty = 0.0;   // from -1e6 to 1e6, on output, per occurrence
  std::uint64_t seed = 0;           // sample i of a request draws from seed + i

  Tokens max_tokens = 16;
  Tokens min_tokens = 0;  // no end-of-sequence or stop before
  bool ignore_eos = false;
  std::vector<TokenId> stop_token_ids = {};
  std::vector<std::string> stop = {};  // strings; the text is cut before the match
  std::int32_t logprobs = -1;          // alternatives reported a token; -1: no log-probabilities

  /// Sequences that run at once for this request.
  [[nodiscard]] std::int32_t width() const {
    if (beam_width > 0) return beam_width;
    return best_of > n ? best_of : n;
  }
};

}  // namespace quire
