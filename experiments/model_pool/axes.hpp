#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/eviction/arc.hpp>
#include <quire/eviction/belady.hpp>
#include <quire/eviction/clock.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/gdsf.hpp>
#include <quire/eviction/hyperbolic.hpp>
#include <quire/eviction/lfu.hpp>
#include <quire/eviction/lfu_da.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/eviction/lru_k.hpp>
#include <quire/eviction/s3_fifo.hpp>
#include <quire/eviction/sieve.hpp>
#include <quire/eviction/slru.hpp>
#include <quire/eviction/two_q.hpp>
#include <quire/eviction/w_tiny_lfu.hpp>

namespace quire::experiment {

using PoolPolicies = type_list<eviction::Lru, eviction::Fifo, eviction::Clock, eviction::Sieve,
                               eviction::Lfu, eviction::LfuDa, eviction::Slru, eviction::TwoQ,
                               eviction::LruK, eviction::Arc, eviction::S3Fifo, eviction::WTinyLfu,
                               eviction::Hyperbolic, eviction::Gdsf, eviction::Belady>;

/// Which model a request asks for.
enum class Asked {
  steady,    // by popularity, which stays
  shifting,  // by popularity, which moves on: every so often the next model becomes the most popular
};
[[nodiscard]] constexpr std::string_view to_string(Asked asked) {
  return asked == Asked::steady ? "steady" : "shifting";
}

/// What is in memory before the first request.
enum class Preload {
  none,
  popular,  // the most popular models that fit, to be dropped like any other
  pinned,   // the most popular in half of the memory, for good
};
[[nodiscard]] constexpr std::string_view to_string(Preload preload) {
  return preload == Preload::none ? "none" : preload == Preload::popular ? "popular" : "pinned";
}

/// Memory as a share of what all models take.
inline constexpr std::array<double, 7> memory_shares{0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8};

}  // namespace quire::experiment
