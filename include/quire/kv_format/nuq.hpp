// mechanism: levels at unequal distances, and values that stay outside them
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/float16.hpp>

/// Normalised values between -1 and 1 in levels of their own, and a few values a token in fp16 beside them.
namespace quire::kv_format::nuq {

/// Values of normalised keys or values, weighted by what an error there costs; equal bins over [-1, 1].
class Histogram {
 public:
  static constexpr std::size_t bins = 2048;
  void add(float x, double weight) {
    const float place = (std::clamp(x, -1.0f, 1.0f) + 1) * 0.5f * static_cast<float>(bins);
    weights_[std::min(static_cast<std::size_t>(place), bins - 1)] += weight;
  }
  [[nodiscard]] static double middle(std::size_t bin) {
    return (static_cast<double>(bin) + 0.5) * 2 / static_cast<double>(bins) - 1;
  }

  /// The levels with the least weighted squared error that repeated averaging finds, from equal
  /// distances on; ascending. \source Lloyd, "Least squares quantization in PCM", 1957.
  /// \shape levels (count)
  void fit(float* levels, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      levels[i] = -1 + (2 * static_cast<float>(i) + 1) / static_cast<float>(count);
    }
    for (int round = 0; round < 100; ++round) {
      std::size_t bin = 0;
      float moved = 0;
      std::array<float, 16> next{};
      for (std::size_t i = 0; i < count; ++i) {
        const double end =
            i + 1 < count
                ? (static_cast<double>(levels[i]) + static_cast<double>(levels[i + 1])) / 2
                : std::numeric_limits<double>::infinity();
        double weight = 0, sum = 0;
        for (; bin < bins && middle(bin) <= end; ++bin) {
          weight += weights_[bin];
          sum += weights_[bin] * middle(bin);
        }
        next[i] = weight > 0 ? static_cast<float>(sum / weight) : levels[i];
        moved = std::max(moved, std::abs(next[i] - levels[i]));
      }
      std::copy_n(next.begin(), count, levels);
      if (moved < 1e-6f) return;
    }
  }

 private:
  std::vector<double> weights_ = std::vector<double>(bins);
};

/// Levels at equal distances, where nothing was fitted.
inline void equal_levels(float* levels, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    levels[i] = -1 + 2 * static_cast<float>(i) / static_cast<float>(count - 1);
  }
}

/// The nearest of ascending levels, the lower one of two that are as near.
[[nodiscard]] inline std::uint8_t nearest(const float* levels, std::size_t count, float x) {
  std::uint8_t code = 0;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    code = static_cast<std::uint8_t>(code + (x > (levels[i] + levels[i + 1]) * 0.5f));
  }
  return code;
}

/// One value in a hundred of a token, at least one: 3 bytes each, its number in fp16 and its channel.
/// \shape bytes: fp16 (count), then channels (count)
struct Outliers {
  static constexpr std::size_t most = 3;
  static constexpr std::size_t count(std::size_t head_dim) { return (head_dim + 99) / 100; }
  static constexpr std::size_t bytes(std::size_t head_dim) { return 3 * count(head_dim); }

  /// Channels with the greatest distances. \shape distance (head_dim), not NaN; result (count)
  static std::array<std::uint8_t, most> farthest(const float* distance, std::size_t head_dim) {
    std::array<std::uint8_t, most> out{};
    const std::size_t n = count(head_dim);
    for (std::size_t k = 0; k < n; ++k) {
      std::size_t best = head_dim;
      for (std::size_t i = 0; i < head_dim; ++i) {
        bool taken = false;
        for (std::size_t j = 0; j < k; ++j) taken = taken || out[j] == i;
        if (!taken && (best == head_dim || distance[i] > distance[best])) best = i;
      }
      out[k] = static_cast<std::uint8_t>(best);
    }
    return out;
  }
  /// A token with a NaN or an infinity in it becomes one of NaN, which the first number tells.
  static void put(const std::array<std::uint8_t, most>& channels, const float* values, bool finite,
                  std::size_t head_dim, std::byte* to) {
    const std::size_t n = count(head_dim);
    for (std::size_t k = 0; k < n; ++k) {
      const float x = std::clamp(values[channels[k]], -65504.0f, 65504.0f);
      blockwise::put(to + 2 * k, to_fp16(finite ? x : blockwise::not_a_number));
      blockwise::put(to + 2 * n + k, channels[k]);
    }
  }
  /// Puts the numbers in their places among a token's values.
  static void apply(const std::byte* from, std::size_t head_dim, float* values) {
    const std::size_t n = count(head_dim);
    for (std::size_t k = 0; k < n; ++k) {
      const float x = to_float(blockwise::get<quire::Fp16>(from + 2 * k));
      if (std::isnan(x)) {
        std::fill_n(values, head_dim, x);
        return;
      }
      const auto channel = blockwise::get<std::uint8_t>(from + 2 * n + k);
      if (channel < head_dim) values[channel] = x;
    }
  }
};

}  // namespace quire::kv_format::nuq
