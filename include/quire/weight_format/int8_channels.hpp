// mechanism: weights in bytes with a scale an output, and rows of inputs in bytes
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/simd.hpp>

namespace quire::weight_format {

/// What formats have in common that multiply bytes with bytes: each output's weights with one fp32 scale
/// of their largest magnitude. Four inputs of an output are followed by those of the next one, about 128:
/// what one instruction multiplies with four inputs.
/// \shape panel (inputs padded to 64 / 4, outputs) words of four bytes, then (outputs) scales
struct Int8Channels {
  static constexpr std::size_t padded(std::size_t inputs) { return (inputs + 63) / 64 * 64; }
  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (outputs * (padded(inputs) + sizeof(float)) + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t inputs) {
    return 1 + static_cast<double>(padded(inputs) - inputs + sizeof(float)) /
                   static_cast<double>(inputs);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0x80, panel_bytes(outputs, inputs));
    std::vector<std::byte> codes(inputs);
    for (std::size_t n = 0; n < outputs; ++n) {
      const float scale = quantise(weights + n * inputs, inputs, codes.data());
      for (std::size_t k = 0; k < inputs; ++k) {
        panel[place(outputs, n, k)] = codes[k] ^ std::byte{0x80};
      }
      blockwise::put(panel + outputs * padded(inputs) + n * sizeof(float), scale);
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    for (std::size_t n = 0; n < outputs; ++n) {
      const float scale = scale_of(panel, outputs, inputs, n);
      for (std::size_t k = 0; k < count; ++k) {
        values[k * outputs + n] = scale * code(panel, outputs, n, first + k);
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    const float scale = scale_of(panel, outputs, inputs, output);
    for (std::size_t k = 0; k < inputs; ++k) values[k] = scale * code(panel, outputs, output, k);
  }

  /// Rounds values to bytes and tells their scale; NaN when one of them is not finite.
  static float quantise(const float* values, std::size_t n, std::byte* codes) {
    using namespace simd;
    const hn::Rebind<std::int8_t, Floats> bytes;
    const std::size_t whole = n / lanes * lanes;
    WordVec top = hn::Zero(Words());  // as whole numbers, magnitudes are ordered as they are
    for (std::size_t i = 0; i < whole; i += lanes) {
      top = hn::Max(top, hn::BitCast(Words(), hn::Abs(load(values + i))));
    }
    float most = std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(Words(), top)));
    if (!std::isfinite(most)) most = blockwise::not_a_number;
    const float rest = blockwise::largest(values + whole, n - whole);
    if (std::isnan(rest) || rest > most) most = rest;
    const float scale = most / 127.0f, inverse = blockwise::inverse_of(scale);
    for (std::size_t i = 0; i < whole; i += lanes) {
      const auto q = hn::NearestInt(hn::Mul(load(values + i), set(inverse)));
      hn::StoreU(hn::DemoteTo(bytes, hn::Max(q, hn::Set(Words(), -127))), bytes,
                 reinterpret_cast<std::int8_t*>(codes) + i);
    }
    for (std::size_t i = whole; i < n; ++i) {
      const int q = blockwise::nearest(values[i] * inverse, -127, 127);
      blockwise::put(codes + i, static_cast<std::int8_t>(q));
    }
    return scale;
  }
  static float scale_of(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                        std::size_t n) {
    return blockwise::get<float>(panel + outputs * padded(inputs) + n * sizeof(float));
  }
  static float code(const std::byte* panel, std::size_t outputs, std::size_t n, std::size_t k) {
    return static_cast<float>(std::to_integer<int>(panel[place(outputs, n, k)]) - 128);
  }

  /// What follows a row's codes.
  struct Tail {
    float scale;
    std::int32_t start;  // of a sum: weights are stored with 128 added
  };
  /// Completes a row whose codes are in their place.
  static void put_tail(std::byte* row, std::size_t inputs, float scale) {
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < inputs; ++k) sum += blockwise::get<std::int8_t>(row + k);
    blockwise::put(row + padded(inputs), Tail{scale, -128 * sum});
  }
  /// y += rows W^T, where a row is codes and then their tail. Sums of whole numbers are exact below
  /// 133,000 inputs: they may pass 32 bits on the way, and come back.
  /// \shape rows (count, row_bytes); y (count, outputs)
  static void add_rows(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                       const std::byte* rows, std::size_t row_bytes, std::size_t count, float* y,
                       std::size_t y_stride) {
    constexpr std::size_t wide = simd::multiplies_bytes ? 4 : 1;
    constexpr std::size_t columns = wide * simd::lanes;
    std::size_t n = 0;
    for (; n + columns <= outputs; n += columns) {
      for (std::size_t r = 0; r < count; r += most_sums) {
        add_columns<wide>(panel, outputs, inputs, n, rows + r * row_bytes, row_bytes,
                          std::min(most_sums, count - r), y + r * y_stride + n, y_stride);
      }
    }
    for (; n < outputs; ++n) {
      const float w = scale_of(panel, outputs, inputs, n);
      for (std::size_t r = 0; r < count; ++r) {
        const std::byte* row = rows + r * row_bytes;
        std::int32_t sum = 0;
        for (std::size_t k = 0; k < inputs; ++k) {
          sum += blockwise::get<std::int8_t>(row + k) *
                 (std::to_integer<int>(panel[place(outputs, n, k)]) - 128);
        }
        const auto tail = blockwise::get<Tail>(row + padded(inputs));
        y[r * y_stride + n] += static_cast<float>(sum) * (w * tail.scale);
      }
    }
  }

 private:
  static constexpr std::size_t most_rows = simd::multiplies_bytes ? 6 : 2;  // of a register tile
  /// Rows whose sums are kept at once.
  static constexpr std::size_t most_sums = 96;
  /// Inputs that pass together: 32 KiB of a panel of 64 outputs.
  static constexpr std::size_t part_inputs = 512;
  /// Lines of the panel are fetched so far ahead.
  static constexpr std::size_t prefetch_bytes = 4096;

  static constexpr std::size_t place(std::size_t outputs, std::size_t n, std::size_t k) {
    return (k / 4 * outputs + n) * 4 + k % 4;
  }
  static Tail tail_of(const std::byte* row, std::size_t inputs) {
    return blockwise::get<Tail>(row + padded(inputs));
  }
  /// The same for Vectors vectors of outputs from n on and at most most_sums rows. Of several rows a
  /// part of the panel stays in the first-level cache while all of them pass, and meanwhile the next part
  /// is fetched; one row reads the panel once anyway.
  template <std::size_t Vectors>
  static void add_columns(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                          std::size_t n, const std::byte* rows, std::size_t row_bytes,
                          std::size_t count, float* y, std::size_t y_stride) {
    using namespace simd;
    constexpr std::size_t columns = Vectors * lanes;
    alignas(64) std::int32_t sums[most_sums * columns];
    for (std::size_t r = 0; r < count; ++r) {
      std::fill_n(sums + r * columns, columns, tail_of(rows + r * row_bytes, inputs).start);
    }
    const bool many = count >= most_rows;
    const std::size_t all = padded(inputs), step = many ? part_inputs : all;
    for (std::size_t k = 0; k < all; k += step) {
      const std::size_t part = std::min(step, all - k);
      // A step is four inputs of all columns. Lines of other columns are fetched with theirs.
      const std::byte* from = panel + (k / 4 * outputs + n) * 4;
      const std::size_t tiles = count / most_rows;
      LinesAhead ahead =
          many ? LinesAhead{panel + (k + part) * outputs + n * part,
                            (columns / 16 + tiles - 1) / tiles}
               : LinesAhead{from + prefetch_bytes, fetches_streams ? columns / 16 : 0};
      std::size_t r = 0;
      const auto add = [&](auto tile) {
        for (; r + tile <= count; r += tile) {
          if (!many) ahead.next = from + prefetch_bytes;
          add_tile<tile, Vectors>(from, outputs, part, rows + r * row_bytes + k, row_bytes,
                                  sums + r * columns, ahead);
        }
      };
      add(std::integral_constant<std::size_t, most_rows>{});
      if constexpr (most_rows > 2) add(std::integral_constant<std::size_t, 2>{});
      add(std::integral_constant<std::size_t, 1>{});
    }
    const float* scales = reinterpret_cast<const float*>(panel + outputs * all) + n;
    for (std::size_t r = 0; r < count; ++r) {
      const Vec scale = set(tail_of(rows + r * row_bytes, inputs).scale);
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const Vec both = hn::Mul(load(scales + v * lanes), scale);
        float* to = y + r * y_stride + v * lanes;
        const auto sum = hn::LoadU(Words(), sums + r * columns + v * lanes);
        store(hn::Add(load(to), hn::Mul(hn::ConvertTo(Floats(), sum), both)), to);
      });
    }
  }
  /// sums += rows times `inputs` inputs of the panel. \shape sums (Rows, Vectors * lanes)
  template <std::size_t Rows, std::size_t Vectors>
  HWY_NOINLINE static void add_tile(const std::byte* HWY_RESTRICT panel, std::size_t outputs,
                                    std::size_t inputs, const std::byte* HWY_RESTRICT rows,
                                    std::size_t row_bytes, std::int32_t* HWY_RESTRICT sums,
                                    simd::LinesAhead& lines_ahead) {
    using namespace simd;
    LinesAhead ahead = lines_ahead;
    WordVec sum[Rows * Vectors];
    unrolled<Rows * Vectors>([&](auto i) __attribute__((always_inline)) {
      sum[i] = hn::LoadU(Words(), sums + i * lanes);
    });
    for (std::size_t k = 0; k < inputs; k += 4) {
      WordVec word[Vectors];
      ahead.fetch();
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const std::byte* from = panel + k * outputs + v * lanes * 4;
        word[v] = hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(from));
      });
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        const auto input = hn::Set(Words(), blockwise::get<std::int32_t>(rows + r * row_bytes + k));
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
          sum[r * Vectors + v] = dot_bytes(sum[r * Vectors + v], word[v], input);
        });
      });
    }
    unrolled<Rows * Vectors>([&](auto i) __attribute__((always_inline)) {
      hn::StoreU(sum[i], Words(), sums + i * lanes);
    });
    lines_ahead = ahead;
  }
};

}  // namespace quire::weight_format
