#pragma once

#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>

namespace quire::testing {

[[nodiscard]] inline std::vector<float> random_token(std::size_t head_dim, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> v(head_dim);
  for (float& x : v) x = static_cast<float>(rng.normal());
  return v;
}

/// A token as a side of a format gives it back. \pre it packs tokens one by one
template <class Side>
[[nodiscard]] std::vector<float> through(const std::vector<float>& token, std::size_t tokens = 4,
                                         std::size_t slot = 1) {
  AlignedArray<std::byte> slab(Side::slab_bytes(tokens, token.size()));
  std::vector<float> out(token.size());
  Side::store(slab.data(), tokens, token.size(), slot, token.data());
  Side::load(slab.data(), tokens, token.size(), slot, out.data());
  return out;
}

}  // namespace quire::testing
