#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/core/float16.hpp>

namespace quire::kernels {

/// A matrix of which each four neighbouring inputs keep two (2:4), as sparse_product reads it: sixteen
/// outputs and 64 inputs at a time lie together, in the order of the lanes that multiply them. What
/// lies beyond the outputs and inputs is zeros.
/// \shape values (tiles, chunks, 32 lanes, 4 steps, 2 outputs, 2): lane l has outputs l / 4 and
/// l / 4 + 8 of the tile and inputs 16 s + 4 (l % 4) .. + 3 of step s
/// \shape places (tiles, chunks, 32 lanes): four bits a step and output, the lower place first
template <class Half>
struct SparseWeights {
  static constexpr std::size_t tile = 16, chunk = 64;
  std::size_t outputs = 0, inputs = 0;
  std::vector<Half> values;
  std::vector<std::uint32_t> places;
};

/// Keeps the two largest magnitudes of each four inputs, among equals the first, and orders them for
/// the device. \shape weights (outputs, inputs)
/// \source Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021: magnitude pruning
template <class Half>
[[nodiscard]] SparseWeights<Half> prune_for_device(std::span<const float> weights,
                                                   std::size_t outputs, std::size_t inputs) {
  constexpr std::size_t tile = SparseWeights<Half>::tile, chunk = SparseWeights<Half>::chunk;
  const std::size_t tiles = (outputs + tile - 1) / tile, chunks = (inputs + chunk - 1) / chunk;
  SparseWeights<Half> w{outputs, inputs, std::vector<Half>(tiles * chunks * 32 * 16),
                        std::vector<std::uint32_t>(tiles * chunks * 32)};
  for (std::size_t o = 0; o < tiles * tile; ++o) {
    for (std::size_t i = 0; i < chunks * chunk; i += 4) {
      std::array<float, 4> four{};
      for (std::size_t k = 0; k < 4; ++k) {
        if (o < outputs && i + k < inputs) four[k] = weights[o * inputs + i + k];
      }
      std::array<std::uint32_t, 4> order = {0, 1, 2, 3};
      std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return std::abs(four[a]) > std::abs(four[b]);
      });
      const auto [low, high] = std::minmax(order[0], order[1]);
      const std::size_t lane = o % 8 * 4 + i % 16 / 4, step = i % chunk / 16, half = o % tile / 8;
      const std::size_t at = (o / tile * chunks + i / chunk) * 32 + lane;
      w.values[at * 16 + step * 4 + half * 2] = from_float<Half>(four[low]);
      w.values[at * 16 + step * 4 + half * 2 + 1] = from_float<Half>(four[high]);
      w.places[at] |= (low | high << 2) << (step * 8 + half * 4);
    }
  }
  return w;
}

/// One output's weights, zeros among them. \shape values (inputs)
template <class Half>
void read_sparse(const SparseWeights<Half>& w, std::size_t output, float* values) {
  constexpr std::size_t tile = SparseWeights<Half>::tile, chunk = SparseWeights<Half>::chunk;
  const std::size_t chunks = (w.inputs + chunk - 1) / chunk;
  for (std::size_t i = 0; i < w.inputs; ++i) {
    const std::size_t lane = output % 8 * 4 + i % 16 / 4, step = i % chunk / 16;
    const std::size_t half = output % tile / 8;
    const std::size_t at = (output / tile * chunks + i / chunk) * 32 + lane;
    const std::uint32_t places = w.places[at] >> (step * 8 + half * 4);
    const Half* two = &w.values[at * 16 + step * 4 + half * 2];
    values[i] = places % 4 == i % 4       ? to_float(two[0])
                : places / 4 % 4 == i % 4 ? to_float(two[1])
                                          : 0.0f;
  }
}

}  // namespace quire::kernels
