// mechanism: what executors ask of an attention variant that somebody brings
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include <quire/attention/causal.hpp>
#include <quire/attention/concepts.hpp>
#include <quire/core/error.hpp>
#include <quire/model/shape.hpp>

namespace quire::executor {

namespace detail {
template <class R, class C, class... A>
C class_of(R (C::*)(A...) const);
/// Whether a variant that derives from Causal has a logit() that nobody calls.
template <AttentionVariant V>
[[nodiscard]] constexpr bool has_idle_logit() {
  if constexpr (std::derived_from<V, attention::Causal> && !V::transforms_logits) {
    using Declares = decltype(class_of(&V::template logit<attention::DoubleMath>));
    return !std::is_same_v<Declares, attention::Causal>;
  } else {
    return false;
  }
}
template <class Variant>
struct OwnAttention {
  static_assert(AttentionVariant<Variant>,
                "quire: attention: a variant has name, first_visible(position), transforms_logits, "
                "logit(math, s, head, distance), has_sink and sink_logit(head); derive it from "
                "quire::attention::Causal for what it leaves alone; smallest model: "
                "quire::attention::SlidingWindow");
  static_assert(std::is_default_constructible_v<Variant> ||
                    std::is_constructible_v<Variant, const model::Shape&, std::size_t>,
                "quire: attention: a variant is made without arguments, or from "
                "(const quire::model::Shape&, std::size_t layer)");
  /// What is compiled: plain attention where an error has been reported.
  using type = std::conditional_t<AttentionVariant<Variant>, Variant, attention::Causal>;
  static_assert(!has_idle_logit<type>(),
                "quire: attention: a variant's logit() is not called without "
                "`static constexpr bool transforms_logits = true`");
  static_assert(std::is_same_v<type, attention::Causal> ||
                    std::string_view(type::name) != attention::Causal::name,
                "quire: attention: a variant needs a name of its own");
};
}  // namespace detail

/// A variant that somebody brings, once it is one.
template <class Variant>
using OwnAttention = typename detail::OwnAttention<Variant>::type;

/// Whether a variant is told which layer of which model it serves.
template <AttentionVariant Variant>
inline constexpr bool is_made_by_layer =
    std::is_constructible_v<Variant, const model::Shape&, std::size_t>;

/// The options, which a second model's layers have no part in. \errors usage, where there is one
template <class Options>
[[nodiscard]] const Options& without_draft_model(const Options& options) {
  if (!options.draft_model) return options;
  throw usage_error("draft_model", "an attention variant is made for the layers of one model",
                    "speculation without a second model");
}

/// A layer's variant.
template <AttentionVariant Variant>
[[nodiscard]] Variant attention_of_layer(const model::Shape& shape, std::size_t layer) {
  if constexpr (is_made_by_layer<Variant>) {
    return Variant(shape, layer);
  } else {
    return Variant();
  }
}

}  // namespace quire::executor
