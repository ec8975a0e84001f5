#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/simt/simt.cuh>

namespace quire::device {

/// Reads memory and adds it up: what a kernel that only reads can reach.
struct ReadAll {
  struct Params {
    const std::uint32_t* in;
    std::uint32_t* out;
    std::size_t words;
  };
  static constexpr std::string_view name = "read_all";
  static constexpr unsigned threads = 512;
  QUIRE_DEVICE static void run(const Params& p) {
    std::uint32_t sum = 0;
    const std::size_t step = std::size_t{simt::grid().x} * threads * 4;
    for (std::size_t i = (std::size_t{simt::block().x} * threads + simt::thread()) * 4; i < p.words;
         i += 4 * step) {
      simt::Vector<std::uint32_t, 4> v[4];
      QUIRE_UNROLL
      for (unsigned u = 0; u < 4; ++u) {
        const std::size_t at = i + u * step;
        v[u] = simt::load_vector_once<4>(p.in + (at < p.words ? at : i));
      }
      QUIRE_UNROLL
      for (unsigned u = 0; u < 4; ++u) sum += v[u].v[0] ^ v[u].v[1] ^ v[u].v[2] ^ v[u].v[3];
    }
    if (sum == 0x12345678u) p.out[0] = sum;
  }
};

}  // namespace quire::device
