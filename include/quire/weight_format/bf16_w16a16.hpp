#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include <quire/core/blockwise.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/pair_products.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::weight_format {

/// Weights and activations as bfloat16, rounded to nearest even, multiplied in pairs; products
/// accumulate in fp32. `bf16` is the same with activations in fp32: half as fast where a processor
/// multiplies pairs of bf16. Two inputs of an output are followed by those of the next one.
/// \shape panel (inputs padded to 32 / 2, outputs) words of two bf16, padded to 64 bytes
/// \source what PyTorch, vLLM and ggml do with bf16 models
struct Bf16W16a16 {
  static constexpr std::string_view name = "bf16_w16a16";

  static constexpr std::size_t padded(std::size_t inputs) { return (inputs + 31) / 32 * 32; }
  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return outputs * padded(inputs) * sizeof(quire::Bf16);
  }
  static constexpr double weight_bytes(std::size_t inputs) {
    return 2.0 * static_cast<double>(padded(inputs)) / static_cast<double>(inputs);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    auto* to = reinterpret_cast<quire::Bf16*>(panel);
    for (std::size_t n = 0; n < outputs; ++n) {
      for (std::size_t k = 0; k < inputs; ++k) {
        to[place(outputs, n, k)] = to_bf16(weights[n * inputs + k]);
      }
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t /*inputs*/,
                     std::size_t first, std::size_t count, float* values) {
    const auto* from = reinterpret_cast<const quire::Bf16*>(panel);
    for (std::size_t k = 0; k < count; ++k) {
      for (std::size_t n = 0; n < outputs; ++n) {
        values[k * outputs + n] = to_float(from[place(outputs, n, first + k)]);
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    const auto* from = reinterpret_cast<const quire::Bf16*>(panel);
    for (std::size_t k = 0; k < inputs; ++k) values[k] = to_float(from[place(outputs, output, k)]);
  }

  static constexpr std::size_t row_bytes(std::size_t inputs) {
    return padded(inputs) * sizeof(quire::Bf16);
  }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    auto* to = reinterpret_cast<quire::Bf16*>(row);
    simd::to_bf16(x, inputs, to);
    std::fill(to + inputs, to + padded(inputs), quire::Bf16{});
  }
  /// Each element is one chain of sums of two products, inputs ascending: its bits depend on its own row
  /// and output alone.
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    // A part of a panel stays in the first-level cache while all rows pass; one tile reads it once anyway.
    // Meanwhile the next part is fetched, or the next panel's first: multiplying and reading take alike.
    const std::size_t wide = row_bytes(inputs), tiles = tiles_of(count);
    const std::size_t step = tiles > 1 ? part_bytes : wide;
    for (std::size_t k = 0; k < wide; k += step) {
      const std::size_t bytes = std::min(step, wide - k);
      const std::byte* part = panel + k * outputs;
      const std::size_t passes =
          tiles * std::max<std::size_t>(outputs / (vectors * simd::lanes), 1);
      const bool fetches = tiles > 1 || simd::fetches_streams;
      simd::LinesAhead ahead{part + (tiles > 1 ? bytes * outputs : prefetch_bytes),
                             fetches ? (outputs + 16 * passes - 1) / (16 * passes) : 0};
      std::size_t n = 0;
      for (; n + vectors * simd::lanes <= outputs; n += vectors * simd::lanes) {
        add_rows<vectors>(part + 4 * n, outputs, rows + k, wide, bytes, count, y + n, y_stride,
                          ahead);
      }
      for (; n < outputs; ++n) {
        for (std::size_t r = 0; r < count; ++r) {
          float& sum = y[r * y_stride + n];
          sum = add_one(part + 4 * n, outputs, rows + r * wide + k, bytes, sum);
        }
      }
    }
  }

 private:
  static constexpr std::size_t most_rows = 6;  // of a register tile
  static constexpr std::size_t vectors = simd::multiplies_pairs ? 4 : 1;
  /// Bytes of a row that pass together: 32 KiB of a panel of 64 outputs.
  static constexpr std::size_t part_bytes = 512;
  /// Lines of the panel are fetched so far ahead.
  static constexpr std::size_t prefetch_bytes = 4096;

  /// Rows of the next register tile of so many: 8 as 4 and 4, as tiles of 2 wait for their own sums.
  static constexpr std::size_t rows_of_tile(std::size_t count) {
    if (count >= most_rows && count != 8) return most_rows;
    return count >= 4 ? 4 : count >= 2 ? 2 : 1;
  }
  static constexpr std::size_t tiles_of(std::size_t count) {
    std::size_t tiles = 0;
    for (; count > 0; ++tiles) count -= rows_of_tile(count);
    return tiles;
  }
  static constexpr std::size_t place(std::size_t outputs, std::size_t n, std::size_t k) {
    return (k / 2 * outputs + n) * 2 + k % 2;
  }
  /// One output of one row, in the order of dot_pairs().
  static float add_one(const std::byte* panel, std::size_t outputs, const std::byte* row,
                       std::size_t bytes, float sum) {
    using namespace simd;
    Vec s = set(sum);
    for (std::size_t k = 0; k < bytes; k += 4) {
      s = dot_pairs(s, hn::Set(Words(), blockwise::get<std::int32_t>(panel + k * outputs)),
                    hn::Set(Words(), blockwise::get<std::int32_t>(row + k)));
    }
    return hn::GetLane(s);
  }
  template <std::size_t Vectors>
  static void add_rows(const std::byte* panel, std::size_t outputs, const std::byte* rows,
                       std::size_t row_bytes, std::size_t bytes, std::size_t count, float* y,
                       std::size_t y_stride, simd::LinesAhead& ahead) {
    const auto add = [&](auto some) {
      add_tile<decltype(some)::value, Vectors>(panel, outputs, rows, row_bytes, bytes, y, y_stride,
                                               ahead);
      rows += some * row_bytes;
      y += some * y_stride;
      return std::size_t{some};
    };
    for (std::size_t left = count; left > 0;) {
      switch (rows_of_tile(left)) {
        case most_rows:
          left -= add(std::integral_constant<std::size_t, most_rows>{});
          break;
        case 4:
          left -= add(std::integral_constant<std::size_t, 4>{});
          break;
        case 2:
          left -= add(std::integral_constant<std::size_t, 2>{});
          break;
        default:
          left -= add(std::integral_constant<std::size_t, 1>{});
      }
    }
  }
  /// y += rows W^T over `bytes` of each row.
  template <std::size_t Rows, std::size_t Vectors>
  HWY_NOINLINE static void add_tile(const std::byte* HWY_RESTRICT panel, std::size_t outputs,
                                    const std::byte* HWY_RESTRICT rows, std::size_t row_bytes,
                                    std::size_t bytes, float* HWY_RESTRICT y, std::size_t y_stride,
                                    simd::LinesAhead& whole) {
    using namespace simd;
    LinesAhead ahead = whole;
    Vec sums[Rows * Vectors];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        sums[r * Vectors + v] = load(y + r * y_stride + v * lanes);
      });
    });
    for (std::size_t k = 0; k < bytes; k += 4) {
      WordVec word[Vectors];
      ahead.fetch();
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        const std::byte* from = panel + k * outputs + v * lanes * 4;
        word[v] = hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(from));
      });
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        const auto input = hn::Set(Words(), blockwise::get<std::int32_t>(rows + r * row_bytes + k));
        unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
          sums[r * Vectors + v] = dot_pairs(sums[r * Vectors + v], word[v], input);
        });
      });
    }
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      unrolled<Vectors>([&](auto v) __attribute__((always_inline)) {
        store(sums[r * Vectors + v], y + r * y_stride + v * lanes);
      });
    });
    whole = ahead;
  }
};
static_assert(WeightFormatPolicy<Bf16W16a16> && ProductWeightFormat<Bf16W16a16>);

}  // namespace quire::weight_format
