#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/kernels/kv_access.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>

namespace quire::kernels {

/// Rows of 4-bit codes, two to a byte: byte i holds dimensions i and head_dim / 2 + i, the first in
/// its low bits. Behind them the row's scale and least value, both fp16: x = scale * code + least.
template <>
struct KvAccess<kv_format::Int4PerTokenHead> {
  using Stored = std::uint8_t;
  static constexpr bool scaled = false;
  static constexpr unsigned codes_a_byte = 2;
  static constexpr std::size_t alignment = 4;
  using End = ScaleAndLeast;
  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return head_dim / 2 + sizeof(End);
  }
  static constexpr std::size_t ends_at(std::size_t /*block_tokens*/, std::size_t head_dim,
                                       std::size_t slot) {
    return slot * row_bytes(head_dim) + head_dim / 2;
  }
};

}  // namespace quire::kernels
