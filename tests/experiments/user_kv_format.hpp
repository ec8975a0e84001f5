#pragma once

// What a user's own KV format looks like: one struct in a namespace of their own.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/kv_format/rows.hpp>

namespace lab {

/// Signs and logarithms: a byte holds the sign and 8 steps an octave below the token's largest value.
struct LogBytes : quire::kv_format::Rows<LogBytes> {
  static constexpr std::string_view name = "log_bytes";

  static constexpr std::size_t row_bytes(std::size_t head_dim) { return head_dim + sizeof(float); }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    const float most = quire::blockwise::largest(values, head_dim);
    for (std::size_t i = 0; i < head_dim; ++i) {
      const float x = std::abs(values[i]) / (most > 0 ? most : 1.0f);
      const int steps = quire::blockwise::nearest(-8 * std::log2(x), 0, 127);
      quire::blockwise::put(row + i, static_cast<std::uint8_t>(steps | (values[i] < 0 ? 128 : 0)));
    }
    quire::blockwise::put(row + head_dim, most);
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    const auto most = quire::blockwise::get<float>(row + head_dim);
    for (std::size_t i = 0; i < head_dim; ++i) {
      const auto code = std::to_integer<unsigned>(row[i]);
      const auto steps = static_cast<float>(code & 127u);
      const float size = most * (steps == 127 ? 0 : std::exp2(-0.125f * steps));
      values[i] = code > 127 ? -size : size;
    }
  }
};

}  // namespace lab
