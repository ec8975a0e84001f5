#pragma once

#include <cstddef>

namespace quire {

/// A token as whole numbers with scales: value = scale * (code - zero), or scale * code + offset.
///
/// Tokens of a slab lie row_bytes apart, the groups of a token group_bytes apart. A group's codes begin
/// codes_at within it: signed bytes, or unsigned codes of 4 bits in the order of core/packing.hpp.
struct CodeLayout {
  enum class Scale {
    fp32_of_slab,    // one a token, beside all codes of the slab: scale_at within the slab
    fp16,            // scale_at within the group, at least four bytes before its end
    fp16_and_offset  // the offset in fp16 behind it
  };
  unsigned bits = 8;
  std::size_t group = 0;  // channels that share a scale
  std::size_t row_bytes = 0;
  std::size_t group_bytes = 0;
  std::size_t codes_at = 0;
  Scale scale = Scale::fp16;
  std::size_t scale_at = 0;
  float zero = 0;

  /// Whether kernels can take the codes as they lie: a group's fill whole runs of 16 bytes.
  [[nodiscard]] constexpr bool suits(std::size_t head_dim) const {
    return (bits == 4 || bits == 8) && group > 0 && head_dim % group == 0 &&
           group * bits % 128 == 0;
  }
};

}  // namespace quire
