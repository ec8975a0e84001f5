#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <optional>
#include <vector>

#include <quire/checkpoint/model_config.hpp>

namespace quire::model {

/// Rotary position embedding, rotate-half layout: value i turns together with i + head_dim / 2.
/// Angles are formed in fp32, as the trained models did.
/// \source Su et al., "RoFormer", 2021; frequency change of Llama 3.1: Hugging Face transformers,
/// modeling_rope_utils.
class Rope {
 public:
  Rope() = default;
  Rope(std::size_t head_dim, double theta,
       const std::optional<checkpoint::Llama3RopeScaling>& scaling,
       const std::vector<float>& divisors = {}) {
    for (std::size_t i = 0; i < head_dim / 2; ++i) {
      double f = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      if (scaling) f = scaled(f, *scaling);
      if (!divisors.empty()) f /= static_cast<double>(divisors[i]);
      frequencies_.push_back(static_cast<float>(f));
    }
  }

  [[nodiscard]] std::size_t half() const { return frequencies_.size(); }

  /// Cosines, then sines, of one position. \shape out (2, head_dim / 2)
  void angles(std::int64_t position, float* out) const {
    for (std::size_t i = 0; i < half(); ++i) {
      const auto angle = static_cast<double>(static_cast<float>(position) * frequencies_[i]);
      out[i] = static_cast<float>(std::cos(angle));
      out[half() + i] = static_cast<float>(std::sin(angle));
    }
  }

  /// Turns one head in place by what angles() wrote. \shape x (head_dim)
  void rotate(const float* angles, float* x) const {
    for (std::size_t i = 0; i < half(); ++i) {
      const float c = angles[i], s = angles[half() + i];
      const float a = x[i], b = x[half() + i];
      x[i] = a * c - b * s;
      x[half() + i] = b * c + a * s;
    }
  }

  /// What Llama 3.1's change divides a frequency by, as a GGUF file holds it.
  static double divisor(double frequency, const checkpoint::Llama3RopeScaling& scaling) {
    return frequency / scaled(frequency, scaling);
  }

 private:
  /// Long waves are stretched by `factor`, short ones stay, those between are blended.
  static double scaled(double frequency, const checkpoint::Llama3RopeScaling& s) {
    const double wave = 2 * std::numbers::pi / frequency;
    const auto original = static_cast<double>(s.original_max_positions);
    if (wave > original / s.low_freq_factor) return frequency / s.factor;
    if (wave < original / s.high_freq_factor) return frequency;
    const double smooth =
        (original / wave - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    return (1 - smooth) * frequency / s.factor + smooth * frequency;
  }

  std::vector<float> frequencies_;
};

}  // namespace quire::model
