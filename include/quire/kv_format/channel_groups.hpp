#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/simd.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Unsigned codes of `bits` bits between the least and the largest value that a channel takes over
/// `group` tokens; scale and least value in fp16: bits + 32 / group bits a value. `window` tokens are
/// packed together, 0: those of a block; until then they are kept as they are.
/// \shape slab: codes of (block_tokens, head_dim), then for each group fp16 scales and least values
/// (2, head_dim)
/// \source KIVI (Liu et al., ICML '24): keys per channel.
template <unsigned bits, std::size_t group, std::size_t window = 0>
struct ChannelGroups {
  static constexpr auto text = Name<>().add("int").add(bits).add("_channel_g").add(group);
  static constexpr std::string_view name = text;
  static constexpr std::size_t residual = window;
  static constexpr std::size_t tokens_together = group;

  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return (scales_at(block_tokens, head_dim) + block_tokens / group * 4 * head_dim + 63) / 64 * 64;
  }
  static constexpr double token_bytes(std::size_t head_dim) {
    return static_cast<double>(head_dim) * (bits / 8.0 + 4.0 / static_cast<double>(group));
  }
  static constexpr std::string_view refusal(std::size_t block_tokens, std::size_t head_dim) {
    if (block_tokens % group != 0) return "a block is no whole number of its groups of tokens";
    if (head_dim > max_dim) return "heads have more than 256 channels";
    return head_dim % packing::granule<bits> == 0 ? "" : "its codes do not fill whole bytes";
  }

  static void seal(std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   const float* rows) {
    std::uint8_t codes[group * max_dim];
    for (std::size_t first = 0; first < block_tokens; first += group) {
      std::byte* scales = slab + scales_at(block_tokens, head_dim) + first / group * 4 * head_dim;
      for (std::size_t c = 0; c < head_dim; ++c) {
        float channel[group];
        for (std::size_t t = 0; t < group; ++t) channel[t] = rows[(first + t) * head_dim + c];
        std::byte packed[blockwise::Asymmetric<bits, group>::bytes];
        blockwise::Asymmetric<bits, group>::encode(channel, packed);
        constexpr std::size_t at = blockwise::Asymmetric<bits, group>::code_bytes;
        std::memcpy(scales + 2 * c, packed + at, 2);
        std::memcpy(scales + 2 * (head_dim + c), packed + at + 2, 2);
        for (std::size_t t = 0; t < group; ++t) {
          codes[t * head_dim + c] =
              static_cast<std::uint8_t>(packing::code_at<bits>(packed, group, t));
        }
      }
      for (std::size_t t = 0; t < group; ++t) {
        packing::pack<bits>(codes + t * head_dim, head_dim,
                            slab + (first + t) * packing::bytes_of<bits>(head_dim));
      }
    }
  }
  static void load(const std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   std::size_t slot, float* values) {
    packing::unpack_linear<bits>(slab + slot * packing::bytes_of<bits>(head_dim), head_dim, 1, 0,
                                 values);
    const std::byte* scales =
        slab + scales_at(block_tokens, head_dim) + slot / group * 4 * head_dim;
    const auto* scale = reinterpret_cast<const quire::Fp16*>(scales);
    const quire::Fp16* least = scale + head_dim;
    std::size_t c = 0;
    for (; c + simd::lanes <= head_dim; c += simd::lanes) {
      const auto scaled = simd::hn::Mul(simd::load(values + c), simd::load(scale + c));
      simd::store(simd::hn::Add(scaled, simd::load(least + c)), values + c);
    }
    for (; c < head_dim; ++c) values[c] = values[c] * to_float(scale[c]) + to_float(least[c]);
  }

 private:
  static constexpr std::size_t max_dim = 256;
  static constexpr std::size_t scales_at(std::size_t block_tokens, std::size_t head_dim) {
    return (block_tokens * packing::bytes_of<bits>(head_dim) + 1) / 2 * 2;
  }
};
static_assert(KvFormatPolicy<ChannelGroups<2, 32>>);

}  // namespace quire::kv_format
