// mechanism: 4-bit tensors in the layout of bitsandbytes, for checkpoints
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/core/blockwise.hpp>

/// Tensors as bitsandbytes stores them, bit for bit: a flat tensor in blocks of 64, two codes a byte with
/// the first in the upper half, the blocks' largest magnitudes beside it, in fp32 or quantised again.
/// \source bitsandbytes 0.50, functional.py and its kernels; tests/golden/formats/make_nf4.py.
namespace quire::weight_format::bitsandbytes {

inline constexpr std::size_t block = 64;        // values with one largest magnitude
inline constexpr std::size_t wide_block = 256;  // largest magnitudes with one of their own

/// Signs, 3 bits: not in order of size.
inline constexpr std::array<float, 16> fp4_codes{
    0.0f, 0.005208333333f,  0.66666667f,  1.0f,  0.33333333f,  0.5f,  0.16666667f,  0.25f,
    0.0f, -0.005208333333f, -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f};

/// The code of FP4 for |x| <= 1: the nearest, the lower of two that are as near. Of the two zeros, what
/// is above 0 gets the one with the sign, as bitsandbytes on a processor has it.
[[nodiscard]] inline std::uint8_t fp4_code(float x) {
  constexpr std::array<std::uint8_t, 16> ascending{11, 10, 13, 12, 15, 14, 9, 0,
                                                   8,  1,  6,  7,  4,  5,  2, 3};
  constexpr std::array<float, 16> sorted = [=] {
    std::array<float, 16> values{};
    for (std::size_t i = 0; i < 16; ++i) values[i] = fp4_codes[ascending[i]];
    return values;
  }();
  return ascending[blockwise::nearest_code(sorted, x)];
}

enum class Kind { nf4, fp4 };

struct Tensor {
  Kind kind = Kind::nf4;
  std::vector<std::uint8_t> packed;  // \shape ((values + 1) / 2)
  std::vector<float> absmax;         // \shape (blocks)
};

[[nodiscard]] inline Tensor quantise(std::span<const float> values, Kind kind = Kind::nf4) {
  Tensor t;
  t.kind = kind;
  t.packed.assign((values.size() + 1) / 2, 0);
  for (std::size_t first = 0; first < values.size(); first += block) {
    const std::size_t count = std::min(block, values.size() - first);
    const float most = blockwise::largest(values.data() + first, count);
    t.absmax.push_back(most);
    const float inverse = blockwise::inverse_of(most);
    for (std::size_t i = first; i < first + count; ++i) {
      const float x = values[i] * inverse;
      const unsigned code =
          kind == Kind::nf4 ? blockwise::nearest_code(blockwise::nf4_codes, x) : fp4_code(x);
      t.packed[i / 2] = static_cast<std::uint8_t>(t.packed[i / 2] | code << (i % 2 == 0 ? 4 : 0));
    }
  }
  return t;
}

[[nodiscard]] inline std::vector<float> dequantise(const Tensor& t, std::size_t size) {
  std::vector<float> values(size);
  const auto& codes = t.kind == Kind::nf4 ? blockwise::nf4_codes : fp4_codes;
  for (std::size_t i = 0; i < size; ++i) {
    values[i] = codes[t.packed[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15] * t.absmax[i / block];
  }
  return values;
}

/// The 256 levels of the dynamic 8-bit map, ascending: seven decades, each in twice as many steps as the
/// one below it, both signs, 0 and 1. \source create_dynamic_map(signed = True, 7, 8), as PyTorch rounds it
inline constexpr std::array<float, 256> dynamic_map = [] {
  constexpr std::array<float, 127> magnitudes{
      5.50000038e-07f, 3.25000019e-06f, 7.7499999e-06f,  2.12499981e-05f, 4.37499984e-05f,
      6.62500024e-05f, 8.87499991e-05f, 0.000156250011f, 0.000268750038f, 0.000381250022f,
      0.000493750034f, 0.000606250076f, 0.00071875006f,  0.000831249985f, 0.000943750085f,
      0.00128124992f,  0.00184375001f,  0.00240624999f,  0.00296874996f,  0.00353124971f,
      0.00409374991f,  0.00465624966f,  0.00521875033f,  0.00578125007f,  0.00634374982f,
      0.00690625003f,  0.00746874977f,  0.00803124998f,  0.00859375019f,  0.00915624946f,
      0.00971874967f,  0.0114062503f,   0.0142187504f,   0.0170312505f,   0.0198437516f,
      0.0226562507f,   0.0254687499f,   0.028281251f,    0.0310937501f,   0.0339062512f,
      0.0367187522f,   0.0395312496f,   0.0423437469f,   0.0451562516f,   0.047968749f,
      0.05078125f,     0.053593751f,    0.0564062484f,   0.0592187531f,   0.0620312504f,
      0.0648437515f,   0.0676562563f,   0.0704687461f,   0.0732812509f,   0.0760937482f,
      0.078906253f,    0.0817187577f,   0.0845312476f,   0.0873437524f,   0.0901562497f,
      0.0929687545f,   0.0957812592f,   0.0985937491f,   0.107031256f,    0.12109375f,
      0.135156244f,    0.149218753f,    0.163281247f,    0.177343756f,    0.19140625f,
      0.205468744f,    0.219531253f,    0.233593747f,    0.247656241f,    0.26171875f,
      0.275781274f,    0.289843738f,    0.303906262f,    0.317968726f,    0.33203125f,
      0.346093744f,    0.360156238f,    0.374218762f,    0.388281226f,    0.40234375f,
      0.416406244f,    0.430468738f,    0.444531262f,    0.458593726f,    0.47265625f,
      0.486718714f,    0.500781238f,    0.514843702f,    0.528906226f,    0.54296875f,
      0.557031274f,    0.571093798f,    0.585156262f,    0.599218726f,    0.61328125f,
      0.627343774f,    0.641406298f,    0.655468762f,    0.669531226f,    0.68359375f,
      0.697656274f,    0.711718798f,    0.725781262f,    0.739843726f,    0.75390625f,
      0.767968774f,    0.782031238f,    0.796093762f,    0.810156226f,    0.82421875f,
      0.838281274f,    0.852343738f,    0.866406262f,    0.880468726f,    0.89453125f,
      0.908593774f,    0.922656238f,    0.936718762f,    0.950781226f,    0.96484375f,
      0.978906274f,    0.992968738f};
  std::array<float, 256> map{};
  for (std::size_t i = 0; i < 127; ++i) {
    map[126 - i] = -magnitudes[i];
    map[128 + i] = magnitudes[i];
  }
  map[255] = 1.0f;
  return map;
}();

/// Largest magnitudes in 8 bits: about their mean, in the dynamic map, 256 to an fp32 scale. With them a
/// weight costs 4 + 8 / 64 + 32 / (64 * 256) = 4.127 bits.
struct Scales {
  std::vector<std::uint8_t> codes;
  float offset = 0;
  std::vector<float> absmax;  // \shape (blocks of 256)
};

[[nodiscard]] inline Scales quantise_scales(std::span<const float> absmax, float offset) {
  Scales s;
  s.offset = offset;
  const std::array<float, 256>& map = dynamic_map;
  for (std::size_t first = 0; first < absmax.size(); first += wide_block) {
    const std::size_t count = std::min(wide_block, absmax.size() - first);
    float most = 0;
    for (std::size_t i = first; i < first + count; ++i) {
      most = std::max(most, std::abs(absmax[i] - offset));
    }
    s.absmax.push_back(most);
    for (std::size_t i = first; i < first + count; ++i) {
      const float x = most > 0 ? (absmax[i] - offset) / most : 0.0f;
      const auto above = std::lower_bound(map.begin(), map.end(), x);
      auto code = static_cast<std::size_t>(above - map.begin());
      if (code == map.size() || (code > 0 && x - map[code - 1] <= map[code] - x)) --code;
      s.codes.push_back(static_cast<std::uint8_t>(code));
    }
  }
  return s;
}
[[nodiscard]] inline std::vector<float> dequantise_scales(const Scales& s) {
  std::vector<float> absmax(s.codes.size());
  for (std::size_t i = 0; i < absmax.size(); ++i) {
    absmax[i] = dynamic_map[s.codes[i]] * s.absmax[i / wide_block] + s.offset;
  }
  return absmax;
}

}  // namespace quire::weight_format::bitsandbytes
