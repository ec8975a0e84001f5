// mechanism: what the formats without scales share
#pragma once

#include <cstddef>

#include <quire/core/float16.hpp>

namespace quire::weight_format {

/// What the formats without scales have in common: a panel is an array of elements, inputs
/// outermost. \shape panel (inputs, outputs), padded to 64 bytes
template <class ElementType>
struct Plain {
  using Element = ElementType;

  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (outputs * inputs * sizeof(Element) + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t /*inputs*/) {
    return static_cast<double>(sizeof(Element));
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    auto* to = reinterpret_cast<Element*>(panel);
    for (std::size_t k = 0; k < inputs; ++k) {
      for (std::size_t n = 0; n < outputs; ++n) {
        to[k * outputs + n] = from_float<Element>(weights[n * inputs + k]);
      }
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t /*inputs*/,
                     std::size_t first, std::size_t count, float* values) {
    const auto* from = reinterpret_cast<const Element*>(panel) + first * outputs;
    for (std::size_t i = 0; i < count * outputs; ++i) values[i] = to_float(from[i]);
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    const auto* from = reinterpret_cast<const Element*>(panel) + output;
    for (std::size_t k = 0; k < inputs; ++k) values[k] = to_float(from[k * outputs]);
  }
};

}  // namespace quire::weight_format
