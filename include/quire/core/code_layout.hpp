#pragma once

#include <cstddef>
#include <cstdint>

namespace quire {

/// A token as whole numbers with scales: value = scale * (code - zero), or scale * code + offset.
///
/// Tokens of a slab lie row_bytes apart, the groups of a token group_bytes apart. A group's codes begin
/// codes_at within it: signed bytes, or unsigned codes of 4 bits in the order of core/packing.hpp.
///
/// Or in runs of sixteen tokens, as products of bytes take them, row_bytes * run_tokens to a run; scales
/// lie behind all runs. Codes of 8 bits have 128 added. \shape run, keys (row_bytes / 4, tokens, 4):
/// words of four neighbouring bytes of a token's row without its scales; values (row_bytes / 16,
/// tokens / 4, 16, 4): words of one byte of four neighbouring tokens; scales (groups, block_tokens)
struct CodeLayout {
  static constexpr std::size_t run_tokens = 16;

  enum class Scale {
    fp32_of_slab,    // one a token, beside all codes of the slab: scale_at within the slab
    fp16,            // scale_at within the group, at least four bytes before its end
    fp16_and_offset  // the offset in fp16 behind it
  };
  unsigned bits = 8;
  std::size_t group = 0;        // channels that share a scale
  std::size_t row_bytes = 0;    // in runs: of codes alone
  std::size_t group_bytes = 0;  // in runs: from one group's scales to the next one's
  std::size_t codes_at = 0;
  Scale scale = Scale::fp16;
  std::size_t scale_at = 0;  // in runs: within the slab
  std::int32_t zero = 0;     // of 4 bits: the code of zero
  bool in_runs = false;

  /// Whether kernels can take the codes as they lie: a group's fill whole runs of 16 bytes.
  [[nodiscard]] constexpr bool suits(std::size_t head_dim) const {
    return (bits == 4 || bits == 8) && group > 0 && head_dim % group == 0 &&
           group * bits % 128 == 0;
  }
  [[nodiscard]] constexpr std::size_t scale_bytes() const { return scale == Scale::fp16 ? 2 : 4; }

  /// Where byte i of a token's codes lies in a slab of runs,
  template <bool keys>
  [[nodiscard]] constexpr std::size_t byte_at(std::size_t slot, std::size_t i) const {
    const std::size_t run = slot / run_tokens * run_tokens * row_bytes, t = slot % run_tokens;
    if constexpr (keys) return run + i / 4 * 64 + t * 4 + i % 4;
    return run + i / 16 * 256 + t / 4 * 64 + i % 16 * 4 + t % 4;
  }
  /// and its scale.
  [[nodiscard]] constexpr std::size_t scale_of(std::size_t slot, std::size_t g) const {
    return scale_at + g * group_bytes + slot * scale_bytes();
  }
};

}  // namespace quire
