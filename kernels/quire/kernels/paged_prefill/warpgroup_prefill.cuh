// One file: what brings tiles and what multiplies them agree on stages, barriers and layouts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/attention/concepts.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/paged_prefill/params.hpp>
#include <quire/simt/warpgroup.cuh>

namespace quire::kernels {

/// What is tuned about prefill attention by warpgroups.
struct WarpgroupTuning {
  unsigned consumers = 2;  // warpgroups that multiply, 64 query vectors each; one more brings tiles
  unsigned tokens = 128;   // of a tile of keys and values
  unsigned stages = 2;     // tiles in shared memory
  bool turns = true;       // whether consumers issue their products in turn
};

/// Whether the kernel exists for keys and values of such blocks: 16-bit elements as they are, rows of
/// whole swizzles, and blocks and tiles of which one divides the other.
template <class Key, WarpgroupTuning tuning>
inline constexpr bool fits_warpgroups =
    !packs_codes<typename Key::Access> && !Key::Access::scaled &&
    sizeof(typename Key::Stored) == 2 && sizeof(typename Key::Query) == 2 &&
    Key::head_dim % 64 == 0 &&
    (tuning.tokens % Key::block_tokens == 0 || Key::block_tokens % tuning.tokens == 0);
template <class Key>
inline constexpr WarpgroupTuning warpgroup_tuning{.tokens = Key::head_dim > 128 ? 64 : 128};
/// Whether engines use it where the device can: from blocks of 8 tokens on. Smaller ones are a copy for
/// each few tokens and 64 dimensions, more than the one warp that issues them hides.
template <class Key>
inline constexpr bool prefers_warpgroups =
    Key::block_tokens >= 8 && fits_warpgroups<Key, warpgroup_tuning<Key>>;

template <class Query, class Variant>
struct WarpgroupPrefillParams : PagedPrefillParams<Query, Variant> {
  simt::TensorMap cache_map{};  // of cache, by WarpgroupPrefill::map_of()
  std::uint32_t works = 0;      // entries of work
};

/// Attention of many queries a sequence on sm_90a, as PagedPrefill: one warp brings tiles of keys and
/// values through the block table by tensor copies, a box for each block and 64 dimensions, into a ring
/// of stages; warpgroups of 64 query vectors each multiply them as they lie there, and keep logits,
/// weights and sums in registers. While a tile's weights are made, the product of the tile before with its
/// values is under way, and the other warpgroups' products are. Blocks take several pieces of work each, the
/// longest first, and the next one's tiles come while results are written. Grid: shape().
/// Values of tokens that nobody wrote could be NaN, which a weight of 0 does not hide: where the tokens
/// begin or end within a block, that warp overwrites those with zeros before they are used.
/// \pre q, out and their strides are multiples of 16 bytes; p.scale is above 0
/// \cost 4 x head_dim multiply-adds a query vector and token it sees, in whole tiles
/// \source Shah et al., "FlashAttention-3", 2024. Deviation: keys and values come by blocks; tiles are
/// walked from the first token on; which block does which piece of work is known beforehand.
template <class KeyType, AttentionVariant Variant,
          WarpgroupTuning tuning = warpgroup_tuning<KeyType>>
struct WarpgroupPrefill {
  using Key = KeyType;
  using Params = WarpgroupPrefillParams<typename Key::Query, Variant>;
  using Query = typename Key::Query;
  static_assert(fits_warpgroups<Key, tuning>,
                "quire: kernels: warpgroups multiply 16-bit keys and values of a multiple of 64 "
                "dimensions, in blocks that divide a tile; smallest model: kv_format::Bf16, blocks "
                "of 16 tokens, head_dim 64");
  using Half = typename Key::Stored;
  static constexpr std::string_view name = "warpgroup_prefill";
  static constexpr std::size_t most_shared_bytes = simt::most_shared_bytes_sm_90;
  static constexpr unsigned consumers = tuning.consumers;
  static constexpr unsigned threads = (1 + consumers) * simt::warpgroup_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  static constexpr unsigned rows = 64;  // of a consumer
  static constexpr unsigned tile = consumers * rows;
  static constexpr unsigned tokens = tuning.tokens;
  static constexpr unsigned stages = tuning.stages;
  static constexpr unsigned box = Key::block_tokens < tokens ? Key::block_tokens : tokens;
  // one consumer has all registers that it can use, and none to take: the emulator's alone
  static_assert(tokens % 16 == 0 && consumers >= (simt::emulated ? 1 : 2) && consumers <= 3 &&
                stages >= 1);

  // Shared memory: matrices of rows of 64 elements, one after the other where a head has more.
  static constexpr unsigned columns = 64, parts = head_dim / columns;
  static constexpr unsigned row_words = simt::swizzle_row_bytes / 4;
  static constexpr unsigned tile_words = tokens * row_words * parts;
  static constexpr unsigned query_words = rows * row_words * parts;  // of a consumer
  static constexpr std::size_t cache_at = std::size_t{consumers} * query_words * 4;
  static constexpr std::size_t barriers_at = cache_at + std::size_t{2} * stages * tile_words * 4;
  static constexpr unsigned barriers = 5 * stages;
  static constexpr std::size_t shared_bytes = barriers_at + barriers * simt::Barrier::bytes;
  static_assert(query_words * 4 % simt::swizzle_atom_bytes == 0 &&
                tile_words * 4 % simt::swizzle_atom_bytes == 0);
  static_assert(shared_bytes <= most_shared_bytes);

  /// What Params::cache_map is for a pool of `blocks` blocks. \errors usage, for memory off 16 bytes
  [[nodiscard]] static simt::TensorMap map_of(const KvPool& pool, std::size_t blocks) {
    return simt::make_tensor_map<Half>(
        pool.base, {.size = {head_dim, Key::block_tokens, 2 * std::uint64_t{pool.kv_heads}, blocks},
                    .strides = {Key::row_bytes, Key::slab_bytes, pool.block_bytes},
                    .box = {columns, box, 1, 1}});
  }

  /// As it is launched: as many blocks as a device runs at once, a multiprocessor's registers being
  /// those of one, or fewer where there is less to do.
  [[nodiscard]] static simt::LaunchShape shape(std::uint32_t works, std::uint32_t kv_heads,
                                               std::uint32_t multiprocessors) {
    const std::uint32_t items = works * kv_heads;
    return {{items < multiprocessors ? items : multiprocessors}, shared_bytes};
  }

  QUIRE_DEVICE static void run(const Params& p) {
    if (simt::thread() == 0) {
      for (unsigned stage = 0; stage < stages; ++stage) {
        for (const unsigned which : {0u, 1u}) {
          full(which, stage).init(1);
          empty(which, stage).init(consumers * 4);
        }
        clean(stage).init(simt::warp_lanes);
      }
      simt::publish_barriers();
    }
    simt::sync();
    // the same in all lanes of a warp, and known to be
    const unsigned role = simt::shuffle(simt::warp() / 4, 0);
    if (role == 0) {
      simt::shrink_registers<consumers == 3 ? 32 : 24>();
      if (simt::warp() == 0) {
        Ring ring{.parity = 1};
        QUIRE_NO_UNROLL
        for (unsigned i = 0; i < pieces(p); ++i) bring(p, item_of(p, i), ring);
      }
    } else {
      simt::grow_registers<consumers == 3 ? 160 : 240>();
      Ring ring;
      QUIRE_NO_UNROLL
      for (unsigned i = 0; i < pieces(p); ++i) attend(p, item_of(p, i), role - 1, ring);
      if constexpr (tuning.turns && consumers > 1) {
        if (role == 1 && ring.owed) simt::meet(1 + consumers, 2 * simt::warpgroup_lanes);
      }
    }
  }

 private:
  /// Tokens [begin, end), in tiles from `start` on, where a box begins.
  struct Span {
    std::int32_t begin = 0, end = 0, start = 0;
    unsigned tiles = 0;
    [[nodiscard]] QUIRE_DEVICE std::int32_t first(unsigned j) const {
      return start + static_cast<std::int32_t>(j * tokens);
    }
    /// Whether tile j has tokens outside the span that a box brings.
    [[nodiscard]] QUIRE_DEVICE bool unclean(unsigned j) const {
      return (j == 0 && start < begin) ||
             (j + 1 == tiles && static_cast<unsigned>(end - start) % box != 0);
    }
  };

  /// One piece of work of one KV head.
  struct Item {
    PrefillSequence of;
    Span span;
    unsigned first = 0, vectors = 0, group = 0, kv_head = 0;
  };
  /// Where the ring of stages is when an item begins, and how often its barriers were used.
  struct Ring {
    unsigned stage = 0, parity = 0;
    unsigned cleaned = 0;  // parities of clean(), a bit for each stage
    bool owed = false;     // a turn of the first consumer's that it has not taken
  };
  /// How many pieces this block has. Of all, the longest first, blocks take one each, then one each in
  /// the other order, and so on: whoever had the longest takes the shortest next.
  QUIRE_DEVICE static unsigned pieces(const Params& p) {
    const unsigned items = p.works * p.cache.kv_heads, blocks = simt::grid().x;
    const unsigned rows_full = items / blocks, left = items % blocks;
    const unsigned at = rows_full % 2 == 0 ? simt::block().x : blocks - 1 - simt::block().x;
    return rows_full + (at < left ? 1u : 0u);
  }
  QUIRE_DEVICE static Item item_of(const Params& p, unsigned piece) {
    const unsigned blocks = simt::grid().x;
    const unsigned at = piece % 2 == 0 ? simt::block().x : blocks - 1 - simt::block().x;
    const unsigned item = piece * blocks + at;
    const PrefillWork work = p.work[item / p.cache.kv_heads];
    Item it;
    it.kv_head = item % p.cache.kv_heads;
    it.of = p.sequences[work.sequence];
    it.group = p.heads / p.cache.kv_heads;
    it.vectors = it.of.rows * it.group;
    it.first = work.first;
    const unsigned last = (work.first + tile < it.vectors ? work.first + tile : it.vectors) - 1;
    Span& span = it.span;
    span.begin = static_cast<std::int32_t>(
        p.variant.first_visible(it.of.position + static_cast<std::int32_t>(work.first / it.group)));
    span.end = it.of.position + static_cast<std::int32_t>(last / it.group) + 1;
    span.start = span.begin / static_cast<std::int32_t>(box) * static_cast<std::int32_t>(box);
    span.tiles = (static_cast<unsigned>(span.end - span.start) + tokens - 1) / tokens;
    return it;
  }

  // Barriers: which = 0 keys, 1 values.
  QUIRE_DEVICE static simt::Barrier full(unsigned which, unsigned stage) {
    return simt::Barrier(barriers_at + (which * stages + stage) * simt::Barrier::bytes);
  }
  QUIRE_DEVICE static simt::Barrier empty(unsigned which, unsigned stage) {
    return simt::Barrier(barriers_at + ((2 + which) * stages + stage) * simt::Barrier::bytes);
  }
  /// A tile's values are without what nobody wrote; used for tiles that have some alone.
  QUIRE_DEVICE static simt::Barrier clean(unsigned stage) {
    return simt::Barrier(barriers_at + (4 * stages + stage) * simt::Barrier::bytes);
  }
  QUIRE_DEVICE static simt::Shared<std::uint32_t> cache() {
    return {cache_at, std::size_t{2} * stages * tile_words};
  }
  QUIRE_DEVICE static unsigned tile_at(unsigned which, unsigned stage) {
    return (which * stages + stage) * tile_words;
  }

  /// Brings the tiles one after the other, each as soon as its stage is free. \pre one warp calls
  QUIRE_DEVICE static void bring(const Params& p, const Item& item, Ring& ring) {
    const std::uint32_t* table = p.blocks + item.of.table_begin;
    const Span& span = item.span;
    constexpr unsigned boxes = tokens / box * parts;
    constexpr unsigned each = (boxes + simt::warp_lanes - 1) / simt::warp_lanes;
    const unsigned lane = simt::lane(), kv_head = item.kv_head;
    const auto token_of = [&](unsigned j, unsigned b) {
      return span.first(j) + static_cast<std::int32_t>(b / parts * box);
    };
    const auto block_of = [&](std::int32_t token) {
      return token < span.end ? table[static_cast<unsigned>(token) / Key::block_tokens] : 0u;
    };
    unsigned stage = ring.stage, parity = ring.parity;
    QUIRE_NO_UNROLL
    for (unsigned j = 0; j < span.tiles; ++j) {
      // few enough to know before there is room
      constexpr bool ahead = each <= 2;
      std::uint32_t known[ahead ? each : 1];
      if constexpr (ahead) {
        QUIRE_UNROLL
        for (unsigned i = 0; i < each; ++i) {
          known[i] = block_of(token_of(j, i * simt::warp_lanes + lane));
        }
      }
      QUIRE_UNROLL
      for (unsigned which = 0; which < 2; ++which) {
        empty(which, stage).wait(parity);
        const simt::Barrier arrives = full(which, stage);
        if (lane == 0) arrives.arrive_expecting(tile_words * 4);
        simt::sync_warp();
        QUIRE_UNROLL
        for (unsigned i = 0; i < each; ++i) {
          const unsigned b = i * simt::warp_lanes + lane;
          if (b >= boxes) continue;
          const std::int32_t token = token_of(j, b);
          const std::uint32_t block = ahead ? known[ahead ? i : 0] : block_of(token);
          // behind the end, what lies beyond the tensor: zeros
          const unsigned column = token < span.end ? b % parts * columns : head_dim;
          simt::copy_box(
              cache(), tile_at(which, stage) + (b % parts * tokens + b / parts * box) * row_words,
              p.cache_map,
              {{static_cast<std::int32_t>(column),
                static_cast<std::int32_t>(static_cast<unsigned>(token) % Key::block_tokens),
                static_cast<std::int32_t>(which * p.cache.kv_heads + kv_head),
                static_cast<std::int32_t>(block)}},
              arrives);
        }
      }
      if (++stage == stages) {
        stage = 0;
        parity ^= 1u;
      }
      // the first tile's, once as many are under way as may be
      const bool ring_is_full = j + 1 == (stages < span.tiles ? stages : span.tiles);
      if (ring_is_full && span.tiles > 1 && span.unclean(0)) overwrite(span, 0, ring);
    }
    if (span.unclean(span.tiles - 1)) overwrite(span, span.tiles - 1, ring);
    ring.stage = stage;
    ring.parity = parity;
  }

  /// Overwrites values of tokens before the span and behind it, which keeps the stage until it is done.
  /// \pre the warp that brought tile j calls
  QUIRE_DEVICE static void overwrite(const Span& span, unsigned j, const Ring& ring) {
    const simt::Shared<std::uint32_t> to = cache();
    const unsigned stage = (ring.stage + j) % stages;
    full(1, stage).wait((ring.parity ^ 1u ^ ((ring.stage + j) / stages)) & 1u);
    const std::int32_t t0 = span.first(j);
    const unsigned low = t0 < span.begin ? static_cast<unsigned>(span.begin - t0) : 0u;
    const auto left = static_cast<unsigned>(span.end - t0);
    const unsigned high = left < tokens ? left : tokens;
    const unsigned stop = (high + box - 1) / box * box;  // zeros from there on
    constexpr unsigned units = head_dim / 8;
    for (unsigned i = simt::lane(); i < (low + stop - high) * units; i += simt::warp_lanes) {
      const unsigned row = i / units < low ? i / units : high + i / units - low;
      const unsigned unit = i % units;
      to.template store_vector<4>(
          tile_at(1, stage) + unit / 8 * tokens * row_words +
              simt::swizzled(row * simt::swizzle_row_bytes + unit % 8 * 16) / 4,
          {{0, 0, 0, 0}});
    }
    simt::fence_async();
    clean(stage).arrive();
  }

  // What a thread of a consumer holds of its products: rows high and high + 8 of 16 a warp.
  static constexpr unsigned wide = head_dim % 128 == 0 ? 128 : 64, sums = head_dim / wide;
  using Logits = float[tokens / 2];
  using Weights = std::uint32_t[tokens / 16][4];
  using Sums = float[sums][wide / 2];
  struct Rows {
    std::int32_t position[2], sees[2];   // what each sees: [sees, position]
    std::int32_t last_seen, first_seen;  // tokens that both see, if there are any
    unsigned head[2];
    float largest[2], total[2], shrink[2];
    bool grew[2];
  };

  QUIRE_DEVICE static void attend(const Params& p, const Item& item, unsigned consumer,
                                  Ring& ring) {
    const PrefillSequence& of = item.of;
    const Span& span = item.span;
    unsigned first = item.first;
    const unsigned vectors = item.vectors, group = item.group, kv_head = item.kv_head;
    const unsigned thread = simt::thread() % simt::warpgroup_lanes;
    const auto clip = [&](unsigned v) { return v < vectors ? v : vectors - 1; };
    const simt::Shared<std::uint32_t> queries(std::size_t{consumer} * query_words * 4, query_words);
    first += consumer * rows;
    simt::meet(1 + consumer, simt::warpgroup_lanes);  // nobody multiplies by the item's before
    for (unsigned i = thread; i < rows * (head_dim / 8); i += simt::warpgroup_lanes) {
      const unsigned row = i / (head_dim / 8), unit = i % (head_dim / 8);
      const unsigned vector = clip(first + row);
      const std::size_t head = kv_head * group + vector % group;
      load_query(p.q + (of.row + vector / group) * p.q_stride + head * head_dim + unit * 8, queries,
                 unit / 8 * rows * row_words +
                     simt::swizzled(row * simt::swizzle_row_bytes + unit % 8 * 16) / 4);
    }
    simt::fence_async();
    simt::meet(1 + consumer, simt::warpgroup_lanes);

    const unsigned own = first + thread / 32 * 16 + thread % 32 / 4;  // and 8 on
    Rows mine;
    QUIRE_UNROLL
    for (unsigned r = 0; r < 2; ++r) {
      const unsigned vector = clip(own + 8 * r);
      mine.position[r] = of.position + static_cast<std::int32_t>(vector / group);
      mine.sees[r] = static_cast<std::int32_t>(p.variant.first_visible(mine.position[r]));
      mine.head[r] = kv_head * group + vector % group;
      mine.largest[r] = -simt::infinity();
      mine.total[r] = 0;
    }
    mine.last_seen = mine.position[0] < mine.position[1] ? mine.position[0] : mine.position[1];
    mine.first_seen = mine.sees[0] > mine.sees[1] ? mine.sees[0] : mine.sees[1];

    const std::uint64_t a =
        simt::matrix_descriptor(queries.address(0), 16, simt::swizzle_atom_bytes);
    Logits logit;
    Weights weight;
    Sums sum;
    QUIRE_UNROLL
    for (unsigned n = 0; n < sums; ++n) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < wide / 2; ++i) sum[n][i] = 0;
    }
    unsigned stage = ring.stage, parity = ring.parity;  // of the tile whose weights there are
    full(0, stage).wait(parity);
    simt::begin_products();
    multiply_keys(a, stage, logit);
    simt::commit_products();
    simt::wait_products<0>();
    simt::hold(logit);
    leave(0, stage);
    weigh(p, mine, span, 0, logit);
    narrow(logit, weight);

    QUIRE_NO_UNROLL
    for (unsigned j = 1; j < span.tiles; ++j) {
      const unsigned next = stage + 1 == stages ? 0 : stage + 1;
      const unsigned next_parity = next == 0 ? parity ^ 1u : parity;
      full(0, next).wait(next_parity);
      if constexpr (tuning.turns && consumers > 1) {
        if (consumer > 0 || ring.owed) {
          simt::meet(1 + consumers + consumer, 2 * simt::warpgroup_lanes);
        }
        ring.owed = true;  // by the last consumer, when it has had its turn
      }
      simt::begin_products();
      multiply_keys(a, next, logit);
      simt::commit_products();
      full(1, stage).wait(parity);
      if (span.unclean(j - 1)) wait_until_clean(stage, ring);
      simt::begin_products();
      multiply_values(weight, stage, sum);
      simt::commit_products();
      if constexpr (tuning.turns && consumers > 1) {
        const unsigned then = consumer + 1 == consumers ? 0 : consumer + 1;
        simt::meet_later(1 + consumers + then, 2 * simt::warpgroup_lanes);
      }
      simt::wait_products<1>();
      simt::hold(logit);
      leave(0, next);
      weigh(p, mine, span, j, logit);
      if (shrinks(mine)) {
        simt::wait_products<0>();
        hold_all(sum, weight);
        shrink(mine, sum);
      } else {
        simt::wait_products<0>();
        hold_all(sum, weight);
      }
      leave(1, stage);
      narrow(logit, weight);
      stage = next;
      parity = next_parity;
    }
    full(1, stage).wait(parity);
    if (span.unclean(span.tiles - 1)) wait_until_clean(stage, ring);
    simt::begin_products();
    multiply_values(weight, stage, sum);
    simt::commit_products();
    simt::wait_products<0>();
    hold_all(sum, weight);
    leave(1, stage);
    ring.stage = stage + 1 == stages ? 0 : stage + 1;
    ring.parity = ring.stage == 0 ? parity ^ 1u : parity;
    QUIRE_UNROLL
    for (unsigned r = 0; r < 2; ++r) {
      const unsigned vector = clip(own + 8 * r);
      finish(p, mine, r, own + 8 * r < vectors, of.row + vector / group, sum);
    }
  }

  /// \pre the tile in the stage is unclean
  QUIRE_DEVICE static void wait_until_clean(unsigned stage, Ring& ring) {
    clean(stage).wait(ring.cleaned >> stage & 1u);
    ring.cleaned ^= 1u << stage;
  }
  /// The warp is done with a stage. \pre its products are waited for
  QUIRE_DEVICE static void leave(unsigned which, unsigned stage) {
    if (simt::lane() == 0) empty(which, stage).arrive();
  }

  QUIRE_DEVICE static void load_query(const Query* from, const simt::Shared<std::uint32_t>& queries,
                                      unsigned to) {
    const auto v = simt::load_vector<8>(from);
    std::uint32_t pairs[4];
    if constexpr (std::is_same_v<Query, Half>) {
      as_pairs<Half, 8>(v, pairs);
    } else {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        pairs[i] = simt::pack<Half>(simt::widen(v.v[2 * i]), simt::widen(v.v[2 * i + 1]));
      }
    }
    queries.template store_vector<4>(to, {{pairs[0], pairs[1], pairs[2], pairs[3]}});
  }

  /// Begins logit = queries x keys of a stage.
  QUIRE_DEVICE static void multiply_keys(std::uint64_t a, unsigned stage, Logits& logit) {
    const std::uint64_t b =
        simt::matrix_descriptor(cache().address(tile_at(0, stage)), 16, simt::swizzle_atom_bytes);
    QUIRE_UNROLL
    for (unsigned s = 0; s < head_dim / 16; ++s) {
      const unsigned part = s / 4, within = s % 4 * 32;
      simt::multiply_async<Half, simt::Major::k>(
          logit, simt::further(a, part * rows * simt::swizzle_row_bytes + within),
          simt::further(b, part * tokens * simt::swizzle_row_bytes + within), s > 0);
    }
  }
  /// Begins sum += weights x values of a stage.
  QUIRE_DEVICE static void multiply_values(const Weights& weight, unsigned stage, Sums& sum) {
    const std::uint64_t b =
        simt::matrix_descriptor(cache().address(tile_at(1, stage)),
                                tokens * simt::swizzle_row_bytes, simt::swizzle_atom_bytes);
    QUIRE_UNROLL
    for (unsigned s = 0; s < tokens / 16; ++s) {
      QUIRE_UNROLL
      for (unsigned n = 0; n < sums; ++n) {
        simt::multiply_async<Half, simt::Major::other>(
            sum[n], weight[s],
            simt::further(b, (n * (wide / columns) * tokens + s * 16) * simt::swizzle_row_bytes),
            true);
      }
    }
  }
  QUIRE_DEVICE static void hold_all(Sums& sum, Weights& weight) {
    QUIRE_UNROLL
    for (unsigned n = 0; n < sums; ++n) simt::hold(sum[n]);
    QUIRE_UNROLL
    for (unsigned s = 0; s < tokens / 16; ++s) simt::hold(weight[s]);
  }

  /// What a product is to be multiplied by to be a logit in base 2.
  QUIRE_DEVICE static float unit(const Params& p) {
    return Variant::transforms_logits ? log2e : p.scale * log2e;
  }

  /// Turns the products of tile j into weights; by how much the sums shrink is left in `mine`.
  QUIRE_DEVICE static void weigh(const Params& p, Rows& mine, const Span& span, unsigned j,
                                 Logits& logit) {
    const unsigned low = simt::lane() % 4;
    const std::int32_t t0 = span.first(j), first = t0 + static_cast<std::int32_t>(low * 2);
    const auto row_of = [](unsigned i) { return i % 4 / 2; };
    const auto token_of = [](unsigned i) { return static_cast<std::int32_t>(i / 4 * 8 + i % 2); };
    if constexpr (Variant::transforms_logits) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < tokens / 2; ++i) {
        const unsigned r = row_of(i);
        logit[i] = p.variant.logit(DeviceMath{}, logit[i] * p.scale, mine.head[r],
                                   static_cast<float>(mine.position[r] - first - token_of(i)));
      }
    }
    // most tiles are seen whole
    const std::int32_t last = t0 + static_cast<std::int32_t>(tokens) - 1;
    const bool whole = last < span.end && last <= mine.last_seen && t0 >= mine.first_seen;
    if (simt::ballot(whole) != simt::full_mask) {
      QUIRE_UNROLL
      for (unsigned r = 0; r < 2; ++r) {
        // (a query's own token is before the end)
        const std::int32_t from = mine.sees[r] - first, to = mine.position[r] - first;
        QUIRE_UNROLL
        for (unsigned i = 0; i < tokens / 2; ++i) {
          if (row_of(i) != r) continue;
          const bool visible = token_of(i) >= from && token_of(i) <= to;
          logit[i] = visible ? logit[i] : -simt::infinity();
        }
      }
    }
    const float by = unit(p);
    QUIRE_UNROLL
    for (unsigned r = 0; r < 2; ++r) {
      float best = mine.largest[r];
      QUIRE_UNROLL
      for (unsigned i = 2 * r; i < tokens / 2; i += 4) {
        best = simt::max(best, simt::max(logit[i], logit[i + 1]));
      }
      best = simt::max(best, simt::shuffle_xor(best, 1));
      best = simt::max(best, simt::shuffle_xor(best, 2));
      // nothing seen yet: weights are 0 whatever they are taken from
      const float base = best == -simt::infinity() ? 0.0f : best * by;
      mine.shrink[r] = simt::exp2(simt::fma(mine.largest[r], by, -base));
      mine.grew[r] = best != mine.largest[r];
      mine.largest[r] = best;
      float total = mine.total[r] * mine.shrink[r];
      QUIRE_UNROLL
      for (unsigned i = 2 * r; i < tokens / 2; i += 4) {
        logit[i] = simt::exp2(simt::fma(logit[i], by, -base));
        logit[i + 1] = simt::exp2(simt::fma(logit[i + 1], by, -base));
        total += logit[i] + logit[i + 1];
      }
      mine.total[r] = total;
    }
  }
  /// Whether a largest logit of the warp grew. Whichever lane has seen it has a weight of 1 in its total,
  /// so that asking for the total changes nothing, but that weights are made before the answer is known.
  QUIRE_DEVICE static bool shrinks(const Rows& mine) {
    return simt::ballot((mine.grew[0] && mine.total[0] > 0) ||
                        (mine.grew[1] && mine.total[1] > 0)) != 0;
  }
  QUIRE_DEVICE static void shrink(const Rows& mine, Sums& sum) {
    QUIRE_UNROLL
    for (unsigned n = 0; n < sums; ++n) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < wide / 2; ++i) sum[n][i] *= mine.shrink[i % 4 / 2];
    }
  }
  /// Weights as the next product takes them: registers of the one layout are those of the other.
  QUIRE_DEVICE static void narrow(const Logits& logit, Weights& weight) {
    QUIRE_UNROLL
    for (unsigned s = 0; s < tokens / 16; ++s) {
      QUIRE_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        weight[s][i] = simt::pack<Half>(logit[s * 8 + i * 2], logit[s * 8 + i * 2 + 1]);
      }
    }
  }

  /// Writes query vector r of this lane's two; `here`: it is one. Lanes that share a row exchange what
  /// they have, so that each writes 16 bytes. \pre the whole warp calls
  QUIRE_DEVICE static void finish(const Params& p, const Rows& mine, unsigned r, bool here,
                                  std::size_t row, const Sums& sum) {
    const unsigned low = simt::lane() % 4, head = mine.head[r];
    float total = mine.total[r];
    total += simt::shuffle_xor(total, 1);
    total += simt::shuffle_xor(total, 2);
    const float largest = mine.largest[r] * unit(p);
    float m = largest, shrink = 1;
    if constexpr (Variant::has_sink) {
      const float sink = p.variant.sink_logit(head) * log2e;
      m = simt::max(m, sink);
      shrink = weight_of(largest, m);
      total = total * shrink + weight_of(sink, m);
    }
    const float factor = total > 0 ? shrink / total : 0.0f;
    Query* out = p.out + row * p.out_stride + head * head_dim;
    QUIRE_UNROLL
    for (unsigned d = 0; d < head_dim; d += 32) {  // four groups of 8 columns
      simt::Vector<std::uint32_t, 4> words;
      QUIRE_UNROLL
      for (unsigned g = 0; g < 4; ++g) {
        const float* of = sum[d / wide] + (d % wide / 8 + g) * 4 + r * 2;
        words.v[g] = simt::pack<Query>(of[0] * factor, of[1] * factor);
      }
      // a transpose of 4 x 4 words: lane `low` ends with group `low`
      QUIRE_UNROLL
      for (unsigned bit = 1; bit < 4; bit *= 2) {
        const bool upper = (low & bit) != 0;
        QUIRE_UNROLL
        for (unsigned g = 0; g < 4; ++g) {
          if ((g & bit) != 0) continue;
          const std::uint32_t keeps = upper ? words.v[g + bit] : words.v[g];
          const std::uint32_t gets = simt::shuffle_xor(upper ? words.v[g] : words.v[g + bit], bit);
          words.v[g] = upper ? gets : keeps;
          words.v[g + bit] = upper ? keeps : gets;
        }
      }
      if (here) {
        simt::store_vector<4>(reinterpret_cast<std::uint32_t*>(out + d + low * 8), words);
      }
    }
  }
};

}  // namespace quire::kernels
