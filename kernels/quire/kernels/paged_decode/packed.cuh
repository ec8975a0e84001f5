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

/// Decode attention over packed 4-bit codes on matrix units, as PagedDecodeMatrix: tokens by heads,
/// then dimensions by heads. Codes multiply as the whole numbers that they are, which fp16 holds
/// exactly; a key's scale and least value are applied to the products (q k = scale q c + least sum q),
/// a value's to the weights (sum w v = sum (w scale) c + sum w least).
/// Grid: (work, kv_heads, passes over a group's heads).
/// \cost reads each key and value once a pass: head_dim / 2 + 4 bytes
template <class KeyType, AttentionVariant Variant, DecodeTuning tuning = DecodeTuning{}>
struct PagedDecodePacked {
  using Key = KeyType;
  using Params = PagedDecodeParams<typename Key::Query, Variant>;
  using Query = typename Key::Query;
  using Half = Fp16;
  static_assert(Key::Access::codes_a_byte == 2 && sizeof(Query) == 2 && Key::head_dim % 64 == 0,
                "quire: kernels: decode of 4-bit keys and values multiplies 16-bit queries, 64 "
                "dimensions at once; smallest model: Bf16 queries, head_dim 64");
  static constexpr std::string_view name = "paged_decode_packed";
  static constexpr unsigned threads = tuning.warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim, half = head_dim / 2;
  static constexpr unsigned heads = 8;
  static constexpr unsigned tiles = tuning.byte_tiles;
  static constexpr unsigned tile = 16 * tiles;  // tokens
  static constexpr bool ahead = head_dim <= 128 && tuning.bytes_ahead;
  // Words of eight codes: dimensions 4 w .. 4 w + 3 and those half a row on. A row of keys is shared
  // by the 4 lanes of a group, a row of values by 8 groups.
  static constexpr unsigned key_words = head_dim / 32, value_words = head_dim / 64;
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

    // Queries as the right operand: head `high`, the dimensions that this lane's keys hold; heads
    // that are not there repeat the first, and nobody reads their results.
    const Query* from =
        p.q + work.sequence * p.q_stride + (head + (high < count ? high : 0)) * head_dim;
    float unit = 1, inverse = 1;  // a power of two, so that bf16 fits into fp16
    if constexpr (!std::is_same_v<Query, Half>) {
      float most = 0;
      QUIRE_UNROLL
      for (unsigned i = 0; i < key_words * 8; ++i) {
        most = simt::max(most, simt::abs(simt::widen(from[dimension(i, low)])));
      }
      most = simt::max(most, simt::shuffle_xor(most, 1));
      most = simt::max(most, simt::shuffle_xor(most, 2));
      const auto exponent = simt::bit_cast<std::uint32_t>(simt::max(most, 0x1p-100f)) & 0x7f800000u;
      unit = simt::bit_cast<float>(exponent);
      inverse = simt::bit_cast<float>(0x7f000000u - exponent);
    }
    std::uint32_t q[key_words][2][2];
    float all = 0;  // sum of the query's dimensions
    QUIRE_UNROLL
    for (unsigned i = 0; i < key_words * 8; i += 2) {
      const float x = simt::widen(from[dimension(i, low)]) * inverse;
      const float y = simt::widen(from[dimension(i + 1, low)]) * inverse;
      q[i / 8][i / 4 % 2][i / 2 % 2] = simt::pack<Half>(x, y);
      all += x + y;
    }
    all += simt::shuffle_xor(all, 1);
    all += simt::shuffle_xor(all, 2);
    float scale[2], sum_of_query[2];  // of heads 2 low and 2 low + 1
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      scale[i] = (Variant::transforms_logits ? p.scale : p.scale * log2e) *
                 simt::shuffle(unit, (2 * low + i) * 4);
      sum_of_query[i] = simt::shuffle(all, (2 * low + i) * 4);
    }
    float sums[value_words][4][4]{};  // steps 0, 1: low codes; 2, 3: high ones
    float largest[2] = {-simt::infinity(), -simt::infinity()}, total[2] = {0, 0}, shift[2] = {0, 0};

    std::uint32_t keys[tiles][2][key_words], stored[tiles][4][value_words];
    std::uint32_t key_ends[tiles][2], value_ends[tiles][2];  // scale and least value
    // Slots beyond the end may hold anything: read the last token instead, and weigh it 0.
    const auto row = [&](std::int32_t t0, unsigned i, bool values) {
      const std::int32_t at = t0 + static_cast<std::int32_t>(i);
      const auto t = static_cast<unsigned>(at < work.end ? at : work.end - 1);
      const auto [block, slot] = place_of<Key>(table, t);
      const std::byte* slab = values ? Key::value_slab(p.cache, block, kv_head)
                                     : Key::key_slab(p.cache, block, kv_head);
      return reinterpret_cast<const std::uint32_t*>(Key::row(slab, slot));
    };
    const auto load_keys = [&](std::int32_t t0) {
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const std::uint32_t* words = row(t0, n * 16 + high + 8 * r, false);
          QUIRE_UNROLL
          for (unsigned c = 0; c < key_words; ++c) {
            keys[n][r][c] = simt::load_vector_once<1>(words + c * 4 + low).v[0];
          }
          key_ends[n][r] = simt::load_vector_once<1>(words + head_dim / 8).v[0];
        }
      }
    };
    const auto load_values = [&](std::int32_t t0) {
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned r = 0; r < 4; ++r) {
          const std::uint32_t* words = row(t0, n * 16 + low * 2 + r % 2 + r / 2 * 8, true);
          QUIRE_UNROLL
          for (unsigned c = 0; c < value_words; ++c) {
            stored[n][r][c] = simt::load_vector_once<1>(words + c * 8 + high).v[0];
          }
        }
        // the weights' lanes hold other tokens than the values' lanes
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const std::uint32_t* words = row(t0, n * 16 + high + 8 * r, true);
          value_ends[n][r] = simt::load_vector_once<1>(words + head_dim / 8).v[0];
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
      float logit[tiles][4], scaled[tiles][4];  // tokens high, high + 8 by heads 2 low, 2 low + 1
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) logit[n][i] = 0;
        QUIRE_UNROLL
        for (unsigned c = 0; c < key_words; ++c) {
          QUIRE_UNROLL
          for (unsigned s = 0; s < 2; ++s) {
            const auto first = codes(keys[n][0][c], s), second = codes(keys[n][1][c], s);
            const std::uint32_t a[4] = {first.v[0], second.v[0], first.v[1], second.v[1]};
            simt::multiply_add<Half>(logit[n], a, q[c][s]);
          }
        }
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          const std::uint32_t end = key_ends[n][i / 2];
          float s = simt::fma(logit[n][i], half_of(end), half_of(end >> 16) * sum_of_query[i % 2]) *
                    scale[i % 2];
          const std::int32_t t = t0 + static_cast<std::int32_t>(n * 16 + high + i / 2 * 8);
          if constexpr (Variant::transforms_logits) {
            const unsigned h = low * 2 + i % 2;
            s = p.variant.logit(DeviceMath{}, s, head + (h < count ? h : 0),
                                static_cast<float>(position - t)) *
                log2e;
          }
          logit[n][i] = t < work.end ? s : -simt::infinity();
        }
      }
      // The keys' registers are free: the next ones come while the values are worked on.
      if constexpr (ahead) load_keys(t0 + step);
      // A value's scale as a summand of its weight's exponent keeps what 16 bits hold at most 1.
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          const float by = simt::log2(half_of(value_ends[n][i / 2]));
          scaled[n][i] = logit[n][i] + (by < -100.0f ? -100.0f : by);  // a row of one value: 0
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
        shift[i] *= shrink;
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          QUIRE_UNROLL
          for (unsigned r = 0; r < 2; ++r) {
            const float weight = simt::exp2(logit[n][i + 2 * r] - best);
            total[i] += weight;
            shift[i] = simt::fma(weight, half_of(value_ends[n][r] >> 16), shift[i]);
            scaled[n][i + 2 * r] = simt::exp2(scaled[n][i + 2 * r] - best);
          }
        }
        QUIRE_UNROLL
        for (unsigned c = 0; c < value_words; ++c) {
          QUIRE_UNROLL
          for (unsigned s = 0; s < 4; ++s) {
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
        for (unsigned c = 0; c < value_words; ++c) {
          QUIRE_UNROLL
          for (unsigned part = 0; part < 2; ++part) {
            // rows high and high + 8 of the product are dimensions 2 s and 2 s + 1 of four
            std::uint32_t pairs[2][4];
            QUIRE_UNROLL
            for (unsigned r = 0; r < 2; ++r) {
              across<Half, std::int8_t, 4>({{nibbles(stored[n][2 * r][c], part)}},
                                           {{nibbles(stored[n][2 * r + 1][c], part)}}, pairs[r]);
            }
            QUIRE_UNROLL
            for (unsigned s = 0; s < 2; ++s) {
              const std::uint32_t a[4] = {pairs[0][2 * s], pairs[0][2 * s + 1], pairs[1][2 * s],
                                          pairs[1][2 * s + 1]};
              simt::multiply_add<Half>(sums[c][part * 2 + s], a, b);
            }
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
        shift[i] += simt::shuffle_xor(shift[i], bits);
      }
      const unsigned state = simt::warp() * heads + low * 2 + i;
      if (high == 0) {
        states.largest.store(state, largest[i]);
        states.total.store(state, total[i]);
      }
      QUIRE_UNROLL
      for (unsigned c = 0; c < value_words; ++c) {
        QUIRE_UNROLL
        for (unsigned s = 0; s < 4; ++s) {
          const std::size_t at = state * head_dim + s / 2 * half + (c * 8 + high) * 4 + 2 * (s % 2);
          states.sums.template store_vector<2>(
              at, {{sums[c][s][i] + shift[i], sums[c][s][i + 2] + shift[i]}});
        }
      }
    }
    simt::sync();
    states.finish(p, work, head, count);
  }

 private:
  /// The dimension of a lane's i-th code: words of eight, low halves first.
  QUIRE_DEVICE static unsigned dimension(unsigned i, unsigned low) {
    return i / 4 % 2 * half + (i / 8 * 4 + low) * 4 + i % 4;
  }
  /// Four codes of a word, one a byte: the low ones, or the high ones.
  QUIRE_DEVICE static std::uint32_t nibbles(std::uint32_t word, unsigned part) {
    return word >> (4 * part) & 0x0f0f0f0fu;
  }
  QUIRE_DEVICE static simt::Vector<std::uint32_t, 2> codes(std::uint32_t word, unsigned part) {
    return simt::widen_four<Half, std::int8_t>(nibbles(word, part));
  }
  QUIRE_DEVICE static float half_of(std::uint32_t word) {
    return simt::widen(Fp16{static_cast<std::uint16_t>(word)});
  }
};

}  // namespace quire::kernels
