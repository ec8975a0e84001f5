#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/kernels/device_math.cuh>
#include <quire/kernels/group_codec.cuh>
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
  const std::int32_t* lengths = nullptr;       // of listed keys: their own token is the last
  const std::int32_t* position = nullptr;      // \shape (rows)
  const float* angles =
      nullptr;  // \shape (positions, head_dim): cosines, then sines; null: no turn
  const float* query_norm = nullptr;  // \shape (head_dim); null: none
  const float* key_norm = nullptr;    // \shape (head_dim); null: none
  float eps = 0;
  std::uint32_t heads = 0;
};

/// Splits the product of the query, key and value matrices, norms and turns queries and keys, and
/// writes keys and values, quantised, into their slots. A few lanes take one head of one row.
/// Grid: (rows, ceil((heads + 2 kv_heads) / heads_a_block)). \cost reads and writes each value once
/// \pre qkv and stride are multiples of 16 bytes, as are q, angles and the norms
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
  // neighbours that a lane handles, in either half
  static constexpr unsigned elements = half % 8 == 0 && sizeof(In) == 2 ? 8 : 4;
  [[nodiscard]] static constexpr unsigned lanes_of_head() {
    unsigned n = 1;
    while (n * elements < half) n *= 2;
    return n;
  }
  static constexpr unsigned lanes = lanes_of_head();
  static_assert(lanes <= simt::warp_lanes);
  static constexpr bool packed = packs_codes<typename Key::Access>;
  using Codec = CodecOf<typename Key::Access>;
  static constexpr unsigned heads_a_block = warps * (simt::warp_lanes / lanes);

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned row = simt::block().x, part = simt::lane() % lanes;
    const unsigned head = simt::block().y * heads_a_block + simt::thread() / lanes;
    const unsigned kv_heads = p.cache.kv_heads;
    const unsigned i = part * elements;
    const bool here = head < p.heads + 2 * kv_heads && i < half;
    const bool is_query = head < p.heads, is_value = head >= p.heads + kv_heads;

    // a chain of loads: begun before the values are waited for
    const auto position = static_cast<unsigned>(p.position[row]);
    std::uint32_t entry;
    if constexpr (Key::listed) {
      const unsigned kv_head = is_query ? 0 : (head - p.heads) % kv_heads;
      const std::size_t at = Key::table_of(row, kv_heads, kv_head);
      entry = p.blocks[p.table_begin[at] + static_cast<unsigned>(p.lengths[at] - 1)];
    } else {
      entry = p.blocks[p.table_begin[p.sequence[row]] + Key::entry_of(position)];
    }
    const std::uint32_t block = Key::block_of(entry);
    Head x{};  // halves of the head; 0 where a lane has nothing
    if (here) {
      const In* from = p.qkv + row * p.stride + std::size_t{head} * head_dim + i;
      QUIRE_UNROLL
      for (unsigned side = 0; side < 2; ++side) {
        const auto v = simt::load_vector_once<elements>(from + side * half);
        QUIRE_UNROLL
        for (unsigned e = 0; e < elements; ++e) x[side][e] = simt::widen(v.v[e]);
      }
    }
    // lanes of several heads run together: they all meet in the sums, and use theirs or not
    if (p.query_norm != nullptr || p.key_norm != nullptr) {
      const float* norm = is_query ? p.query_norm : is_value ? nullptr : p.key_norm;
      normalise(x, here && norm != nullptr ? norm + i : nullptr, p.eps);
    }
    if (here && !is_value && p.angles != nullptr) {
      turn(x, p.angles + std::size_t{position} * head_dim + i);
    }
    float scale = 1, inverse = 1;
    [[maybe_unused]] Packing packing;
    if constexpr (packed) {
      find(x, here, packing);
    } else if constexpr (Key::Access::scaled) {
      float largest = 0;
      QUIRE_UNROLL
      for (unsigned e = 0; e < elements; ++e) {
        largest = simt::max(largest, simt::max(simt::abs(x[0][e]), simt::abs(x[1][e])));
      }
      QUIRE_UNROLL
      for (unsigned bits = lanes / 2; bits > 0; bits /= 2) {
        largest = simt::max(largest, simt::shuffle_xor(largest, bits));
      }
      scale = largest / Key::Access::largest;
      inverse = scale >= 0x1p-126f ? 1.0f / scale : 0.0f;
    }
    if (!here) return;
    if (is_query) {
      Query* to = p.q + (std::size_t{row} * p.heads + head) * head_dim + i;
      QUIRE_UNROLL
      for (unsigned side = 0; side < 2; ++side) {
        write<Query, 16>(to + side * half, x[side], [](float v) { return simt::narrow<Query>(v); });
      }
      return;
    }
    const unsigned kv_head = head - p.heads - (is_value ? kv_heads : 0);
    const unsigned slot = Key::slot_of(entry, position);
    auto* slab = const_cast<std::byte*>(is_value ? Key::value_slab(p.cache, block, kv_head)
                                                 : Key::key_slab(p.cache, block, kv_head));
    auto* to = reinterpret_cast<Stored*>(slab + slot * Key::row_bytes) + i;
    if constexpr (packed) {
      const auto code = [&](unsigned side, unsigned e) {
        return Codec::code((x[side][e] - packing.shift[side]) * packing.inverse[side]);
      };
      QUIRE_UNROLL
      for (unsigned e = 0; e < elements; e += 4) {
        simt::Vector<Stored, 4> codes;
        QUIRE_UNROLL
        for (unsigned k = 0; k < 4; ++k) {
          codes.v[k] = static_cast<Stored>(code(0, e + k) | code(1, e + k) << 4);
        }
        simt::store_vector<4>(to + e, codes);
      }
      if (part % group_lanes == 0) {
        auto* ends = const_cast<typename Codec::End*>(Key::ends(slab, slot));
        QUIRE_UNROLL
        for (unsigned side = 0; side < (joined ? 1 : 2); ++side) {
          ends[(side * half + i) / Key::group_size()] = packing.end[side];
        }
      }
    } else {
      QUIRE_UNROLL
      for (unsigned side = 0; side < 2; ++side) {
        write<Stored, Key::Access::alignment>(to + side * half, x[side], [inverse](float v) {
          if constexpr (std::is_same_v<Stored, std::int8_t>) {
            const float q = simt::round_even(v * inverse);
            return static_cast<std::int8_t>(q > 127 ? 127 : q < -127 ? -127 : q);
          } else if constexpr (Key::Access::scaled) {
            return simt::narrow<Stored>(v * inverse);
          } else {
            return simt::narrow<Stored>(v);
          }
        });
      }
      if constexpr (Key::Access::scaled) {
        if (part == 0) {
          *reinterpret_cast<float*>(
              slab + Key::Access::scale_at(Key::block_tokens, head_dim, slot)) = scale;
        }
      }
    }
  }

 private:
  using Head = float[2][elements];

  /// Of the groups that a lane's values belong to, one in either half; of a group that is the whole head,
  /// one for both.
  struct Packing {
    float shift[2], inverse[2];
    typename Codec::End end[2];
  };
  static constexpr bool joined = packed && Key::group_size() == head_dim;
  static constexpr unsigned group_lanes = joined ? lanes : Key::group_size() / elements;

  QUIRE_DEVICE static void find(const Head& x, bool here, Packing& packing) {
    static_assert((group_lanes & (group_lanes - 1)) == 0);
    float most[2], negative[2];
    QUIRE_UNROLL
    for (unsigned side = 0; side < 2; ++side) {
      most[side] = negative[side] = -simt::infinity();
      QUIRE_UNROLL
      for (unsigned e = 0; here && e < elements; ++e) {
        most[side] = simt::max(most[side], x[side][e]);
        negative[side] = simt::max(negative[side], -x[side][e]);
      }
    }
    if constexpr (joined) {
      most[0] = simt::max(most[0], most[1]);
      negative[0] = simt::max(negative[0], negative[1]);
    }
    QUIRE_UNROLL
    for (unsigned side = 0; side < (joined ? 1 : 2); ++side) {
      QUIRE_UNROLL
      for (unsigned bits = group_lanes / 2; bits > 0; bits /= 2) {
        most[side] = simt::max(most[side], simt::shuffle_xor(most[side], bits));
        negative[side] = simt::max(negative[side], simt::shuffle_xor(negative[side], bits));
      }
      packing.end[side] =
          Codec::end_of(-negative[side], most[side], packing.inverse[side], packing.shift[side]);
    }
    if constexpr (joined) {
      packing.inverse[1] = packing.inverse[0];
      packing.shift[1] = packing.shift[0];
    }
  }

  /// Writes a lane's neighbours of one half, in vectors as wide as `alignment` allows. \unit bytes
  template <class T, std::size_t alignment, class Narrow>
  QUIRE_DEVICE static void write(T* to, const float (&x)[elements], const Narrow& narrow) {
    constexpr unsigned most = alignment / sizeof(T), n = most < elements ? most : elements;
    QUIRE_UNROLL
    for (unsigned e = 0; e < elements; e += n) {
      simt::Vector<T, n> v;
      QUIRE_UNROLL
      for (unsigned k = 0; k < n; ++k) v.v[k] = narrow(x[e + k]);
      simt::store_vector<n>(to + e, v);
    }
  }

  /// \shape scale: this lane's part of (head_dim), or null for a head that is not normed
  QUIRE_DEVICE static void normalise(Head& x, const float* scale, float eps) {
    float squares = 0;
    QUIRE_UNROLL
    for (unsigned e = 0; e < elements; ++e) {
      squares = simt::fma(x[0][e], x[0][e], squares);
      squares = simt::fma(x[1][e], x[1][e], squares);
    }
    QUIRE_UNROLL
    for (unsigned bits = lanes / 2; bits > 0; bits /= 2)
      squares += simt::shuffle_xor(squares, bits);
    if (scale == nullptr) return;
    const float factor = simt::rsqrt(squares / static_cast<float>(head_dim) + eps);
    QUIRE_UNROLL
    for (unsigned e = 0; e < elements; ++e) {
      x[0][e] *= factor * scale[e];
      x[1][e] *= factor * scale[half + e];
    }
  }

  /// Rotary embedding, rotate-half layout. \shape angles: this lane's part of (head_dim): cosines,
  /// then sines
  QUIRE_DEVICE static void turn(Head& x, const float* angles) {
    QUIRE_UNROLL
    for (unsigned e = 0; e < elements; e += 4) {
      const auto cosines = simt::load_vector<4>(angles + e);
      const auto sines = simt::load_vector<4>(angles + half + e);
      QUIRE_UNROLL
      for (unsigned k = 0; k < 4; ++k) {
        const float c = cosines.v[k], sine = sines.v[k];
        const float a = x[0][e + k], b = x[1][e + k];
        x[0][e + k] = a * c - b * sine;
        x[1][e + k] = b * c + a * sine;
      }
    }
  }
};

}  // namespace quire::kernels
