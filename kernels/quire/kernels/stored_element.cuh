#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/kv_access.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// Dimension d of a stored token as fp32, of any format: what reads little, one number a lane.
/// \pre d < Key::head_dim
template <class Key>
[[nodiscard]] QUIRE_DEVICE float stored_element(const std::byte* slab, unsigned slot, unsigned d) {
  if constexpr (packs_codes<typename Key::Access>) {
    constexpr unsigned half = Key::head_dim / 2;
    const auto* row = Key::row(slab, slot);
    const auto* end = reinterpret_cast<const Fp16*>(row + half);
    const unsigned code = d < half ? row[d] & 15u : row[d - half] >> 4;
    return simt::fma(static_cast<float>(code), simt::widen(end[0]), simt::widen(end[1]));
  } else {
    return stored_value(Key::row(slab, slot)[d]) * Key::scale(slab, slot);
  }
}

}  // namespace quire::kernels
