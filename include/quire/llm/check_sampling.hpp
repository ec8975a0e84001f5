#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include <quire/core/error.hpp>
#include <quire/sampling/params.hpp>

namespace quire {

/// Refuses parameters outside the ranges that SamplingParams gives, before anything is computed.
/// \errors usage error naming the parameter.
inline void check_sampling(const SamplingParams& p) {
  const auto real = [](const char* name, double value, bool good, const char* expected) {
    if (std::isfinite(value) && good) return;
    throw usage_error(name, std::to_string(value) + " is out of range", expected);
  };
  const auto whole = [](const char* name, std::int64_t value, bool good, const char* expected) {
    if (!good) throw usage_error(name, std::to_string(value) + " is out of range", expected);
  };
  real("temperature", p.temperature, p.temperature >= 0, "0 (greedy) or more");
  real("top_p", p.top_p, p.top_p > 0 && p.top_p <= 1, "above 0, at most 1");
  real("min_p", p.min_p, p.min_p >= 0 && p.min_p <= 1, "0 to 1");
  // Logits are fp32: what is larger makes them infinite.
  real("repetition_penalty", p.repetition_penalty,
       p.repetition_penalty >= 1e-6 && p.repetition_penalty <= 1e6, "0.000001 to 1000000");
  real("presence_penalty", p.presence_penalty, std::abs(p.presence_penalty) <= 1e6,
       "-1000000 to 1000000");
  real("frequency_penalty", p.frequency_penalty, std::abs(p.frequency_penalty) <= 1e6,
       "-1000000 to 1000000");
  real("length_penalty", p.length_penalty, true, "a number");
  whole("top_k", p.top_k, p.top_k >= 0, "0 (all) or more");
  whole("n", p.n, p.n >= 1, "1 or more");
  whole("best_of", p.best_of, p.best_of == 0 || p.best_of >= p.n, "0, or at least n");
  whole("beam_width", p.beam_width, p.beam_width >= 0, "0 (no beam search) or more");
  whole("logprobs", p.logprobs, p.logprobs >= -1, "-1 (none) or more");
  whole("max_tokens", p.max_tokens.value, p.max_tokens >= Tokens{1}, "1 or more");
  whole("min_tokens", p.min_tokens.value, p.min_tokens >= Tokens{0}, "0 or more");
}

}  // namespace quire
