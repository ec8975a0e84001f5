#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/kv_access.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class In, class Query>
struct CacheWriteParams {
  const In* qkv =
      nullptr;  // \shape (rows, heads + 2 kv_heads, head_dim), rows stride elements apart
  std::size_t stride = 0;
  Query* q = nullptr;  // \shape (rows, heads, head_dim): the queries, normed and turned
  KvPool cache;
  const std::uint32_t* blocks = nullptr;       // \shape (entries): all block tables
  const std::uint32_t* table_begin = nullptr;  // \shape (sequences)
  const std::uint32_t* sequence = nullptr;     // \shape (rows)
  const std::int32_t* position = nullptr;      // \shape (rows)
  const float* angles =
      nullptr;  // \shape (positions, head_dim): cosines, then sines; null: no turn
  const float* query_norm = nullptr;  // \shape (head_dim); null: none
  const float* key_norm = nullptr;    // \shape (head_dim); null: none
  float eps = 0;
  std::uint32_t heads = 0;
};

/// Splits the product of the query, key and value matrices, norms and turns queries and keys, and
/// writes keys and values, quantised, into their slots. A warp takes one head of one row.
/// Grid: (rows, ceil((heads + 2 kv_heads) / warps)). \cost reads and writes each value once
template <class KeyType, class In>
struct CacheWrite {
  using Key = KeyType;
  using Query = typename Key::Query;
  using Stored = typename Key::Stored;
  using Params = CacheWriteParams<In, Query>;
  static constexpr std::string_view name = "cache_write";
  static constexpr unsigned warps = 4;
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr std::size_t shared_bytes = 0;
  static constexpr unsigned head_dim = Key::head_dim, half = head_dim / 2;
  static constexpr unsigned elements = 2;  // neighbours that a lane handles, in either half
  static constexpr unsigned steps = (half / elements + simt::warp_lanes - 1) / simt::warp_lanes;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned row = simt::block().x, head = simt::block().y * warps + simt::warp();
    const unsigned kv_heads = p.cache.kv_heads;
    if (head >= p.heads + 2 * kv_heads) return;
    const bool is_query = head < p.heads, is_value = head >= p.heads + kv_heads;
    const In* from = p.qkv + row * p.stride + std::size_t{head} * head_dim;

    float x[steps][2][elements];  // halves of the head; 0 where a lane has nothing
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      const unsigned i = (s * simt::warp_lanes + simt::lane()) * elements;
      QUIRE_UNROLL
      for (unsigned side = 0; side < 2; ++side) {
        simt::Vector<In, elements> v{};
        if (i < half) v = simt::load_vector<elements>(from + side * half + i);
        QUIRE_UNROLL
        for (unsigned e = 0; e < elements; ++e)
          x[s][side][e] = i < half ? simt::widen(v.v[e]) : 0.0f;
      }
    }
    const float* norm = is_query ? p.query_norm : is_value ? nullptr : p.key_norm;
    if (norm != nullptr) normalise(x, norm, p.eps);
    if (!is_value && p.angles != nullptr) {
      turn(x, p.angles + static_cast<std::size_t>(p.position[row]) * head_dim);
    }
    if (is_query) {
      Query* to = p.q + (std::size_t{row} * p.heads + head) * head_dim;
      each(x, [&](unsigned i, float a, float b) {
        simt::store_vector<2>(to + i, {{simt::narrow<Query>(a), simt::narrow<Query>(b)}});
      });
      return;
    }
    const auto position = static_cast<unsigned>(p.position[row]);
    const std::uint32_t block =
        p.blocks[p.table_begin[p.sequence[row]] + position / Key::block_tokens];
    const unsigned kv_head = head - p.heads - (is_value ? kv_heads : 0);
    const std::byte* slab = is_value ? Key::value_slab(p.cache, block, kv_head)
                                     : Key::key_slab(p.cache, block, kv_head);
    store(x, const_cast<std::byte*>(slab), position % Key::block_tokens);
  }

 private:
  using Head = float[steps][2][elements];

  /// Calls f(i, values at i and i + 1) for all of the head that this lane holds.
  template <class F>
  QUIRE_DEVICE static void each(const Head& x, const F& f) {
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      const unsigned i = (s * simt::warp_lanes + simt::lane()) * elements;
      if (i >= half) continue;
      f(i, x[s][0][0], x[s][0][1]);
      f(half + i, x[s][1][0], x[s][1][1]);
    }
  }

  QUIRE_DEVICE static void normalise(Head& x, const float* scale, float eps) {
    float squares = 0;
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      QUIRE_UNROLL
      for (unsigned e = 0; e < elements; ++e) {
        squares = simt::fma(x[s][0][e], x[s][0][e], squares);
        squares = simt::fma(x[s][1][e], x[s][1][e], squares);
      }
    }
    QUIRE_UNROLL
    for (unsigned bits = 16; bits > 0; bits /= 2) squares += simt::shuffle_xor(squares, bits);
    const float factor = simt::rsqrt(squares / static_cast<float>(head_dim) + eps);
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      const unsigned i = (s * simt::warp_lanes + simt::lane()) * elements;
      if (i >= half) continue;
      QUIRE_UNROLL
      for (unsigned e = 0; e < elements; ++e) {
        x[s][0][e] *= factor * scale[i + e];
        x[s][1][e] *= factor * scale[half + i + e];
      }
    }
  }

  /// Rotary embedding, rotate-half layout. \shape angles (head_dim): cosines, then sines
  QUIRE_DEVICE static void turn(Head& x, const float* angles) {
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      const unsigned i = (s * simt::warp_lanes + simt::lane()) * elements;
      if (i >= half) continue;
      QUIRE_UNROLL
      for (unsigned e = 0; e < elements; ++e) {
        const float c = angles[i + e], sine = angles[half + i + e];
        const float a = x[s][0][e], b = x[s][1][e];
        x[s][0][e] = a * c - b * sine;
        x[s][1][e] = b * c + a * sine;
      }
    }
  }

  QUIRE_DEVICE static void store(const Head& x, std::byte* slab, unsigned slot) {
    auto* to = reinterpret_cast<Stored*>(slab + slot * Key::row_bytes);
    if constexpr (Key::Access::scaled) {
      float largest = 0;
      each(x, [&](unsigned, float a, float b) {
        largest = simt::max(largest, simt::max(simt::abs(a), simt::abs(b)));
      });
      QUIRE_UNROLL
      for (unsigned bits = 16; bits > 0; bits /= 2) {
        largest = simt::max(largest, simt::shuffle_xor(largest, bits));
      }
      const float scale = largest / Key::Access::largest;
      const float inverse = scale >= 0x1p-126f ? 1.0f / scale : 0.0f;
      const auto quantised = [&](float v) {
        if constexpr (std::is_same_v<Stored, std::int8_t>) {
          const float q = simt::round_even(v * inverse);
          return static_cast<std::int8_t>(q > 127 ? 127 : q < -127 ? -127 : q);
        } else {
          return simt::narrow<Stored>(v * inverse);
        }
      };
      each(x, [&](unsigned i, float a, float b) {
        simt::store_vector<2>(to + i, {{quantised(a), quantised(b)}});
      });
      if (simt::lane() == 0) {
        *reinterpret_cast<float*>(slab + Key::Access::scale_at(Key::block_tokens, head_dim, slot)) =
            scale;
      }
    } else {
      each(x, [&](unsigned i, float a, float b) {
        simt::store_vector<2>(to + i, {{simt::narrow<Stored>(a), simt::narrow<Stored>(b)}});
      });
    }
  }
};

}  // namespace quire::kernels
