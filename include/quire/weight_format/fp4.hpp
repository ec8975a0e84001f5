#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/weight_format/bitsandbytes.hpp>
#include <quire/weight_format/columns.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/row_blocks.hpp>

namespace quire::weight_format {

/// 64 values in bitsandbytes' 4-bit floats, with their largest magnitude in fp32.
struct Fp4Block {
  static constexpr std::size_t size = bitsandbytes::block, bytes = size / 2 + sizeof(float);
  static void encode(const float* values, std::byte* to) {
    const float most = blockwise::largest(values, size);
    const float inverse = blockwise::inverse_of(most);
    std::uint8_t codes[size];
    for (std::size_t i = 0; i < size; ++i) codes[i] = bitsandbytes::fp4_code(values[i] * inverse);
    packing::pack<4>(codes, size, to);
    blockwise::put(to + size / 2, most);
  }
  static void decode(const std::byte* from, float* values) {
    packing::unpack_table<4>(from, size, bitsandbytes::fp4_codes.data(),
                             blockwise::get<float>(from + size / 2), values);
  }
};
template <>
struct columns::LayoutOf<Fp4Block> {
  static constexpr Layout value{0, Fp4Block::size / 2, Scale::fp32, bitsandbytes::fp4_codes.data()};
};

/// Weights as floats of a sign and 3 bits, 64 to an fp32 scale, 4.5 bits each.
/// \source bitsandbytes 0.50, whose codes and scales these are for rows of a multiple of 64 inputs; compared
/// with NF4 in Dettmers et al., "QLoRA", NeurIPS 2023. Deviation: the two codes of a byte are not neighbours.
struct Fp4 : RowBlocks<Fp4Block> {
  static constexpr std::string_view name = "fp4";
};
static_assert(WeightFormatPolicy<Fp4>);

}  // namespace quire::weight_format
