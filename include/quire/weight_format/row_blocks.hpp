// mechanism: formats that quantise each row of a matrix in blocks of inputs
#pragma once

#include <algorithm>
#include <cstddef>

#include <quire/core/blockwise.hpp>

namespace quire::weight_format {

/// What formats have in common that pack `Block::size` inputs of an output together (core/blockwise.hpp);
/// a row that is no whole number of blocks is filled up with zeros.
/// \shape panel (outputs, blocks of a row), padded to 64 bytes
template <class Block>
struct RowBlocks {
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
    float block[Block::size];
    for (std::size_t n = 0; n < outputs; ++n) {
      for (std::size_t k = 0; k < inputs; k += Block::size, panel += Block::bytes) {
        const std::size_t count = std::min(Block::size, inputs - k);
        std::copy_n(weights + n * inputs + k, count, block);
        std::fill(block + count, block + Block::size, 0.0f);
        Block::encode(block, panel);
      }
    }
  }
  static void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs,
                     std::size_t first, std::size_t count, float* values) {
    float block[Block::size];
    const std::size_t row_bytes = blocks(inputs) * Block::bytes;
    for (std::size_t n = 0; n < outputs; ++n) {
      const std::byte* row = panel + n * row_bytes;
      for (std::size_t k = first; k < first + count;) {
        const std::size_t b = k / Block::size;
        Block::decode(row + b * Block::bytes, block);
        const std::size_t end = std::min(first + count, (b + 1) * Block::size);
        for (; k < end; ++k) values[(k - first) * outputs + n] = block[k - b * Block::size];
      }
    }
  }
  static void read(const std::byte* panel, std::size_t /*outputs*/, std::size_t inputs,
                   std::size_t output, float* values) {
    float block[Block::size];
    const std::byte* row = panel + output * blocks(inputs) * Block::bytes;
    for (std::size_t k = 0; k < inputs; k += Block::size, row += Block::bytes) {
      Block::decode(row, block);
      std::copy_n(block, std::min(Block::size, inputs - k), values + k);
    }
  }
};

}  // namespace quire::weight_format
