// One file: two ways through the same loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/attention/concepts.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/kernels/paged_decode/seen.cuh>
#include <quire/kernels/paged_decode/traits.hpp>
#include <quire/kernels/paged_decode/warp_states.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// Decode attention on CUDA cores: a few lanes share a token's row, each warp takes tiles of tokens,
/// the query heads of a KV head are computed together so that each key and value is read once.
/// Grid: (work, kv_heads, passes over a group's heads).
/// \cost reads each key and value once a pass; 2 x group multiply-adds a stored value
template <class KeyType, AttentionVariant Variant, DecodeTuning tuning = DecodeTuning{}>
struct PagedDecodeScalar {
  using Key = KeyType;
  using Params = PagedDecodeParams<typename Key::Query, Variant>;
  using Stored = typename Key::Stored;
  static_assert(!packs_codes<typename Key::Access>);
  static constexpr std::string_view name = "paged_decode_scalar";
  static constexpr unsigned threads = tuning.warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  static constexpr unsigned heads = tuning.heads;

  static constexpr unsigned elements = vector_elements<Key>(1);
  static constexpr unsigned vectors = head_dim / elements;  // in a row
  [[nodiscard]] static constexpr unsigned lanes_of_row() {
    unsigned n = 1;
    while (n < vectors && n < simt::warp_lanes) n *= 2;
    return n;
  }
  static constexpr unsigned lanes = lanes_of_row();  // that share a row
  static constexpr unsigned per_lane = (vectors + lanes - 1) / lanes;
  static constexpr unsigned rows = simt::warp_lanes / lanes;  // tokens that a warp reads at once
  static constexpr unsigned tile = rows * tuning.unroll;
  static constexpr unsigned values = per_lane * elements;
  using States = WarpStates<tuning.warps, heads, head_dim>;
  static constexpr std::size_t shared_bytes = States::bytes;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned kv_head = simt::block().y, group = p.heads / p.cache.kv_heads;
    const Seen seen = seen_by<Key>(p, kv_head);
    const DecodeWork work = seen.work;
    const std::uint32_t* table = seen.table;
    const std::int32_t position = seen.position;
    const unsigned pass = simt::block().z * heads;
    const unsigned count = group - pass < heads ? group - pass : heads;
    const unsigned head = kv_head * group + pass;
    const unsigned part = simt::lane() % lanes, row = simt::lane() / lanes;

    float q[heads][values], sums[heads][values], largest[heads], total[heads];
    const float scale = Variant::transforms_logits ? p.scale : p.scale * log2e;
    QUIRE_UNROLL
    for (unsigned h = 0; h < heads; ++h) {
      largest[h] = -simt::infinity();
      total[h] = 0;
      QUIRE_UNROLL
      for (unsigned j = 0; j < values; ++j) sums[h][j] = 0;
      QUIRE_UNROLL
      for (unsigned j = 0; j < per_lane; ++j) {
        const unsigned v = j * lanes + part;
        QUIRE_UNROLL
        for (unsigned e = 0; e < elements; ++e) {
          const bool here = v < vectors && h < count;
          q[h][j * elements + e] =
              here ? simt::widen(p.q[work.sequence * p.q_stride + (head + h) * head_dim +
                                     v * elements + e]) *
                         scale
                   : 0.0f;
        }
      }
    }

    QUIRE_NO_UNROLL
    for (std::int32_t t0 = work.begin + static_cast<std::int32_t>(simt::warp() * tile);
         t0 < work.end; t0 += static_cast<std::int32_t>(tuning.warps * tile)) {
      simt::Vector<Stored, elements> keys[tuning.unroll][per_lane], stored[tuning.unroll][per_lane];
      float key_scale[tuning.unroll], value_scale[tuning.unroll];
      QUIRE_UNROLL
      for (unsigned u = 0; u < tuning.unroll; ++u) {
        const std::int32_t t = t0 + static_cast<std::int32_t>(u * rows + row);
        // Slots beyond the end may hold anything: read the last token instead, and weigh it 0.
        const auto token = static_cast<unsigned>(t < work.end ? t : work.end - 1);
        const auto [block, slot] = place_of<Key>(table, token);
        const std::byte* key_slab = Key::key_slab(p.cache, block, kv_head);
        const std::byte* value_slab = Key::value_slab(p.cache, block, kv_head);
        key_scale[u] = Key::scale(key_slab, slot);
        value_scale[u] = Key::scale(value_slab, slot);
        QUIRE_UNROLL
        for (unsigned j = 0; j < per_lane; ++j) {
          const unsigned v = j * lanes + part < vectors ? j * lanes + part : 0;
          keys[u][j] = simt::load_vector_once<elements>(Key::row(key_slab, slot) + v * elements);
          stored[u][j] =
              simt::load_vector_once<elements>(Key::row(value_slab, slot) + v * elements);
        }
      }
      QUIRE_UNROLL
      for (unsigned h = 0; h < heads; ++h) {
        float logit[tuning.unroll];
        float best = largest[h];
        QUIRE_UNROLL
        for (unsigned u = 0; u < tuning.unroll; ++u) {
          float s = 0;
          QUIRE_UNROLL
          for (unsigned j = 0; j < values; ++j) {
            s = simt::fma(q[h][j], stored_value(keys[u][j / elements].v[j % elements]), s);
          }
          QUIRE_UNROLL
          for (unsigned bits = lanes / 2; bits > 0; bits /= 2) s += simt::shuffle_xor(s, bits);
          if constexpr (Key::Access::scaled) s *= key_scale[u];
          const std::int32_t t = t0 + static_cast<std::int32_t>(u * rows + row);
          if constexpr (Variant::transforms_logits) {
            s = p.variant.logit(DeviceMath{}, s, head + (h < count ? h : 0),
                                static_cast<float>(position - t)) *
                log2e;
          }
          logit[u] = t < work.end ? s : -simt::infinity();
          best = simt::max(best, logit[u]);
        }
        const float shrink = weight_of(largest[h], best);
        largest[h] = best;
        total[h] *= shrink;
        QUIRE_UNROLL
        for (unsigned j = 0; j < values; ++j) sums[h][j] *= shrink;
        QUIRE_UNROLL
        for (unsigned u = 0; u < tuning.unroll; ++u) {
          const float weight = weight_of(logit[u], best);
          total[h] += weight;
          const float scaled = Key::Access::scaled ? weight * value_scale[u] : weight;
          QUIRE_UNROLL
          for (unsigned j = 0; j < values; ++j) {
            sums[h][j] = simt::fma(scaled, stored_value(stored[u][j / elements].v[j % elements]),
                                   sums[h][j]);
          }
        }
      }
    }

    const States states;
    QUIRE_UNROLL
    for (unsigned h = 0; h < heads; ++h) {
      // Each group of lanes saw tokens of its own: join them within the warp.
      float m = largest[h];
      QUIRE_UNROLL
      for (unsigned bits = lanes; bits < simt::warp_lanes; bits *= 2) {
        m = simt::max(m, simt::shuffle_xor(m, bits));
      }
      const float shrink = weight_of(largest[h], m);
      float all = total[h] * shrink;
      QUIRE_UNROLL
      for (unsigned bits = lanes; bits < simt::warp_lanes; bits *= 2) {
        all += simt::shuffle_xor(all, bits);
      }
      QUIRE_UNROLL
      for (unsigned j = 0; j < values; ++j) {
        sums[h][j] *= shrink;
        QUIRE_UNROLL
        for (unsigned bits = lanes; bits < simt::warp_lanes; bits *= 2) {
          sums[h][j] += simt::shuffle_xor(sums[h][j], bits);
        }
      }
      if (row != 0) continue;
      const unsigned state = simt::warp() * heads + h;
      if (part == 0) {
        states.largest.store(state, m);
        states.total.store(state, all);
      }
      QUIRE_UNROLL
      for (unsigned j = 0; j < values; ++j) {
        const unsigned v = j / elements * lanes + part;
        if (v < vectors) {
          states.sums.store(state * head_dim + v * elements + j % elements, sums[h][j]);
        }
      }
    }
    simt::sync();
    states.finish(p, work, head, count);
  }
};

/// Decode attention on matrix units: keys times queries gives a tile of 16 tokens by 8 heads, values
/// times weights 16 dimensions by 8 heads, so that a group of up to 8 heads wastes no row. Keys and
/// values go from global memory to the units' registers in whole vectors, without shared memory: the
/// order of a product's inner index is free as long as both operands agree, and so is the order of
/// result rows. Grid: (work, kv_heads, passes over a group's heads).
/// \cost reads each key and value once a pass
template <class KeyType, AttentionVariant Variant, DecodeTuning tuning = DecodeTuning{}>
struct PagedDecodeMatrix {
  using Key = KeyType;
  using Params = PagedDecodeParams<typename Key::Query, Variant>;
  using Stored = typename Key::Stored;
  using Query = typename Key::Query;
  using Half = DecodeHalf<Key>;
  static_assert(has_matrix_path<Key>);
  // Wider heads, and rows of narrow vectors, need the registers for themselves.
  static constexpr bool fits_ahead = Key::head_dim <= 128 && Key::Access::alignment == 16;
  static constexpr unsigned blocks_per_multiprocessor =
      sizeof(Stored) == 1 && fits_ahead && tuning.warps == 4 ? tuning.bytes_resident : 1;
  static constexpr std::string_view name = "paged_decode_matrix";
  static constexpr unsigned threads = tuning.warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  static constexpr unsigned heads = 8;
  // A warp takes several products' tokens at once where they are bytes, so that as many bytes are on
  // their way as with 16-bit elements.
  static constexpr unsigned tiles = sizeof(Stored) == 1 ? tuning.byte_tiles : 1;
  static constexpr unsigned tile = 16 * tiles;  // tokens
  static constexpr bool ahead =
      fits_ahead && (sizeof(Stored) == 1 ? tuning.bytes_ahead : tuning.halves_ahead);

  // A row of keys is shared by the 4 lanes of a group, a row of values by 8 groups.
  static constexpr unsigned key_elements = vector_elements<Key>(4);
  static constexpr unsigned key_chunks = head_dim / (4 * key_elements);
  static constexpr unsigned key_steps = key_elements / 4;  // products of 16 dimensions a chunk
  static constexpr unsigned value_elements = vector_elements<Key>(8);
  static constexpr unsigned value_chunks = head_dim / (8 * value_elements);
  static constexpr unsigned value_steps = value_elements / 2;
  using States = WarpStates<tuning.warps, heads, head_dim>;
  static constexpr std::size_t shared_bytes = States::bytes;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned kv_head = simt::block().y, group = p.heads / p.cache.kv_heads;
    const Seen seen = seen_by<Key>(p, kv_head);
    const DecodeWork work = seen.work;
    const std::uint32_t* table = seen.table;
    const std::int32_t position = seen.position;
    const unsigned pass = simt::block().z * heads;
    const unsigned count = group - pass < heads ? group - pass : heads;
    const unsigned head = kv_head * group + pass;
    const unsigned high = simt::lane() / 4, low = simt::lane() % 4;  // as in fragments.hpp

    // Queries as the right operand: head `high`, the dimensions that this lane's keys hold.
    const Query* from = p.q + work.sequence * p.q_stride +
                        (head + (high < count ? high : 0)) * head_dim + low * key_elements;
    // The unit of the queries of head `high` is a power of two, so that they fit into fp16.
    float unit = 1, inverse = 1;
    if constexpr (std::is_same_v<Half, Fp16> && !std::is_same_v<Query, Fp16>) {
      float most = 0;
      QUIRE_UNROLL
      for (unsigned i = 0; i < key_chunks * key_elements; ++i) {
        most = simt::max(
            most,
            simt::abs(simt::widen(from[i / key_elements * 4 * key_elements + i % key_elements])));
      }
      most = simt::max(most, simt::shuffle_xor(most, 1));
      most = simt::max(most, simt::shuffle_xor(most, 2));
      const auto exponent = simt::bit_cast<std::uint32_t>(simt::max(most, 0x1p-100f)) & 0x7f800000u;
      unit = simt::bit_cast<float>(exponent);
      inverse = simt::bit_cast<float>(0x7f000000u - exponent);
    }
    std::uint32_t q[key_chunks][key_steps][2];
    QUIRE_UNROLL
    for (unsigned c = 0; c < key_chunks; ++c) {
      QUIRE_UNROLL
      for (unsigned s = 0; s < key_steps; ++s) {
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const unsigned at = c * 4 * key_elements + s * 4 + 2 * r;
          const float x = simt::widen(from[at]) * inverse, y = simt::widen(from[at + 1]) * inverse;
          q[c][s][r] = high < count ? simt::pack<Half>(x, y) : 0;
        }
      }
    }
    float scale[2];  // of heads 2 low and 2 low + 1
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      scale[i] = (Variant::transforms_logits ? p.scale : p.scale * log2e) *
                 simt::shuffle(unit, (2 * low + i) * 4);
    }
    float sums[value_chunks][value_steps][4]{};
    float largest[2] = {-simt::infinity(), -simt::infinity()}, total[2] = {0, 0};

    Raw<Stored, key_elements> keys[tiles][2][key_chunks];
    Raw<Stored, value_elements> stored[tiles][4][value_chunks];
    float key_scale[tiles][2], value_scale[tiles][2];
    // Slots beyond the end may hold anything: read the last token instead, and weigh it 0.
    const auto token = [&](std::int32_t t0, unsigned i) {
      const std::int32_t t = t0 + static_cast<std::int32_t>(i);
      return static_cast<unsigned>(t < work.end ? t : work.end - 1);
    };
    // Where a tile lies in one block of the pool, its rows are constants away from each other: worth
    // its registers where arithmetic is what bounds, with bytes.
    const auto in_one_block = [&](std::int32_t t0) {
      return !Key::listed && sizeof(Stored) == 1 && fits_ahead && Key::block_tokens % 16 == 0 &&
             t0 % 16 == 0 && t0 + static_cast<std::int32_t>(tile) <= work.end;
    };
    constexpr std::size_t scale_bytes = Key::scale_stride();
    const auto load_keys = [&](std::int32_t t0) {
      if (in_one_block(t0)) {
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          const unsigned t = static_cast<unsigned>(t0) + n * 16,
                         slot = t % Key::block_tokens + high;
          const std::byte* slab = Key::key_slab(p.cache, table[t / Key::block_tokens], kv_head);
          const Stored* rows = Key::row(slab, slot) + low * key_elements;
          const std::byte* scales = Key::scale_place(slab, slot);
          QUIRE_UNROLL
          for (unsigned r = 0; r < 2; ++r) {
            key_scale[n][r] = Key::scale_at_place(scales + 8 * r * scale_bytes);
            QUIRE_UNROLL
            for (unsigned c = 0; c < key_chunks; ++c) {
              keys[n][r][c] = load_raw_once<Stored, key_elements>(Key::skip_rows(rows, 8 * r) +
                                                                  c * 4 * key_elements);
            }
          }
        }
        return;
      }
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const auto [block, slot] = place_of<Key>(table, token(t0, n * 16 + high + 8 * r));
          const std::byte* slab = Key::key_slab(p.cache, block, kv_head);
          key_scale[n][r] = Key::scale(slab, slot);
          QUIRE_UNROLL
          for (unsigned c = 0; c < key_chunks; ++c) {
            keys[n][r][c] = load_raw_once<Stored, key_elements>(Key::row(slab, slot) +
                                                                (c * 4 + low) * key_elements);
          }
        }
      }
    };
    const auto load_values = [&](std::int32_t t0) {
      if (in_one_block(t0)) {
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          const unsigned t = static_cast<unsigned>(t0) + n * 16, slot = t % Key::block_tokens;
          const std::byte* slab = Key::value_slab(p.cache, table[t / Key::block_tokens], kv_head);
          const Stored* rows = Key::row(slab, slot + low * 2) + high * value_elements;
          QUIRE_UNROLL
          for (unsigned r = 0; r < 4; ++r) {
            QUIRE_UNROLL
            for (unsigned c = 0; c < value_chunks; ++c) {
              stored[n][r][c] = load_raw_once<Stored, value_elements>(
                  Key::skip_rows(rows, r % 2 + r / 2 * 8) + c * 8 * value_elements);
            }
          }
          const std::byte* scales = Key::scale_place(slab, slot + high);
          QUIRE_UNROLL
          for (unsigned r = 0; r < 2; ++r) {
            value_scale[n][r] = Key::scale_at_place(scales + 8 * r * scale_bytes);
          }
        }
        return;
      }
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned r = 0; r < 4; ++r) {
          const auto [block, slot] =
              place_of<Key>(table, token(t0, n * 16 + low * 2 + r % 2 + r / 2 * 8));
          const std::byte* slab = Key::value_slab(p.cache, block, kv_head);
          QUIRE_UNROLL
          for (unsigned c = 0; c < value_chunks; ++c) {
            stored[n][r][c] = load_raw_once<Stored, value_elements>(
                Key::row(slab, slot) + (c * 8 + high) * value_elements);
          }
        }
        // The weights' lanes hold other tokens than the values' lanes: scales come to the former.
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const auto [block, slot] = place_of<Key>(table, token(t0, n * 16 + high + 8 * r));
          value_scale[n][r] = Key::scale(Key::value_slab(p.cache, block, kv_head), slot);
        }
      }
    };

    const std::int32_t begin = work.begin + static_cast<std::int32_t>(simt::warp() * tile);
    constexpr auto step = static_cast<std::int32_t>(tuning.warps * tile);
    if constexpr (ahead) {
      if (begin < work.end) {
        load_keys(begin);
        load_values(begin);
      }
    }
    QUIRE_NO_UNROLL
    for (std::int32_t t0 = begin; t0 < work.end; t0 += step) {
      if constexpr (!ahead) {
        load_keys(t0);
        load_values(t0);
      }
      float logit[tiles][4];  // tokens high, high + 8 by heads 2 low, 2 low + 1
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) logit[n][i] = 0;
        QUIRE_UNROLL
        for (unsigned c = 0; c < key_chunks; ++c) {
          std::uint32_t pairs[2][key_elements / 2];
          raw_pairs<Half, Stored, key_elements>(keys[n][0][c], pairs[0]);
          raw_pairs<Half, Stored, key_elements>(keys[n][1][c], pairs[1]);
          QUIRE_UNROLL
          for (unsigned s = 0; s < key_steps; ++s) {
            const std::uint32_t a[4] = {pairs[0][2 * s], pairs[1][2 * s], pairs[0][2 * s + 1],
                                        pairs[1][2 * s + 1]};
            simt::multiply_add<Half>(logit[n], a, q[c][s]);
          }
        }
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          float s = logit[n][i] * scale[i % 2];
          if constexpr (Key::Access::scaled) s *= key_scale[n][i / 2];
          if constexpr (Variant::transforms_logits) {
            const unsigned h = low * 2 + i % 2;
            const std::int32_t t = t0 + static_cast<std::int32_t>(n * 16 + high + i / 2 * 8);
            s = p.variant.logit(DeviceMath{}, s, head + (h < count ? h : 0),
                                static_cast<float>(position - t)) *
                log2e;
          }
          logit[n][i] = s;
        }
      }
      if (t0 + static_cast<std::int32_t>(tile) > work.end) {
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          QUIRE_UNROLL
          for (unsigned i = 0; i < 4; ++i) {
            const std::int32_t t = t0 + static_cast<std::int32_t>(n * 16 + high + i / 2 * 8);
            if (t >= work.end) logit[n][i] = -simt::infinity();
          }
        }
      }
      // The keys' registers are free: the next ones come while the values are worked on. Beyond the
      // end that is the last token once more.
      if constexpr (ahead) load_keys(t0 + step);
      // A value's scale belongs to its weight. As a summand of the exponent it keeps weights at most
      // 1, whatever the scales are, so that 16 bits hold them; the sum of weights goes without it.
      float scaled[tiles][4];
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          scaled[n][i] = logit[n][i];
          if constexpr (Key::Access::scaled) {
            const float by = simt::log2(value_scale[n][i / 2]);
            scaled[n][i] += by < -100.0f ? -100.0f : by;  // a row of zeros has the scale 0
          }
        }
      }
      QUIRE_UNROLL
      for (unsigned i = 0; i < 2; ++i) {
        float best = simt::max(largest[i], -1e30f);  // so that -infinity less it is no NaN
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          best = simt::max(best, simt::max(scaled[n][i], scaled[n][i + 2]));
        }
        QUIRE_UNROLL
        for (unsigned bits = 4; bits < simt::warp_lanes; bits *= 2) {
          best = simt::max(best, simt::shuffle_xor(best, bits));
        }
        const float shrink = simt::exp2(largest[i] - best);
        largest[i] = best;
        total[i] *= shrink;
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          QUIRE_UNROLL
          for (unsigned r = 0; r < 4; r += 2) {
            logit[n][i + r] = simt::exp2(logit[n][i + r] - best);
            total[i] += logit[n][i + r];
            scaled[n][i + r] =
                Key::Access::scaled ? simt::exp2(scaled[n][i + r] - best) : logit[n][i + r];
          }
        }
        QUIRE_UNROLL
        for (unsigned c = 0; c < value_chunks; ++c) {
          QUIRE_UNROLL
          for (unsigned s = 0; s < value_steps; ++s) {
            sums[c][s][i] *= shrink;
            sums[c][s][i + 2] *= shrink;
          }
        }
      }
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        const float(&weight)[4] = scaled[n];
        const std::uint32_t b[2] = {simt::transpose_8x8(simt::pack<Half>(weight[0], weight[1])),
                                    simt::transpose_8x8(simt::pack<Half>(weight[2], weight[3]))};
        QUIRE_UNROLL
        for (unsigned c = 0; c < value_chunks; ++c) {
          // rows high and high + 8 of the product are dimensions 2 s and 2 s + 1 of this lane's
          std::uint32_t pairs[2][value_elements];
          across<Half, Stored, value_elements>(stored[n][0][c], stored[n][1][c], pairs[0]);
          across<Half, Stored, value_elements>(stored[n][2][c], stored[n][3][c], pairs[1]);
          QUIRE_UNROLL
          for (unsigned s = 0; s < value_steps; ++s) {
            const std::uint32_t a[4] = {pairs[0][2 * s], pairs[0][2 * s + 1], pairs[1][2 * s],
                                        pairs[1][2 * s + 1]};
            simt::multiply_add<Half>(sums[c][s], a, b);
          }
        }
      }
      if constexpr (ahead) load_values(t0 + step);
    }

    const States states;
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      QUIRE_UNROLL
      for (unsigned bits = 4; bits < simt::warp_lanes; bits *= 2) {
        total[i] += simt::shuffle_xor(total[i], bits);
      }
      const unsigned state = simt::warp() * heads + low * 2 + i;
      if (high == 0) {
        states.largest.store(state, largest[i]);
        states.total.store(state, total[i]);
      }
      QUIRE_UNROLL
      for (unsigned c = 0; c < value_chunks; ++c) {
        QUIRE_UNROLL
        for (unsigned s = 0; s < value_steps; ++s) {
          const std::size_t at = state * head_dim + (c * 8 + high) * value_elements + 2 * s;
          states.sums.template store_vector<2>(at, {{sums[c][s][i], sums[c][s][i + 2]}});
        }
      }
    }
    simt::sync();
    states.finish(p, work, head, count);
  }
};

}  // namespace quire::kernels
