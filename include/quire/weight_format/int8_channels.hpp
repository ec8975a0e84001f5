// mechanism: weights in bytes with a scale an output, and rows of inputs in bytes
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
    constexpr std::size_t some = simd::multiplies_bytes ? 6 : 2;
    constexpr std::size_t wide = simd::multiplies_bytes ? 4 : 1;
    std::size_t n = 0;
    for (; n + wide * simd::lanes <= outputs; n += wide * simd::lanes) {
      std::size_t r = 0;
      for (; r + some <= count; r += some) {
        add_tile<some, wide>(panel, outputs, inputs, n, rows + r * row_bytes, row_bytes,
                             y + r * y_stride + n, y_stride);
      }
      for (; r < count; ++r) {
        add_tile<1, wide>(panel, outputs, inputs, n, rows + r * row_bytes, row_bytes,
                          y + r * y_stride + n, y_stride);
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
  /// Lines of the panel are fetched so far ahead.
  static constexpr std::size_t prefetch_bytes = 4096;

  static constexpr std::size_t place(std::size_t outputs, std::size_t n, std::size_t k) {
    return (k / 4 * outputs + n) * 4 + k % 4;
  }
  template <std::size_t Rows, std::size_t Vectors>
  HWY_NOINLINE static void add_tile(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                                    std::size_t n, const std::byte* rows, std::size_t row_bytes,
                                    float* y, std::size_t y_stride) {
    using namespace simd;
    const std::size_t wide = padded(inputs);
    const auto tail = [&](std::size_t r) {
      return blockwise::get<Tail>(rows + r * row_bytes + wide);
    };
    WordVec sums[Rows * Vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const auto start = hn::Set(Words(), tail(r).start);
      unrolled<Vectors>([&](auto v)
                            __attribute__((always_inline)) { sums[r * Vectors + v] = start; });
    });
    for (std::size_t k = 0; k < wide; k += 4) {
      WordVec word[Vectors];
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const std::byte* from = panel + (k / 4 * outputs + n + v * lanes) * 4;
        fetch_ahead(from + prefetch_bytes);
        word[v] = hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(from));
      });
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        const auto input = hn::Set(Words(), blockwise::get<std::int32_t>(rows + r * row_bytes + k));
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
          sums[r * Vectors + v] = dot_bytes(sums[r * Vectors + v], word[v], input);
        });
      });
    }
    const float* scales = reinterpret_cast<const float*>(panel + outputs * wide) + n;
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      const Vec scale = set(tail(r).scale);
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const Vec both = hn::Mul(load(scales + v * lanes), scale);
        float* to = y + r * y_stride + v * lanes;
        const Vec product = hn::Mul(hn::ConvertTo(Floats(), sums[r * Vectors + v]), both);
        store(hn::Add(load(to), product), to);
      });
    });
  }
};

}  // namespace quire::weight_format
