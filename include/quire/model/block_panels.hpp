// mechanism: ggml's blocks of a checkpoint into the panels of the weight format of the same blocks
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/error.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/k_quants.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::model {

/// A weight format that takes a checkpoint's blocks as they are.
struct BlockPanels {
  std::string_view format;
  std::size_t size = 0, bytes = 0;  // of a block: weights, and bytes
  void (*pack)(std::byte*, std::size_t, std::size_t, const float*) = nullptr;
  /// Puts block b of output n in its place.
  void (*put)(std::byte* panel, std::size_t outputs, std::size_t inputs, std::size_t n,
              std::size_t b, const std::byte* block) = nullptr;
};

namespace detail {
template <class Block>
[[nodiscard]] constexpr BlockPanels panels_of(std::string_view format) {
  using Rows = weight_format::RowBlocks<Block>;
  return {format, Block::size, Block::bytes, &Rows::pack, &Rows::put_block};
}
inline constexpr BlockPanels block_panels[] = {
    panels_of<blockwise::Q4_0>("q4_0"), panels_of<blockwise::Q8_0>("q8_0"),
    panels_of<blockwise::Q4K>("q4_k"), panels_of<blockwise::Q5K>("q5_k"),
    panels_of<blockwise::Q6K>("q6_k")};
}  // namespace detail

/// How a format takes blocks of the given kind; null where it reads them as numbers. Floats take every
/// kind; another format of blocks would round a second time, which nobody asked for. \errors usage then
/// \pre blocks is a weight format's name, or empty: the checkpoint has numbers
[[nodiscard]] inline const BlockPanels* takes_blocks(const weight_format::WeightCodec& format,
                                                     std::string_view blocks) {
  if (blocks.empty() || format.plain) return nullptr;
  for (const BlockPanels& p : detail::block_panels) {
    if (p.pack == format.pack && p.format == blocks) return &p;
  }
  throw usage_error(
      "weight format " + std::string(format.name),
      "the checkpoint is quantised already, in " + std::string(blocks),
      (blocks.find(' ') == std::string_view::npos ? std::string(blocks) + ", or " : std::string()) +
          "fp32, fp16 or bf16 for this checkpoint");
}

}  // namespace quire::model
