#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <quire/core/simd.hpp>

namespace quire {

/// Copies bytes that nobody wants in a cache, past the caches.
///
/// A plain copy of a block first reads the lines that it overwrites; memcpy() spares itself that only
/// where one call moves more than the caches hold. A few pages at a time keep more of the memory at work.
/// \pre the ranges do not overlap
/// \complexity O(bytes)
inline void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  namespace hn = simd::hn;
  constexpr std::size_t line = 64, page = 4096, pages = 4;
  constexpr std::size_t least = 16 * page;  // less is soon done, and perhaps soon used
  const hn::CappedTag<std::uint8_t, line> d;
  constexpr std::size_t width = hn::MaxLanes(hn::CappedTag<std::uint8_t, line>());
  if (bytes >= least) {
    const std::size_t before = (line - reinterpret_cast<std::uintptr_t>(to) % line) % line;
    std::memcpy(to, from, before);
    to += before, from += before, bytes -= before;
    for (; bytes >= pages * page; to += pages * page, from += pages * page, bytes -= pages * page) {
      for (std::size_t at = 0; at < page; at += line) {
        for (std::size_t p = 0; p < pages * page; p += page) {
          const auto* source = reinterpret_cast<const std::uint8_t*>(from + p + at);
          auto* target = reinterpret_cast<std::uint8_t*>(to + p + at);
          simd::unrolled<line / width>([&](auto v) __attribute__((always_inline)) {
            hn::Stream(hn::LoadU(d, source + v * width), d, target + v * width);
          });
        }
      }
    }
    hwy::FlushStream();
  }
  std::memcpy(to, from, bytes);
}

}  // namespace quire
