#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/attention/concepts.hpp>
#include <quire/core/hd.hpp>

namespace quire::attention {

/// Plain causal attention: a query sees itself and everything before it.
/// Also the base of the other variants, which change one hook each.
struct Causal {
  static constexpr std::string_view name = "causal";
  static constexpr bool transforms_logits = false;
  static constexpr bool has_sink = false;

  [[nodiscard]] QUIRE_HD constexpr std::int64_t first_visible(std::int64_t /*position*/) const {
    return 0;
  }
  template <class Math>
  [[nodiscard]] QUIRE_HD constexpr typename Math::Value logit(
      Math, typename Math::Value s, std::size_t /*head*/, typename Math::Value /*distance*/) const {
    return s;
  }
  [[nodiscard]] QUIRE_HD constexpr float sink_logit(std::size_t /*head*/) const { return 0; }
};
static_assert(AttentionVariant<Causal>);

}  // namespace quire::attention
