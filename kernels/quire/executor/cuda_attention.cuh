#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <quire/attention/concepts.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/core/hd.hpp>
#include <quire/executor/communicator.cuh>
#include <quire/executor/concepts.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/executor/own_attention.hpp>
#include <quire/model/shape.hpp>

namespace quire::executor {

#if defined( \
    __CUDACC__)  // a function that devices do not have is a warning here, and ends the program there
#pragma nv_diagnostic push
#pragma nv_diag_error 20011, 20014
#endif
/// A variant within a layer's window: the narrower view of the two. It goes to kernels by value.
template <AttentionVariant Variant>
struct VariantInWindow : Variant {
  std::int64_t window = attention::SlidingWindow().window;  // tokens, >= 1

  VariantInWindow() = default;
  VariantInWindow(const Variant& variant, std::int64_t tokens)
      : Variant(variant), window(tokens > 0 ? tokens : attention::SlidingWindow().window) {}
  [[nodiscard]] QUIRE_HD std::int64_t first_visible(std::int64_t position) const {
    const std::int64_t of_model = position < window ? 0 : position - window + 1;
    const std::int64_t own = Variant::first_visible(position);
    return own > of_model ? own : of_model;
  }
};
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

/// How layers of CudaAttention attend.
template <AttentionVariant Variant>
struct AttendsAsVariant {
  using Layer = VariantInWindow<Variant>;
  static constexpr bool by_layer = is_made_by_layer<Variant>;

  [[nodiscard]] static Layer layer(const model::Shape& shape, std::size_t index,
                                   std::int64_t window) {
    return {attention_of_layer<Variant>(shape, index), window};
  }
  template <class Body>
  static decltype(auto) with(const auto& layers, const Body& body) {
    return body(layers.as);
  }
  [[nodiscard]] static std::string said() { return ", attention: " + std::string(Variant::name); }
};

/// A CUDA executor with an attention of one's own, as CpuAttention is a CPU executor with one; the same
/// variant serves both. Cuda: BasicCuda<...>.
///
/// A variant goes to kernels by value: it holds numbers, not what lies in the host's memory, and its
/// functions are marked QUIRE_HD. \errors usage for a draft model, whose layers are others
template <class Variant, class Cuda>
struct CudaAttention : Cuda {
  using Options = typename Cuda::Options;
  using Attention = OwnAttention<Variant>;
  static_assert(std::is_trivially_copyable_v<Attention> &&
                    std::is_default_constructible_v<Attention> && !std::is_final_v<Attention>,
                "quire: attention: a variant goes to kernels by value: it holds numbers alone, is "
                "made without arguments too, and is not final");
  static_assert(std::is_same_v<decltype(Options::ranks), Alone>,
                "quire: attention: a variant counts the heads of the whole model, of which each "
                "rank has some; smallest model: quire::executor::BasicCuda");

  template <class C>
  struct StepsOf {
    static_assert(std::is_same_v<KeepingFor<C>, KeepsAll>,
                  "quire: retention: it attends in its own way, and so does the executor's "
                  "variant; expected quire::retention::KeepAll");
    using type = typename Cuda::template Steps<typename C::KvFormat, typename C::WeightFormat,
                                               static_cast<unsigned>(C::BlockSize::tokens.value),
                                               KeepsAll, AttendsAsVariant<Attention>>;
  };
  template <class C>
  class Bound : public StepsOf<C>::type {
   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : StepsOf<C>::type(without_draft_model(options), geometry) {}
  };
};

}  // namespace quire::executor
