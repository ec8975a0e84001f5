#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include <quire/attention/causal.hpp>
#include <quire/attention/concepts.hpp>
#include <quire/core/error.hpp>
#include <quire/executor/attending.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/model/shape.hpp>
#include <quire/weight_format/codec.hpp>

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
}  // namespace detail

/// The CPU executor with an attention of one's own: every layer attends as `Variant` says, within the
/// windows that the model has. A variant that depends on the layer or on the model's shape has a constructor
/// from `(const model::Shape&, std::size_t layer)`; others are made without arguments.
///
/// The control plane is the same, and so are the promises of Cpu. Blocks that an earlier process left on
/// disk are found by the variant's name: one with parameters should tell them there.
/// \errors usage for a draft model, whose layers are others
template <class Variant>
struct CpuAttention : Cpu {
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
  using Attention = std::conditional_t<AttentionVariant<Variant>, Variant, attention::Causal>;
  static_assert(!detail::has_idle_logit<Attention>(),
                "quire: attention: a variant's logit() is not called without "
                "`static constexpr bool transforms_logits = true`");
  static_assert(std::is_same_v<Attention, attention::Causal> ||
                    std::string_view(Attention::name) != attention::Causal::name,
                "quire: attention: a variant needs a name of its own");

  template <class C>
  struct SharedOf {
    static_assert(
        std::is_same_v<AttendingFor<typename C::Retention>, AttendsAll>,
        "quire: retention: it attends in its own way, and so does the executor's variant; "
        "expected quire::retention::KeepAll");
    using type = Steps<kv_format::storage_of<typename C::KvFormat>,
                       weight_format::storage_of<typename C::WeightFormat>, AttendsAs<Attention>>;
  };
  template <class C>
  using Shared = typename SharedOf<C>::type;

  template <class C>
  [[nodiscard]] static Shared<C> bind(const Options& options, const KvGeometry& geometry) {
    return Shared<C>(checked(options), geometry, kv_format::codec_of<typename C::KvFormat>(),
                     weight_format::codec_of<typename C::WeightFormat>());
  }
  template <class C>
  class Bound : public Shared<C> {
   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Shared<C>(checked(options), geometry, kv_format::codec_of<typename C::KvFormat>(),
                    weight_format::codec_of<typename C::WeightFormat>()) {}
  };

 private:
  [[nodiscard]] static const Options& checked(const Options& options) {
    if (!options.draft_model) return options;
    throw usage_error("draft_model", "an attention variant is made for the layers of one model",
                      "speculation without a second model");
  }
};

}  // namespace quire::executor
