// One file: the loop over tiles and its pieces share their registers' layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/attention/concepts.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/group_codec.cuh>
#include <quire/kernels/paged_prefill/params.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// What is tuned about prefill attention.
struct PrefillTuning {
  unsigned warps = 4;
  unsigned tokens = 64;  // keys and values in shared memory at once, twice
  unsigned tiles = 2;    // of 16 query vectors for each load of a warp, where registers do
};
/// Of shared prefixes, whose groups have few queries.
inline constexpr PrefillTuning prefix_tuning{.tiles = 1};

/// Attention of many queries a sequence (prompts and chunks of them) on matrix units: a block takes
/// query vectors packed over (rows, group), walks the tokens that they see in tiles of shared memory
/// filled one ahead, and keeps the running softmax in registers; queries lie in shared memory, too.
/// Tiles that all of a warp's queries see whole are not masked. Grid: (work, kv_heads).
/// `shared_prefix`: the rows are the queries of sequences that begin with the same tokens; they
/// attend to those alone, and leave partial results.
/// \pre q and q_stride are multiples of 16 bytes, and p.scale is above 0
/// Packed 4-bit codes become the numbers that they stand for, in 16 bits.
/// \cost 4 x head_dim multiply-adds a query vector and token it sees, in whole tiles
/// \source Dao, "FlashAttention-2", 2023
template <class KeyType, AttentionVariant Variant, PrefillTuning tuning = PrefillTuning{},
          bool shared_prefix = false>
struct PagedPrefill {
  using Key = KeyType;
  using Params = std::conditional_t<shared_prefix, SharedPrefixParams<typename Key::Query, Variant>,
                                    PagedPrefillParams<typename Key::Query, Variant>>;
  using Stored = typename Key::Stored;
  using Half = typename ComputeType<Stored, typename Key::Query>::type;
  static_assert(sizeof(typename Key::Query) == 2 && Key::head_dim % 16 == 0 &&
                    tuning.tokens % 16 == 0,
                "quire: kernels: prefill multiplies 16-bit queries; smallest model: Bf16 queries");
  static_assert(Key::Access::alignment % 4 == 0);
  static constexpr std::string_view name = shared_prefix ? "shared_prefix" : "paged_prefill";
  static constexpr unsigned threads = tuning.warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  // registers hold the sums of all dimensions, and 8-bit elements on their way
  static constexpr unsigned tiles = head_dim > (sizeof(Stored) == 1 ? 64 : 128) ? 1 : tuning.tiles;
  static constexpr unsigned warp_vectors = tiles * 16;
  static constexpr unsigned tile = tuning.warps * warp_vectors;  // query vectors
  static constexpr unsigned tokens = tuning.tokens;
  static constexpr unsigned steps = head_dim / 16;
  // What is loaded of a row at once: stored elements, of packed codes bytes of two.
  static constexpr bool packed = packs_codes<typename Key::Access>;
  static constexpr unsigned chunk = Key::Access::alignment / sizeof(Stored);
  static constexpr unsigned chunks = head_dim / chunk / (packed ? 2 : 1);
  // tokens whose logits are held at once: registers again
  static constexpr unsigned at_once = tiles > 1 && tokens % 32 == 0 ? 32 : tokens;

  // A row in shared memory: halves in pairs, and 16 bytes more so that the rows of a matrix lie in
  // different banks.
  static constexpr unsigned row_words = head_dim / 2 + 4;
  static constexpr unsigned stage_words = 2 * tokens * row_words;  // keys, then values
  static constexpr std::size_t queries_at = 2 * std::size_t{stage_words} * 4;
  static constexpr std::size_t scales_at = queries_at + std::size_t{tile} * row_words * 4;
  static constexpr std::size_t shared_bytes =
      scales_at + (Key::Access::scaled ? 2 * 2 * tokens * sizeof(float) : 0);

  QUIRE_DEVICE static void run(const Params& p) {
    const auto work = p.work[simt::block().x];
    const unsigned group = p.heads / p.cache.kv_heads;
    if constexpr (shared_prefix) {
      const PrefixGroup of = p.groups[work.group];
      walk(p, p.blocks + of.table_begin, work.begin, work.end, work.first, of.rows * group,
           [&](unsigned row) {
             const unsigned member = p.members[of.members + row];
             return Place{member, p.lengths[member] - 1,
                          p.first_partial[of.members + row] + work.part};
           });
    } else {
      const PrefillSequence of = p.sequences[work.sequence];
      const unsigned vectors = of.rows * group;
      const unsigned last_vector = work.first + tile < vectors ? work.first + tile : vectors;
      const auto position_of = [&](unsigned row) {
        return of.position + static_cast<std::int32_t>(row);
      };
      walk(p, p.blocks + of.table_begin,
           static_cast<std::int32_t>(p.variant.first_visible(position_of(work.first / group))),
           position_of((last_vector - 1) / group) + 1, work.first, vectors, [&p](unsigned row) {
             // read again rather than kept: registers
             const PrefillSequence of = p.sequences[p.work[simt::block().x].sequence];
             return Place{of.row + row, of.position + static_cast<std::int32_t>(row), 0};
           });
    }
  }

 private:
  /// Where a row of the queries lies and stands, and where its partial result goes.
  struct Place {
    unsigned row;
    std::int32_t position;
    unsigned partial;
  };
  static constexpr unsigned held = 2 * tiles;  // rows of products that a lane has a part of
  /// Query vectors high + 8 r of a warp. Logits as they leave the product, times `unit` in base 2.
  struct Rows {
    std::int32_t last_seen, first_seen;  // tokens that each of them sees, if there are any
    float largest[held], total[held];    // this lane's part of the total
  };
  using Sums = float[tiles][2 * steps][4];

  /// Query vectors [first, first + tile) of `vectors` over tokens [begin, end).
  /// place(row): where row `row` of the queries lies and stands.
  template <class PlaceOf>
  QUIRE_DEVICE static void walk(const Params& p, const std::uint32_t* table, std::int32_t begin,
                                std::int32_t end, unsigned first, unsigned vectors,
                                const PlaceOf& place) {
    const unsigned kv_head = simt::block().y, group = p.heads / p.cache.kv_heads;
    const unsigned own = first + simt::warp() * warp_vectors + simt::lane() / 4;  // and 8 r on
    const auto clip = [&](unsigned v) { return v < vectors ? v : vectors - 1; };
    const simt::Shared<std::uint32_t> cache(0, 2 * stage_words);
    const simt::Shared<std::uint32_t> queries(queries_at, tile * row_words);
    const simt::Shared<float> scales(scales_at, Key::Access::scaled ? 4 * tokens : 0);
    fill(p, table, kv_head, begin, end, cache, scales, 0);
    for (unsigned i = simt::thread(); i < tile * (head_dim / 8); i += threads) {
      const unsigned vector = clip(first + i / (head_dim / 8)), c = i % (head_dim / 8);
      const std::size_t head = kv_head * group + vector % group;
      load_query(p.q + place(vector / group).row * p.q_stride + head * head_dim + c * 8, queries,
                 i / (head_dim / 8) * row_words + c * 4);
    }
    // a query vector's place and head; by the division rather than by registers
    const auto where = [&](unsigned r) { return place(clip(own + 8 * r) / group); };
    const auto head = [&](unsigned r) { return kv_head * group + clip(own + 8 * r) % group; };
    Rows rows;
    QUIRE_UNROLL
    for (unsigned r = 0; r < held; ++r) {
      const std::int32_t position = where(r).position;
      const auto sees = static_cast<std::int32_t>(p.variant.first_visible(position));
      rows.last_seen = r == 0 || position < rows.last_seen ? position : rows.last_seen;
      rows.first_seen = r == 0 || sees > rows.first_seen ? sees : rows.first_seen;
      rows.largest[r] = -simt::infinity();
      rows.total[r] = 0;
    }
    Sums sums{};
    unsigned stage = 0;
    QUIRE_NO_UNROLL
    for (std::int32_t t0 = begin; t0 < end; t0 += static_cast<std::int32_t>(tokens)) {
      if (t0 + static_cast<std::int32_t>(tokens) < end) {
        fill(p, table, kv_head, t0 + static_cast<std::int32_t>(tokens), end, cache, scales,
             stage ^ 1u);
      } else {
        simt::commit_copies();  // an empty group: the wait below counts groups
      }
      simt::wait_copies<1>();
      simt::sync();
      QUIRE_NO_UNROLL
      for (unsigned part = 0; part < tokens; part += at_once) {
        attend(p, rows, where, head, t0, end, part, cache, queries, scales, stage, sums);
      }
      simt::sync();
      stage ^= 1u;
    }
    QUIRE_UNROLL
    for (unsigned r = 0; r < held; ++r) {
      finish(p, rows, r, own + 8 * r < vectors, where(r), head(r), sums);
    }
  }

  /// What a product is to be multiplied by to be a logit in base 2.
  QUIRE_DEVICE static float unit(const Params& p) {
    return Variant::transforms_logits ? log2e : p.scale * log2e;
  }

  QUIRE_DEVICE static void load_query(const typename Key::Query* from,
                                      const simt::Shared<std::uint32_t>& queries, unsigned to) {
    const auto v = simt::load_vector<8>(from);
    std::uint32_t pairs[4];
    if constexpr (std::is_same_v<typename Key::Query, Half>) {
      as_pairs<Half, 8>(v, pairs);
    } else {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        pairs[i] = simt::pack<Half>(simt::widen(v.v[2 * i]), simt::widen(v.v[2 * i + 1]));
      }
    }
    queries.template store_vector<4>(to, {{pairs[0], pairs[1], pairs[2], pairs[3]}});
  }

  /// Brings tokens [t0, t0 + tokens) into a stage; zeros from `end` on.
  QUIRE_DEVICE static void fill(const Params& p, const std::uint32_t* table, unsigned kv_head,
                                std::int32_t t0, std::int32_t end,
                                const simt::Shared<std::uint32_t>& cache,
                                const simt::Shared<float>& scales, unsigned stage) {
    for (unsigned i = simt::thread(); i < tokens * chunks; i += threads) {
      const unsigned row = i / chunks, c = i % chunks;
      const std::int32_t t = t0 + static_cast<std::int32_t>(row);
      const unsigned to = stage * stage_words + row * row_words + c * chunk / 2;
      const std::byte *keys = nullptr, *values = nullptr;
      unsigned slot = 0;
      if (t < end) {
        const auto token = static_cast<unsigned>(t);
        const std::uint32_t block = table[token / Key::block_tokens];
        slot = token % Key::block_tokens;
        keys = Key::key_slab(p.cache, block, kv_head);
        values = Key::value_slab(p.cache, block, kv_head);
      }
      if constexpr (packed) {
        unpack(keys, slot, c * chunk, cache, to);
        unpack(values, slot, c * chunk, cache, to + tokens * row_words);
      } else {
        bring(keys, slot, c * chunk, cache, to);
        bring(values, slot, c * chunk, cache, to + tokens * row_words);
      }
      if constexpr (Key::Access::scaled) {
        if (c == 0) {
          scales.store(stage * 2 * tokens + row, keys == nullptr ? 0 : Key::scale(keys, slot));
          scales.store((stage * 2 + 1) * tokens + row,
                       values == nullptr ? 0 : Key::scale(values, slot));
        }
      }
    }
    simt::commit_copies();
  }

  /// A chunk of a token from element `at` on, as Half; zeros where slab is null.
  QUIRE_DEVICE static void bring(const std::byte* slab, unsigned slot, unsigned at,
                                 const simt::Shared<std::uint32_t>& cache, unsigned to) {
    const Stored* from = slab == nullptr ? nullptr : Key::row(slab, slot) + at;
    if constexpr (sizeof(Stored) == 2) {
      cache.template copy_async<4>(to, reinterpret_cast<const std::uint32_t*>(from));
    } else {
      std::uint32_t pairs[chunk / 2]{};
      if (from != nullptr) as_pairs<Half, chunk>(simt::load_vector_once<chunk>(from), pairs);
      constexpr unsigned n = chunk / 2 < 4 ? chunk / 2 : 4;
      QUIRE_UNROLL
      for (unsigned w = 0; w < chunk / 2; w += n) {
        simt::Vector<std::uint32_t, n> words;
        QUIRE_UNROLL
        for (unsigned j = 0; j < n; ++j) words.v[j] = pairs[w + j];
        cache.template store_vector<n>(to + w, words);
      }
    }
  }

  /// Four bytes of a token's packed codes from byte `at` on, as the numbers that they stand for, rounded
  /// to Half: dimensions from `at` on and from half a row further on.
  QUIRE_DEVICE static void unpack(const std::byte* slab, unsigned slot, unsigned at,
                                  const simt::Shared<std::uint32_t>& cache, unsigned to) {
    static_assert(Key::Access::alignment == 4 && sizeof(Stored) == 1);
    using Codec = CodecOf<typename Key::Access>;
    std::uint32_t codes = 0;
    typename Codec::End low{}, high{};  // of either half's group
    if (slab != nullptr) {
      const auto* words = reinterpret_cast<const std::uint32_t*>(Key::row(slab, slot));
      codes = simt::load_vector_once<1>(words + at / 4).v[0];
      const auto* ends = Key::ends(slab, slot);
      low = ends[at / Key::group_size()];
      high = ends[(head_dim / 2 + at) / Key::group_size()];
    }
    const auto number = [&](unsigned i) {
      return Codec::number(codes >> (4 * i) & 15u, i % 2 == 0 ? low : high);
    };
    QUIRE_UNROLL
    for (unsigned part = 0; part < 2; ++part) {
      cache.template store_vector<2>(to + part * (head_dim / 4),
                                     {{simt::pack<Half>(number(part), number(part + 2)),
                                       simt::pack<Half>(number(part + 4), number(part + 6))}});
    }
  }

  using Logits =
      float[tiles][at_once / 8][4];  // rows high + 8 r by tokens 2 low, 2 low + 1 of each 8

  template <class Where, class Head>
  QUIRE_DEVICE static void attend(const Params& p, Rows& rows, const Where& where, const Head& head,
                                  std::int32_t t0, std::int32_t end, unsigned part,
                                  const simt::Shared<std::uint32_t>& cache,
                                  const simt::Shared<std::uint32_t>& queries,
                                  const simt::Shared<float>& scales, unsigned stage, Sums& sums) {
    const unsigned lane = simt::lane(), matrix = lane / 8;
    const unsigned keys = stage * stage_words + part * row_words;
    const unsigned values = keys + tokens * row_words;
    Logits logit{};
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      std::uint32_t a[tiles][4];
      QUIRE_UNROLL
      for (unsigned m = 0; m < tiles; ++m) {
        const unsigned row = simt::warp() * warp_vectors + m * 16 + matrix % 2 * 8 + lane % 8;
        simt::load_matrices<false>(a[m], queries, row * row_words + s * 8 + matrix / 2 * 4);
      }
      QUIRE_UNROLL
      for (unsigned n = 0; n < at_once / 8; n += 2) {
        const unsigned token = n * 8 + matrix / 2 * 8 + lane % 8;
        std::uint32_t b[4];
        simt::load_matrices<false>(b, cache, keys + token * row_words + s * 8 + matrix % 2 * 4);
        const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        QUIRE_UNROLL
        for (unsigned m = 0; m < tiles; ++m) {
          simt::multiply_add<Half>(logit[m][n], a[m], b0);
          simt::multiply_add<Half>(logit[m][n + 1], a[m], b1);
        }
      }
    }
    weigh(p, rows, where, head, t0 + static_cast<std::int32_t>(part), end, scales,
          stage * 2 * tokens + part, logit, sums);
    QUIRE_UNROLL
    for (unsigned n = 0; n < at_once / 8; n += 2) {
      std::uint32_t a[tiles][4];
      QUIRE_UNROLL
      for (unsigned m = 0; m < tiles; ++m) {
        a[m][0] = simt::pack<Half>(logit[m][n][0], logit[m][n][1]);
        a[m][1] = simt::pack<Half>(logit[m][n][2], logit[m][n][3]);
        a[m][2] = simt::pack<Half>(logit[m][n + 1][0], logit[m][n + 1][1]);
        a[m][3] = simt::pack<Half>(logit[m][n + 1][2], logit[m][n + 1][3]);
      }
      QUIRE_UNROLL
      for (unsigned s = 0; s < steps; ++s) {
        const unsigned token = n * 8 + matrix % 2 * 8 + lane % 8;
        std::uint32_t b[4];
        simt::load_matrices<true>(b, cache, values + token * row_words + s * 8 + matrix / 2 * 4);
        const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        QUIRE_UNROLL
        for (unsigned m = 0; m < tiles; ++m) {
          simt::multiply_add<Half>(sums[m][2 * s], a[m], b0);
          simt::multiply_add<Half>(sums[m][2 * s + 1], a[m], b1);
        }
      }
    }
  }

  /// Turns the products of at_once tokens from t0 on into weights, and shrinks the sums to the new largest logits.
  template <class Where, class Head>
  QUIRE_DEVICE static void weigh(const Params& p, Rows& rows, const Where& where,
                                 [[maybe_unused]] const Head& head, std::int32_t t0,
                                 std::int32_t end, const simt::Shared<float>& scales,
                                 unsigned scale_at, Logits& logit, Sums& sums) {
    const unsigned low = simt::lane() % 4;
    if constexpr (Key::Access::scaled || Variant::transforms_logits) {
      QUIRE_UNROLL
      for (unsigned n = 0; n < at_once / 8; ++n) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < 2; ++i) {
          const unsigned token = n * 8 + low * 2 + i;
          float scale = 1;
          if constexpr (Key::Access::scaled) scale = scales.load(scale_at + token);
          if constexpr (Variant::transforms_logits) scale *= p.scale;
          QUIRE_UNROLL
          for (unsigned r = 0; r < held; ++r) {
            float& s = logit[r / 2][n][r % 2 * 2 + i];
            s *= scale;
            if constexpr (Variant::transforms_logits) {
              s = p.variant.logit(
                  DeviceMath{}, s, head(r),
                  static_cast<float>(where(r).position - t0 - static_cast<std::int32_t>(token)));
            }
          }
        }
      }
    }
    // most tiles are seen whole
    const std::int32_t last = t0 + static_cast<std::int32_t>(at_once) - 1;
    const bool whole = last < end && last <= rows.last_seen && t0 >= rows.first_seen;
    if (simt::ballot(whole) != simt::full_mask) {
      QUIRE_UNROLL
      for (unsigned r = 0; r < held; ++r) {
        const std::int32_t position = where(r).position;
        const auto sees = static_cast<std::int32_t>(p.variant.first_visible(position));
        QUIRE_UNROLL
        for (unsigned n = 0; n < at_once / 8; ++n) {
          QUIRE_UNROLL
          for (unsigned i = 0; i < 2; ++i) {
            const std::int32_t t = t0 + static_cast<std::int32_t>(n * 8 + low * 2 + i);
            const bool visible = t < end && t <= position && t >= sees;
            float& s = logit[r / 2][n][r % 2 * 2 + i];
            s = visible ? s : -simt::infinity();
          }
        }
      }
    }
    const float by = unit(p);
    float shrink[held], base[held];
    bool grew = false;
    QUIRE_UNROLL
    for (unsigned r = 0; r < held; ++r) {
      float best = rows.largest[r];
      QUIRE_UNROLL
      for (unsigned n = 0; n < at_once / 8; ++n) {
        best =
            simt::max(best, simt::max(logit[r / 2][n][r % 2 * 2], logit[r / 2][n][r % 2 * 2 + 1]));
      }
      best = simt::max(best, simt::shuffle_xor(best, 1));
      best = simt::max(best, simt::shuffle_xor(best, 2));
      // nothing seen yet: weights are 0 whatever they are taken from
      base[r] = best == -simt::infinity() ? 0.0f : best * by;
      shrink[r] = simt::exp2(simt::fma(rows.largest[r], by, -base[r]));
      grew = grew || best != rows.largest[r];
      rows.largest[r] = best;
    }
    if (simt::ballot(grew) != 0) {
      QUIRE_UNROLL
      for (unsigned r = 0; r < held; ++r) {
        rows.total[r] *= shrink[r];
        QUIRE_UNROLL
        for (unsigned d = 0; d < 2 * steps; ++d) {
          sums[r / 2][d][r % 2 * 2] *= shrink[r];
          sums[r / 2][d][r % 2 * 2 + 1] *= shrink[r];
        }
      }
    }
    QUIRE_UNROLL
    for (unsigned n = 0; n < at_once / 8; ++n) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 2; ++i) {
        float scale = 1;
        if constexpr (Key::Access::scaled) {
          scale = scales.load(scale_at + tokens + n * 8 + low * 2 + i);
        }
        QUIRE_UNROLL
        for (unsigned r = 0; r < held; ++r) {
          float& s = logit[r / 2][n][r % 2 * 2 + i];
          s = simt::exp2(simt::fma(s, by, -base[r]));
          rows.total[r] += s;
          if constexpr (Key::Access::scaled) s *= scale;
        }
      }
    }
  }

  /// Writes query vector high + 8 r of the warp; `here`: it is one.
  QUIRE_DEVICE static void finish(const Params& p, const Rows& rows, unsigned r, bool here,
                                  const Place& place, unsigned head, const Sums& sums) {
    using Query = typename Key::Query;
    const unsigned low = simt::lane() % 4;
    float total = rows.total[r];
    total += simt::shuffle_xor(total, 1);
    total += simt::shuffle_xor(total, 2);
    const float largest = rows.largest[r] * unit(p);
    if constexpr (shared_prefix) {
      if (!here) return;
      const std::size_t state = std::size_t{place.partial} * p.heads + head;
      const float factor = total > 0 ? 1.0f / total : 0.0f;
      if (low == 0) {
        p.partial_lse[state] = total > 0 ? largest + simt::log2(total) : -simt::infinity();
      }
      QUIRE_UNROLL
      for (unsigned d = 0; d < 2 * steps; ++d) {
        const float* of = sums[r / 2][d] + r % 2 * 2;
        simt::store_vector<2>(p.partial + state * head_dim + d * 8 + low * 2,
                              {{of[0] * factor, of[1] * factor}});
      }
    } else {
      float m = largest, shrink = 1;
      if constexpr (Variant::has_sink) {
        const float sink = p.variant.sink_logit(head) * log2e;
        m = simt::max(m, sink);
        shrink = weight_of(largest, m);
        total = total * shrink + weight_of(sink, m);
      }
      const float factor = total > 0 ? shrink / total : 0.0f;
      if (!here) return;
      Query* out = p.out + place.row * p.out_stride + head * head_dim;
      QUIRE_UNROLL
      for (unsigned d = 0; d < 2 * steps; ++d) {
        const float* of = sums[r / 2][d] + r % 2 * 2;
        simt::store_vector<2>(out + d * 8 + low * 2, {{simt::narrow<Query>(of[0] * factor),
                                                       simt::narrow<Query>(of[1] * factor)}});
      }
    }
  }
};

}  // namespace quire::kernels
