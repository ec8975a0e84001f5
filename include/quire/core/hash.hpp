#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

// g++ 12 takes the undefined lanes in its own AVX-512 headers for a mistake of who inlines them.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace quire {

/// Hashes plain memory; stable across runs and machines of one byte order.
/// \source XXH3, 64 bit, xxHash.
[[nodiscard]] inline std::uint64_t hash_bytes(std::span<const std::byte> bytes,
                                              std::uint64_t seed = 0) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

template <class T>
[[nodiscard]] std::uint64_t hash_span(std::span<const T> values, std::uint64_t seed = 0) {
  return hash_bytes(std::as_bytes(values), seed);
}

/// Folds one more value into a running hash; order matters.
[[nodiscard]] constexpr std::uint64_t hash_combine(std::uint64_t h, std::uint64_t value) {
  h ^= value + 0x9e3779b97f4a7c15ULL + (h << 6) + (h >> 2);
  h *= 0xff51afd7ed558ccdULL;
  return h ^ (h >> 32);
}

}  // namespace quire
