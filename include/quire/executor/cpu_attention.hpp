#pragma once

#include <type_traits>

#include <quire/executor/attending.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/own_attention.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/weight_format/codec.hpp>

namespace quire::executor {

/// The CPU executor with an attention of one's own: every layer attends as `Variant` says, within the
/// windows that the model has. A variant that depends on the layer or on the model's shape has a constructor
/// from `(const model::Shape&, std::size_t layer)`; others are made without arguments.
///
/// The control plane is the same, and so are the promises of Cpu. Blocks that an earlier process left on
/// disk are found by the variant's name: one with parameters should tell them there.
/// \errors usage for a draft model, whose layers are others
template <class Variant>
struct CpuAttention : Cpu {
  using Attention = OwnAttention<Variant>;

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
    return Shared<C>(without_draft_model(options), geometry,
                     kv_format::codec_of<typename C::KvFormat>(),
                     weight_format::codec_of<typename C::WeightFormat>());
  }
  template <class C>
  class Bound : public Shared<C> {
   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Shared<C>(without_draft_model(options), geometry,
                    kv_format::codec_of<typename C::KvFormat>(),
                    weight_format::codec_of<typename C::WeightFormat>()) {}
  };
};

}  // namespace quire::executor
