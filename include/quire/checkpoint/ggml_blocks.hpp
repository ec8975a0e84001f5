// mechanism: elements that are packed in blocks, whatever their type
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/blockwise.hpp>
#include <quire/core/error.hpp>
#include <quire/weight_format/k_quants.hpp>

/// Tensors in ggml's blocks, as they come out of GGUF files.
namespace quire::checkpoint {

/// What ggml packs together, as functions.
struct BlockFunctions {
  std::string_view format;  // the weight format of the same blocks
  void (*encode)(const float* values, std::byte* block) = nullptr;
  void (*decode)(const std::byte* block, float* values) = nullptr;
};

namespace detail {
template <class Block>
[[nodiscard]] constexpr BlockFunctions block_functions(std::string_view format) {
  return {format, [](const float* v, std::byte* b) { Block::encode(v, b); },
          [](const std::byte* b, float* v) { Block::decode(b, v); }};
}
}  // namespace detail

/// Of an element type; without functions where its elements do not come in blocks.
[[nodiscard]] constexpr BlockFunctions functions_of(DType dtype) {
  switch (dtype) {
    case DType::q4_0:
      return detail::block_functions<blockwise::Q4_0>("q4_0");
    case DType::q8_0:
      return detail::block_functions<blockwise::Q8_0>("q8_0");
    case DType::q4_k:
      return detail::block_functions<blockwise::Q4K>("q4_k");
    case DType::q5_k:
      return detail::block_functions<blockwise::Q5K>("q5_k");
    case DType::q6_k:
      return detail::block_functions<blockwise::Q6K>("q6_k");
    default:
      return {};
  }
}

/// read_floats() for blocks too: decodes those that the elements asked for lie in.
/// \shape out: any part of the flat tensor
/// \errors as read_floats()
inline void read_elements(const TensorView& tensor, std::int64_t first, std::span<float> out) {
  const BlockFunctions f = functions_of(tensor.dtype);
  if (f.decode == nullptr) return read_floats(tensor, first, out);
  const auto count = static_cast<std::int64_t>(out.size());
  if (first < 0 || first > tensor.elements() || count > tensor.elements() - first) {
    throw usage_error("tensor " + in_quotes(tensor.name), "elements asked for lie outside it",
                      "at most " + std::to_string(tensor.elements()) + " elements");
  }
  const std::int64_t block = block_of(tensor.dtype), bytes = size_of(tensor.dtype);
  float values[256];
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t at = first + done, inside = at % block;
    const std::int64_t part = std::min(block - inside, count - done);
    f.decode(tensor.bytes.data() + at / block * bytes, values);
    std::copy_n(values + inside, part, out.data() + done);
    done += part;
  }
}

}  // namespace quire::checkpoint
