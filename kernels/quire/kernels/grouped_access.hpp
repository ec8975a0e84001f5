#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <quire/core/float8.hpp>
#include <quire/core/packing.hpp>
#include <quire/kernels/kv_access.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/mxfp4.hpp>
#include <quire/kv_format/nvfp4.hpp>

namespace quire::kernels {

/// Rows of 4-bit codes of which each `n` neighbours have a scale. In a format's own rows a group's scale
/// follows its codes, so that words lie askew; on devices a slab begins with the codes of all its
/// tokens, byte i of a row with dimensions i and head_dim / 2 + i, the first in its low bits, and ends
/// with the groups' scales, token by token. The same bits, in as many bytes: OnDevice.
template <class GroupEnd, unsigned n>
struct GroupedRows {
  using Stored = std::uint8_t;
  using End = GroupEnd;
  static constexpr bool scaled = false;
  static constexpr unsigned codes_a_byte = 2;
  static constexpr unsigned group = n;
  static constexpr std::size_t alignment = 4;
  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim / 2; }
  static constexpr std::size_t ends_bytes(std::size_t head_dim) {
    return head_dim / group * sizeof(End);
  }
  /// Where a token's scales begin in a slab. \unit bytes
  static constexpr std::size_t ends_at(std::size_t block_tokens, std::size_t head_dim,
                                       std::size_t slot) {
    return block_tokens * row_bytes(head_dim) + slot * ends_bytes(head_dim);
  }
};
template <std::size_t n>
struct KvAccess<kv_format::IntGrouped<4, n>> : GroupedRows<ScaleAndLeast, n> {
  static_assert(n % 32 == 0,
                "quire: kv_format: kernels read groups of whole numbers of 32, 64, 96 "
                "or more channels; smallest model: kv_format::Int4Grouped<32>");
};
template <>
struct KvAccess<kv_format::Mxfp4> : GroupedRows<E8m0, 32> {};
template <>
struct KvAccess<kv_format::Nvfp4> : GroupedRows<E4m3, 16> {};

/// A format as its slabs lie on a device; for hosts that read or write them.
template <class Format>
struct OnDevice {
  using Access = KvAccess<Format>;
  static_assert(groups_codes<Access>);
  static constexpr std::string_view name = Format::name;

  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return Format::slab_bytes(block_tokens, head_dim);
  }
  static constexpr double token_bytes(std::size_t head_dim) {
    return Format::token_bytes(head_dim);
  }
  static void store(std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                    std::size_t slot, const float* values) {
    std::byte row[most_bytes];
    Format::encode(values, head_dim, row);
    std::byte* codes = slab + slot * Access::row_bytes(head_dim);
    std::memset(codes, 0, Access::row_bytes(head_dim));
    for (std::size_t i = 0; i < head_dim; ++i) {
      const std::size_t half = head_dim / 2;
      const unsigned code = packing::code_at<4>(row + i / n * group_bytes, n, i % n);
      codes[i % half] |= static_cast<std::byte>(code << (i < half ? 0 : 4));
    }
    std::byte* ends = slab + Access::ends_at(block_tokens, head_dim, slot);
    for (std::size_t g = 0; g < head_dim / n; ++g) {
      std::memcpy(ends + g * end_bytes, row + g * group_bytes + n / 2, end_bytes);
    }
  }
  static void load(const std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   std::size_t slot, float* values) {
    std::byte row[most_bytes];
    const std::byte* codes = slab + slot * Access::row_bytes(head_dim);
    const std::byte* ends = slab + Access::ends_at(block_tokens, head_dim, slot);
    for (std::size_t g = 0; g < head_dim / n; ++g) {
      std::uint8_t of_group[n];
      for (std::size_t i = 0; i < n; ++i) {
        of_group[i] = static_cast<std::uint8_t>(packing::code_at<4>(codes, head_dim, g * n + i));
      }
      packing::pack<4>(of_group, n, row + g * group_bytes);
      std::memcpy(row + g * group_bytes + n / 2, ends + g * end_bytes, end_bytes);
    }
    Format::decode(row, head_dim, values);
  }
  static void copy(const std::byte* from, std::size_t from_slot, std::byte* to, std::size_t to_slot,
                   std::size_t block_tokens, std::size_t head_dim) {
    const std::size_t bytes = Access::row_bytes(head_dim);
    std::memcpy(to + to_slot * bytes, from + from_slot * bytes, bytes);
    std::memcpy(to + Access::ends_at(block_tokens, head_dim, to_slot),
                from + Access::ends_at(block_tokens, head_dim, from_slot),
                Access::ends_bytes(head_dim));
  }

 private:
  static constexpr std::size_t n = Access::group, end_bytes = sizeof(typename Access::End);
  static constexpr std::size_t group_bytes = n / 2 + end_bytes, most_bytes = 256;
};
template <class Format>
struct KvAccess<OnDevice<Format>> : KvAccess<Format> {};

}  // namespace quire::kernels
