#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/group_codec.cuh>
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
    const unsigned code = d < half ? row[d] & 15u : row[d - half] >> 4;
    return CodecOf<typename Key::Access>::number(code,
                                                 Key::ends(slab, slot)[d / Key::group_size()]);
  } else {
    return stored_value(Key::row(slab, slot)[d]) * Key::scale(slab, slot);
  }
}

}  // namespace quire::kernels
