// mechanism: formats that quantise each row of a matrix in blocks of inputs
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <quire/core/blockwise.hpp>
#include <quire/core/byte_products.hpp>
#include <quire/core/simd.hpp>
#include <quire/weight_format/columns.hpp>
#include <quire/weight_format/grouped.hpp>
#include <quire/weight_format/words.hpp>

namespace quire::weight_format {

/// What formats have in common that pack `Block::size` inputs of an output together (core/blockwise.hpp);
/// a row that is no whole number of blocks is filled up with zeros. Blocks that words.hpp or columns.hpp
/// knows lie beside those of the panel's other outputs, by four bytes or by one; those of words.hpp have
/// a product of their own where the processor has one for bytes.
/// \shape panel (outputs, blocks of a row) or (blocks of a row, bytes of a block, outputs), padded to 64
/// bytes
template <class BlockType>
struct RowBlocks {
  using Block = BlockType;
  static constexpr std::size_t blocks(std::size_t inputs) {
    return (inputs + Block::size - 1) / Block::size;
  }
  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (outputs * blocks(inputs) * Block::bytes + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t /*inputs*/) {
    return static_cast<double>(Block::bytes) / static_cast<double>(Block::size);
  }
  static void pack(std::byte* panel, std::size_t outputs, std::size_t inputs,
                   const float* weights) {
    float values[Block::size];
    std::byte block[Block::bytes];
    for (std::size_t n = 0; n < outputs; ++n) {
      for (std::size_t k = 0; k < inputs; k += Block::size) {
        const std::size_t count = std::min(Block::size, inputs - k);
        std::copy_n(weights + n * inputs + k, count, values);
        std::fill(values + count, values + Block::size, 0.0f);
        Block::encode(values, block);
        put_block(panel, outputs, inputs, n, k / Block::size, block);
      }
    }
  }
  /// Puts a packed block in its place: block b of output n. \shape block (Block::bytes)
  static void put_block(std::byte* panel, std::size_t outputs, std::size_t inputs, std::size_t n,
                        std::size_t b, const std::byte* block) {
    for (std::size_t j = 0; j < Block::bytes; ++j) {
      panel[place(outputs, inputs, n, b, j)] = stored(j, block[j]);
    }
  }
  /// Takes a packed block from its place. \shape block (Block::bytes)
  static void get_block(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                        std::size_t n, std::size_t b, std::byte* block) {
    for (std::size_t j = 0; j < Block::bytes; ++j) {
      block[j] = stored(j, panel[place(outputs, inputs, n, b, j)]);
    }
  }
  /// Packs codes as they are, those of `rows` from row `first` on; outputs that it does not have are
  /// rows of zeros. \pre same bits and group, zero points that the format holds
  static void pack_codes(std::byte* panel, std::size_t outputs, const Grouped& rows,
                         std::size_t first) requires requires {
    Block::code_bits;
  }
  {
    const std::size_t groups = rows.groups(), used = std::min(outputs, rows.outputs - first);
    std::fill_n(panel, panel_bytes(outputs, rows.inputs), std::byte{0});
    std::byte block[Block::bytes];
    for (std::size_t n = 0; n < used; ++n) {
      for (std::size_t g = 0; g < groups; ++g) {
        const std::size_t at = (first + n) * groups + g;
        Block::put_codes(rows.codes.data() + (first + n) * rows.inputs + g * Block::size,
                         rows.scales[at], rows.zeros[at], block);
        put_block(panel, outputs, rows.inputs, n, g, block);
      }
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    if constexpr (beside) {
      if (outputs % simd::lanes == 0) return unpack_beside(panel, outputs, first, count, values);
    }
    float block[Block::size];
    for (std::size_t n = 0; n < outputs; ++n) {
      for (std::size_t k = first; k < first + count;) {
        const std::size_t b = k / Block::size;
        decode(panel, outputs, inputs, n, b, block);
        const std::size_t end = std::min(first + count, (b + 1) * Block::size);
        for (; k < end; ++k) values[(k - first) * outputs + n] = block[k - b * Block::size];
      }
    }
  }
  static void read(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                   std::size_t output, float* values) {
    float block[Block::size];
    for (std::size_t k = 0; k < inputs; k += Block::size) {
      decode(panel, outputs, inputs, output, k / Block::size, block);
      std::copy_n(block, std::min(Block::size, inputs - k), values + k);
    }
  }

  static void add_few(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                      const float* x, std::size_t x_stride, std::size_t rows, float* y,
                      std::size_t y_stride) requires(columns::Columnar<Block> &&
                                                     !words::InWords<Block>) {
    columns::add_few<Block>(panel, outputs, inputs, x, x_stride, rows, y, y_stride);
  }

  static constexpr std::size_t row_bytes(std::size_t inputs) requires words::InWords<Block> {
    return words::row_bytes<Block, digits>(blocks(inputs));
  }
  static void pack_row(const float* x, std::size_t inputs,
                       std::byte* row) requires words::InWords<Block> {
    words::pack_row<Block, digits>(x, inputs, row);
  }
  static void add_products(
      const std::byte* panel, std::size_t outputs, std::size_t inputs, const std::byte* rows,
      std::size_t count, float* y,
      std::size_t y_stride) requires(words::InWords<Block>&& simd::multiplies_bytes) {
    words::add_products<Block, digits>(panel, outputs, blocks(inputs), rows, count, y, y_stride);
  }

 private:
  static constexpr std::size_t digits = simd::code_digits;  // of inputs: as exact as fp32
  static constexpr bool beside = columns::Columnar<Block> || words::InWords<Block>;

  /// Of byte j of a block.
  static constexpr std::size_t place(std::size_t outputs, std::size_t inputs, std::size_t n,
                                     std::size_t b, std::size_t j) {
    if constexpr (words::InWords<Block>) {
      return b * Block::bytes * outputs + words::place<Block>(outputs, n, j);
    } else if constexpr (beside) {
      return (b * Block::bytes + j) * outputs + n;
    } else {
      return (n * blocks(inputs) + b) * Block::bytes + j;
    }
  }
  static constexpr std::byte stored(std::size_t j, std::byte b) {
    if constexpr (words::InWords<Block>) return words::flipped<Block>(j, b);
    return b;
  }
  static void decode(const std::byte* panel, std::size_t outputs, std::size_t inputs, std::size_t n,
                     std::size_t b, float* values) {
    if constexpr (beside) {
      std::byte block[Block::bytes];
      get_block(panel, outputs, inputs, n, b, block);
      Block::decode(block, values);
    } else {
      Block::decode(panel + place(outputs, inputs, n, b, 0), values);
    }
  }
  static void unpack_beside(const std::byte* panel, std::size_t outputs, std::size_t first,
                            std::size_t count, float* values) {
    for (std::size_t k = first; k < first + count;) {
      const std::size_t b = k / Block::size;
      const std::size_t end = std::min(first + count, (b + 1) * Block::size);
      const std::byte* planes = panel + b * Block::bytes * outputs;
      const std::size_t from = k - b * Block::size;
      float* to = values + (k - first) * outputs;
      std::size_t n = 0;
      if constexpr (words::InWords<Block>) {
        for (; n < outputs; n += simd::lanes) {
          words::decode<Block>(planes, outputs, n, from, end - k, to);
        }
      } else {
        for (; n + 4 * simd::lanes <= outputs; n += 4 * simd::lanes) {
          columns::decode<Block, 4>(planes + n, outputs, from, end - k, to + n);
        }
        for (; n < outputs; n += simd::lanes) {
          columns::decode<Block, 1>(planes + n, outputs, from, end - k, to + n);
        }
      }
      k = end;
    }
  }
};

}  // namespace quire::weight_format
