#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fitted.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>

namespace quire::kv_format {

/// Keys in 4 bits a token and head, their channels divided beforehand by the square root of the largest
/// magnitude that they took on some texts, and multiplied where they are read: no channel takes the
/// levels of the others. Both channels of a rotary pair have one factor, so that dividing commutes with
/// the turn.
struct SmoothedInt4 : FittedRows<SmoothedInt4> {
  using FittedRows<SmoothedInt4>::encode;
  using FittedRows<SmoothedInt4>::decode;

  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return Int4PerTokenHead::row_bytes(head_dim);
  }
  static constexpr std::string_view refusal(std::size_t block_tokens, std::size_t head_dim) {
    return Int4PerTokenHead::refusal(block_tokens, head_dim);
  }
  static constexpr std::size_t fit_floats(std::size_t head_dim) { return head_dim; }
  static void start(std::size_t head_dim, float* fitted) { std::fill_n(fitted, head_dim, 1.0f); }

  static void fit(const float* rows, std::size_t count, std::size_t head_dim, float* fitted) {
    std::fill_n(fitted, head_dim, 0.0f);
    for (std::size_t t = 0; t < count; ++t) {
      for (std::size_t i = 0; i < head_dim; ++i) {
        fitted[i] = std::max(fitted[i], std::abs(rows[t * head_dim + i]));
      }
    }
    const std::size_t half = head_dim / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const float most = std::max(fitted[i], fitted[half + i]);
      fitted[i] = fitted[half + i] = most >= 0x1p-100f ? std::sqrt(most) : 1.0f;
    }
  }
  static void encode(const float* fitted, const float* values, std::size_t head_dim,
                     std::byte* row) {
    std::array<float, most_dim> smooth;
    for (std::size_t i = 0; i < head_dim; ++i) smooth[i] = values[i] / fitted[i];
    Int4PerTokenHead::encode(smooth.data(), head_dim, row);
  }
  static void decode(const float* fitted, const std::byte* row, std::size_t head_dim,
                     float* values) {
    Int4PerTokenHead::decode(row, head_dim, values);
    for (std::size_t i = 0; i < head_dim; ++i) values[i] *= fitted[i];
  }
};

/// Asymmetric 4 bits a token and head with fp16 scale and zero point, keys smoothed: 4 + 32 / head_dim
/// bits a value.
/// \source Lin et al., "QServe", MLSys '25, KV4 and SmoothAttention with exponent 0.5. Deviation: keys
/// are multiplied by their factors where they are read; the paper folds them into the matrices of q and
/// k, which norms of queries and keys do not let through.
struct QserveKv4 {
  static constexpr std::string_view name = "qserve_kv4";
  using Keys = SmoothedInt4;
  using Values = Int4PerTokenHead;
};
static_assert(KvFormatPolicy<QserveKv4> && FittedKvSlab<SmoothedInt4>);

}  // namespace quire::kv_format
