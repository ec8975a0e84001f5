#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>

#include <quire/attention/causal.hpp>

namespace quire::attention {

/// Several variants at once: the narrowest view, the logits in the order of the list, and at most
/// one sink.
template <AttentionVariant... Vs>
struct Combined {
  static_assert((int{Vs::has_sink} + ... + 0) <= 1,
                "quire: attention: a combined variant may hold one sink; smallest model: "
                "quire::attention::Combined<SlidingWindow, Sinks>");
  static constexpr std::string_view name = "combined";
  static constexpr bool transforms_logits = (Vs::transforms_logits || ...);
  static constexpr bool has_sink = (Vs::has_sink || ...);
  std::tuple<Vs...> parts;

  constexpr Combined() = default;
  explicit constexpr Combined(Vs... variants) : parts(variants...) {}

  [[nodiscard]] constexpr std::int64_t first_visible(std::int64_t position) const {
    return std::apply(
        [&](const auto&... v) {
          return std::max({std::int64_t{0}, v.first_visible(position)...});
        },
        parts);
  }
  template <class Math>
  [[nodiscard]] typename Math::Value logit(Math math, typename Math::Value s, std::size_t head,
                                           typename Math::Value distance) const {
    std::apply([&](const auto&... v) { ((s = v.logit(math, s, head, distance)), ...); }, parts);
    return s;
  }
  [[nodiscard]] constexpr float sink_logit(std::size_t head) const {
    float sink = 0;
    auto take = [&](const auto& v) {
      if (v.has_sink) sink = v.sink_logit(head);
    };
    std::apply([&](const auto&... v) { (take(v), ...); }, parts);
    return sink;
  }
};
static_assert(AttentionVariant<Combined<Causal, Causal>>);

}  // namespace quire::attention
