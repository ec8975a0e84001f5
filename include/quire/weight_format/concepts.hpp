#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

namespace quire {

/// How the matrices of a model are stored.
///
/// The unit is a panel: `outputs` rows of a weight matrix W (outputs, inputs), which is what one
/// pass of the product reads. The product asks for a panel input by input, so a panel lies with
/// inputs outermost. A panel starts 64-byte aligned; the last panel of a matrix is filled up with
/// rows of zeros.
/// - panel_bytes(outputs, inputs): size of a panel, a multiple of 64.
/// - pack(panel, outputs, inputs, weights): writes a panel. \shape weights (outputs, inputs)
/// - unpack(panel, outputs, inputs, first, count, values): reads `count` inputs from `first` on, all
///   outputs of each. \shape values (count, outputs)
/// - read(panel, outputs, inputs, output, values): reads one output's row. \shape values (inputs)
/// - weight_bytes(inputs): bytes that one weight costs in the long run, scales included.
///
/// Optional, and refused where it is declared with another signature than WeightCodec's
/// (weight_format/codec.hpp):
/// - add_few(panel, outputs, inputs, x, x_stride, rows, y, y_stride): products of few rows straight from a
///   panel, with the bits of unpack() and a chain of fused multiply-adds for each element.
/// - `Head`: the format of embedding and output matrix, where it is another one.
/// - `Block::code_bits`, or `static constexpr unsigned row_code_bits` and holds_zero(zero) where an output's
///   weights share one scale, with pack_codes(panel, outputs, grouped, first): integers of so many bits are
///   taken from a checkpoint as they are.
/// - the members of ProductWeightFormat.
template <class F>
concept WeightFormatPolicy = requires(std::byte* panel, const std::byte* const_panel, std::size_t n,
                                      const float* in, float* out) {
  { F::name } -> std::convertible_to<std::string_view>;
  { F::panel_bytes(n, n) } -> std::same_as<std::size_t>;
  { F::weight_bytes(n) } -> std::same_as<double>;
  { F::pack(panel, n, n, in) } -> std::same_as<void>;
  { F::unpack(const_panel, n, n, n, n, out) } -> std::same_as<void>;
  { F::read(const_panel, n, n, n, out) } -> std::same_as<void>;
};

/// A format whose panel is a plain array: `Element` is float, Bf16 or Fp16, a panel is Element
/// (inputs, outputs). The product reads such panels in place; every other format goes through
/// unpack(), some inputs at a time, with the same results, or has a product of its own.
template <class F>
concept PlainWeightFormat = WeightFormatPolicy<F> && requires {
  typename F::Element;
};

/// A format with a product of its own, which may round the inputs: as fp32 would, or to its own steps.
/// Each row of inputs is packed once, by itself, and then passes the panels.
/// - row_bytes(inputs): bytes of a packed row, a multiple of 64.
/// - pack_row(x, inputs, row). \shape x (inputs)
/// - add_products(panel, outputs, inputs, rows, count, y, y_stride): y += rows W^T.
///   \shape rows (count, row_bytes); y (count, outputs)
template <class F>
concept ProductWeightFormat = WeightFormatPolicy<F> &&
    requires(std::byte* row, const std::byte* bytes, std::size_t n, const float* x, float* y) {
  { F::row_bytes(n) } -> std::same_as<std::size_t>;
  { F::pack_row(x, n, row) } -> std::same_as<void>;
  { F::add_products(bytes, n, n, bytes, n, y, n) } -> std::same_as<void>;
};

}  // namespace quire
