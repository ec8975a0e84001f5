#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include <quire/core/blockwise.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::weight_format {

/// The two largest magnitudes of each four neighbouring inputs, among equals the first, as bfloat16 with
/// their places of two bits: 9 bits a weight. Weights that were pruned so before (pruning.hpp) lose nothing
/// but bf16's rounding; others lose half of themselves.
///
/// Where the processor can pick a row's inputs in registers, it multiplies the kept weights alone; elsewhere
/// all, zeros among them.
/// \shape panel (chunks of 16 inputs): places (outputs) of 16 bits, four groups' from the lowest up, the
/// lower place first; weights (8, outputs), two a group
/// \source Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021: storage and magnitude pruning
struct Sparse24 {
  static constexpr std::string_view name = "sparse_24";
  static constexpr double kept = 0.5;  // share of the weights

  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (chunks(inputs) * chunk_bytes(outputs) + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t /*inputs*/) { return 18.0 / 16.0; }

  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    for (std::size_t n = 0; n < outputs; ++n) {
      for (std::size_t k = 0; k < inputs; k += 4) {
        std::array<float, 4> four{};
        std::copy_n(weights + n * inputs + k, std::min<std::size_t>(4, inputs - k), four.begin());
        const auto [low, high] = largest_two(four);
        std::byte* chunk = panel + k / 16 * chunk_bytes(outputs);
        const std::size_t group = k % 16 / 4;
        const auto places = blockwise::get<std::uint16_t>(chunk + 2 * n) | (low | high << 2)
                                                                               << (4 * group);
        blockwise::put(chunk + 2 * n, static_cast<std::uint16_t>(places));
        const auto put = [&](std::size_t i, float w) {
          blockwise::put(chunk + 2 * (outputs * (1 + 2 * group + i) + n), to_bf16(w));
        };
        put(0, four[low]);
        put(1, four[high]);
      }
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t /*inputs*/,
                     std::size_t first, std::size_t count, float* values) {
    if (first % 16 == 0 && outputs % simd::lanes == 0) {
      const std::size_t whole = count / 16;
      for (std::size_t c = 0; c < whole; ++c) {
        widen(panel + (first / 16 + c) * chunk_bytes(outputs), outputs, 0, outputs,
              values + c * 16 * outputs);
      }
      first += 16 * whole;
      count -= 16 * whole;
      values += 16 * whole * outputs;
    }
    for (std::size_t k = 0; k < count; ++k) {
      for (std::size_t n = 0; n < outputs; ++n) {
        values[k * outputs + n] = weight(panel, outputs, n, first + k);
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    for (std::size_t k = 0; k < inputs; ++k) values[k] = weight(panel, outputs, output, k);
  }

  /// Inputs as they are, filled up with zeros.
  static constexpr std::size_t row_bytes(std::size_t inputs) { return chunks(inputs) * 64; }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    std::memset(row, 0, row_bytes(inputs));
    std::memcpy(row, x, inputs * sizeof(float));
  }
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    const auto* x = reinterpret_cast<const float*>(rows);
    const std::size_t stride = row_bytes(inputs) / sizeof(float);
    if (outputs % simd::tile_width != 0) {
      return add_each(panel, outputs, inputs, x, stride, count, y, y_stride);
    }
    if constexpr (picks) {
      const auto add = [&](auto some) {
        add_kept<decltype(some)::value>(panel, outputs, chunks(inputs), x, stride, y, y_stride);
        x += some * stride;
        y += some * y_stride;
        return std::size_t{some};
      };
      for (std::size_t left = count; left > 0;) {
        switch (left < most_rows || left == 8 ? std::min<std::size_t>(left, 4) : most_rows) {
          case most_rows:
            left -= add(std::integral_constant<std::size_t, most_rows>{});
            break;
          case 4:
            left -= add(std::integral_constant<std::size_t, 4>{});
            break;
          case 3:
            left -= add(std::integral_constant<std::size_t, 3>{});
            break;
          case 2:
            left -= add(std::integral_constant<std::size_t, 2>{});
            break;
          default:
            left -= add(std::integral_constant<std::size_t, 1>{});
        }
      }
    } else {
      add_all(panel, outputs, chunks(inputs), x, stride, count, y, y_stride);
    }
  }

 private:
  /// Lines of the panel are fetched so far ahead. Measured on one row from memory: 28, 30, 33 and 28 GB/s at 2,
  /// 4, 8 and 16 KiB.
  static constexpr std::size_t prefetch_bytes = 8192;
  static constexpr std::size_t most_rows = 6;  // of a register tile

  static constexpr std::size_t chunks(std::size_t inputs) { return (inputs + 15) / 16; }
  static constexpr std::size_t chunk_bytes(std::size_t outputs) { return 18 * outputs; }

  /// Places of the two largest, in order. A NaN is larger than any number.
  static std::pair<unsigned, unsigned> largest_two(const std::array<float, 4>& four) {
    const auto size = [&](unsigned i) {
      const float s = std::abs(four[i]);
      return s == s ? s : std::numeric_limits<float>::infinity();
    };
    unsigned first = 0;
    for (unsigned i = 1; i < 4; ++i) first = size(i) > size(first) ? i : first;
    unsigned second = first == 0 ? 1 : 0;
    for (unsigned i = second + 1; i < 4; ++i) {
      if (i != first && size(i) > size(second)) second = i;
    }
    return std::minmax(first, second);
  }
  static float weight(const std::byte* panel, std::size_t outputs, std::size_t n, std::size_t k) {
    const std::byte* chunk = panel + k / 16 * chunk_bytes(outputs);
    const std::size_t group = k % 16 / 4;
    const unsigned places = blockwise::get<std::uint16_t>(chunk + 2 * n) >> (4 * group);
    for (std::size_t i = 0; i < 2; ++i) {
      if ((places >> (2 * i) & 3u) == k % 4) {
        return to_float(
            blockwise::get<quire::Bf16>(chunk + 2 * (outputs * (1 + 2 * group + i) + n)));
      }
    }
    return 0;
  }

  using Words = simd::hn::RebindToUnsigned<simd::Floats>;
  using WordVec = simd::hn::Vec<Words>;
  static HWY_INLINE WordVec places_of(const std::byte* chunk, std::size_t n) {
    const simd::hn::Rebind<std::uint16_t, simd::Floats> narrow;
    const auto* from = reinterpret_cast<const std::uint16_t*>(chunk) + n;
    return simd::hn::PromoteTo(Words(), simd::hn::LoadU(narrow, from));
  }
  /// Kept weight i of a group, of `lanes` outputs from n on.
  static HWY_INLINE simd::Vec kept_of(const std::byte* chunk, std::size_t outputs, std::size_t n,
                                      std::size_t i) {
    return simd::load(reinterpret_cast<const quire::Bf16*>(chunk) + outputs * (1 + i) + n);
  }
  /// A chunk's outputs [begin, end) with their zeros. \shape values (16, end - begin)
  static void widen(const std::byte* chunk, std::size_t outputs, std::size_t begin, std::size_t end,
                    float* values) {
    namespace hn = simd::hn;
    for (std::size_t n = begin; n < end; n += simd::lanes) {
      WordVec places = places_of(chunk, n);
      for (std::size_t g = 0; g < 4; ++g) {
        const auto at = [&](int shift) __attribute__((always_inline)) {
          return hn::And(hn::ShiftRightSame(places, shift), hn::Set(Words(), 3u));
        };
        const WordVec low = at(0), high = at(2);
        const simd::Vec first = kept_of(chunk, outputs, n, 2 * g);
        const simd::Vec second = kept_of(chunk, outputs, n, 2 * g + 1);
        for (std::uint32_t i = 0; i < 4; ++i) {
          const auto is = [&](WordVec place) __attribute__((always_inline)) {
            return hn::RebindMask(simd::Floats(), hn::Eq(place, hn::Set(Words(), i)));
          };
          const simd::Vec w = hn::IfThenElseZero(is(low), first);
          simd::store(hn::IfThenElse(is(high), second, w),
                      values + (4 * g + i) * (end - begin) + n - begin);
        }
        places = hn::ShiftRight<4>(places);
      }
    }
  }

  // Lane l gets number (places[l] % 4) of its own block of four lanes.
#if HWY_TARGET <= HWY_AVX3
  static constexpr bool picks = true;
  static HWY_INLINE simd::Vec pick(simd::Vec fours, WordVec places) {
    // of the one without a mask g++ 12 warns in its own header
    return {_mm512_maskz_permutevar_ps(0xffff, fours.raw, places.raw)};
  }
#elif HWY_TARGET <= HWY_AVX2
  static constexpr bool picks = true;
  static HWY_INLINE simd::Vec pick(simd::Vec fours, WordVec places) {
    return {_mm256_permutevar_ps(fours.raw, places.raw)};
  }
#else
  static constexpr bool picks = false;
  static simd::Vec pick(simd::Vec /*fours*/, WordVec /*places*/) { return simd::set(0); }
#endif

  /// y += rows W^T, the kept weights alone. \pre outputs is a multiple of simd::tile_width
  template <std::size_t Rows>
  HWY_NOINLINE static void add_kept(const std::byte* panel, std::size_t outputs, std::size_t chunks,
                                    const float* HWY_RESTRICT x, std::size_t stride,
                                    float* HWY_RESTRICT y, std::size_t y_stride) {
    using namespace simd;
    constexpr std::size_t vectors = tile_vectors;
    const std::size_t lines = (chunk_bytes(outputs) * tile_width / outputs + 63) / 64;
    for (std::size_t n = 0; n < outputs; n += tile_width) {
      Vec sums[Rows * vectors];
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
          sums[r * vectors + v] = load(y + r * y_stride + n + v * lanes);
        });
      });
      for (std::size_t c = 0; c < chunks; ++c) {
        const std::byte* chunk = panel + c * chunk_bytes(outputs);
        const std::byte* ahead = chunk + prefetch_bytes + n * chunk_bytes(outputs) / outputs;
        for (std::size_t l = 0; l < lines; ++l) fetch_ahead(ahead + 64 * l);
        WordVec places[vectors];
        unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
          places[v] = places_of(chunk, n + v * lanes);
        });
        for (std::size_t g = 0; g < 4; ++g) {
          Vec fours[Rows];
          unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
            fours[r] = hn::LoadDup128(Floats(), x + r * stride + 16 * c + 4 * g);
          });
          unrolled<2>([&](auto i) __attribute__((always_inline)) {
            unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
              const Vec w = kept_of(chunk, outputs, n + v * lanes, 2 * g + i);
              unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
                Vec& sum = sums[r * vectors + v];
                sum = hn::MulAdd(w, pick(fours[r], places[v]), sum);
              });
              places[v] = hn::ShiftRight<2>(places[v]);
            });
          });
        }
      }
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        unrolled<vectors>([&](auto v) __attribute__((always_inline)) {
          store(sums[r * vectors + v], y + r * y_stride + n + v * lanes);
        });
      });
    }
  }

  struct Columns {
    const float* values;
    HWY_INLINE simd::Vec operator()(std::size_t k, std::size_t v) const {
      return simd::load(values + k * simd::tile_width + v * simd::lanes);
    }
  };
  /// y += rows W^T, zeros and all: some inputs at a time, widened in the first-level cache.
  /// \pre outputs is a multiple of simd::tile_width
  static void add_all(const std::byte* panel, std::size_t outputs, std::size_t chunks,
                      const float* x, std::size_t stride, std::size_t count, float* y,
                      std::size_t y_stride) {
    constexpr std::size_t width = simd::tile_width, part = 8;
    alignas(64) float values[part * 16 * width];
    for (std::size_t n = 0; n < outputs; n += width) {
      for (std::size_t c = 0; c < chunks; c += part) {
        const std::size_t some = std::min(part, chunks - c);
        for (std::size_t i = 0; i < some; ++i) {
          widen(panel + (c + i) * chunk_bytes(outputs), outputs, n, n + width,
                values + i * 16 * width);
        }
        simd::multiply_rows<simd::tile_vectors>(count, 0, 16 * some, x + 16 * c, stride,
                                                Columns{values}, true, y + n, y_stride);
      }
    }
  }
  /// The same for any outputs.
  static void add_each(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                       const float* x, std::size_t stride, std::size_t count, float* y,
                       std::size_t y_stride) {
    for (std::size_t r = 0; r < count; ++r) {
      for (std::size_t n = 0; n < outputs; ++n) {
        float sum = y[r * y_stride + n];
        for (std::size_t k = 0; k < inputs; ++k) {
          sum = std::fma(x[r * stride + k], weight(panel, outputs, n, k), sum);
        }
        y[r * y_stride + n] = sum;
      }
    }
  }
};

static_assert(ProductWeightFormat<Sparse24>);

}  // namespace quire::weight_format
