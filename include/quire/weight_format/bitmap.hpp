#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/name.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/concepts.hpp>

namespace quire::weight_format {

/// So many in a hundred weights, wherever they are, as bfloat16, and a bit for each weight that says whether
/// it is one of them: 1 + 0.16 * percent bits a weight. Room is a panel's, of so many an output, rounded up:
/// where more of its weights are not zero, those of least magnitude are dropped. Weights that were pruned row by
/// row before (pruning.hpp, Wanda) lose nothing but bf16's rounding.
/// \shape panel: bits (inputs, outputs), each input's whole bytes; then kept weights in the same order. Of
/// each 32 outputs the first 16 and the last take turns: two vectors are then parted by a shift and a mask.
/// The layout is this project's own.
template <unsigned percent>
struct Bitmap {
  static_assert(percent >= 1 && percent <= 99, "quire: Bitmap keeps 1 to 99 in a hundred weights");
  static constexpr auto text = Name<>().add("bitmap_").add(percent);
  static constexpr std::string_view name = text;
  static constexpr double kept = percent / 100.0;  // share of the weights

  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    // a vector may be read behind the last weight
    return (inputs * mask_bytes(outputs) + 2 * room(outputs, inputs) + 64 + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t /*inputs*/) { return 0.125 + 2 * kept; }

  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    std::memset(panel, 0, panel_bytes(outputs, inputs));
    const std::vector<char> dropped =
        without_room(weights, outputs * inputs, room(outputs, inputs));
    std::byte* to = panel + inputs * mask_bytes(outputs);
    for (std::size_t k = 0; k < inputs; ++k) {
      std::byte* mask = panel + k * mask_bytes(outputs);
      for (std::size_t p = 0; p < outputs; ++p) {
        const std::size_t n = output_at(outputs, p);
        const float w = weights[n * inputs + k];
        if (w == 0 || dropped[n * inputs + k] != 0) continue;
        mask[p / 8] |= static_cast<std::byte>(1u << (p % 8));
        blockwise::put(to, to_bf16(w));
        to += 2;
      }
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    Reader at(panel, outputs, inputs);
    at.skip(first);
    for (std::size_t k = 0; k < count; ++k) at.take(values + k * outputs);
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    Reader at(panel, outputs, inputs);
    for (std::size_t k = 0; k < inputs; ++k) values[k] = at.one(output);
  }

  /// Inputs as they are.
  static constexpr std::size_t row_bytes(std::size_t inputs) {
    return (inputs * sizeof(float) + 63) / 64 * 64;
  }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    std::memset(row, 0, row_bytes(inputs));
    std::memcpy(row, x, inputs * sizeof(float));
  }
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    const auto* x = reinterpret_cast<const float*>(rows);
    const std::size_t stride = row_bytes(inputs) / sizeof(float);
    if constexpr (expands) {
      if (outputs == 64) {
        while (count > 0) {
          const std::size_t rows_now = std::min(count, most_rows);
          simd::unrolled<most_rows>([&](auto i) {
            constexpr std::size_t some = decltype(i)::value + 1;
            if (rows_now == some) add_few<some>(panel, inputs, x, stride, y, y_stride);
          });
          count -= rows_now;
          x += rows_now * stride;
          y += rows_now * y_stride;
        }
        return;
      }
    }
    constexpr std::size_t part = 128;
    std::vector<float> values(part * outputs);
    Reader at(panel, outputs, inputs);
    for (std::size_t k = 0; k < inputs; k += part) {
      const std::size_t some = std::min(part, inputs - k);
      for (std::size_t i = 0; i < some; ++i) at.take(values.data() + i * outputs);
      std::size_t n = 0;
      for (; n + simd::tile_width <= outputs; n += simd::tile_width) {
        simd::multiply_rows<simd::tile_vectors>(count, 0, some, x + k, stride,
                                                Columns{values.data() + n, outputs}, true, y + n,
                                                y_stride);
      }
      for (; n < outputs; ++n) {
        for (std::size_t r = 0; r < count; ++r) {
          float sum = y[r * y_stride + n];
          for (std::size_t i = 0; i < some; ++i) {
            sum = std::fma(x[r * stride + k + i], values[i * outputs + n], sum);
          }
          y[r * y_stride + n] = sum;
        }
      }
    }
  }

 private:
  static constexpr std::size_t most_rows = 6;  // of a register tile
  static constexpr std::size_t prefetch_bytes = 4096;

  static constexpr std::size_t mask_bytes(std::size_t outputs) { return (outputs + 7) / 8; }
  /// Whose weight stands at a place.
  static constexpr std::size_t output_at(std::size_t outputs, std::size_t p) {
    return outputs % 32 == 0 ? p / 32 * 32 + p % 2 * 16 + p % 32 / 2 : p;
  }
  static constexpr std::size_t room(std::size_t outputs, std::size_t inputs) {
    return outputs * ((inputs * percent + 99) / 100);
  }

  /// Which of the weights find no room: the smallest, of those that are not zero; none of them a NaN.
  static std::vector<char> without_room(const float* weights, std::size_t count, std::size_t room) {
    std::vector<char> dropped(count, 0);
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < count; ++i) {
      if (weights[i] != 0) order.push_back(i);
    }
    if (order.size() <= room) return dropped;
    const auto size = [&](std::size_t i) {
      const float s = std::abs(weights[i]);
      return s == s ? s : std::numeric_limits<float>::infinity();
    };
    const auto middle = order.begin() + static_cast<std::ptrdiff_t>(order.size() - room);
    std::nth_element(order.begin(), middle, order.end(), [&](std::size_t a, std::size_t b) {
      return size(a) != size(b) ? size(a) < size(b) : a > b;
    });
    std::for_each(order.begin(), middle, [&](std::size_t i) { dropped[i] = 1; });
    return dropped;
  }

#if defined(__AVX512VBMI2__) && HWY_TARGET <= HWY_AVX3
  static constexpr bool expands = true;
  /// 32 weights, of which mask's bits have theirs at `from`.
  static HWY_INLINE void expand(const std::byte* from, std::uint64_t mask, simd::Vec* w) {
    const __m512i all =
        _mm512_maskz_expand_epi16(static_cast<__mmask32>(mask), _mm512_loadu_si512(from));
    w[0] = {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, all, 16))};
    w[1] = {_mm512_castsi512_ps(_mm512_and_si512(all, _mm512_set1_epi32(-65536)))};
  }
#else
  static constexpr bool expands = false;
  static void expand(const std::byte*, std::uint64_t, simd::Vec*) {}
#endif

  /// 64 of them.
  static HWY_INLINE void expand_all(const std::byte* from, std::uint64_t mask, simd::Vec* w) {
    expand(from, mask, w);
    expand(from + 2 * std::popcount(mask & 0xffffffffu), mask >> 32, w + 2);
  }

  /// Goes through a panel input by input.
  class Reader {
   public:
    Reader(const std::byte* panel, std::size_t outputs, std::size_t inputs)
        : mask_(panel), weights_(panel + inputs * mask_bytes(outputs)), outputs_(outputs) {}
    void skip(std::size_t inputs) {
      for (std::size_t i = 0; i < inputs * mask_bytes(outputs_); ++i, ++mask_) {
        weights_ += 2 * std::popcount(std::to_integer<unsigned>(*mask_));
      }
    }
    /// \shape values (outputs)
    void take(float* values) {
      if constexpr (expands) {
        if (outputs_ % 64 == 0) {
          for (std::size_t n = 0; n < outputs_; n += 64, mask_ += 8) {
            const auto mask = blockwise::get<std::uint64_t>(mask_);
            simd::Vec w[4];
            expand_all(weights_, mask, w);
            weights_ += 2 * std::popcount(mask);
            for (std::size_t v = 0; v < 4; ++v) simd::store(w[v], values + n + 16 * v);
          }
          return;
        }
      }
      for (std::size_t p = 0; p < outputs_; ++p) {
        const std::size_t n = output_at(outputs_, p);
        values[n] = 0;
        if (!has(p)) continue;
        values[n] = to_float(blockwise::get<quire::Bf16>(weights_));
        weights_ += 2;
      }
      mask_ += mask_bytes(outputs_);
    }
    /// One output's weight of the next input.
    [[nodiscard]] float one(std::size_t output) {
      float w = 0;
      for (std::size_t p = 0; p < outputs_; ++p) {
        if (!has(p)) continue;
        if (output_at(outputs_, p) == output) w = to_float(blockwise::get<quire::Bf16>(weights_));
        weights_ += 2;
      }
      mask_ += mask_bytes(outputs_);
      return w;
    }

   private:
    [[nodiscard]] bool has(std::size_t p) const {
      return (std::to_integer<unsigned>(mask_[p / 8]) >> (p % 8) & 1u) != 0;
    }
    const std::byte* mask_;
    const std::byte* weights_;
    std::size_t outputs_;
  };

  /// y += rows W^T of a panel of 64 outputs.
  template <std::size_t Rows>
  HWY_NOINLINE static void add_few(const std::byte* HWY_RESTRICT panel, std::size_t inputs,
                                   const float* HWY_RESTRICT x, std::size_t stride,
                                   float* HWY_RESTRICT y, std::size_t y_stride) {
    using namespace simd;
    Vec sums[Rows * 4];
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      unrolled<4>([&](auto v) __attribute__((always_inline)) {
        sums[r * 4 + v] = load(y + r * y_stride + v * lanes);
      });
    });
    const std::byte* weights = panel + inputs * 8;
    for (std::size_t k = 0; k < inputs; ++k) {
      const auto mask = blockwise::get<std::uint64_t>(panel + 8 * k);
      if (k % 8 == 0) fetch_ahead(panel + 8 * k + prefetch_bytes);
      fetch_ahead(weights + prefetch_bytes);
      Vec w[4];
      expand_all(weights, mask, w);
      weights += 2 * std::popcount(mask);
      unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
        const Vec left = set(x[r * stride + k]);
        unrolled<4>([&](auto v) __attribute__((always_inline)) {
          sums[r * 4 + v] = hn::MulAdd(left, w[v], sums[r * 4 + v]);
        });
      });
    }
    unrolled<Rows>([&](auto r) __attribute__((always_inline)) {
      unrolled<4>([&](auto v) __attribute__((always_inline)) {
        store(sums[r * 4 + v], y + r * y_stride + v * lanes);
      });
    });
  }

  struct Columns {
    const float* values;
    std::size_t outputs;
    HWY_INLINE simd::Vec operator()(std::size_t k, std::size_t v) const {
      return simd::load(values + k * outputs + v * simd::lanes);
    }
  };
};
static_assert(ProductWeightFormat<Bitmap<50>>);

}  // namespace quire::weight_format
