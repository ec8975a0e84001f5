#pragma once

#include <string_view>

#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fp8_scaled.hpp>

namespace quire::kv_format {

/// Keys and values as FP8 (E4M3, or E5M2) with one scale for a layer's keys and one for its values, found
/// beforehand on texts; beyond it they saturate. 8 bits a value.
/// \source vLLM, fp8 KV cache with k_scale and v_scale of one element a layer, from a data set
template <ScaleFrom from, class Element = E4m3>
struct Fp8PerTensor : Fp8Scaled<Fp8PerTensor<from, Element>, from, Element> {
  static constexpr auto text =
      Name<>()
          .add(Fp8PerTensor::e5m2 ? "fp8_e5m2_per_tensor_" : "fp8_per_tensor_")
          .add(name_of(from));
  static constexpr std::string_view name = text;
  static constexpr bool fits_layer = true;
};
static_assert(KvFormatPolicy<Fp8PerTensor<ScaleFrom::mse>> &&
              FittedKvSlab<Fp8PerTensor<ScaleFrom::mse>>);

}  // namespace quire::kv_format
