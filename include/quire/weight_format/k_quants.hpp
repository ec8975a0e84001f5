// mechanism: ggml's blocks of 256
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <quire/core/blockwise.hpp>

/// Super-blocks of 256 weights with scales of scales, as ggml lays them out.
/// \source ggml-quants.c. Reading is bit for bit; writing rounds to nearest with scales from each
/// sub-block's range, where ggml searches for better ones.
namespace quire::blockwise {

/// Eight sub-blocks of 32 codes of 4 or 5 bits with 6-bit scales and least values: 144 or 176 bytes, 4.5
/// or 5.5 bits each. x = d * scale * q - dmin * least.
/// \shape bytes: fp16 d, fp16 dmin, 12 of scales, with 5 bits 32 of upper bits (bit j of byte i: value i
/// of sub-block j), 128 of lower 4 bits
template <unsigned bits>
struct OffsetSuperBlock {
  static_assert(bits == 4 || bits == 5, "quire: ggml has such blocks of 4 and of 5 bits");
  static constexpr std::size_t size = 256, bytes = bits == 4 ? 144 : 176;

  static void decode(const std::byte* from, float* values) {
    const float d = to_float(get<Fp16>(from)), dmin = to_float(get<Fp16>(from + 2));
    for (std::size_t j = 0; j < 8; ++j) {
      const auto [scale, least] = scales_of(from + 4, j);
      const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(least);
      for (std::size_t i = 0; i < 32; ++i) {
        const auto byte = std::to_integer<unsigned>(from[lower + j / 2 * 32 + i]);
        unsigned q = j % 2 == 0 ? byte & 15u : byte >> 4;
        if constexpr (bits == 5) q |= (std::to_integer<unsigned>(from[upper + i]) >> j & 1u) << 4;
        values[j * 32 + i] = s * static_cast<float>(q) - m;
      }
    }
  }

  static void encode(const float* values, std::byte* to) {
    constexpr int top = (1 << bits) - 1;
    float scale[8], least[8], most_scale = 0, most_least = 0;
    for (std::size_t j = 0; j < 8; ++j) {
      const auto [low, high] = std::minmax_element(values + j * 32, values + j * 32 + 32);
      least[j] = std::max(0.0f, -*low);
      scale[j] = (*high + least[j]) / static_cast<float>(top);
      most_scale = std::max(most_scale, scale[j]);
      most_least = std::max(most_least, least[j]);
    }
    const bool finite = std::isfinite(largest(values, size));
    const Fp16 d = to_fp16(finite ? most_scale / 63 : not_a_number);
    const Fp16 dmin = to_fp16(finite ? most_least / 63 : not_a_number);
    put(to, d);
    put(to + 2, dmin);
    std::fill(to + 4, to + bytes, std::byte{0});
    const float by_scale = inverse_of(to_float(d)), by_least = inverse_of(to_float(dmin));
    for (std::size_t j = 0; j < 8; ++j) {
      const int s = nearest(std::ceil(scale[j] * by_scale - 1e-3f), 0, 63);
      const int m = nearest(least[j] * by_least, 0, 63);
      put_scales(to + 4, j, static_cast<unsigned>(s), static_cast<unsigned>(m));
      const float step = to_float(d) * static_cast<float>(s);
      const float inverse = inverse_of(step), offset = to_float(dmin) * static_cast<float>(m);
      for (std::size_t i = 0; i < 32; ++i) {
        const auto q =
            static_cast<unsigned>(nearest((values[j * 32 + i] + offset) * inverse, 0, top));
        to[lower + j / 2 * 32 + i] |= static_cast<std::byte>((q & 15u) << (j % 2 == 0 ? 0 : 4));
        if constexpr (bits == 5) to[upper + i] |= static_cast<std::byte>(q >> 4 << j);
      }
    }
  }

 private:
  static constexpr std::size_t upper = 16, lower = bits == 4 ? 16 : 48;
  struct Scales {
    unsigned scale, least;
  };
  /// Six bits each: those of the first four sub-blocks whole, the upper two bits of the others above them.
  static Scales scales_of(const std::byte* q, std::size_t j) {
    const auto at = [q](std::size_t i) { return std::to_integer<unsigned>(q[i]); };
    if (j < 4) return {at(j) & 63u, at(j + 4) & 63u};
    return {(at(j + 4) & 15u) | (at(j - 4) >> 6 << 4), (at(j + 4) >> 4) | (at(j) >> 6 << 4)};
  }
  static void put_scales(std::byte* q, std::size_t j, unsigned scale, unsigned least) {
    const auto add = [q](std::size_t i, unsigned some) { q[i] |= static_cast<std::byte>(some); };
    if (j < 4) {
      add(j, scale);
      add(j + 4, least);
    } else {
      add(j + 4, (scale & 15u) | (least & 15u) << 4);
      add(j - 4, scale >> 4 << 6);
      add(j, least >> 4 << 6);
    }
  }
};

using Q4K = OffsetSuperBlock<4>;
using Q5K = OffsetSuperBlock<5>;

/// Sixteen sub-blocks of 16 codes of 6 bits about 32 with 8-bit scales: 210 bytes, 6.5625 bits each.
/// x = d * scale * (q - 32). \shape bytes: 128 of lower 4 bits, 64 of upper 2, 16 scales, fp16 d
struct Q6K {
  static constexpr std::size_t size = 256, bytes = 210;

  static void decode(const std::byte* from, float* values) {
    const float d = to_float(get<Fp16>(from + 208));
    for (std::size_t i = 0; i < size; ++i) {
      const Place p = place(i);
      const unsigned low = std::to_integer<unsigned>(from[p.low]) >> p.low_shift & 15u;
      const unsigned high = std::to_integer<unsigned>(from[p.high]) >> p.high_shift & 3u;
      const auto scale = get<std::int8_t>(from + 192 + i / 16);
      values[i] = d * static_cast<float>(scale) *
                  static_cast<float>(static_cast<int>(low | high << 4) - 32);
    }
  }

  static void encode(const float* values, std::byte* to) {
    float scale[16], most = 0;
    for (std::size_t j = 0; j < 16; ++j) {
      scale[j] = largest(values + j * 16, 16) / 31;
      most = std::max(most, scale[j]);
    }
    const Fp16 d = to_fp16(std::isfinite(largest(values, size)) ? most / 127 : not_a_number);
    std::fill(to, to + bytes, std::byte{0});
    put(to + 208, d);
    const float by = inverse_of(to_float(d));
    for (std::size_t i = 0; i < size; ++i) {
      const int s = nearest(std::ceil(scale[i / 16] * by - 1e-3f), 0, 127);
      const float inverse = inverse_of(to_float(d) * static_cast<float>(s));
      const auto q = static_cast<unsigned>(nearest(values[i] * inverse, -32, 31) + 32);
      put(to + 192 + i / 16, static_cast<std::int8_t>(s));
      const Place p = place(i);
      to[p.low] |= static_cast<std::byte>((q & 15u) << p.low_shift);
      to[p.high] |= static_cast<std::byte>(q >> 4 << p.high_shift);
    }
  }

 private:
  struct Place {
    std::size_t low, low_shift, high, high_shift;
  };
  /// Halves of 128; in each, four runs of 32 share 64 bytes of lower and 32 of upper bits.
  static Place place(std::size_t i) {
    const std::size_t half = i / 128, run = i % 128 / 32, l = i % 32;
    return {half * 64 + run % 2 * 32 + l, run / 2 * 4, 128 + half * 32 + l, run * 2};
  }
};

}  // namespace quire::blockwise
