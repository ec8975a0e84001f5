// mechanism: integers with scales and zero points, before a format packs them
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>

namespace quire::weight_format {

/// A matrix in integers, `group` neighbouring inputs of an output with a scale and a zero point:
/// w = scale * (code - zero). What calibration makes, checkpoints store, and formats pack unchanged.
struct Grouped {
  std::size_t outputs = 0, inputs = 0, group = 0;
  unsigned bits = 0;
  std::vector<std::uint8_t> codes;      // \shape (outputs, inputs)
  std::vector<quire::Fp16> scales;      // \shape (outputs, inputs / group)
  std::vector<std::uint8_t> zeros;      // \shape (outputs, inputs / group)
  std::vector<std::uint32_t> group_of;  // of each input where groups are no neighbours; else empty

  Grouped() = default;
  /// All codes 0. \errors usage unless group divides inputs and bits are 2, 3, 4 or 8
  Grouped(std::size_t outputs_, std::size_t inputs_, unsigned bits_, std::size_t group_)
      : outputs(outputs_), inputs(inputs_), group(group_), bits(bits_) {
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
      throw usage_error("quantised weights", std::to_string(bits) + " bits", "2, 3, 4 or 8");
    }
    if (group == 0 || inputs % group != 0) {
      throw usage_error("quantised weights", "groups of " + std::to_string(group),
                        "a divisor of the " + std::to_string(inputs) + " inputs");
    }
    codes.resize(outputs * inputs);
    scales.resize(outputs * groups());
    zeros.resize(outputs * groups());
  }
  [[nodiscard]] std::size_t groups() const { return inputs / group; }
  [[nodiscard]] int most_code() const { return (1 << bits) - 1; }
  [[nodiscard]] std::size_t group_at(std::size_t output, std::size_t input) const {
    return output * groups() + (group_of.empty() ? input / group : group_of[input]);
  }
  /// Weight of an output and an input; the product of scale and code is rounded first, as packed
  /// formats do it.
  [[nodiscard]] float at(std::size_t output, std::size_t input) const {
    const std::size_t g = group_at(output, input);
    const float s = to_float(scales[g]);
    return s * static_cast<float>(codes[output * inputs + input]) -
           s * static_cast<float>(zeros[g]);
  }
  /// \shape values (count, inputs)
  void read(std::size_t first, std::size_t count, float* values) const {
    for (std::size_t n = first; n < first + count; ++n) {
      for (std::size_t k = 0; k < inputs; ++k) *values++ = at(n, k);
    }
  }
  /// Rounds a weight to the nearest code of its group and tells what it became.
  float round(std::size_t output, std::size_t input, float weight) {
    const std::size_t g = group_at(output, input);
    const float inverse = blockwise::inverse_of(to_float(scales[g]));
    const float q = std::nearbyint(weight * inverse) + static_cast<float>(zeros[g]);
    codes[output * inputs + input] =
        static_cast<std::uint8_t>(blockwise::nearest(q, 0, most_code()));
    return at(output, input);
  }
  /// Chooses a group's scale and zero point for the range of `weights`, made narrower by `shrink`.
  /// symmetric: the zero point is the middle code, the scale reaches the largest magnitude.
  /// \shape weights (group)
  void choose_grid(std::size_t output, std::size_t g, const float* weights, bool symmetric,
                   float shrink = 1) {
    float low = 0, high = 0;
    for (std::size_t i = 0; i < group; ++i) {
      low = std::min(low, weights[i]);
      high = std::max(high, weights[i]);
    }
    const int middle = 1 << (bits - 1);
    const float steps = static_cast<float>(symmetric ? middle - 1 : most_code());
    const float range = symmetric ? std::max(high, -low) : high - low;
    const quire::Fp16 scale = to_fp16(std::min(shrink * range / steps, 65504.0f));
    const float below = -low * shrink * blockwise::inverse_of(to_float(scale));
    scales[output * groups() + g] = scale;
    zeros[output * groups() + g] =
        static_cast<std::uint8_t>(symmetric ? middle : blockwise::nearest(below, 0, most_code()));
  }
};

/// Inputs in the order of their groups, those of a group in their own order: what puts every group's inputs side by side.
/// Empty where a group has not as many inputs as the others. \shape (inputs) \pre group_of is not empty
[[nodiscard]] inline std::vector<std::uint32_t> order_by_group(const Grouped& m) {
  std::vector<std::uint32_t> order(m.inputs);
  std::vector<std::size_t> taken(m.groups());
  for (std::size_t k = 0; k < m.inputs; ++k) {
    const std::size_t g = m.group_of[k];
    if (taken[g] == m.group) return {};
    order[g * m.group + taken[g]++] = static_cast<std::uint32_t>(k);
  }
  return order;
}

/// The same matrix with inputs in another order, in which groups are neighbours.
[[nodiscard]] inline Grouped with_inputs(const Grouped& m,
                                         const std::vector<std::uint32_t>& order) {
  Grouped to = m;
  to.group_of.clear();
  for (std::size_t n = 0; n < m.outputs; ++n) {
    for (std::size_t k = 0; k < m.inputs; ++k) {
      to.codes[n * m.inputs + k] = m.codes[n * m.inputs + order[k]];
    }
  }
  return to;
}

/// Rounds a matrix to nearest: the baseline of every calibration. \shape weights (outputs, inputs)
[[nodiscard]] inline Grouped round_to_nearest(const float* weights, std::size_t outputs,
                                              std::size_t inputs, unsigned bits, std::size_t group,
                                              bool symmetric) {
  Grouped q(outputs, inputs, bits, group);
  for (std::size_t n = 0; n < outputs; ++n) {
    const float* row = weights + n * inputs;
    for (std::size_t g = 0; g < q.groups(); ++g) {
      q.choose_grid(n, g, row + g * group, symmetric);
    }
    for (std::size_t k = 0; k < inputs; ++k) q.round(n, k, row[k]);
  }
  return q;
}

}  // namespace quire::weight_format
