#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/attention/concepts.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/group_codec.cuh>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/kernels/paged_decode/seen.cuh>
#include <quire/kernels/paged_decode/traits.hpp>
#include <quire/kernels/paged_decode/warp_states.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// Decode attention over 4-bit codes with a scale for each few of them, on matrix units, as
/// PagedDecodePacked: tokens by heads, then dimensions by heads. Codes become the numbers that they
/// stand for in registers, 16 bits each; numbers beyond what fp16 holds need bf16 queries.
/// Grid: (work, kv_heads, passes over a group's heads).
/// \cost reads each key and value once a pass: head_dim / 2 bytes and the groups' scales
template <class KeyType, AttentionVariant Variant, DecodeTuning tuning = DecodeTuning{}>
struct PagedDecodeGrouped {
  using Key = KeyType;
  using Params = PagedDecodeParams<typename Key::Query, Variant>;
  using Query = typename Key::Query;
  using Codec = CodecOf<typename Key::Access>;
  using End = typename Codec::End;
  using Half = typename Codec::template Half<Query>;
  static_assert(groups_codes<typename Key::Access> && sizeof(Query) == 2 && Key::head_dim % 64 == 0,
                "quire: kernels: decode of 4-bit keys and values multiplies 16-bit queries, 64 "
                "dimensions at once; smallest model: Bf16 queries, head_dim 64");
  static constexpr std::string_view name = "paged_decode_grouped";
  static constexpr unsigned threads = tuning.warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim, half = head_dim / 2;
  static constexpr unsigned heads = 8;
  static constexpr unsigned tiles = tuning.byte_tiles;
  static constexpr unsigned tile = 16 * tiles;  // tokens
  // Words of eight codes: dimensions 4 w .. 4 w + 3 and those half a row on. A row of keys is shared
  // by the 4 lanes of a group, a row of values by 8 groups.
  static constexpr unsigned key_words = head_dim / 32, value_words = head_dim / 64;
  // Scales of a token, as they are loaded: words, or half words where they fill no more.
  static constexpr unsigned group_size = Key::group_size();
  static constexpr unsigned ends_bytes = head_dim / group_size * sizeof(End);
  using Word = std::conditional_t<ends_bytes % 4 == 0, std::uint32_t, std::uint16_t>;
  static_assert(ends_bytes % sizeof(Word) == 0);
  using Ends = Word[ends_bytes / sizeof(Word)];
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
    QUIRE_UNROLL
    for (unsigned i = 0; i < key_words * 8; i += 2) {
      const float x = simt::widen(from[dimension(i, low)]) * inverse;
      const float y = simt::widen(from[dimension(i + 1, low)]) * inverse;
      q[i / 8][i / 4 % 2][i / 2 % 2] = simt::pack<Half>(x, y);
    }
    float scale[2];  // of heads 2 low and 2 low + 1
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      scale[i] = (Variant::transforms_logits ? p.scale : p.scale * log2e) *
                 simt::shuffle(unit, (2 * low + i) * 4);
    }
    float sums[value_words][4][4]{};  // steps 0, 1: low codes; 2, 3: high ones
    float largest[2] = {-simt::infinity(), -simt::infinity()}, total[2] = {0, 0};

    std::uint32_t keys[tiles][2][key_words], stored[tiles][4][value_words];
    Ends key_ends[tiles][2], value_ends[tiles][4];
    // Slots beyond the end may hold anything: read the last token instead, and weigh it 0.
    const auto row = [&](std::int32_t t0, unsigned i, bool values, Ends& ends) {
      const std::int32_t at = t0 + static_cast<std::int32_t>(i);
      const auto t = static_cast<unsigned>(at < work.end ? at : work.end - 1);
      const auto [block, slot] = place_of<Key>(table, t);
      const std::byte* slab = values ? Key::value_slab(p.cache, block, kv_head)
                                     : Key::key_slab(p.cache, block, kv_head);
      const auto* of = reinterpret_cast<const Word*>(Key::ends(slab, slot));
      QUIRE_UNROLL
      for (unsigned e = 0; e < ends_bytes / sizeof(Word); ++e) ends[e] = of[e];
      return reinterpret_cast<const std::uint32_t*>(Key::row(slab, slot));
    };

    const std::int32_t begin = work.begin + static_cast<std::int32_t>(simt::warp() * tile);
    constexpr auto step = static_cast<std::int32_t>(tuning.warps * tile);
    QUIRE_NO_UNROLL
    for (std::int32_t t0 = begin; t0 < work.end; t0 += step) {
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned r = 0; r < 2; ++r) {
          const std::uint32_t* words = row(t0, n * 16 + high + 8 * r, false, key_ends[n][r]);
          QUIRE_UNROLL
          for (unsigned c = 0; c < key_words; ++c) {
            keys[n][r][c] = simt::load_vector_once<1>(words + c * 4 + low).v[0];
          }
        }
        QUIRE_UNROLL
        for (unsigned r = 0; r < 4; ++r) {
          const std::uint32_t* words =
              row(t0, n * 16 + low * 2 + r % 2 + r / 2 * 8, true, value_ends[n][r]);
          QUIRE_UNROLL
          for (unsigned c = 0; c < value_words; ++c) {
            stored[n][r][c] = simt::load_vector_once<1>(words + c * 8 + high).v[0];
          }
        }
      }
      float logit[tiles][4];  // tokens high, high + 8 by heads 2 low, 2 low + 1
      QUIRE_UNROLL
      for (unsigned n = 0; n < tiles; ++n) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) logit[n][i] = 0;
        QUIRE_UNROLL
        for (unsigned c = 0; c < key_words; ++c) {
          QUIRE_UNROLL
          for (unsigned s = 0; s < 2; ++s) {
            const unsigned g = (s * half + c * 16) / group_size;
            simt::Vector<std::uint32_t, 2> of[2];
            QUIRE_UNROLL
            for (unsigned r = 0; r < 2; ++r) {
              const End end = end_at(key_ends[n][r], g, 0);
              of[r] = numbers(nibbles(keys[n][r][c], s), end, end);
            }
            const std::uint32_t a[4] = {of[0].v[0], of[1].v[0], of[0].v[1], of[1].v[1]};
            simt::multiply_add<Half>(logit[n], a, q[c][s]);
          }
        }
        QUIRE_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          float s = logit[n][i] * scale[i % 2];
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
      QUIRE_UNROLL
      for (unsigned i = 0; i < 2; ++i) {
        float best = simt::max(largest[i], -1e30f);  // so that -infinity less it is no NaN
        QUIRE_UNROLL
        for (unsigned n = 0; n < tiles; ++n) {
          best = simt::max(best, simt::max(logit[n][i], logit[n][i + 2]));
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
        const float(&weight)[4] = logit[n];
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
              // groups of 16 part the words of a run of 32
              const unsigned g = (part * half + c * 32) / group_size;
              const unsigned further = group_size == 16 ? high / 4 : 0;
              const End first = end_at(value_ends[n][2 * r], g, further);
              const End second = end_at(value_ends[n][2 * r + 1], g, further);
              const std::uint32_t x = nibbles(stored[n][2 * r][c], part);
              const std::uint32_t y = nibbles(stored[n][2 * r + 1][c], part);
              QUIRE_UNROLL
              for (unsigned i = 0; i < 2; ++i) {
                const auto two =
                    numbers(simt::pick_bytes(x, y, i == 0 ? 0x5140 : 0x7362), first, second);
                pairs[r][2 * i] = two.v[0];
                pairs[r][2 * i + 1] = two.v[1];
              }
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
      for (unsigned c = 0; c < value_words; ++c) {
        QUIRE_UNROLL
        for (unsigned s = 0; s < 4; ++s) {
          const std::size_t at = state * head_dim + s / 2 * half + (c * 8 + high) * 4 + 2 * (s % 2);
          states.sums.template store_vector<2>(at, {{sums[c][s][i], sums[c][s][i + 2]}});
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
  /// What stands beside group g + further, both in one word; g known to the compiler.
  QUIRE_DEVICE static End end_at(const Ends& ends, unsigned g, unsigned further) {
    if constexpr (sizeof(End) == 1) {
      const unsigned bits = 8 * (g % unsigned{sizeof(Word)} + further);
      return End{static_cast<std::uint8_t>(ends[g / sizeof(Word)] >> bits)};
    } else {
      static_assert(sizeof(End) == sizeof(Word));
      return simt::bit_cast<End>(ends[g]);
    }
  }
  /// The numbers of four codes as pairs, of which the first is of one group and the second of another.
  QUIRE_DEVICE static simt::Vector<std::uint32_t, 2> numbers(std::uint32_t four, End first,
                                                             End second) {
    auto pairs = Codec::template pairs<Half>(four);
    const std::uint32_t by = simt::pack<Half>(Codec::scale(first), Codec::scale(second));
    std::uint32_t least = 0x80008000u;  // -0, which changes nothing
    if constexpr (Codec::has_least) {
      least = simt::pack<Half>(Codec::least(first), Codec::least(second));
    }
    QUIRE_UNROLL
    for (unsigned i = 0; i < 2; ++i) {
      pairs.v[i] = simt::multiply_add_pairs<Half>(pairs.v[i], by, least);
    }
    return pairs;
  }
};

}  // namespace quire::kernels
