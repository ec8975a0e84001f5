// One file: the steps of a task share its scratch and its tile, and read best in their order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include <quire/attention/code_products.hpp>
#include <quire/attention/code_tile.hpp>
#include <quire/attention/concepts.hpp>
#include <quire/attention/half_rows.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/rows_ahead.hpp>
#include <quire/attention/shared_prefix.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/blockwise.hpp>
#include <quire/core/byte_floats.hpp>
#include <quire/core/code_layout.hpp>
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
  const SharedPrefixes* shared = nullptr;  // of these sequences; null: each is read by itself
};

namespace detail {

struct VectorMath {
  using Value = simd::Vec;
  static Value set(float x) { return simd::set(x); }
  static Value add(Value a, Value b) { return simd::hn::Add(a, b); }
  static Value mul(Value a, Value b) { return simd::hn::Mul(a, b); }
  static Value tanh(Value x) { return simd::tanh(x); }
};

/// Right operands of the two products; named, so that all kernels share the tiles. While they are read,
/// the next tile's values are fetched, half of them with the keys and half with the values, so that
/// memory is never idle.
template <class Element>
struct KeyColumns {
  const float* keys;  // (channels, tile_tokens)
  std::size_t first;  // of the channels
  RowsAhead ahead;
  HWY_INLINE simd::Vec operator()(std::size_t k, std::size_t v) {
    if (v == 0) {
      ahead.fetch();
      if constexpr (sizeof(Element) == 4) ahead.fetch();
    }
    return simd::load(keys + (k - first) * tile_tokens + v * simd::lanes);
  }
};
template <class Element, class Stored>
struct ValueRows {
  const std::byte* const* values;  // (tile_tokens): rows of Stored
  std::size_t dim;
  RowsAhead ahead;
  HWY_INLINE simd::Vec operator()(std::size_t t, std::size_t v) {
    if (v == 0) {
      ahead.fetch();
      if constexpr (sizeof(Element) == 4) ahead.fetch();
    }
    return simd::load(reinterpret_cast<const Stored*>(values[t]) + dim + v * simd::lanes);
  }
};

/// Values of FP8 as they lie. \shape values (tile_tokens)
template <class Widener>
struct ByteValueRows {
  const std::byte* const* values;
  std::size_t dim;
  RowsAhead ahead;
  Widener widen;
  typename Widener::Bytes row{};  // 64 channels of a token
  HWY_INLINE void start(std::size_t t) {
    ahead.fetch();
    row = widen.look_up(values[t] + dim);
  }
  template <class V>
  HWY_INLINE simd::Vec operator()(std::size_t /*t*/, V) const {
    return Widener::template in_order<V::value>(row);
  }
};
/// A channel of FP8.
struct ByteFloat {
  std::uint8_t code;
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
/// Format: a plain one, or Packed for all others, whose tokens are multiplied as whole numbers where
/// their codec says how (code_products.hpp), or turned into fp32 one at a time, in the first-level
/// cache.
template <kv_format::KvStorage Format, AttentionVariant Variant, class Keys = TableKeys>
class TaskKernel {
  static constexpr bool plain = PlainKvFormat<Format>;
  using Element = typename ElementOf<Format>::type;
  static constexpr bool fp32 = plain && std::is_same_v<Element, float>;
  static constexpr std::size_t byte_channels = 64;
  template <class Stored>
  using Fetched = std::conditional_t<std::is_same_v<Stored, ByteFloat>, Bf16, Element>;
  static constexpr float log2e = 1.44269504088896340736f;

 public:
  TaskKernel(const TaskKernel&) = delete;  // it points into itself
  TaskKernel& operator=(const TaskKernel&) = delete;
  TaskKernel(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
             const Task& task, const Keys& keys, float* memory)
      : TaskKernel(cache, queries, variant, task, keys, memory,
                   memory + Workspace::scratch_floats(cache.head_dim)) {}
  /// scratch: shared with kernels whose tiles take turns; state: Workspace::state_floats() of its own
  TaskKernel(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
             const Task& task, const Keys& keys, float* scratch, float* state)
      : cache_(cache),
        queries_(queries),
        variant_(variant),
        sequence_(queries.sequences[task.sequence]),
        seen_(keys),
        task_(task),
        group_(queries.heads / cache.kv_heads),
        padded_(simd::round_up(cache.head_dim, 16)) {
    const auto take = [](float*& memory, std::size_t floats) {
      float* p = memory;
      memory += floats;
      return p;
    };
    keys_ = take(scratch, tile_tokens * padded_);
    key_rows_ = take(scratch, tile_tokens * padded_);
    value_rows_ = take(scratch, tile_tokens * padded_);
    scores_ = take(scratch, tile_queries * tile_tokens);
    zeros_ = take(scratch, 2 * padded_);
    q_ = take(state, task.count * padded_);
    q_columns_ = take(state, task.count * padded_);
    sums_ = take(state, task.count * padded_);
    all_sums_ = take(state, task.count * padded_);
    largest_ = take(state, task.count);
    total_ = take(state, task.count);
    all_largest_ = take(state, task.count);
    all_total_ = take(state, task.count);
    codes_ = take(state, task.count * (padded_ + 16));
    key_bytes_ = value_bytes_ = cache.head_dim * sizeof(Element);
    place_queries();
    if constexpr (!plain) read_codecs();
  }

  void run() {
    begin();
    while (step()) {
    }
    finish();
  }

  /// What run() does, a tile at a time: tasks of several heads that take turns read a block's bytes
  /// together, as they lie.
  void begin() {
    prepare();
    add_tiles(variant_.first_visible(position(0)), position(task_.count - 1));
  }
  /// Adds a tile; false when there is none left.
  bool step() {
    if (tile_begin_ > last_) return false;
    add_tile();
    return true;
  }
  void finish() {
    merge_span();
    write();
  }

  /// Floats of a span's result, of so many query vectors.
  [[nodiscard]] static std::size_t span_floats(std::size_t vectors, std::size_t head_dim) {
    return vectors * (simd::round_up(head_dim, 16) + 2);
  }
  /// One span alone, to be merged by merge(), as begin() and finish() do with all.
  /// before: what keys before `from` gave, where they were added already; \shape span_floats()
  /// \shape result (span_floats())
  void begin_span(std::size_t s, std::size_t from = 0, const float* before = nullptr) {
    constexpr auto span = static_cast<std::int64_t>(span_tokens);
    const auto begin = static_cast<std::int64_t>(s) * span;
    prepare();
    if (before != nullptr) take_span(before);
    add_tiles(
        std::max({variant_.first_visible(position(0)), begin, static_cast<std::int64_t>(from)}),
        std::min(position(task_.count - 1), begin + span - 1));
  }
  /// A span of the keys before `keys` that all queries of several sequences see.
  /// \pre keys is a multiple of tile_tokens
  void begin_shared(std::size_t s, std::size_t keys) {
    prepare();
    add_tiles(static_cast<std::int64_t>(s * span_tokens),
              static_cast<std::int64_t>(std::min(keys, (s + 1) * span_tokens)) - 1);
  }
  /// result(sequence): where a span of that sequence's own task belongs, as finish_span() writes it.
  template <class Result>
  void finish_shared(const Result& result) const {
    std::size_t r = 0;
    for (const std::uint32_t s : task_.members) {
      const std::size_t count = queries_.sequences[s].rows * group_;
      float* to = result(s);
      std::copy_n(largest_ + r, count, to);
      std::copy_n(total_ + r, count, to + count);
      std::copy_n(sums_ + r * padded_, count * padded_, to + 2 * count);
      r += count;
    }
  }
  void finish_span(float* result) const {
    std::copy_n(largest_, task_.count, result);
    std::copy_n(total_, task_.count, result + task_.count);
    std::copy_n(sums_, task_.count * padded_, result + 2 * task_.count);
  }
  /// What run() does with spans that were computed one by one. \shape results (count, span_floats())
  void merge(const float* results, std::size_t count) {
    prepare();
    for (std::size_t i = 0; i < count; ++i, results += span_floats(task_.count, cache_.head_dim)) {
      take_span(results);
      merge_span();
    }
    write();
  }

 private:
  [[nodiscard]] std::int64_t position(std::size_t r) const {
    if constexpr (Keys::listed) {
      return seen_.before() + places_[r].of_sequence;  // in the order of the list
    } else {
      return places_[r].position;
    }
  }
  [[nodiscard]] std::size_t head(std::size_t r) const { return places_[r].head; }
  [[nodiscard]] std::size_t row(std::size_t r) const { return places_[r].row; }

  /// Where the query vectors stand in the batch.
  void place_queries() {
    std::size_t r = 0;
    const auto place = [&](const SequenceRows& s, std::size_t first, std::size_t count) {
      std::size_t row = first / group_, head = first % group_;
      for (; count > 0; --count, ++r) {
        places_[r] = {s.position + static_cast<std::int64_t>(row), static_cast<std::int64_t>(row),
                      s.row + row, task_.kv_head * group_ + head};
        if (++head == group_) head = 0, ++row;
      }
    };
    if (task_.members.empty()) return place(sequence_, task_.first, task_.count);
    for (const std::uint32_t s : task_.members) {
      place(queries_.sequences[s], 0, queries_.sequences[s].rows * group_);
    }
  }
  /// Sums of a span as finish_span() wrote them.
  void take_span(const float* result) {
    std::copy_n(result, task_.count, largest_);
    std::copy_n(result + task_.count, task_.count, total_);
    std::copy_n(result + 2 * task_.count, task_.count * padded_, sums_);
  }

  /// How the tokens of a packed format are read: as whole numbers where the format lets kernels do so.
  void read_codecs() {
    const kv_format::SideCodec &keys = cache_.codec->keys, &values = cache_.codec->values;
    reads_open_ = !Keys::listed && cache_.open != nullptr;
    key_basis_ = !Keys::shifts && keys.to_basis != nullptr && !turns_keys();
    const auto codes_of = [&](const kv_format::SideCodec& side) {
      CodeLayout layout;
      if (side.code_layout != nullptr) {
        layout = side.code_layout(cache_.block_tokens, cache_.head_dim);
        if (!layout.suits(cache_.head_dim)) layout.group = 0;
      }
      return layout;
    };
    key_layout_ = codes_of(keys);
    value_layout_ = codes_of(values);
    // what stands in another basis cannot be turned, nor can codes
    if (turns_keys() || (Keys::shifts && keys.to_basis != nullptr)) key_layout_.group = 0;
    key_bytes_ = cache_.slab_bytes / cache_.block_tokens;
    value_bytes_ = (cache_.value_slab_bytes == 0 ? cache_.slab_bytes : cache_.value_slab_bytes) /
                   cache_.block_tokens;
    if (key_layout_.group != 0) {
      key_bytes_ = key_layout_.row_bytes;
      code_keys_.emplace(key_layout_, cache_.head_dim, keys_);
      code_queries_.emplace(cache_.head_dim, key_layout_.group, task_.count, codes_);
    }
    if (value_layout_.group != 0) {
      value_bytes_ = value_layout_.row_bytes;
      code_values_.emplace(value_layout_, cache_.head_dim, value_rows_);
    }
    if constexpr (simd::looks_up_bytes) {
      const auto floats_of = [&](const kv_format::SideCodec& side, std::size_t& bytes) {
        if (side.byte_floats == nullptr || cache_.head_dim % byte_channels != 0) {
          return simd::ByteFloatLayout{};
        }
        const auto layout = side.byte_floats(cache_.head_dim);
        bytes = layout.row_bytes;
        return layout;
      };
      if (!turns_keys() && !(Keys::shifts && keys.to_basis != nullptr)) {
        key_floats_ = floats_of(keys, key_bytes_);
      }
      value_floats_ = floats_of(values, value_bytes_);
    }
    by_runs_ = !Keys::listed && key_layout_.group != 0 && key_layout_.in_runs &&
               value_layout_.group != 0 && value_layout_.in_runs;
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
      if constexpr (plain && half_rows::suits<Element>) {
        if (multiplies_in_registers()) {
          for (std::size_t i = 0; i < cache_.head_dim; ++i) q_columns_[i * task_.count + r] = to[i];
        }
      }
      all_largest_[r] = -std::numeric_limits<float>::infinity();
      all_total_[r] = 0;
      if constexpr (Variant::has_sink) {
        all_largest_[r] = variant_.sink_logit(head(r)) * log2e;
        all_total_[r] = 1;
      }
    }
    std::fill_n(all_sums_, task_.count * padded_, 0.0f);
    std::fill_n(zeros_, 2 * padded_, 0.0f);
    if constexpr (!plain) {
      for (std::size_t r = 0; code_queries_ && r < task_.count; ++r) {
        code_queries_->set(r, q_ + r * padded_, code_keys_->excess());
      }
    }
    clear_span();
  }

  void clear_span() {
    std::fill_n(largest_, task_.count, -std::numeric_limits<float>::infinity());
    std::fill_n(total_, task_.count, 0.0f);
    std::fill_n(sums_, task_.count * padded_, 0.0f);
  }

  /// Sets out to add keys and values of [first, last].
  void add_tiles(std::int64_t first, std::int64_t last) {
    first_ = first;
    last_ = last;
    tile_begin_ = first - first % static_cast<std::int64_t>(tile_tokens);
  }

  void add_tile() {
    constexpr auto tile = static_cast<std::int64_t>(tile_tokens);
    if (tile_begin_ > first_ && tile_begin_ % static_cast<std::int64_t>(span_tokens) == 0) {
      merge_span();
      clear_span();
    }
    tile_count_ = static_cast<std::size_t>(std::min(tile, last_ + 1 - tile_begin_));
    // Slots before anything visible may have lost their blocks; they are never touched.
    tile_skip_ = static_cast<std::size_t>(std::max<std::int64_t>(0, first_ - tile_begin_));
    look_ahead(last_ + 1);
    if constexpr (!plain && !Keys::listed) {
      if (reads_open_) {
        for (std::size_t t = tile_skip_; t < tile_count_; ++t) locate_open(t);
      }
    }
    multiply_keys();
    softmax();
    add_values();
    std::swap(here_, next_);
    tile_begin_ += tile;
  }

  /// Merges a span's sums with those of the spans before it, by their maxima.
  void merge_span() {
    using namespace simd;
    for (std::size_t r = 0; r < task_.count; ++r) {
      if (largest_[r] == -std::numeric_limits<float>::infinity()) continue;  // nothing seen
      const float before = all_largest_[r], now = std::max(before, largest_[r]);
      const Vec old = exp2(set(before - now)), added = exp2(set(largest_[r] - now));
      for (std::size_t i = r * padded_; i < (r + 1) * padded_; i += lanes) {
        const Vec scaled = hn::Mul(load(all_sums_ + i), old);
        store(hn::MulAdd(load(sums_ + i), added, scaled), all_sums_ + i);
      }
      all_total_[r] =
          hn::GetLane(hn::MulAdd(set(total_[r]), added, hn::Mul(set(all_total_[r]), old)));
      all_largest_[r] = now;
    }
  }

  /// Where the tokens of a tile begin: a row of zeros where there is none.
  struct Tile {
    const std::byte* keys[tile_tokens];  // or of runs alone, where by_runs_
    const std::byte* values[tile_tokens];
    std::uint32_t slots[tile_tokens];  // within their blocks
    std::size_t begin = 0, end = 0;    // tokens that there are
  };
  /// Finds tokens [from, count) of the tile that begins at `begin`. Tiles are asked for in order, each
  /// once: the walk through the block table goes on where it was, without a division.
  void locate(Tile& tile, std::size_t begin, std::size_t from, std::size_t count) {
    const auto put = [&](std::size_t t, const std::byte* keys, const std::byte* values,
                         std::size_t slot) {
      tile.keys[t] = keys + slot * key_bytes_;
      tile.values[t] = values + slot * value_bytes_;
      tile.slots[t] = static_cast<std::uint32_t>(slot);
    };
    tile.begin = from;
    tile.end = count;
    const auto* zeros = reinterpret_cast<const std::byte*>(zeros_);
    if (!by_runs_) {
      for (std::size_t t = 0; t < from; ++t) put(t, zeros, zeros, 0);
    }
    if constexpr (Keys::listed) {
      for (std::size_t t = from; t < count; ++t) {
        const auto [block, slot] = place(begin + t);
        put(t, cache_.keys(block, task_.kv_head), cache_.values(block, task_.kv_head), slot);
      }
    } else {
      if (!walking_) {
        walking_ = true;
        entry_ = (begin + from) / cache_.block_tokens;
        entry_slot_ = (begin + from) % cache_.block_tokens;
      }
      for (std::size_t t = from; t < count;) {
        const BlockId block = sequence_.blocks[entry_];
        const std::byte* keys = cache_.keys(block, task_.kv_head);
        const std::byte* values = cache_.values(block, task_.kv_head);
        const std::size_t stop = std::min(count, t + cache_.block_tokens - entry_slot_);
        if constexpr (!plain) {
          fetch_scales(key_layout_, keys, stop - t);
          fetch_scales(value_layout_, values, stop - t);
        }
        if (by_runs_) {
          for (std::size_t r = t / run_tokens; r * run_tokens < stop; ++r) {
            put(r, keys, values, entry_slot_ / run_tokens * run_tokens);
            entry_slot_ += std::min(stop, (r + 1) * run_tokens) - t;
            t = std::min(stop, (r + 1) * run_tokens);
          }
        } else {
          for (; t < stop; ++t, ++entry_slot_) put(t, keys, values, entry_slot_);
        }
        if (entry_slot_ == cache_.block_tokens) {
          entry_slot_ = 0;
          ++entry_;
        }
      }
    }
    if (by_runs_) return;
    for (std::size_t t = count; t < tile_tokens; ++t) put(t, zeros, zeros, 0);
  }
  /// What a product fetches meanwhile.
  [[nodiscard]] RowsAhead rows_ahead(const std::byte* const* rows, std::size_t bytes) const {
    if (!by_runs_) return {rows, rows + tile_tokens, bytes};
    return {rows + next_->begin / run_tokens, rows + (next_->end + run_tokens - 1) / run_tokens,
            bytes * run_tokens};
  }
  /// Of tokens from entry_slot_ on, where they lie apart from the codes.
  HWY_INLINE void fetch_scales(const CodeLayout& layout, const std::byte* slab,
                               std::size_t count) const {
    if (layout.group == 0) return;
    if (layout.in_runs) {
      for (std::size_t g = 0; g < cache_.head_dim / layout.group; ++g) {
        fetch(slab + layout.scale_of(entry_slot_, g), count * layout.scale_bytes());
      }
    } else if (layout.scale == CodeLayout::Scale::fp32_of_slab) {
      fetch(slab + layout.scale_at + entry_slot_ * sizeof(float), count * sizeof(float));
    }
  }
  /// Slabs of a token, for those who read through them.
  [[nodiscard]] const std::byte* key_slab(std::size_t t) const {
    return here_->keys[t] - here_->slots[t] * key_bytes_;
  }
  [[nodiscard]] const std::byte* value_slab(std::size_t t) const {
    return here_->values[t] - here_->slots[t] * value_bytes_;
  }

  /// Where a token that is not packed yet lies.
  void locate_open(std::size_t t) {
    using kv_format::OpenBlocks;
    const kv_format::OpenBlocks* open = cache_.open;
    open_keys_[t] = open_values_[t] = nullptr;
    const std::size_t p = static_cast<std::size_t>(tile_begin_) + t, slot = here_->slots[t];
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

  /// Places of the tile's tokens and the next one's, which the processor should fetch while it works on
  /// this tile. Blocks lie anywhere, so it cannot foresee them.
  void look_ahead(std::int64_t end) {
    const auto begin = static_cast<std::size_t>(tile_begin_);
    if (!located_) {
      located_ = true;
      locate(*here_, begin, tile_skip_, tile_count_);
      const std::size_t each = by_runs_ ? run_tokens : 1;
      const std::size_t first = tile_skip_ / each, stop = (tile_count_ + each - 1) / each;
      for (std::size_t t = first; t < stop; ++t) fetch(here_->keys[t], each * key_bytes_);
      for (std::size_t t = first; t < stop; ++t) fetch(here_->values[t], each * value_bytes_);
    }
    const std::size_t after = begin + tile_tokens, last = static_cast<std::size_t>(end);
    locate(*next_, after, 0, last > after ? std::min(tile_tokens, last - after) : 0);
    if constexpr (!Keys::listed) announce_blocks();
  }
  /// Touches the blocks of the tile after the next: where pages are small, finding one takes longer than
  /// fetching a line of it. Inlined, as g++ drops calls of functions that do nothing but prefetch.
  HWY_INLINE void announce_blocks() const {
    constexpr std::size_t worth_it =
        1024;  // bytes: less of a page is fetched as fast as it is found
    if (cache_.block_tokens >= tile_tokens || cache_.slab_bytes < worth_it) return;
    const std::size_t end =
        std::min(sequence_.blocks.size(), entry_ + (tile_tokens - 1) / cache_.block_tokens + 1);
    for (std::size_t i = entry_; i < end; ++i) {
      fetch_line(cache_.keys(sequence_.blocks[i], task_.kv_head));
      fetch_line(cache_.values(sequence_.blocks[i], task_.kv_head));
    }
  }

  static HWY_INLINE void fetch(const std::byte* from, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 64) fetch_line(from + i);
  }

  [[nodiscard]] bool used(std::size_t t) const { return t >= tile_skip_ && t < tile_count_; }

  [[nodiscard]] bool turns_keys() const {
    return cache_.codec->keys.before_rotation && cache_.rotations != nullptr;
  }

  /// A token that is not packed yet, as fp32.
  void widen(const Fp16* from, float* to) const {
    std::size_t i = 0;
    for (; i + simd::lanes <= cache_.head_dim; i += simd::lanes) {
      simd::store(simd::load(from + i), to + i);
    }
    for (; i < cache_.head_dim; ++i) to[i] = to_float(from[i]);
  }

  /// One key as fp32, padded with zeros.
  const float* decode_key(std::size_t t, float* to) const {
    if constexpr (plain) {
      Format::load(key_slab(t), cache_.block_tokens, cache_.head_dim, here_->slots[t], to);
    } else {
      const kv_format::SideCodec& side = cache_.codec->keys;
      if (!Keys::shifts && side.is_fp32 && cache_.head_dim == padded_ && !turns_keys()) {
        return reinterpret_cast<const float*>(key_slab(t)) + here_->slots[t] * padded_;
      }
      if (reads_open_ && open_keys_[t] != nullptr) {
        widen(open_keys_[t], to);
        if (key_basis_) side.to_basis(to, cache_.head_dim);
      } else {
        side.read(cache_.key_fit(task_.kv_head), key_slab(t), cache_.block_tokens, cache_.head_dim,
                  here_->slots[t], to);
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
      Format::load(value_slab(t), cache_.block_tokens, cache_.head_dim, here_->slots[t], to);
    } else {
      const kv_format::SideCodec& side = cache_.codec->values;
      if (side.is_fp32 && cache_.head_dim == padded_) {
        return reinterpret_cast<const float*>(value_slab(t)) + here_->slots[t] * padded_;
      }
      if (reads_open_ && open_values_[t] != nullptr) {
        widen(open_values_[t], to);
        if (side.to_basis != nullptr) side.to_basis(to, cache_.head_dim);
      } else {
        side.read(cache_.value_fit(task_.kv_head), value_slab(t), cache_.block_tokens,
                  cache_.head_dim, here_->slots[t], to);
      }
    }
    std::fill(to + cache_.head_dim, to + padded_, 0.0f);
    return to;
  }

  /// Whether some keys of the tile are turned to another position.
  [[nodiscard]] bool shifted() const {
    if constexpr (Keys::shifts) {
      return seen_.shift(static_cast<std::size_t>(tile_begin_)) != 0;
    } else {
      return false;
    }
  }

  /// scores_ (queries, tile_tokens), as many columns as there are tokens, in whole vectors.
  void multiply_keys() {
    if constexpr (plain) {
      if (cache_.head_dim % simd::lanes == 0 && !shifted()) {
        return multiply_key_rows<Element>(here_->keys);
      }
    } else {
      if (code_keys_ && !shifted()) {
        RowsAhead ahead = rows_ahead(next_->keys, key_bytes_);
        const CodeRows from{here_->keys, here_->slots,  tile_skip_,
                            tile_count_, !Keys::listed, by_runs_};
        code_keys_->take(from, ahead);
        return code_queries_->multiply(*code_keys_, task_.count, ahead, scores_);
      }
      if constexpr (simd::looks_up_bytes) {
        if (key_floats_.table != nullptr && !shifted()) {
          multiply_key_rows<ByteFloat>(here_->keys);
          return scale_scores(key_floats_, here_->keys, cache_.key_fit(task_.kv_head));
        }
      }
    }
    const std::byte* rows[tile_tokens];
    for (std::size_t t = 0; t < tile_tokens; ++t) {
      fetch(next_->keys[t], key_bytes_);
      const float* row = used(t) ? decode_key(t, key_rows_ + t * padded_) : zeros_;
      rows[t] = reinterpret_cast<const std::byte*>(row);
      if constexpr (Keys::shifts) {
        // Distances to the query shrink by what was dropped in between: a tile's first key is turned
        // furthest.
        if (used(t)) seen_.turn(static_cast<std::size_t>(tile_begin_) + t, key_rows_ + t * padded_);
      }
    }
    multiply_key_rows<float>(rows);
  }

  /// Some channels of the keys at a time, so that they are still in the first-level cache, transposed,
  /// when they are multiplied. \shape rows (tile_tokens), of Stored
  template <class Stored>
  void multiply_key_rows(const std::byte* const* rows) {
    using simd::lanes;
    constexpr std::size_t channels = byte_channels;
    keys_ahead_ = {next_->keys, next_->keys + tile_tokens, key_bytes_};
    const std::size_t width = simd::round_up(tile_count_, lanes);
    if constexpr (plain && half_rows::suits<Stored>) {
      if (multiplies_in_registers()) {
        return half_rows::multiply_keys<Stored>(task_.count, rows, width, cache_.head_dim,
                                                q_columns_, scores_, keys_ahead_,
                                                values_ahead(0, 0));
      }
    }
    for (std::size_t begin = 0; begin < cache_.head_dim; begin += channels) {
      const std::size_t end = std::min(begin + channels, cache_.head_dim);
      if constexpr (std::is_same_v<Stored, ByteFloat>) {
        transpose_bytes<simd::ByteWidener>(rows, begin);
      } else {
        transpose<Stored>(rows, begin, simd::round_up(end, lanes));
      }
      auto multiply = [&](auto vectors, std::size_t t) {
        simd::multiply_rows<decltype(vectors)::value>(
            task_.count, begin, end, q_, padded_,
            KeyColumns<Fetched<Stored>>{keys_ + t, begin, values_ahead(0, begin)}, begin > 0,
            scores_ + t, tile_tokens);
      };
      std::size_t t = 0;
      for (; t + simd::tile_width <= width; t += simd::tile_width) {
        multiply(std::integral_constant<std::size_t, simd::tile_vectors>{}, t);
      }
      for (; t < width; t += lanes) multiply(std::integral_constant<std::size_t, 1>{}, t);
    }
  }

  /// Whether queries are so few that halves are multiplied as they lie (half_rows.hpp): for more, a copy in
  /// fp32 pays.
  [[nodiscard]] bool multiplies_in_registers() const {
    return cache_.head_dim % 64 == 0 && task_.count <= half_rows::most_queries;
  }

  /// keys_ (end - begin, tile_tokens): channels [begin, end) of the tile. The next tile's are fetched.
  template <class Stored>
  void transpose(const std::byte* const* rows, std::size_t begin, std::size_t end) {
    namespace hn = simd::hn;
    using simd::lanes;
    RowsAhead ahead = keys_ahead_;
    for (std::size_t t = 0; t < tile_count_; t += lanes) {
      float* to = keys_ + t;
      const auto from = [&](std::size_t l, std::size_t i) __attribute__((always_inline)) {
        if constexpr (plain) ahead.fetch();
        return reinterpret_cast<const Stored*>(rows[t + l]) + i;
      };
      std::size_t i = begin;
      if constexpr (std::is_same_v<Stored, Bf16> && lanes > 1) {
        // Pairs of bf16 are transposed as words of 32 bits and parted afterwards.
        const hn::RebindToUnsigned<simd::Floats> word;
        for (; i + 2 * lanes <= end; i += 2 * lanes) {
          simd::Vec square[lanes];
          simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
            const auto* pairs = reinterpret_cast<const std::uint32_t*>(from(l, i));
            square[l] = hn::BitCast(simd::Floats(), hn::LoadU(word, pairs));
          });
          simd::transpose(square);
          simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
            const auto pair = hn::BitCast(word, square[l]);
            simd::store(hn::BitCast(simd::Floats(), hn::ShiftLeft<16>(pair)), to);
            simd::store(hn::BitCast(simd::Floats(), hn::And(pair, hn::Set(word, 0xffff0000u))),
                        to + tile_tokens);
            to += 2 * tile_tokens;
          });
        }
      }
      for (; i < end; i += lanes) {
        simd::Vec square[lanes];
        simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
          square[l] = simd::load(from(l, i));
        });
        simd::transpose(square);
        simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
          simd::store(square[l], to);
          to += tile_tokens;
        });
      }
    }
    keys_ahead_ = ahead;
  }

  /// transpose() of FP8: `byte_channels` of them from `begin` on, four at a time as words.
  template <class Widener>
  void transpose_bytes(const std::byte* const* rows, std::size_t begin) {
    using simd::lanes;
    const Widener widen(*key_floats_.table);
    RowsAhead ahead = keys_ahead_;
    for (std::size_t t = 0; t < tile_count_; t += lanes) {
      simd::Vec square[lanes];
      simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
        ahead.fetch();
        square[l] = simd::load(reinterpret_cast<const float*>(rows[t + l] + begin));
      });
      simd::transpose(square);
      float* to = keys_ + t;
      simd::unrolled<lanes>([&](auto l) __attribute__((always_inline)) {
        const auto bytes = widen.look_up(square[l]);
        simd::unrolled<4>([&](auto b) __attribute__((always_inline)) {
          simd::store(Widener::template of_words<decltype(b)::value>(bytes), to);
          to += tile_tokens;
        });
      });
    }
    keys_ahead_ = ahead;
  }

  /// A row of FP8 as fp32, without its scale.
  template <class Widener>
  void widen_bytes(const std::byte* from, float* to) const {
    const Widener widen(*value_floats_.table);
    for (std::size_t i = 0; i < cache_.head_dim; i += byte_channels) {
      const auto bytes = widen.look_up(from + i);
      simd::unrolled<4>([&](auto v) __attribute__((always_inline)) {
        simd::store(Widener::template in_order<decltype(v)::value>(bytes),
                    to + i + v * simd::lanes);
      });
    }
  }

  /// Scores, or weights, times the scales of the tile's tokens: products of FP8 are of the codes' numbers
  /// alone, whichever way they are read. fitted: the head's, null for 1
  void scale_scores(const simd::ByteFloatLayout& layout, const std::byte* const* rows,
                    const float* fitted) {
    using Scale = simd::ByteFloatLayout::Scale;
    if (layout.scale == Scale::one) return;
    alignas(64) float scales[tile_tokens];
    for (std::size_t t = 0; t < tile_tokens; ++t) {
      scales[t] = layout.scale == Scale::fitted ? (fitted == nullptr ? 1.0f : *fitted)
                                                : blockwise::get<float>(rows[t] + cache_.head_dim);
    }
    const std::size_t width = simd::round_up(tile_count_, simd::lanes);
    for (std::size_t r = 0; r < task_.count; ++r) {
      float* const scores = scores_ + r * tile_tokens;
      for (std::size_t t = 0; t < width; t += simd::lanes) {
        simd::store(simd::hn::Mul(simd::load(scores + t), simd::load(scales + t)), scores + t);
      }
    }
  }

  /// Half of the next tile's values, as far as they have not been fetched with channels before `channel`.
  [[nodiscard]] RowsAhead values_ahead(std::size_t half, std::size_t channel) const {
    const std::byte* const* rows = next_->values + half;
    return {rows + channel * 32 / cache_.head_dim, rows + 32, value_bytes_};
  }

  /// Whether the products ask for each value once.
  [[nodiscard]] bool read_once() const {
    return task_.count <= simd::tile_rows || task_.count == simd::rows_at_once;
  }

  /// A row per token. Rows of a plain format stay where they are when they are read only once or need no
  /// conversion; others become fp32 first.
  void load_values() {
    in_place_ = plain ? cache_.head_dim % simd::lanes == 0 && (fp32 || read_once())
                      : value_floats_.table != nullptr && read_once();
    if (in_place_) return;
    for (std::size_t t = 0; t < tile_tokens; ++t) {
      const float* row = zeros_;
      if (used(t)) {
        float* to = value_rows_ + t * padded_;
        if (plain && cache_.head_dim % simd::lanes == 0) {
          const auto* from = reinterpret_cast<const Element*>(here_->values[t]);
          for (std::size_t i = 0; i < cache_.head_dim; i += simd::lanes) {
            simd::store(simd::load(from + i), to + i);
          }
          row = to;
        } else if (value_floats_.table != nullptr) {
          if constexpr (simd::looks_up_bytes) {
            widen_bytes<simd::ByteWidener>(here_->values[t], to);
          }
          row = to;
        } else {
          fetch(next_->values[t], value_bytes_);
          row = decode_value(t, to);
        }
      }
      values_[t] = reinterpret_cast<const std::byte*>(row);
    }
  }

  /// Tokens [first, second) of the tile that a row sees.
  [[nodiscard]] std::pair<std::size_t, std::size_t> seen(std::size_t r) const {
    const auto in_tile = [this](std::int64_t p) {
      return static_cast<std::size_t>(
          std::clamp<std::int64_t>(p - tile_begin_, 0, static_cast<std::int64_t>(tile_tokens)));
    };
    const std::int64_t p = position(r);
    return {in_tile(variant_.first_visible(p)), in_tile(p + 1)};
  }

  /// Turns scores into weights, step by step for several rows, so that they do not wait for each other's
  /// maxima and sums.
  void softmax() {
    constexpr std::size_t few = 4;
    float now[tile_queries];
    for (std::size_t r = 0; r < task_.count; ++r) now[r] = std::max(largest_[r], find_largest(r));
    const auto seen_any = [&](std::size_t r) {
      return now[r] != -std::numeric_limits<float>::infinity();
    };
    for (std::size_t r = 0; r < task_.count;) {
      std::size_t stop = r;
      while (stop < std::min(r + few, task_.count) && seen_any(stop)) ++stop;
      if (stop == r + few) {
        weigh<few>(r, now + r);
      } else if (stop > r) {
        weigh<1>(r, now + r);
        stop = r + 1;
      } else {
        std::fill_n(scores_ + r * tile_tokens, tile_tokens, 0.0f);
        ++stop;
      }
      r = stop;
    }
  }

  void add_values() {
    if constexpr (!plain) {
      if (code_values_) {
        RowsAhead ahead = rows_ahead(next_->values, value_bytes_);
        const CodeRows from{here_->values, here_->slots,  tile_skip_,
                            tile_count_,   !Keys::listed, by_runs_};
        code_values_->take(from, ahead);
        const std::size_t tokens = simd::round_up(tile_count_, run_tokens);
        if constexpr (simd::lanes <
                      run_tokens) {  // so far whole vectors have been weighed, not runs
          for (std::size_t r = 0; r < task_.count; ++r) {
            float* const weights = scores_ + r * tile_tokens;
            std::fill(weights + simd::round_up(tile_count_, simd::lanes), weights + tokens, 0.0f);
          }
        }
        return add_code_values(*code_values_, scores_, task_.count, tokens, ahead, sums_, padded_);
      }
    }
    if constexpr (!plain) {
      if (value_floats_.table != nullptr) {
        scale_scores(value_floats_, here_->values, cache_.value_fit(task_.kv_head));
      }
    }
    load_values();
    std::size_t run = 0;  // rows that see the same part of the tile
    for (std::size_t r = 1; r <= task_.count; ++r) {
      if (r < task_.count && seen(r) == seen(run)) continue;
      const auto [begin, end] = seen(run);
      add_values(run, r - run, begin, end);
      run = r;
    }
  }

  /// A row's largest logit in the tile; what it does not see becomes -infinity.
  float find_largest(std::size_t r) {
    using namespace simd;
    const Floats d;
    const auto [begin, end] = seen(r);
    float* scores = scores_ + r * tile_tokens;
    const Vec nothing = set(-std::numeric_limits<float>::infinity());
    const std::size_t width = round_up(tile_count_, lanes);
    Vec best = nothing;
    if (!Variant::transforms_logits && !Keys::votes && begin == 0 && end == width) {
      for (std::size_t t = 0; t < width; t += lanes) best = hn::Max(best, load(scores + t));
      return max(best);
    }
    const Vec low = set(static_cast<float>(begin)), high = set(static_cast<float>(end));
    const Vec query = set(static_cast<float>(position(r) - tile_begin_));
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
    return max(best);
  }

  /// Turns logits of rows from `first` on into weights against their maxima so far, and scales what was
  /// summed before by the change of those. \shape now (Rows)
  template <std::size_t Rows>
  void weigh(std::size_t first, const float* now) {
    using namespace simd;
    Vec totals[Rows], most[Rows];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      totals[r] = hn::Zero(Floats());
      most[r] = set(now[r]);
    });
    float* const scores = scores_ + first * tile_tokens;
    for (std::size_t t = 0; t < round_up(tile_count_, lanes); t += lanes) {
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        float* const at = scores + r * tile_tokens + t;
        const Vec weight = exp2(hn::Sub(load(at), most[r]));
        store(weight, at);
        totals[r] = hn::Add(totals[r], weight);
      });
    }
    float all[Rows];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) { all[r] = sum(totals[r]); });
    for (std::size_t i = 0; i < Rows; ++i) {
      const std::size_t r = first + i;
      float shrink = 1;
      if (largest_[r] != now[i]) {
        shrink = hn::GetLane(exp2(set(largest_[r] - now[i])));
        float* sums = sums_ + r * padded_;
        for (std::size_t c = 0; c < padded_; c += lanes) {
          store(hn::Mul(load(sums + c), set(shrink)), sums + c);
        }
      }
      total_[r] = hn::GetLane(hn::MulAdd(set(total_[r]), set(shrink), set(all[i])));
      largest_[r] = now[i];
    }
  }

  /// sums += weights * values for rows that see tokens [begin, end) of the tile.
  void add_values(std::size_t first, std::size_t rows, std::size_t begin, std::size_t end) {
    if (begin >= end) return;
    if (in_place_) {
      if constexpr (plain && half_rows::suits<Element>) {
        if (rows == task_.count && multiplies_in_registers()) {
          return half_rows::add_values<Element>(
              rows, here_->values, cache_.head_dim, begin, end, scores_, sums_, padded_,
              [this](std::size_t channel) { return values_ahead(32, channel); });
        }
      }
      if constexpr (plain || !simd::looks_up_bytes) {
        return add_values_as<Element>(here_->values, first, rows, begin, end);
      } else {
        return add_values_as<ByteFloat>(here_->values, first, rows, begin, end);
      }
    }
    add_values_as<float>(values_, first, rows, begin, end);
  }
  /// Widener: named here, since nvcc looks into what is not compiled as soon as it depends on nothing.
  /// \shape values (tile_tokens), of Stored
  template <class Stored, class Widener = simd::ByteWidener>
  void add_values_as(const std::byte* const* values, std::size_t first, std::size_t rows,
                     std::size_t begin, std::size_t end) {
    using namespace simd;
    const auto right = [&](std::size_t i) {  // whole tiles of FP8 alone: see read_codecs()
      if constexpr (std::is_same_v<Stored, ByteFloat>) {
        return ByteValueRows<Widener>{values, i, values_ahead(32, i),
                                      Widener(*value_floats_.table)};
      } else {
        return ValueRows<Element, Stored>{values, i, values_ahead(32, i)};
      }
    };
    auto add = [&](auto vectors, std::size_t i) {
      multiply_rows<decltype(vectors)::value>(rows, begin, end, scores_ + first * tile_tokens,
                                              tile_tokens, right(i), true,
                                              sums_ + first * padded_ + i, padded_);
    };
    const std::size_t dims = round_up(cache_.head_dim, lanes);
    std::size_t i = 0;
    for (; i + tile_width <= dims; i += tile_width) {
      add(std::integral_constant<std::size_t, tile_vectors>{}, i);
    }
    if constexpr (!std::is_same_v<Stored, ByteFloat>) {
      for (; i < dims; i += lanes) add(std::integral_constant<std::size_t, 1>{}, i);
    }
  }

  void write() {
    for (std::size_t r = 0; r < task_.count; ++r) {
      const float scale = all_total_[r] > 0 ? 1 / all_total_[r] : 0.0f;
      float* to = queries_.out + row(r) * queries_.out_stride + head(r) * cache_.head_dim;
      const float* from = all_sums_ + r * padded_;
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
    const std::int64_t row = places_[r].of_sequence;
    if (!seen_.counts(row)) return;
    float* logits = seen_.logits(r);
    const auto visible = static_cast<std::size_t>(position(r) + 1);
    for (std::size_t t = 0; t < round_up(visible, lanes); t += lanes) {
      const Vec weight = exp2(hn::Sub(load(logits + t), set(all_largest_[r])));
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
  struct Place {
    std::int64_t position, of_sequence;  // in its sequence, and among its rows of the batch
    std::size_t row, head;               // in the batch
  };
  Place places_[tile_queries];
  float *q_, *q_columns_;  // (count, padded_), and of half_rows.hpp (head_dim, count)
  float *sums_, *all_sums_, *keys_, *key_rows_, *value_rows_, *scores_;
  float *largest_, *total_, *all_largest_, *all_total_, *zeros_, *codes_;
  std::size_t key_bytes_ = 0, value_bytes_ = 0;  // of a token
  std::int64_t first_ = 0, last_ = -1, tile_begin_ = 0;
  std::size_t tile_count_ = 0, tile_skip_ = 0;
  Tile tiles_[2];
  Tile *here_ = &tiles_[0], *next_ = &tiles_[1];  // this tile and the next
  bool located_ = false, walking_ = false;
  std::size_t entry_ = 0, entry_slot_ = 0;  // of the block table: where the walk goes on
  const std::byte* values_[tile_tokens];
  RowsAhead keys_ahead_;
  // Of packed formats: tokens that are not packed yet, and whether queries stand in the keys' basis.
  const Fp16* open_keys_[tile_tokens];
  const Fp16* open_values_[tile_tokens];
  bool reads_open_ = false, key_basis_ = false;
  CodeLayout key_layout_{}, value_layout_{};         // group 0: read as fp32
  simd::ByteFloatLayout key_floats_, value_floats_;  // no table: read as fp32
  bool by_runs_ = false;                             // tiles are located a run at a time
  std::optional<CodeTile<true>> code_keys_;
  std::optional<CodeQueries> code_queries_;
  std::optional<CodeTile<false>> code_values_;
  bool in_place_ = false;
};

}  // namespace detail

}  // namespace quire::attention
