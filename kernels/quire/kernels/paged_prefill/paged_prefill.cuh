// One file: the loop over tiles and its pieces share their registers' layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/attention/concepts.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/paged_prefill/params.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// What is tuned about prefill attention.
struct PrefillTuning {
  unsigned warps = 4;    // 16 query vectors each
  unsigned tokens = 64;  // keys and values in shared memory at once, twice
};

/// Attention of many queries a sequence (prompts and chunks of them) on matrix units: a block takes
/// query vectors packed over (rows, group), walks the tokens that they see in tiles of shared memory
/// filled one ahead, and keeps the running softmax in registers. Grid: (work, kv_heads).
/// `shared_prefix`: the rows are the queries of sequences that begin with the same tokens; they
/// attend to those alone, and leave partial results.
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
  static_assert(Key::Access::alignment == 16,
                "quire: kernels: prefill copies 16 bytes at once; smallest model: fp8_e4m3");
  static constexpr std::string_view name = shared_prefix ? "shared_prefix" : "paged_prefill";
  static constexpr unsigned threads = tuning.warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  static constexpr unsigned tile = tuning.warps * 16;  // query vectors
  static constexpr unsigned tokens = tuning.tokens;
  static constexpr unsigned steps = head_dim / 16;

  // A row in shared memory: halves in pairs, and 16 bytes more so that the rows of a matrix lie in
  // different banks.
  static constexpr unsigned row_words = head_dim / 2 + 4;
  static constexpr unsigned stage_words = 2 * tokens * row_words;  // keys, then values
  static constexpr std::size_t scales_at = 2 * std::size_t{stage_words} * 4;
  static constexpr std::size_t shared_bytes =
      scales_at + (Key::Access::scaled ? 2 * 2 * tokens * sizeof(float) : 0);

  QUIRE_DEVICE static void run(const Params& p) {
    const auto work = p.work[simt::block().x];
    const unsigned group = p.heads / p.cache.kv_heads;
    if constexpr (shared_prefix) {
      const PrefixGroup of = p.groups[work.group];
      walk(p, p.blocks + of.table_begin, work.begin, work.end, work.first, of.rows * group,
           [&](Rows& rows, unsigned r, unsigned row) {
             rows.row[r] = p.members[of.members + row];
             rows.position[r] = p.lengths[rows.row[r]] - 1;
             rows.partial[r] = p.first_partial[of.members + row] + work.part;
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
           position_of((last_vector - 1) / group) + 1, work.first, vectors,
           [&](Rows& rows, unsigned r, unsigned row) {
             rows.row[r] = of.row + row;
             rows.position[r] = position_of(row);
           });
    }
  }

 private:
  /// The two rows of a product that a lane holds: query vectors high and high + 8 of its warp.
  struct Rows {
    bool here[2];
    std::int32_t position[2], first[2];
    unsigned head[2], row[2], partial[2];
    float largest[2], total[2];  // this lane's part of the total
  };

  /// Query vectors [first, first + tile) of `vectors` over tokens [begin, end).
  /// set(rows, r, row): where row `row` of the queries lies and stands.
  template <class Set>
  QUIRE_DEVICE static void walk(const Params& p, const std::uint32_t* table, std::int32_t begin,
                                std::int32_t end, unsigned first, unsigned vectors,
                                const Set& set) {
    const unsigned kv_head = simt::block().y, group = p.heads / p.cache.kv_heads;
    const unsigned high = simt::lane() / 4, low = simt::lane() % 4;  // as in fragments.hpp
    Rows rows;
    QUIRE_UNROLL
    for (unsigned r = 0; r < 2; ++r) {
      const unsigned v = first + simt::warp() * 16 + high + 8 * r;
      rows.here[r] = v < vectors;
      const unsigned vector = rows.here[r] ? v : vectors - 1;
      set(rows, r, vector / group);
      rows.first[r] = static_cast<std::int32_t>(p.variant.first_visible(rows.position[r]));
      rows.head[r] = kv_head * group + vector % group;
      rows.largest[r] = -simt::infinity();
      rows.total[r] = 0;
    }
    std::uint32_t q[steps][4];
    load_queries(p, rows, low, q);
    float sums[2 * steps][4]{};

    const simt::Shared<std::uint32_t> cache(0, 2 * stage_words);
    const simt::Shared<float> scales(scales_at, Key::Access::scaled ? 4 * tokens : 0);
    fill(p, table, kv_head, begin, end, cache, scales, 0);
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
      attend(p, rows, t0, end, cache, scales, stage, q, sums);
      simt::sync();
      stage ^= 1u;
    }
    finish(p, rows, low, sums);
  }

  QUIRE_DEVICE static void load_queries(const Params& p, const Rows& rows, unsigned low,
                                        std::uint32_t (&q)[steps][4]) {
    QUIRE_UNROLL
    for (unsigned s = 0; s < steps; ++s) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        const std::size_t at = rows.row[i % 2] * p.q_stride + rows.head[i % 2] * head_dim + s * 16 +
                               i / 2 * 8 + low * 2;
        q[s][i] = simt::pack<Half>(simt::widen(p.q[at]), simt::widen(p.q[at + 1]));
      }
    }
  }

  /// Brings tokens [t0, t0 + tokens) into a stage; zeros from `end` on.
  QUIRE_DEVICE static void fill(const Params& p, const std::uint32_t* table, unsigned kv_head,
                                std::int32_t t0, std::int32_t end,
                                const simt::Shared<std::uint32_t>& cache,
                                const simt::Shared<float>& scales, unsigned stage) {
    constexpr unsigned chunk = 16 / sizeof(Stored);  // elements of 16 bytes
    constexpr unsigned chunks = head_dim / chunk;
    for (unsigned i = simt::thread(); i < 2 * tokens * chunks; i += threads) {
      const unsigned row = i / chunks, c = i % chunks;  // keys' rows, then values'
      const std::int32_t t = t0 + static_cast<std::int32_t>(row % tokens);
      const unsigned to = stage * stage_words + row * row_words + c * chunk / 2;
      const Stored* from = nullptr;
      [[maybe_unused]] float scale = 0;
      if (t < end) {
        const auto token = static_cast<unsigned>(t);
        const std::uint32_t block = table[token / Key::block_tokens];
        const unsigned slot = token % Key::block_tokens;
        const std::byte* slab = row < tokens ? Key::key_slab(p.cache, block, kv_head)
                                             : Key::value_slab(p.cache, block, kv_head);
        from = Key::row(slab, slot) + c * chunk;
        scale = Key::scale(slab, slot);
      }
      if constexpr (sizeof(Stored) == 2) {
        cache.template copy_async<4>(to, reinterpret_cast<const std::uint32_t*>(from));
      } else {
        std::uint32_t pairs[chunk / 2]{};
        if (from != nullptr) {
          as_pairs<Half, chunk>(simt::load_vector_once<chunk>(from), pairs);
        }
        QUIRE_UNROLL
        for (unsigned w = 0; w < chunk / 2; w += 4) {
          cache.template store_vector<4>(to + w,
                                         {{pairs[w], pairs[w + 1], pairs[w + 2], pairs[w + 3]}});
        }
        if constexpr (Key::Access::scaled) {
          if (c == 0) scales.store(stage * 2 * tokens + row, scale);
        }
      }
    }
    simt::commit_copies();
  }

  QUIRE_DEVICE static void attend(const Params& p, Rows& rows, std::int32_t t0, std::int32_t end,
                                  const simt::Shared<std::uint32_t>& cache,
                                  const simt::Shared<float>& scales, unsigned stage,
                                  const std::uint32_t (&q)[steps][4], float (&sums)[2 * steps][4]) {
    const unsigned lane = simt::lane(), low = lane % 4, matrix = lane / 8;
    const unsigned keys = stage * stage_words, values = keys + tokens * row_words;
    float logit[tokens / 8][4]{};  // rows high, high + 8 by tokens 2 low, 2 low + 1 of each eight
    QUIRE_UNROLL
    for (unsigned n = 0; n < tokens / 8; n += 2) {
      QUIRE_UNROLL
      for (unsigned s = 0; s < steps; ++s) {
        const unsigned token = n * 8 + matrix / 2 * 8 + lane % 8;
        std::uint32_t b[4];
        simt::load_matrices<false>(b, cache, keys + token * row_words + s * 8 + matrix % 2 * 4);
        const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        simt::multiply_add<Half>(logit[n], q[s], b0);
        simt::multiply_add<Half>(logit[n + 1], q[s], b1);
      }
    }

    float best[2] = {rows.largest[0], rows.largest[1]};
    QUIRE_UNROLL
    for (unsigned n = 0; n < tokens / 8; ++n) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned r = i / 2, token = n * 8 + low * 2 + i % 2;
        const std::int32_t t = t0 + static_cast<std::int32_t>(token);
        float s = logit[n][i] * p.scale;
        if constexpr (Key::Access::scaled) s *= scales.load(stage * 2 * tokens + token);
        if constexpr (Variant::transforms_logits) {
          s = p.variant.logit(DeviceMath{}, s, rows.head[r],
                              static_cast<float>(rows.position[r] - t));
        }
        const bool visible = t < end && t <= rows.position[r] && t >= rows.first[r];
        logit[n][i] = visible ? s * log2e : -simt::infinity();
        best[r] = simt::max(best[r], logit[n][i]);
      }
    }
    QUIRE_UNROLL
    for (unsigned r = 0; r < 2; ++r) {
      best[r] = simt::max(best[r], simt::shuffle_xor(best[r], 1));
      best[r] = simt::max(best[r], simt::shuffle_xor(best[r], 2));
      const float shrink = weight_of(rows.largest[r], best[r]);
      rows.largest[r] = best[r];
      rows.total[r] *= shrink;
      QUIRE_UNROLL
      for (unsigned d = 0; d < 2 * steps; ++d) {
        sums[d][2 * r] *= shrink;
        sums[d][2 * r + 1] *= shrink;
      }
    }
    QUIRE_UNROLL
    for (unsigned n = 0; n < tokens / 8; ++n) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        float weight = weight_of(logit[n][i], best[i / 2]);
        rows.total[i / 2] += weight;
        if constexpr (Key::Access::scaled) {
          weight *= scales.load(stage * 2 * tokens + tokens + n * 8 + low * 2 + i % 2);
        }
        logit[n][i] = weight;
      }
    }
    QUIRE_UNROLL
    for (unsigned n = 0; n < tokens / 8; n += 2) {
      const std::uint32_t a[4] = {simt::pack<Half>(logit[n][0], logit[n][1]),
                                  simt::pack<Half>(logit[n][2], logit[n][3]),
                                  simt::pack<Half>(logit[n + 1][0], logit[n + 1][1]),
                                  simt::pack<Half>(logit[n + 1][2], logit[n + 1][3])};
      QUIRE_UNROLL
      for (unsigned s = 0; s < steps; ++s) {
        const unsigned token = n * 8 + matrix % 2 * 8 + lane % 8;
        std::uint32_t b[4];
        simt::load_matrices<true>(b, cache, values + token * row_words + s * 8 + matrix / 2 * 4);
        const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        simt::multiply_add<Half>(sums[2 * s], a, b0);
        simt::multiply_add<Half>(sums[2 * s + 1], a, b1);
      }
    }
  }

  QUIRE_DEVICE static void finish(const Params& p, const Rows& rows, unsigned low,
                                  const float (&sums)[2 * steps][4]) {
    using Query = typename Key::Query;
    QUIRE_UNROLL
    for (unsigned r = 0; r < 2; ++r) {
      float total = rows.total[r];
      total += simt::shuffle_xor(total, 1);
      total += simt::shuffle_xor(total, 2);
      if constexpr (shared_prefix) {
        if (!rows.here[r]) continue;
        const std::size_t state = std::size_t{rows.partial[r]} * p.heads + rows.head[r];
        const float factor = total > 0 ? 1.0f / total : 0.0f;
        if (low == 0) {
          p.partial_lse[state] =
              total > 0 ? rows.largest[r] + simt::log2(total) : -simt::infinity();
        }
        QUIRE_UNROLL
        for (unsigned d = 0; d < 2 * steps; ++d) {
          simt::store_vector<2>(p.partial + state * head_dim + d * 8 + low * 2,
                                {{sums[d][2 * r] * factor, sums[d][2 * r + 1] * factor}});
        }
      } else {
        float m = rows.largest[r], shrink = 1;
        if constexpr (Variant::has_sink) {
          const float sink = p.variant.sink_logit(rows.head[r]) * log2e;
          m = simt::max(m, sink);
          shrink = weight_of(rows.largest[r], m);
          total = total * shrink + weight_of(sink, m);
        }
        const float factor = total > 0 ? shrink / total : 0.0f;
        if (!rows.here[r]) continue;
        Query* out = p.out + rows.row[r] * p.out_stride + rows.head[r] * head_dim;
        QUIRE_UNROLL
        for (unsigned d = 0; d < 2 * steps; ++d) {
          simt::store_vector<2>(out + d * 8 + low * 2,
                                {{simt::narrow<Query>(sums[d][2 * r] * factor),
                                  simt::narrow<Query>(sums[d][2 * r + 1] * factor)}});
        }
      }
    }
  }
};

}  // namespace quire::kernels
