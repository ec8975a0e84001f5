#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <quire/core/simd.hpp>

/// Codes of a few bits each in bytes, and back to fp32 a vector at a time.
///
/// Layout of n codes of b = 1, 2, 4 or 8 bits: byte i holds in bits [j b, (j + 1) b) the code of
/// element j n / p + i, with p = 8 / b codes to a byte. Elements that become one vector then lie in
/// neighbouring bytes. 3 bits are the lower two as above, then the upper one as above.
namespace quire::packing {

/// Codes that one byte needs to be full: n is a multiple of it.
template <unsigned bits>
inline constexpr std::size_t granule = bits == 3 ? 8 : 8 / bits;

/// Bytes of n codes. \pre n is a multiple of granule<bits>
template <unsigned bits>
[[nodiscard]] constexpr std::size_t bytes_of(std::size_t n) {
  static_assert((bits >= 1 && bits <= 4) || bits == 8, "quire: packing: 1, 2, 3, 4 or 8 bits");
  return n * bits / 8;
}

/// \shape codes (n), each below 2^bits; bytes (bytes_of<bits>(n))
template <unsigned bits>
void pack(const std::uint8_t* codes, std::size_t n, std::byte* bytes) {
  if constexpr (bits == 3) {
    std::uint8_t part[8];
    for (std::size_t i = 0; i < n / 4; ++i) {
      for (std::size_t j = 0; j < 4; ++j) part[j] = codes[j * (n / 4) + i] & 3u;
      pack<2>(part, 4, bytes + i);
    }
    for (std::size_t i = 0; i < n / 8; ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        part[j] = static_cast<std::uint8_t>(codes[j * (n / 8) + i] >> 2);
      }
      pack<1>(part, 8, bytes + n / 4 + i);
    }
  } else {
    constexpr std::size_t parts = 8 / bits;
    const std::size_t run = n / parts;
    for (std::size_t i = 0; i < run; ++i) {
      unsigned byte = 0;
      for (std::size_t j = 0; j < parts; ++j) {
        byte |= static_cast<unsigned>(codes[j * run + i]) << (j * bits);
      }
      bytes[i] = static_cast<std::byte>(byte);
    }
  }
}

/// The code of element i. \pre i < n
template <unsigned bits>
[[nodiscard]] inline unsigned code_at(const std::byte* bytes, std::size_t n, std::size_t i) {
  if constexpr (bits == 3) {
    return code_at<2>(bytes, n, i) | code_at<1>(bytes + n / 4, n, i) << 2;
  } else {
    const std::size_t run = n * bits / 8;
    return std::to_integer<unsigned>(bytes[i % run]) >> (i / run * bits) & ((1u << bits) - 1u);
  }
}

namespace detail {

/// Calls use(codes as int vector, first element) where a part has as many bytes as a Word, and a vector
/// takes several parts. \pre n is a whole number of vectors
template <unsigned bits, class Word, class Use>
HWY_INLINE void each_short_part(const std::uint8_t* from, Use&& use) {
  namespace hn = simd::hn;
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const hn::Rebind<std::int32_t, simd::Floats> wide;
  constexpr std::size_t run = sizeof(Word), together = simd::lanes / run;
  Word word;
  std::memcpy(&word, from, run);
  const auto bytes = hn::BitCast(narrow, hn::Set(hn::Repartition<Word, decltype(narrow)>(), word));
  // Kept: computing it takes longer than all the rest.
  static constexpr auto parts = [] {
    std::array<std::int32_t, simd::lanes> out{};
    for (std::size_t l = 0; l < simd::lanes; ++l) out[l] = static_cast<int>(l / run * bits);
    return out;
  }();
  const auto first = hn::Shr(hn::PromoteTo(wide, bytes), hn::LoadU(wide, parts.data()));
  simd::unrolled<8 / bits / together>([&](auto j) __attribute__((always_inline)) {
    constexpr std::size_t v = decltype(j)::value;
    const auto shifted = hn::ShiftRight<static_cast<int>(v * together * bits)>(first);
    use(hn::And(shifted, hn::Set(wide, (1 << bits) - 1)), v * simd::lanes);
  });
}
/// That for parts of `Word` bytes, if n has such and vectors are wide enough.
template <unsigned bits, class Word, class Use>
HWY_INLINE bool took_short_parts(const std::uint8_t* from, std::size_t n, Use& use) {
  constexpr std::size_t parts = 8 / bits;
  if constexpr (simd::lanes > sizeof(Word) && parts * sizeof(Word) >= simd::lanes) {
    if (n == parts * sizeof(Word)) {
      each_short_part<bits, Word>(from, use);
      return true;
    }
  }
  return false;
}

/// Calls use(codes as int vector, first element) for whole vectors of a part, one(code, element)
/// for what is left. \pre bits is not 3
template <unsigned bits, class Use, class One>
HWY_INLINE void each_part(const std::byte* bytes, std::size_t n, Use&& use, One&& one) {
  namespace hn = simd::hn;
  const hn::Rebind<std::uint8_t, simd::Floats> narrow;
  const hn::Rebind<std::int32_t, simd::Floats> wide;
  const auto* from = reinterpret_cast<const std::uint8_t*>(bytes);
  constexpr std::size_t parts = 8 / bits;
  if (took_short_parts<bits, std::uint64_t>(from, n, use)) return;
  if (took_short_parts<bits, std::uint32_t>(from, n, use)) return;
  if (took_short_parts<bits, std::uint16_t>(from, n, use)) return;
  const std::size_t run = n / parts, whole = run / simd::lanes * simd::lanes;
  for (std::size_t i = 0; i < whole; i += simd::lanes) {
    const auto eight = hn::PromoteTo(wide, hn::LoadU(narrow, from + i));
    simd::unrolled<parts>([&](auto j) __attribute__((always_inline)) {
      constexpr std::size_t part = decltype(j)::value;
      const auto shifted = hn::ShiftRight<static_cast<int>(part * bits)>(eight);
      use(hn::And(shifted, hn::Set(wide, (1 << bits) - 1)), part * run + i);
    });
  }
  for (std::size_t i = whole; i < run; ++i) {
    for (std::size_t j = 0; j < parts; ++j) {
      one(static_cast<unsigned>(from[i]) >> (j * bits) & ((1u << bits) - 1u), j * run + i);
    }
  }
}

}  // namespace detail

/// values = scale * code + offset, in fp32, product rounded first. \shape values (n)
template <unsigned bits>
void unpack_linear(const std::byte* bytes, std::size_t n, float scale, float offset,
                   float* values) {
  if constexpr (bits == 3) {
    float upper[256];
    if (n > 256) {
      for (std::size_t i = 0; i < n; ++i) {
        values[i] = scale * static_cast<float>(code_at<3>(bytes, n, i)) + offset;
      }
      return;
    }
    unpack_linear<2>(bytes, n, 1, 0, values);
    unpack_linear<1>(bytes + n / 4, n, 4, 0, upper);
    for (std::size_t i = 0; i < n; ++i) values[i] = scale * (values[i] + upper[i]) + offset;
  } else {
    namespace hn = simd::hn;
    const auto s = simd::set(scale), o = simd::set(offset);
    detail::each_part<bits>(
        bytes, n,
        [&](auto codes, std::size_t i) __attribute__((always_inline)) {
          simd::store(hn::Add(hn::Mul(hn::ConvertTo(simd::Floats(), codes), s), o), values + i);
        },
        [&](unsigned code, std::size_t i) {
          values[i] = scale * static_cast<float>(code) + offset;
        });
  }
}

namespace detail {

/// unpack_table() for tables of 16 entries and vectors that hold half of one, or all.
/// \pre codes are below 16
template <unsigned bits>
void unpack_sixteen(const std::byte* bytes, std::size_t n, const float* table, float scale,
                    float* values) {
  namespace hn = simd::hn;
  const simd::Floats d;
  constexpr int lane_mask = static_cast<int>(simd::lanes) - 1;
  const auto s = simd::set(scale);
  const auto low = hn::LoadU(d, table);
  [[maybe_unused]] const auto high = hn::LoadU(d, table + 16 - simd::lanes);
  each_part<bits>(
      bytes, n,
      [&](auto codes, std::size_t i) __attribute__((always_inline)) {
        const auto index = hn::IndicesFromVec(
            d, hn::And(codes, hn::Set(hn::RebindToSigned<simd::Floats>(), lane_mask)));
        auto v = hn::TableLookupLanes(low, index);
        if constexpr (simd::lanes < 16) {
          const auto upper = hn::RebindMask(
              d, hn::Gt(codes, hn::Set(hn::RebindToSigned<simd::Floats>(), lane_mask)));
          v = hn::IfThenElse(upper, hn::TableLookupLanes(high, index), v);
        }
        simd::store(hn::Mul(s, v), values + i);
      },
      [&](unsigned code, std::size_t i) { values[i] = scale * table[code]; });
}

}  // namespace detail

/// values = scale * table[code]. \shape table (2^bits, at most 16); values (n)
template <unsigned bits>
void unpack_table(const std::byte* bytes, std::size_t n, const float* table, float scale,
                  float* values) {
  static_assert(bits <= 4);
  constexpr std::size_t entries = std::size_t{1} << bits;
  // Debug builds of Highway check indices with a function that has to be linked.
  constexpr bool by_vector = simd::lanes >= 8 && HWY_IS_DEBUG_BUILD == 0;
  if constexpr (bits == 3) {
    unpack_linear<3>(bytes, n, 1, 0, values);
    std::size_t i = 0;
    if constexpr (by_vector) {
      namespace hn = simd::hn;
      const simd::Floats d;
      float all[16]{};
      std::memcpy(all, table, entries * sizeof(float));
      const auto looked_up = hn::LoadU(d, all);
      for (; i + simd::lanes <= n; i += simd::lanes) {
        const auto codes =
            hn::ConvertTo(hn::RebindToSigned<simd::Floats>(), simd::load(values + i));
        const auto v = hn::TableLookupLanes(looked_up, hn::IndicesFromVec(d, codes));
        simd::store(hn::Mul(simd::set(scale), v), values + i);
      }
    }
    for (; i < n; ++i) values[i] = scale * table[static_cast<unsigned>(values[i])];
  } else if constexpr (entries < 16) {
    float all[16]{};
    for (std::size_t i = 0; i < entries; ++i) all[i] = table[i];
    if constexpr (!by_vector) {
      for (std::size_t i = 0; i < n; ++i) values[i] = scale * all[code_at<bits>(bytes, n, i)];
    } else {
      detail::unpack_sixteen<bits>(bytes, n, all, scale, values);
    }
  } else if constexpr (!by_vector) {
    for (std::size_t i = 0; i < n; ++i) values[i] = scale * table[code_at<bits>(bytes, n, i)];
  } else {
    detail::unpack_sixteen<bits>(bytes, n, table, scale, values);
  }
}

/// values = scale * code of signed bytes. \shape values (n)
inline void unpack_signed(const std::byte* bytes, std::size_t n, float scale, float* values) {
  namespace hn = simd::hn;
  const hn::Rebind<std::int8_t, simd::Floats> narrow;
  const hn::Rebind<std::int32_t, simd::Floats> wide;
  const auto* from = reinterpret_cast<const std::int8_t*>(bytes);
  const auto s = simd::set(scale);
  std::size_t i = 0;
  for (; i + simd::lanes <= n; i += simd::lanes) {
    const auto codes = hn::PromoteTo(wide, hn::LoadU(narrow, from + i));
    simd::store(hn::Mul(s, hn::ConvertTo(simd::Floats(), codes)), values + i);
  }
  for (; i < n; ++i) values[i] = scale * static_cast<float>(from[i]);
}

}  // namespace quire::packing
