#pragma once

#include <cstddef>
#include <string_view>

#include <quire/attention/causal.hpp>
#include <quire/core/hd.hpp>

namespace quire::attention {

/// Bounds logits smoothly: cap * tanh(s / cap).
/// \source Gemma Team, "Gemma 2", 2024.
struct SoftCap : Causal {
  static constexpr std::string_view name = "soft_cap";
  static constexpr bool transforms_logits = true;
  float cap = 50;  // > 0

  constexpr SoftCap() = default;
  explicit constexpr SoftCap(float bound) : cap(bound) {}
  template <class Math>
  [[nodiscard]] QUIRE_HD constexpr typename Math::Value logit(
      Math, typename Math::Value s, std::size_t /*head*/, typename Math::Value /*distance*/) const {
    return Math::mul(Math::set(cap), Math::tanh(Math::mul(s, Math::set(1 / cap))));
  }
};
static_assert(AttentionVariant<SoftCap>);

}  // namespace quire::attention
