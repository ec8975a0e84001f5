#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <quire/attention/rows_ahead.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/code_layout.hpp>
#include <quire/core/simd.hpp>

/// Tokens of 4 or 8 bits as products of bytes take them (code_products.hpp).
namespace quire::attention::detail {

inline constexpr std::size_t run_tokens = CodeLayout::run_tokens;
inline constexpr std::size_t tile_runs = tile_tokens / run_tokens;
inline constexpr std::size_t step_words = 16;  // from one step of a run to the next, 64 bytes

/// The runs of a tile (CodeLayout) that hold tokens: [first, last).
struct CodeRuns {
  const std::uint32_t* runs[tile_runs] = {};
  std::size_t first = 0, last = 0;
};

/// Where one side's tokens of a tile begin.
struct CodeRows {
  const std::byte* const* rows;  // (tile_tokens): a row of zeros where there is no token
  const std::uint32_t* slots;    // (tile_tokens): within their slabs
  std::size_t begin, end;        // tokens that there are
  bool in_order;                 // those of a block lie one behind the other
  bool
      by_runs;  // rows and slots are those of runs' first slots, where runs hold a token. (tile_runs)
};

/// Keys or values of a tile as words of unsigned codes, beside their scales: those of slabs in runs where
/// they lie, others packed into runs of codes of 8 bits.
template <bool keys>
class CodeTile {
 public:
  /// memory: tile_tokens * head_dim floats
  CodeTile(const CodeLayout& layout, std::size_t head_dim, float* memory)
      : layout_(layout),
        head_dim_(head_dim),
        groups_(head_dim / layout.group),
        words_(reinterpret_cast<std::uint32_t*>(memory)),
        scales_(memory + tile_tokens / 4 * head_dim),
        offsets_(scales_ + groups_ * tile_tokens),
        scale_words_(reinterpret_cast<std::uint32_t*>(offsets_ + groups_ * tile_tokens)) {}

  [[nodiscard]] const CodeRuns& runs() const { return runs_; }
  /// Whether each byte holds two codes, the second half a group on.
  [[nodiscard]] bool in_halves() const { return layout_.in_runs && layout_.bits == 4; }
  [[nodiscard]] std::size_t groups() const { return groups_; }
  [[nodiscard]] std::size_t group() const { return layout_.group; }
  /// Words from one group to the next within a run.
  [[nodiscard]] std::size_t group_words() const {
    return layout_.group * run_tokens / 4 / (in_halves() ? 2 : 1);
  }
  /// Lines to fetch for `vectors` vectors that a product reads: what packing has not fetched.
  [[nodiscard]] std::size_t lines_ahead(std::size_t vectors) const {
    const std::size_t bytes = vectors * simd::lanes * sizeof(float);
    return std::max<std::size_t>(bytes / (layout_.in_runs ? 64 : 128), 1);
  }
  /// \shape (tile_tokens)
  [[nodiscard]] const float* scales(std::size_t g) const { return scales_ + g * tile_tokens; }
  [[nodiscard]] const float* offsets(std::size_t g) const { return offsets_ + g * tile_tokens; }
  [[nodiscard]] bool has_offsets() const {
    return layout_.scale == CodeLayout::Scale::fp16_and_offset;
  }
  /// What products count too much for each unit of the other factor: the code of zero. Signed bytes are
  /// stored with 128 added.
  [[nodiscard]] std::int32_t excess() const { return layout_.bits == 8 ? 128 : layout_.zero; }

  /// Fetches the first half of what lies ahead where it packs; products fetch the rest.
  void take(const CodeRows& from, RowsAhead& ahead) {
    runs_.first = from.begin / run_tokens;
    runs_.last = (from.end + run_tokens - 1) / run_tokens;
    const std::size_t run_words =
        layout_.in_runs ? layout_.row_bytes * run_tokens / 4 : head_dim_ * run_tokens / 4;
    for (std::size_t r = runs_.first; r < runs_.last; ++r) {
      std::uint32_t* to = words_ + r * run_words;
      runs_.runs[r] = to;
      if (!layout_.in_runs) {
        pack(from, r * run_tokens, to, ahead);
      } else if (from.in_order) {
        const Place place = first_of(from, r);
        runs_.runs[r] = reinterpret_cast<const std::uint32_t*>(place.run);
        load_scales_of_run(place.slab, place.slot, r);
      } else {
        collect(from, r * run_tokens, std::min(from.end, (r + 1) * run_tokens), to);
      }
    }
    if (!layout_.in_runs || !from.in_order) load_scales(from);
  }

 private:
  struct Place {
    const std::byte *slab, *run;
    std::size_t slot;
  };
  /// Where run r of tokens in order begins.
  [[nodiscard]] HWY_INLINE Place first_of(const CodeRows& from, std::size_t r) const {
    const std::size_t t = from.by_runs ? r : std::max(from.begin, r * run_tokens);
    const std::size_t slot = from.slots[t] / run_tokens * run_tokens;
    const std::byte* run = from.rows[t] - (from.slots[t] - slot) * layout_.row_bytes;
    return {run - slot * layout_.row_bytes, run, slot};
  }
  /// Where the run of a token begins.
  [[nodiscard]] const std::byte* run_of(const CodeRows& from, std::size_t t) const {
    return from.rows[t] - from.slots[t] % run_tokens * layout_.row_bytes;
  }

  /// Sixteen tokens from t on, as rows.
  void pack(const CodeRows& from, std::size_t t, std::uint32_t* run_words, RowsAhead& ahead) const {
    const std::size_t bytes = layout_.group * layout_.bits / 8;
    const bool halves = layout_.bits == 4;
    const std::size_t high = layout_.group / 2 * run_tokens / 4;
    for (std::size_t i = 0; i < 8 * layout_.row_bytes; i += 64) ahead.fetch();
    const bool run = in_one_run(from, t);
    for (std::size_t g = 0; g < groups_; ++g) {
      const std::size_t at = g * layout_.group_bytes + layout_.codes_at;
      std::uint32_t* to = run_words + g * group_words();
      for (std::size_t i = 0; i < bytes; i += 16, to += 4 * step_words) {
        if (run) {
          const std::byte* first = from.rows[t] + at + i;
          const std::size_t step = layout_.row_bytes;
          pack_run(
              [ first, step ](std::size_t r)
                  __attribute__((always_inline)) { return first + r * step; },
              halves, to, high);
        } else {
          const std::byte* const* rows = from.rows + t;
          pack_run(
              [ rows, j = at + i ](std::size_t r)
                  __attribute__((always_inline)) { return rows[r] + j; },
              halves, to, high);
        }
      }
    }
  }

  /// Listed tokens [begin, end) of one run, from wherever they lie in theirs.
  void collect(const CodeRows& from, std::size_t begin, std::size_t end, std::uint32_t* to) const {
    using namespace simd;
    const auto run = [&](std::size_t t) {
      return reinterpret_cast<const std::uint32_t*>(run_of(from, t));
    };
    if constexpr (keys) {
      for (std::size_t t = begin; t < end; ++t) {
        const std::uint32_t* word = run(t) + from.slots[t] % run_tokens;
        for (std::size_t i = 0; i < layout_.row_bytes / 4; ++i) {
          to[i * step_words + t % run_tokens] = word[i * step_words];
        }
      }
    } else {
      const hn::RebindToUnsigned<Words> d;
      for (std::size_t quad = begin; quad < end; quad += 4) {
        for (std::size_t i = 0; i < layout_.row_bytes; i += lanes) {
          const std::size_t at = i / 16 * 4 * step_words + i % 16;
          auto all = hn::Zero(d);
          for (std::size_t t = quad; t < std::min(end, quad + 4); ++t) {
            const std::size_t slot = from.slots[t] % run_tokens;
            const auto word = hn::LoadU(d, run(t) + at + slot / 4 * step_words);
            const auto byte =
                hn::And(hn::ShiftRightSame(word, static_cast<int>(slot % 4 * 8)), hn::Set(d, 0xff));
            all = hn::Or(all, hn::ShiftLeftSame(byte, static_cast<int>((t - quad) * 8)));
          }
          hn::StoreU(all, d, to + at + (quad - begin) / 4 * step_words);
        }
      }
    }
  }

  /// Whether sixteen tokens lie one behind the other.
  [[nodiscard]] bool in_one_run(const CodeRows& from, std::size_t t) const {
    return from.in_order && t >= from.begin && t + 16 <= from.end &&
           from.slots[t + 15] == from.slots[t] + 15 &&
           from.rows[t + 15] == from.rows[t] + 15 * layout_.row_bytes;
  }

  /// Sixteen tokens' runs of sixteen bytes, where `at` tells. Words of upper halves lie `high` behind
  /// those of lower ones.
  template <class At>
  HWY_INLINE void pack_run(const At& at, bool halves, std::uint32_t* to, std::size_t high) const {
#if HWY_TARGET == HWY_SCALAR
    for (std::size_t i = 0; i < 256; ++i) {
      const std::size_t t = i % 16, b = i / 16;
      const auto code = std::to_integer<unsigned>(at(t)[b]);
      auto* byte = reinterpret_cast<std::uint8_t*>(to) + layout_.template byte_at<keys>(t, b);
      *byte = static_cast<std::uint8_t>(halves ? code & 15u : code ^ 128u);
      if (halves) byte[high * sizeof *to] = static_cast<std::uint8_t>(code >> 4);
    }
#else
    namespace hn = simd::hn;
    const hn::FixedTag<std::uint8_t, 16> block;
    constexpr std::size_t quads = simd::lanes == 16 ? 4 : 1;  // of tokens, one a block of 16 bytes
    const hn::FixedTag<std::uint8_t, 16 * quads> d8;
    const hn::FixedTag<std::uint16_t, 8 * quads> d16;
    const hn::FixedTag<std::uint32_t, 4 * quads> d32;
    const hn::FixedTag<std::uint64_t, 2 * quads> d64;
    for (std::size_t t = 0; t < 16; t += 4 * quads) {
      const auto load = [&](std::size_t i) __attribute__((always_inline)) {
        return hn::LoadU(block, reinterpret_cast<const std::uint8_t*>(at(t + i)));
      };
      // Token i of every quad; generic, so that narrower processors need not know of wider vectors.
      const auto every = [&](auto i) __attribute__((always_inline)) {
        if constexpr (quads == 1) {
          return load(i);
        } else {
          const hn::FixedTag<std::uint8_t, 8 * quads> two;
          return hn::Combine(d8, hn::Combine(two, load(i + 12), load(i + 8)),
                             hn::Combine(two, load(i + 4), load(i)));
        }
      };
      const auto a = every(std::size_t{0}), b = every(std::size_t{1}), c = every(std::size_t{2}),
                 d = every(std::size_t{3});
      // words, or bytes, of four tokens side by side
      const auto weave = [&](auto narrow, auto wide) __attribute__((always_inline)) {
        const auto as = [&](auto v) { return hn::BitCast(narrow, v); };
        const auto ab = hn::BitCast(wide, hn::InterleaveLower(narrow, as(a), as(b)));
        const auto cd = hn::BitCast(wide, hn::InterleaveLower(narrow, as(c), as(d)));
        const auto ab2 = hn::BitCast(wide, hn::InterleaveUpper(narrow, as(a), as(b)));
        const auto cd2 = hn::BitCast(wide, hn::InterleaveUpper(narrow, as(c), as(d)));
        const decltype(a) woven[4] = {hn::BitCast(d8, hn::InterleaveLower(wide, ab, cd)),
                                      hn::BitCast(d8, hn::InterleaveUpper(wide, ab, cd)),
                                      hn::BitCast(d8, hn::InterleaveLower(wide, ab2, cd2)),
                                      hn::BitCast(d8, hn::InterleaveUpper(wide, ab2, cd2))};
        const auto each = [&](auto change) __attribute__((always_inline)) {
          std::array<decltype(a), 4> v{change(woven[0]), change(woven[1]), change(woven[2]),
                                       change(woven[3])};
          return v;
        };
        if (halves) {
          const auto half = hn::Set(d8, 0x0f);
          put(each([&](auto v) { return hn::And(v, half); }), d32, to, t);
          put(each([&](auto v) {
                return hn::And(hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, v))), half);
              }),
              d32, to + high, t);
        } else {
          const auto sign = hn::Set(d8, 0x80);
          put(each([&](auto v) { return hn::Xor(v, sign); }), d32, to, t);
        }
      };
      if constexpr (keys) {
        weave(d32, d64);
      } else {
        weave(d8, d16);
      }
    }
#endif
  }

#if HWY_TARGET != HWY_SCALAR
  /// Stores four vectors of words. Keys: vector j holds word j of tokens t, t + 1, ...; values: block L of
  /// vector j holds bytes [4 j, 4 j + 4) of quad t / 4 + L.
  template <class V, class D>
  HWY_INLINE void put(const std::array<V, 4>& words, D d, std::uint32_t* to, std::size_t t) const {
    namespace hn = simd::hn;
    V v[4] = {words[0], words[1], words[2], words[3]};
    std::size_t next = step_words;
    if constexpr (keys) {
      to += t;
    } else {
      to += t / 4 * step_words;
      if constexpr (hn::MaxLanes(D()) < 16) next = 4;
      if constexpr (hn::MaxLanes(D()) == 16) {  // four by four blocks
        const auto as = [&](auto x) { return hn::BitCast(d, x); };
        const auto even = hn::ConcatLowerLower(d, as(v[2]), as(v[0]));
        const auto odd = hn::ConcatLowerLower(d, as(v[3]), as(v[1]));
        const auto even2 = hn::ConcatUpperUpper(d, as(v[2]), as(v[0]));
        const auto odd2 = hn::ConcatUpperUpper(d, as(v[3]), as(v[1]));
        const decltype(even) rows[4] = {hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd), even),
                                        hn::OddEvenBlocks(odd, hn::SwapAdjacentBlocks(even)),
                                        hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd2), even2),
                                        hn::OddEvenBlocks(odd2, hn::SwapAdjacentBlocks(even2))};
        for (std::size_t j = 0; j < 4; ++j) hn::StoreU(rows[j], d, to + j * next);
        return;
      }
    }
    simd::unrolled<4>([&](auto j) { hn::StoreU(hn::BitCast(d, v[j]), d, to + j * next); });
  }
#endif

  /// Those of slots without a token are of no use, and of no harm.
  HWY_INLINE void load_scales_of_run(const std::byte* slab, std::size_t slot, std::size_t r) {
    using namespace simd;
    const hn::RebindToUnsigned<Words> word;
    const hn::Rebind<std::uint16_t, Floats> half;
    for (std::size_t g = 0; g < groups_; ++g) {
      const std::byte* from = slab + layout_.scale_of(slot, g);
      for (std::size_t t = 0; t < run_tokens; t += lanes, from += lanes * layout_.scale_bytes()) {
        const std::size_t at = g * tile_tokens + r * run_tokens + t;
        if (layout_.scale_bytes() == 4) {
          unpack_scales(hn::LoadU(word, reinterpret_cast<const std::uint32_t*>(from)), at);
        } else {
          const auto bits = hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(from));
          unpack_scales(hn::PromoteTo(word, bits), at);
        }
      }
    }
  }

  void load_scales(const CodeRows& from) {
    using namespace simd;
    const std::size_t end = round_up(from.end, 16);
    const bool beside = layout_.in_runs || layout_.scale == CodeLayout::Scale::fp32_of_slab;
    const std::size_t size = layout_.in_runs ? layout_.scale_bytes() : sizeof(std::uint32_t);
    // from a token's row back to its slab's begin, and on to its scale
    const std::size_t back = beside ? layout_.row_bytes - size : 0;
    for (std::size_t g = 0; g < groups_; ++g) {
      const std::byte* const* rows = from.rows;
      const std::size_t at = g * layout_.group_bytes + layout_.scale_at;
      std::uint32_t* to = scale_words_ + g * tile_tokens;
      std::fill(to, to + end, 0u);
      for (std::size_t t = from.begin; t < from.end;) {
        const std::byte* scale = rows[t] + at - from.slots[t] * back;
        if (t + 16 <= from.end && in_one_run(from, t)) {
          if (beside) {
            std::memcpy(to + t, scale, 16 * sizeof *to);
          } else {
            gather(scale, to + t);
          }
          t += 16;
        } else {
          std::memcpy(to + t, scale, size);
          ++t;
        }
      }
      for (std::size_t t = 0; t < end; t += lanes) {
        unpack_scales(hn::LoadU(hn::RebindToUnsigned<Words>(), to + t), g * tile_tokens + t);
      }
    }
  }

  /// Words of sixteen tokens that lie one behind the other.
  void gather(const std::byte* from, std::uint32_t* to) const {
    namespace hn = simd::hn;
    const auto step = static_cast<std::int32_t>(layout_.row_bytes);
    for (std::size_t t = 0; t < 16; t += simd::lanes) {
      const auto offsets = hn::Mul(hn::Iota(simd::Words(), static_cast<std::int32_t>(t)),
                                   hn::Set(simd::Words(), step));
      const auto words =
          hn::GatherOffset(simd::Words(), reinterpret_cast<const std::int32_t*>(from), offsets);
      hn::StoreU(words, simd::Words(), reinterpret_cast<std::int32_t*>(to) + t);
    }
  }

  /// A vector's scales and offsets from their words.
  template <class V>
  HWY_INLINE void unpack_scales(V words, std::size_t t) {
    using namespace simd;
    if (layout_.scale == CodeLayout::Scale::fp32_of_slab) {
      store(hn::BitCast(Floats(), words), scales_ + t);
    } else {
      const hn::Rebind<std::uint16_t, Floats> half;
      const hn::Rebind<hwy::float16_t, Floats> floats;
      const auto as_float = [&](auto bits) {
        return hn::PromoteTo(Floats(), hn::BitCast(floats, hn::TruncateTo(half, bits)));
      };
      store(as_float(words), scales_ + t);
      if (layout_.scale == CodeLayout::Scale::fp16_and_offset) {
        store(as_float(hn::ShiftRight<16>(words)), offsets_ + t);
      }
    }
  }

  CodeLayout layout_;
  std::size_t head_dim_, groups_;
  CodeRuns runs_;
  std::uint32_t* words_;
  float *scales_, *offsets_;
  std::uint32_t* scale_words_;
};

}  // namespace quire::attention::detail
