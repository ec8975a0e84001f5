#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/float16.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class In, class Out>
struct ConvertParams {
  const In* from = nullptr;  // \shape (count)
  Out* to = nullptr;         // \shape (count)
  std::size_t count = 0;
};

/// Numbers in another element, rounded as the host rounds them. Grid: any number of blocks, which share the numbers.
/// \cost reads `from` once, writes `to` once
template <class In, class Out>
struct Convert {
  using Params = ConvertParams<In, Out>;
  static constexpr std::string_view name = "convert";
  static constexpr unsigned threads = simt::emulated ? 32 : 256;

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t step = std::size_t{threads} * simt::grid().x;
    for (std::size_t i = std::size_t{threads} * simt::block().x + simt::thread(); i < p.count;
         i += step) {
      p.to[i] = from_float<Out>(to_float(p.from[i]));
    }
  }
};

}  // namespace quire::kernels
