#pragma once

#include <cstddef>
#include <string_view>

#include <quire/core/name.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/words.hpp>

namespace quire::weight_format {

/// A format of blocks of whole numbers with activations rounded to 8 bits as well, symmetric, one fp32
/// scale for those inputs of a token whose weights share a scale: A8<Q40> multiplies bytes in place of the three that Q40
/// takes for inputs as exact as fp32. \source what ggml does with its Q4_0 and Q8_0 weights (activations
/// in Q8_0); W4A8 with activations in groups. Deviation: activations' scales stay fp32, ggml's are fp16.
template <WeightFormatPolicy Format>
requires words::InWords<typename Format::Block>
struct A8 : Format {
  using Block = typename Format::Block;
  using Unrounded = Format;  // by which another A8 knows this one
  static_assert(
      !requires { typename Format::Unrounded; },
      "quire: weight_format: A8 rounds activations once; give it the format itself");
  static constexpr auto text = Name<>().add(Format::name).add("_a8");
  static constexpr std::string_view name = text;

  static constexpr std::size_t row_bytes(std::size_t inputs) {
    return words::row_bytes<Block, 1>(Format::blocks(inputs));
  }
  static void pack_row(const float* x, std::size_t inputs, std::byte* row) {
    words::pack_row<Block, 1>(x, inputs, row);
  }
  static void add_products(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                           const std::byte* rows, std::size_t count, float* y,
                           std::size_t y_stride) {
    words::add_products<Block, 1>(panel, outputs, Format::blocks(inputs), rows, count, y, y_stride);
  }
};
static_assert(ProductWeightFormat<A8<Q40>>);

}  // namespace quire::weight_format
