#pragma once

#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fp8_scaled.hpp>

namespace quire::kv_format {

/// Keys and values as FP8 (E4M3, or E5M2) with one scale a head, found beforehand on texts; beyond it they
/// saturate. 8 bits a value.
/// \source vLLM, fp8 KV cache with k_scale and v_scale an attention head, from a data set
template <ScaleFrom from, class Element = E4m3>
struct Fp8PerHead : Fp8Scaled<Fp8PerHead<from, Element>, from, Element> {
  static constexpr auto text =
      Name<>().add(Fp8PerHead::e5m2 ? "fp8_e5m2_per_head_" : "fp8_per_head_").add(name_of(from));
  static constexpr std::string_view name = text;
};
static_assert(KvFormatPolicy<Fp8PerHead<ScaleFrom::mse>> &&
              FittedKvSlab<Fp8PerHead<ScaleFrom::mse>>);
static_assert(FittedKvSlab<Fp8PerHead<ScaleFrom::min_max, E5m2>>);

}  // namespace quire::kv_format
