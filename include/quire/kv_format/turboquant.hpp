#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/blockwise.hpp>
#include <quire/core/hadamard.hpp>
#include <quire/core/lloyd_max.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// A token's length in fp16 and its direction, rotated at random, in the Lloyd-Max levels of a normal
/// variable: bits + 16 / head_dim bits a value, no calibration.
/// \source Zandieh et al., "TurboQuant", 2025, the variant for mean square error. Deviation: the rotation
/// is random signs and a Hadamard matrix, not a dense one.
template <unsigned bits>
struct Turboquant : Rows<Turboquant<bits>> {
  static constexpr auto text = Name<>().add("turboquant").add(bits);
  static constexpr std::string_view name = text;

  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return packing::bytes_of<bits>(head_dim) + sizeof(quire::Fp16);
  }
  static constexpr std::string_view refusal(std::size_t /*block_tokens*/, std::size_t head_dim) {
    return head_dim <= 256 && head_dim >= 8 && (head_dim & (head_dim - 1)) == 0
               ? ""
               : "its rotation needs heads of a power of two of channels, from 8 to 256";
  }
  static void encode(const float* values, std::size_t head_dim, std::byte* row) {
    std::array<float, 256> turned;
    std::copy_n(values, head_dim, turned.begin());
    to_basis(turned.data(), head_dim);
    double square = 0;
    for (std::size_t i = 0; i < head_dim; ++i) {
      square += static_cast<double>(turned[i]) * static_cast<double>(turned[i]);
    }
    const auto norm = static_cast<float>(std::sqrt(square / static_cast<double>(head_dim)));
    const float inverse = blockwise::inverse_of(norm);
    std::array<std::uint8_t, 256> codes;
    for (std::size_t i = 0; i < head_dim; ++i) {
      codes[i] = blockwise::nearest_code(lloyd_max<bits>, turned[i] * inverse);
    }
    packing::pack<bits>(codes.data(), head_dim, row);
    const bool finite = std::isfinite(norm);
    blockwise::put(row + packing::bytes_of<bits>(head_dim),
                   to_fp16(finite ? std::fmin(norm, 65504.0f) : blockwise::not_a_number));
  }
  static void decode(const std::byte* row, std::size_t head_dim, float* values) {
    const float norm =
        to_float(blockwise::get<quire::Fp16>(row + packing::bytes_of<bits>(head_dim)));
    packing::unpack_table<bits>(row, head_dim, lloyd_max<bits>.data(), norm, values);
  }
  static void to_basis(float* x, std::size_t head_dim) {
    flip(x, head_dim);
    hadamard(x, head_dim);
  }
  static void from_basis(float* x, std::size_t head_dim) {
    hadamard(x, head_dim);
    flip(x, head_dim);
  }

 private:
  static void flip(float* x, std::size_t head_dim) {
    for (std::size_t i = 0; i < head_dim; ++i) {
      if ((mix64(i + 1) & 1u) != 0) x[i] = -x[i];
    }
  }
};
static_assert(KvFormatPolicy<Turboquant<4>>);

}  // namespace quire::kv_format
