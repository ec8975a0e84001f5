#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/core/float8.hpp>
#include <quire/core/hd.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/fp8_e4m3.hpp>
#include <quire/kv_format/fp8_e5m2.hpp>
#include <quire/kv_format/fp8_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>

namespace quire::kernels {

/// How kernels read and write a KV format's slab in place: what an element is, how far apart rows
/// lie and what they are aligned to, and where a token's scale lies. `largest`: the stored magnitude
/// that the largest value of a scaled row gets. `codes_a_byte`: a row is packed codes; what stands
/// beside them is an `End` (group_codec.cuh) for the row (int4_access.hpp), or for each `group` values
/// of it (grouped_access.hpp), from ends_at() on. A format without a specialisation has no kernels, and
/// is refused at compile time.
template <class Format>
struct KvAccess;

template <PlainKvFormat Format>
struct KvAccess<Format> {
  using Stored = typename Format::Element;
  static constexpr bool scaled = false;
  static constexpr std::size_t alignment = 16;
  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim * sizeof(Stored); }
};
template <>
struct KvAccess<kv_format::Int8PerTokenHead> {
  using Stored = std::int8_t;
  static constexpr bool scaled = true;
  static constexpr std::size_t alignment = 16;
  static constexpr float largest = 127.0f;
  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim; }
  /// Where the scales begin in a slab. \unit bytes
  static constexpr std::size_t scales_at(std::size_t block_tokens, std::size_t head_dim) {
    return (block_tokens * head_dim + 3) / 4 * 4;
  }
  static constexpr std::size_t scale_at(std::size_t block_tokens, std::size_t head_dim,
                                        std::size_t slot) {
    return scales_at(block_tokens, head_dim) + slot * sizeof(float);
  }
};

/// 8-bit floats with the scale 1.
template <class Element>
struct Fp8Access {
  using Stored = Element;
  static constexpr bool scaled = false;
  static constexpr std::size_t alignment = 16;
  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim; }
};
template <>
struct KvAccess<kv_format::Fp8E4m3> : Fp8Access<E4m3> {};
template <>
struct KvAccess<kv_format::Fp8E5m2> : Fp8Access<E5m2> {};

/// A row is followed by its scale, so that rows are aligned to 4 bytes alone.
template <>
struct KvAccess<kv_format::Fp8PerTokenHead> {
  using Stored = E4m3;
  static constexpr bool scaled = true;
  static constexpr std::size_t alignment = 4;
  static constexpr float largest = 448.0f;
  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim + sizeof(float); }
  static constexpr std::size_t scale_at(std::size_t /*block_tokens*/, std::size_t head_dim,
                                        std::size_t slot) {
    return slot * row_bytes(head_dim) + head_dim;
  }
};

template <class Access>
inline constexpr bool packs_codes = requires {
  Access::codes_a_byte;
};
template <class Access>
inline constexpr bool groups_codes = requires {
  Access::group;
};
/// Beside packed codes: x = scale * code + least.
struct ScaleAndLeast {
  Fp16 scale, least;
};

/// One layer's pool of KV blocks as kernels see it: attention::KvView with what is known at compile
/// time left out.
struct KvPool {
  std::byte* base = nullptr;    // \shape (blocks) of (2, kv_heads) slabs, keys first
  std::size_t block_bytes = 0;  // from one block to the next: all layers of a block lie together
  std::uint32_t kv_heads = 0;
};

/// What a kernel over KV blocks is specialised on; engines that agree in these share kernels.
/// Query: element of queries and results, float, Bf16 or Fp16.
template <class KvFormatType, unsigned tokens_per_block, unsigned head_size, class QueryType>
struct KernelKey {
  static_assert(tokens_per_block > 0, "quire: block_size: a block holds at least one token");
  static_assert(head_size % 8 == 0 && head_size >= 8 && head_size <= 256,
                "quire: kernels: head_dim must be a multiple of 8, at most 256; smallest model: "
                "head_dim 64");
  using KvFormat = KvFormatType;
  using Query = QueryType;
  using Access = KvAccess<KvFormat>;
  using Stored = typename Access::Stored;
  static constexpr unsigned block_tokens = tokens_per_block;
  static constexpr unsigned head_dim = head_size;
  static constexpr std::size_t slab_bytes = KvFormat::slab_bytes(block_tokens, head_dim);
  static constexpr std::size_t row_bytes = Access::row_bytes(head_dim);

  [[nodiscard]] QUIRE_HD static const std::byte* key_slab(const KvPool& pool, std::uint32_t block,
                                                          unsigned head) {
    return pool.base + block * pool.block_bytes + head * slab_bytes;
  }
  [[nodiscard]] QUIRE_HD static const std::byte* value_slab(const KvPool& pool, std::uint32_t block,
                                                            unsigned head) {
    return key_slab(pool, block, pool.kv_heads + head);
  }
  /// Whether tables list tokens one by one; see ListedKey.
  static constexpr bool listed = false;
  /// Which table, and which length, is a row's.
  [[nodiscard]] QUIRE_HD static std::size_t table_of(std::uint32_t row, unsigned /*kv_heads*/,
                                                     unsigned /*kv_head*/) {
    return row;
  }
  /// The entry of a table for token t, and the block and slot that it stands for.
  [[nodiscard]] QUIRE_HD static constexpr unsigned entry_of(unsigned t) { return t / block_tokens; }
  [[nodiscard]] QUIRE_HD static constexpr std::uint32_t block_of(std::uint32_t entry) {
    return entry;
  }
  [[nodiscard]] QUIRE_HD static constexpr unsigned slot_of(std::uint32_t /*entry*/, unsigned t) {
    return t % block_tokens;
  }
  /// \shape result (head_dim)
  [[nodiscard]] QUIRE_HD static const Stored* row(const std::byte* slab, unsigned slot) {
    return reinterpret_cast<const Stored*>(slab + slot * row_bytes);
  }
  /// The row `rows` further on in a slab.
  [[nodiscard]] QUIRE_HD static const Stored* skip_rows(const Stored* row, std::size_t rows) {
    return reinterpret_cast<const Stored*>(reinterpret_cast<const std::byte*>(row) +
                                           rows * row_bytes);
  }
  /// Where a token's scale lies; the slab where there are none.
  [[nodiscard]] QUIRE_HD static const std::byte* scale_place(const std::byte* slab, unsigned slot) {
    if constexpr (Access::scaled) {
      return slab + Access::scale_at(block_tokens, head_dim, slot);
    } else {
      return slab;
    }
  }
  /// From one token's scale to the next.
  static constexpr std::size_t scale_stride() {
    if constexpr (Access::scaled) {
      return Access::scale_at(block_tokens, head_dim, 1) -
             Access::scale_at(block_tokens, head_dim, 0);
    } else {
      return 0;
    }
  }
  [[nodiscard]] QUIRE_HD static float scale_at_place([[maybe_unused]] const std::byte* place) {
    if constexpr (Access::scaled) {
      return *reinterpret_cast<const float*>(place);
    } else {
      return 1.0f;
    }
  }
  [[nodiscard]] QUIRE_HD static float scale(const std::byte* slab, unsigned slot) {
    return scale_at_place(scale_place(slab, slot));
  }
  /// Packed codes: values that share a scale.
  static constexpr unsigned group_size() {
    if constexpr (groups_codes<Access>) {
      static_assert(head_dim == Access::group || head_dim % (2 * Access::group) == 0,
                    "quire: kv_format: kernels want as many whole groups in either half of a head; "
                    "smallest model: kv_format::Mxfp4 and head_dim 64");
      return Access::group;
    } else {
      return head_dim;
    }
  }
  /// What stands beside a token's packed codes. \shape result (head_dim / group_size())
  [[nodiscard]] QUIRE_HD static auto ends(const std::byte* slab, unsigned slot) {
    using End = typename Access::End;
    return reinterpret_cast<const End*>(slab + Access::ends_at(block_tokens, head_dim, slot));
  }
};

/// A key whose tables list tokens one by one, for each KV head by itself: what a retention policy left of
/// a sequence, or the pages that a query chose. An entry is a slot of the pool, block * block_tokens +
/// slot; tables and lengths have \shape (rows, kv_heads).
template <class KeyType>
struct ListedKey : KeyType {
  static constexpr bool listed = true;
  [[nodiscard]] QUIRE_HD static std::size_t table_of(std::uint32_t row, unsigned kv_heads,
                                                     unsigned kv_head) {
    return std::size_t{row} * kv_heads + kv_head;
  }
  [[nodiscard]] QUIRE_HD static constexpr unsigned entry_of(unsigned t) { return t; }
  [[nodiscard]] QUIRE_HD static constexpr std::uint32_t block_of(std::uint32_t entry) {
    return entry / KeyType::block_tokens;
  }
  [[nodiscard]] QUIRE_HD static constexpr unsigned slot_of(std::uint32_t entry, unsigned /*t*/) {
    return entry % KeyType::block_tokens;
  }
};

}  // namespace quire::kernels
