// One file: the steps of a task share its scratch and its tile, and read best in their order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include <quire/attention/concepts.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/simd.hpp>
#include <quire/kv_format/codec.hpp>

namespace quire::attention {

/// Queries and result of one layer. \shape q, out (rows, heads, head_dim), rows q_stride and
/// out_stride floats apart
struct Queries {
  const float* q = nullptr;
  std::size_t q_stride = 0;
  float* out = nullptr;
  std::size_t out_stride = 0;
  std::size_t heads = 0;
  float scale = 1;
  std::span<const SequenceRows> sequences;
};

/// Keys per pass of the kernel. Passes start at multiples of it in the sequence, whatever the block
/// size, so that sums are always formed in the same order.
inline constexpr std::size_t tile_tokens = 64;
/// Query vectors (positions times query heads of one KV head) per task: they share what is read.
inline constexpr std::size_t tile_queries = 48;

/// Working memory of the kernel, one part per thread; kept by the caller from call to call.
class Workspace {
 public:
  /// Floats of one thread's part for the given head size.
  static std::size_t floats(std::size_t head_dim) {
    const std::size_t padded = simd::round_up(head_dim, 16);
    return 2 * tile_queries * padded         // queries, sums
           + 3 * tile_tokens * padded        // transposed keys, rows of keys or values
           + tile_queries * tile_tokens      // scores
           + 2 * tile_queries + 2 * padded;  // maximum, total; a row of zeros
  }
  /// extra: floats that a thread needs besides.
  void reserve(std::size_t threads, std::size_t head_dim, std::size_t extra = 0) {
    kernel_ = simd::round_up(floats(head_dim), 16);
    part_ = kernel_ + simd::round_up(extra, 16);
    if (memory_.size() < part_ * threads) memory_ = AlignedArray<float>(part_ * threads);
  }
  [[nodiscard]] float* part(std::size_t thread) { return memory_.data() + thread * part_; }
  [[nodiscard]] float* extra(std::size_t thread) { return part(thread) + kernel_; }

 private:
  AlignedArray<float> memory_;
  std::size_t part_ = 0, kernel_ = 0;
};

namespace detail {

struct VectorMath {
  using Value = simd::Vec;
  static Value set(float x) { return simd::set(x); }
  static Value add(Value a, Value b) { return simd::hn::Add(a, b); }
  static Value mul(Value a, Value b) { return simd::hn::Mul(a, b); }
  static Value tanh(Value x) { return simd::tanh(x); }
};

/// Right operands of the two products; named, so that all kernels share the tiles.
struct KeyColumns {
  const float* keys;  // (head_dim, tile_tokens)
  HWY_INLINE simd::Vec operator()(std::size_t k, std::size_t v) const {
    return simd::load(keys + k * tile_tokens + v * simd::lanes);
  }
};
template <class Element>
struct ValueRows {
  const Element* const* values;
  std::size_t dim;
  HWY_INLINE simd::Vec operator()(std::size_t t, std::size_t v) const {
    return simd::load(values[t] + dim + v * simd::lanes);
  }
};

/// The query vectors of one task: rows [first, first + count) of (positions, group) of one sequence
/// and KV head.
struct Task {
  std::size_t sequence = 0;
  std::size_t kv_head = 0;
  std::size_t first = 0;
  std::size_t count = 0;
};

/// The keys of a sequence in the order of its block table: key p lies in slot p % block_tokens of
/// entry p / block_tokens. What else keys may be: retained.hpp.
struct TableKeys {
  static constexpr bool listed = false;  // each key has a slot of its own
  static constexpr bool shifts = false;  // keys may have to be turned before they are used
  static constexpr bool votes = false;   // somebody asks for the weights
};

/// A plain format's element; float where there is none.
template <class Format>
struct ElementOf {
  using type = float;
};
template <PlainKvFormat Format>
struct ElementOf<Format> {
  using type = typename Format::Element;
};

/// Runs one task: streaming softmax over tiles of keys, in base 2.
/// Format: a plain one, or Packed for all others, whose tokens the view's codec turns into fp32 one at
/// a time, in the first-level cache.
template <kv_format::KvStorage Format, AttentionVariant Variant, class Keys = TableKeys>
class TaskKernel {
  static constexpr bool plain = PlainKvFormat<Format>;
  using Element = typename ElementOf<Format>::type;
  static constexpr bool fp32 = plain && std::is_same_v<Element, float>;
  static constexpr float log2e = 1.44269504088896340736f;

 public:
  TaskKernel(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
             const Task& task, const Keys& keys, float* memory)
      : cache_(cache),
        queries_(queries),
        variant_(variant),
        sequence_(queries.sequences[task.sequence]),
        seen_(keys),
        task_(task),
        group_(queries.heads / cache.kv_heads),
        padded_(simd::round_up(cache.head_dim, 16)) {
    auto take = [&memory](std::size_t floats) {
      float* p = memory;
      memory += floats;
      return p;
    };
    q_ = take(tile_queries * padded_);
    sums_ = take(tile_queries * padded_);
    keys_ = take(tile_tokens * padded_);
    key_rows_ = take(tile_tokens * padded_);
    value_rows_ = take(tile_tokens * padded_);
    scores_ = take(tile_queries * tile_tokens);
    largest_ = take(tile_queries);
    total_ = take(tile_queries);
    zeros_ = take(2 * padded_);
  }

  void run() {
    if constexpr (!plain) {
      const kv_format::SideCodec& side = cache_.codec->keys;
      key_basis_ = !Keys::shifts && side.to_basis != nullptr && !turns_keys();
    }
    prepare();
    const std::int64_t last = position(task_.count - 1);
    const std::int64_t first = variant_.first_visible(position(0));
    constexpr auto tile = static_cast<std::int64_t>(tile_tokens);
    for (std::int64_t begin = first / tile * tile; begin <= last; begin += tile) {
      tile_begin_ = begin;
      tile_count_ = static_cast<std::size_t>(std::min(tile, last + 1 - begin));
      // Slots before anything visible may have lost their blocks; they are never touched.
      tile_skip_ = static_cast<std::size_t>(std::max<std::int64_t>(0, first - begin));
      look_ahead(last + 1);
      if constexpr (!plain && !Keys::listed) {
        for (std::size_t t = tile_skip_; t < tile_count_; ++t) locate_open(t);
      }
      load_keys();
      multiply_keys();
      load_values();
      softmax_and_sum();
      std::swap(here_, next_);
    }
    finish();
  }

 private:
  [[nodiscard]] std::int64_t position(std::size_t r) const {
    const auto row = static_cast<std::int64_t>((task_.first + r) / group_);
    if constexpr (Keys::listed) {
      return seen_.before() + row;  // in the order of the list
    } else {
      return sequence_.position + row;
    }
  }
  [[nodiscard]] std::size_t head(std::size_t r) const {
    return task_.kv_head * group_ + (task_.first + r) % group_;
  }
  [[nodiscard]] std::size_t row(std::size_t r) const {
    return sequence_.row + (task_.first + r) / group_;
  }

  void prepare() {
    // Base 2 throughout; a variant's logit() works in natural units, so it converts after it.
    const float scale = Variant::transforms_logits ? queries_.scale : queries_.scale * log2e;
    for (std::size_t r = 0; r < task_.count; ++r) {
      const float* from = queries_.q + row(r) * queries_.q_stride + head(r) * cache_.head_dim;
      float* to = q_ + r * padded_;
      for (std::size_t i = 0; i < cache_.head_dim; ++i) to[i] = from[i] * scale;
      if constexpr (!plain) {
        if (key_basis_) cache_.codec->keys.to_basis(to, cache_.head_dim);
      }
      largest_[r] = -std::numeric_limits<float>::infinity();
      total_[r] = 0;
      if constexpr (Variant::has_sink) {
        largest_[r] = variant_.sink_logit(head(r)) * log2e;
        total_[r] = 1;
      }
    }
    std::fill_n(sums_, task_.count * padded_, 0.0f);
    std::fill_n(zeros_, 2 * padded_, 0.0f);
  }

  /// Where a token's key and value lie.
  struct Place {
    const std::byte* keys = nullptr;  // slabs of its block
    const std::byte* values = nullptr;
    std::size_t slot = 0;
  };
  /// Places of tokens [from, count) of the tile that begins at `begin`. Tiles are asked for in order,
  /// each once: the walk through the block table goes on where it was, without a division.
  void locate(Place* places, std::size_t begin, std::size_t from, std::size_t count) {
    if constexpr (Keys::listed) {
      for (std::size_t t = from; t < count; ++t) {
        const auto [block, slot] = place(begin + t);
        places[t] = {cache_.keys(block, task_.kv_head), cache_.values(block, task_.kv_head), slot};
      }
    } else {
      if (!walking_) {
        walking_ = true;
        entry_ = (begin + from) / cache_.block_tokens;
        entry_slot_ = (begin + from) % cache_.block_tokens;
      }
      for (std::size_t t = from; t < count;) {
        const BlockId block = sequence_.blocks[entry_];
        Place at{cache_.keys(block, task_.kv_head), cache_.values(block, task_.kv_head),
                 entry_slot_};
        const std::size_t stop = std::min(count, t + cache_.block_tokens - at.slot);
        for (; t < stop; ++t, ++at.slot) places[t] = at;
        entry_slot_ = at.slot;
        if (entry_slot_ == cache_.block_tokens) {
          entry_slot_ = 0;
          ++entry_;
        }
      }
    }
  }

  /// Where a token that is not packed yet lies.
  void locate_open(std::size_t t) {
    using kv_format::OpenBlocks;
    const kv_format::OpenBlocks* open = cache_.open;
    open_keys_[t] = open_values_[t] = nullptr;
    if (open == nullptr) return;
    const std::size_t p = static_cast<std::size_t>(tile_begin_) + t, slot = here_[t].slot;
    const BlockId block = sequence_.blocks[p / cache_.block_tokens];
    if (!open->is_open(block)) return;
    const auto reads = [&](const kv_format::SideCodec& side, OpenBlocks::Side which) {
      if (side.seal != nullptr) return !open->sealed(block, which);
      // the newest `residual` tokens before the step's first one, itself included, and the step's
      return side.residual > 0 && static_cast<std::int64_t>(p + side.residual) > sequence_.position;
    };
    if (reads(cache_.codec->keys, OpenBlocks::keys)) {
      open_keys_[t] = open->row(block, cache_.layer, OpenBlocks::keys, task_.kv_head, slot);
    }
    if (reads(cache_.codec->values, OpenBlocks::values)) {
      open_values_[t] = open->row(block, cache_.layer, OpenBlocks::values, task_.kv_head, slot);
    }
  }

  /// Block and slot of a listed key.
  [[nodiscard]] std::pair<BlockId, std::size_t> place(std::size_t p) const {
    const std::size_t slot = seen_.slot(p);
    return {sequence_.blocks[slot / cache_.block_tokens], slot % cache_.block_tokens};
  }

  /// Places of the tile's tokens and the next one's, and the rows that the processor should fetch while
  /// this tile's keys are transposed: its values and the next tile's keys. Blocks lie anywhere, so it
  /// cannot foresee them.
  void look_ahead(std::int64_t end) {
    const auto begin = static_cast<std::size_t>(tile_begin_);
    if (!located_) locate(here_, begin, tile_skip_, tile_count_);
    located_ = true;
    const std::size_t after = begin + tile_tokens, stop = static_cast<std::size_t>(end);
    const std::size_t count = stop > after ? std::min(tile_tokens, stop - after) : 0;
    locate(next_, after, 0, count);
    if constexpr (plain) {
      const std::size_t row_bytes = cache_.head_dim * sizeof(Element);
      const std::byte* zeros = reinterpret_cast<const std::byte*>(zeros_);
      for (std::size_t t = 0; t < tile_tokens; ++t) {
        ahead_values_[t] = used(t) ? here_[t].values + here_[t].slot * row_bytes : zeros;
        ahead_keys_[t] = t < count ? next_[t].keys + next_[t].slot * row_bytes : zeros;
      }
    } else {
      // A token's share of its slab stands for its row: what is packed may lie anywhere in the slab, but
      // the tokens of a block take turns, so that together they cover it.
      const std::size_t keys = cache_.slab_bytes / cache_.block_tokens;
      const std::size_t values =
          (cache_.value_slab_bytes == 0 ? cache_.slab_bytes : cache_.value_slab_bytes) /
          cache_.block_tokens;
      for (std::size_t t = 0; t < tile_tokens; ++t) {
        if (used(t)) fetch(here_[t].values + here_[t].slot * values, values);
        if (t < count) fetch(next_[t].keys + next_[t].slot * keys, keys);
      }
    }
  }

  static void fetch(const std::byte* from, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 64) hwy::Prefetch(from + i);
  }

  [[nodiscard]] bool used(std::size_t t) const { return t >= tile_skip_ && t < tile_count_; }

  template <class Stored>
  [[nodiscard]] const Stored* plain_row(const std::byte* slab, std::size_t t) const {
    return reinterpret_cast<const Stored*>(slab) + here_[t].slot * cache_.head_dim;
  }

  [[nodiscard]] bool turns_keys() const {
    return cache_.codec->keys.before_rotation && cache_.rotations != nullptr;
  }

  /// One key as fp32, padded with zeros.
  const float* decode_key(std::size_t t, float* to) const {
    if constexpr (plain) {
      Format::load(here_[t].keys, cache_.block_tokens, cache_.head_dim, here_[t].slot, to);
    } else {
      const kv_format::SideCodec& side = cache_.codec->keys;
      if (!Keys::listed && open_keys_[t] != nullptr) {
        for (std::size_t i = 0; i < cache_.head_dim; ++i) to[i] = to_float(open_keys_[t][i]);
        if (key_basis_) side.to_basis(to, cache_.head_dim);
      } else {
        side.read(cache_.key_fit(task_.kv_head), here_[t].keys, cache_.block_tokens,
                  cache_.head_dim, here_[t].slot, to);
        if (side.from_basis != nullptr && !key_basis_) side.from_basis(to, cache_.head_dim);
        if (!Keys::listed && turns_keys()) {
          const std::size_t p = static_cast<std::size_t>(tile_begin_) + t;
          turn(cache_.rotations + p * cache_.head_dim, cache_.head_dim, false, to);
        }
      }
    }
    std::fill(to + cache_.head_dim, to + padded_, 0.0f);
    return to;
  }

  /// One value as fp32, padded with zeros, in the basis of its format.
  const float* decode_value(std::size_t t, float* to) const {
    if constexpr (plain) {
      Format::load(here_[t].values, cache_.block_tokens, cache_.head_dim, here_[t].slot, to);
    } else {
      const kv_format::SideCodec& side = cache_.codec->values;
      if (!Keys::listed && open_values_[t] != nullptr) {
        for (std::size_t i = 0; i < cache_.head_dim; ++i) to[i] = to_float(open_values_[t][i]);
        if (side.to_basis != nullptr) side.to_basis(to, cache_.head_dim);
      } else {
        side.read(cache_.value_fit(task_.kv_head), here_[t].values, cache_.block_tokens,
                  cache_.head_dim, here_[t].slot, to);
      }
    }
    std::fill(to + cache_.head_dim, to + padded_, 0.0f);
    return to;
  }

  /// keys_ (head_dim, tile_tokens): transposed, zero where no key is.
  void load_keys() {
    using simd::lanes;
    if constexpr (Keys::shifts) {
      if (seen_.shift(static_cast<std::size_t>(tile_begin_)) != 0) return load_shifted_keys();
    }
    if constexpr (plain) {
      if (cache_.head_dim % lanes == 0) {
        const Element* rows[tile_tokens];
        for (std::size_t t = 0; t < tile_tokens; ++t) {
          // zeros_ is as long as any row of elements
          rows[t] = used(t) ? plain_row<Element>(here_[t].keys, t)
                            : reinterpret_cast<const Element*>(zeros_);
        }
        return transpose(rows);
      }
    }
    const float* rows[tile_tokens];
    for (std::size_t t = 0; t < tile_tokens; ++t) {
      rows[t] = used(t) ? decode_key(t, key_rows_ + t * padded_) : zeros_;
    }
    transpose(rows);
  }

  /// As load_keys(), for a tile some of whose keys are turned to another position. Distances to the
  /// query shrink by what was dropped in between, so that the first key of a tile is turned furthest.
  void load_shifted_keys() {
    const float* rows[tile_tokens];
    for (std::size_t t = 0; t < tile_tokens; ++t) {
      if (!used(t)) {
        rows[t] = zeros_;
        continue;
      }
      float* row = key_rows_ + t * padded_;
      decode_key(t, row);
      seen_.turn(static_cast<std::size_t>(tile_begin_) + t, row);
      rows[t] = row;
    }
    transpose(rows);
  }

  template <class Stored>
  void transpose(const Stored* const* rows) {
    using simd::lanes;
    const std::size_t dims = simd::round_up(cache_.head_dim, lanes);
    for (std::size_t t = 0; t < tile_count_; t += lanes) {
      // Rows are fetched whole, one after the other: the processor's own prefetching follows that.
      [[maybe_unused]] std::size_t row = t, at = 0;
      for (std::size_t i = 0; i < dims; i += lanes) {
        simd::Vec square[lanes];
        simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
          square[l] = simd::load(rows[t + l] + i);
          if constexpr (plain) {
            hwy::Prefetch(ahead_values_[row] + at * sizeof(Element));
            hwy::Prefetch(ahead_keys_[row] + at * sizeof(Element));
            at += lanes;
            if (at == dims) {
              at = 0;
              ++row;
            }
          }
        });
        simd::transpose(square);
        simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
          simd::store(square[l], keys_ + (i + l) * tile_tokens + t);
        });
      }
    }
  }

  /// scores_ (queries, tile_tokens), as many columns as there are tokens, in whole vectors.
  void multiply_keys() {
    using simd::lanes;
    auto multiply = [&](auto vectors, std::size_t t) {
      simd::multiply_rows<decltype(vectors)::value>(task_.count, 0, cache_.head_dim, q_, padded_,
                                                    KeyColumns{keys_ + t}, false, scores_ + t,
                                                    tile_tokens);
    };
    const std::size_t width = simd::round_up(tile_count_, lanes);
    std::size_t t = 0;
    for (; t + simd::tile_width <= width; t += simd::tile_width) {
      multiply(std::integral_constant<std::size_t, simd::tile_vectors>{}, t);
    }
    for (; t < width; t += lanes) multiply(std::integral_constant<std::size_t, 1>{}, t);
  }

  /// values_: a row per token. Rows of a plain format stay where they are when they are read only
  /// once or need no conversion; others become fp32 first.
  void load_values() {
    in_place_ =
        plain && cache_.head_dim % simd::lanes == 0 && (fp32 || task_.count <= simd::tile_rows);
    for (std::size_t t = 0; t < tile_tokens; ++t) {
      if (!used(t)) {
        values_[t] = zeros_;
        continue;
      }
      if constexpr (plain) {
        if (in_place_) {
          values_[t] = plain_row<Element>(here_[t].values, t);
          continue;
        }
        if (cache_.head_dim % simd::lanes == 0) {
          const Element* row = plain_row<Element>(here_[t].values, t);
          float* to = value_rows_ + t * padded_;
          for (std::size_t i = 0; i < cache_.head_dim; i += simd::lanes) {
            simd::store(simd::load(row + i), to + i);
          }
          values_[t] = to;
          continue;
        }
      }
      values_[t] = decode_value(t, value_rows_ + t * padded_);
    }
  }

  void softmax_and_sum() {
    std::size_t run = 0, run_begin = 0, run_end = 0;  // rows that see the same part of the tile
    for (std::size_t r = 0; r < task_.count; ++r) {
      const std::int64_t p = position(r);
      const auto end = static_cast<std::size_t>(
          std::clamp<std::int64_t>(p + 1 - tile_begin_, 0, static_cast<std::int64_t>(tile_tokens)));
      const auto begin = static_cast<std::size_t>(std::clamp<std::int64_t>(
          variant_.first_visible(p) - tile_begin_, 0, static_cast<std::int64_t>(tile_tokens)));
      if (r != run && (begin != run_begin || end != run_end)) {
        add_values(run, r - run, run_begin, run_end);
        run = r;
      }
      run_begin = begin;
      run_end = end;
      if (begin < end) softmax(r, begin, end);
    }
    add_values(run, task_.count - run, run_begin, run_end);
  }

  /// Turns a row of scores into weights against the running maximum, and scales what was summed
  /// before by the change of that maximum.
  void softmax(std::size_t r, std::size_t begin, std::size_t end) {
    using namespace simd;
    const Floats d;
    float* scores = scores_ + r * tile_tokens;
    const Vec nothing = set(-std::numeric_limits<float>::infinity());
    const Vec low = set(static_cast<float>(begin)), high = set(static_cast<float>(end));
    const Vec query = set(static_cast<float>(position(r) - tile_begin_));
    Vec best = nothing;
    const std::size_t width = round_up(tile_count_, lanes);
    for (std::size_t t = 0; t < width; t += lanes) {
      const Vec index = hn::Add(hn::Iota(d, 0.0f), set(static_cast<float>(t)));
      Vec s = load(scores + t);
      if constexpr (Variant::transforms_logits) {
        s = variant_.logit(VectorMath{}, s, head(r), hn::Sub(query, index));
        s = hn::Mul(s, set(log2e));
      }
      s = hn::IfThenElse(hn::And(hn::Ge(index, low), hn::Lt(index, high)), s, nothing);
      store(s, scores + t);
      best = hn::Max(best, s);
      if constexpr (Keys::votes) store(s, seen_.logits(r) + tile_begin_ + t);
    }
    const float before = largest_[r];
    const float now = std::max(before, max(best));
    if (now == -std::numeric_limits<float>::infinity()) {  // every logit is -infinity
      std::fill_n(scores, width, 0.0f);
      return;
    }
    Vec total = hn::Zero(d);
    for (std::size_t t = 0; t < width; t += lanes) {
      const Vec weight = exp2(hn::Sub(load(scores + t), set(now)));
      store(weight, scores + t);
      total = hn::Add(total, weight);
    }
    const float shrink = hn::GetLane(exp2(set(before - now)));
    if (shrink != 1.0f) {
      float* sums = sums_ + r * padded_;
      for (std::size_t i = 0; i < padded_; i += lanes) {
        store(hn::Mul(load(sums + i), set(shrink)), sums + i);
      }
    }
    total_[r] = hn::GetLane(hn::MulAdd(set(total_[r]), set(shrink), set(sum(total))));
    largest_[r] = now;
  }

  /// sums += weights * values for rows that see tokens [begin, end) of the tile.
  void add_values(std::size_t first, std::size_t rows, std::size_t begin, std::size_t end) {
    if (begin >= end) return;
    if constexpr (!std::is_same_v<Element, float>) {
      if (in_place_) return add_values_as<Element>(first, rows, begin, end);
    }
    add_values_as<float>(first, rows, begin, end);
  }
  template <class Stored>
  void add_values_as(std::size_t first, std::size_t rows, std::size_t begin, std::size_t end) {
    using namespace simd;
    const Stored* values[tile_tokens];
    for (std::size_t t = begin; t < end; ++t) values[t] = static_cast<const Stored*>(values_[t]);
    auto add = [&](auto vectors, std::size_t i) {
      multiply_rows<decltype(vectors)::value>(rows, begin, end, scores_ + first * tile_tokens,
                                              tile_tokens, ValueRows<Stored>{values, i}, true,
                                              sums_ + first * padded_ + i, padded_);
    };
    const std::size_t dims = round_up(cache_.head_dim, lanes);
    std::size_t i = 0;
    for (; i + tile_width <= dims; i += tile_width) {
      add(std::integral_constant<std::size_t, tile_vectors>{}, i);
    }
    for (; i < dims; i += lanes) add(std::integral_constant<std::size_t, 1>{}, i);
  }

  void finish() {
    for (std::size_t r = 0; r < task_.count; ++r) {
      const float scale = total_[r] > 0 ? 1 / total_[r] : 0.0f;
      float* to = queries_.out + row(r) * queries_.out_stride + head(r) * cache_.head_dim;
      const float* from = sums_ + r * padded_;
      for (std::size_t i = 0; i < cache_.head_dim; ++i) to[i] = from[i] * scale;
      if constexpr (!plain) {
        const kv_format::SideCodec& side = cache_.codec->values;
        if (side.from_basis != nullptr) side.from_basis(to, cache_.head_dim);
      }
      if constexpr (Keys::votes) vote(r, scale);
    }
  }

  /// Casts a query's weights as votes.
  void vote(std::size_t r, float scale) {
    using namespace simd;
    const auto row = static_cast<std::int64_t>((task_.first + r) / group_);
    if (!seen_.counts(row)) return;
    float* logits = seen_.logits(r);
    const auto visible = static_cast<std::size_t>(position(r) + 1);
    for (std::size_t t = 0; t < round_up(visible, lanes); t += lanes) {
      const Vec weight = exp2(hn::Sub(load(logits + t), set(largest_[r])));
      store(hn::Mul(weight, set(scale)), logits + t);
    }
    seen_.vote(row, {logits, visible});
  }

  const KvView<const std::byte>& cache_;
  const Queries& queries_;
  const Variant& variant_;
  const SequenceRows& sequence_;
  [[no_unique_address]] const Keys seen_;
  const Task task_;
  std::size_t group_, padded_;
  float *q_, *sums_, *keys_, *key_rows_, *value_rows_, *scores_, *largest_, *total_, *zeros_;
  std::int64_t tile_begin_ = 0;
  std::size_t tile_count_ = 0, tile_skip_ = 0;
  Place places_[2][tile_tokens]{};
  Place *here_ = places_[0], *next_ = places_[1];  // of this tile and of the next
  bool located_ = false, walking_ = false;
  std::size_t entry_ = 0, entry_slot_ = 0;  // of the block table: where the walk goes on
  const std::byte* ahead_keys_[tile_tokens]{};
  const std::byte* ahead_values_[tile_tokens]{};
  const void* values_[tile_tokens]{};
  // Of packed formats: tokens that are not packed yet, and whether queries stand in the keys' basis.
  const Fp16* open_keys_[tile_tokens]{};
  const Fp16* open_values_[tile_tokens]{};
  bool key_basis_ = false;
  bool in_place_ = false;
};

}  // namespace detail

}  // namespace quire::attention
