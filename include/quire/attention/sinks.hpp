#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <quire/attention/causal.hpp>
#include <quire/core/hd.hpp>

namespace quire::attention {

/// Learned sinks: one more logit a head in the softmax's denominator, without a value, so that a
/// head may attend to nothing. \source OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025.
struct Sinks : Causal {
  static constexpr std::string_view name = "sinks";
  static constexpr bool has_sink = true;
  std::span<const float> logits;  // \shape (heads)

  constexpr Sinks() = default;
  explicit constexpr Sinks(std::span<const float> per_head) : logits(per_head) {}
  [[nodiscard]] QUIRE_HD constexpr float sink_logit(std::size_t head) const { return logits[head]; }
};
static_assert(AttentionVariant<Sinks>);

}  // namespace quire::attention
