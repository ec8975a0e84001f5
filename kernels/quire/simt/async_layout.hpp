#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <quire/core/error.hpp>
#include <quire/core/hd.hpp>

/// How the tensor copies and the products of a warpgroup (sm_90a) see shared memory: all of it with
/// the swizzle of 128 bytes, 16-bit elements, rows of 64 elements.
namespace quire::simt {

inline constexpr unsigned warpgroup_lanes = 128;
inline constexpr unsigned swizzle_row_bytes = 128;
/// What the pattern repeats after: matrices begin at multiples of it.
inline constexpr unsigned swizzle_atom_bytes = 8 * swizzle_row_bytes;
/// A block's dynamic shared memory on sm_90.
inline constexpr std::size_t most_shared_bytes_sm_90 = 227 * 1024;

/// Where the byte of a row-major array of 128-byte rows lies once the 16-byte units of each row are
/// swapped by the row's number in its group of eight; `at` counts from a multiple of 1024 bytes.
[[nodiscard]] QUIRE_HD constexpr std::uint32_t swizzled(std::uint32_t at) {
  return at ^ ((at >> 7 & 7u) << 4);
}

/// Which dimension of an operand lies contiguously: k, that of the sum, or the other.
enum class Major { k, other };

/// What wgmma is told of a matrix in shared memory with the swizzle of 128 bytes ("Matrix Descriptor
/// Format" of the PTX manual). stride: bytes from 8 rows of 128 bytes to the next 8. leading: bytes
/// from 64 contiguous elements to the next 64 of the same rows, where the matrix is not k-major.
/// \pre all multiples of 16, address below 2^18; rows begin at multiples of 1024 bytes
[[nodiscard]] QUIRE_HD constexpr std::uint64_t matrix_descriptor(std::uint32_t address,
                                                                 std::uint32_t leading,
                                                                 std::uint32_t stride) {
  constexpr std::uint64_t swizzle_of_128_bytes = std::uint64_t{1} << 62;
  return swizzle_of_128_bytes | std::uint64_t{(address & 0x3ffffu) >> 4} |
         std::uint64_t{(leading & 0x3ffffu) >> 4} << 16 |
         std::uint64_t{(stride & 0x3ffffu) >> 4} << 32;
}
/// The matrix that begins `bytes` further on. \pre it still begins below 2^18
[[nodiscard]] QUIRE_HD constexpr std::uint64_t further(std::uint64_t descriptor,
                                                       std::uint32_t bytes) {
  return descriptor + (bytes >> 4);
}

/// What a tensor copy brings: boxes of a tensor of 16-bit elements in global memory, innermost
/// dimension first. Boxes are 64 elements wide; what lies beyond the tensor arrives as zeros.
struct TensorShape {
  std::array<std::uint64_t, 4> size{};     // elements
  std::array<std::uint64_t, 3> strides{};  // bytes, of dimensions 1 to 3
  std::array<std::uint32_t, 4> box{};      // elements
};

/// \errors usage, saying what devices ask of a tensor and this one has not
inline void check_tensor(const void* base, const TensorShape& shape) {
  const auto refuse = [](const std::string& what, const std::string& expected) {
    throw usage_error("tensor of a bulk copy", what, expected);
  };
  if (reinterpret_cast<std::uintptr_t>(base) % 16 != 0) {
    refuse("begins at an address off 16 bytes", "a multiple of 16");
  }
  for (std::size_t d = 0; d < 4; ++d) {
    const std::string of = "dimension " + std::to_string(d);
    if (shape.size[d] == 0 || shape.size[d] > std::uint64_t{1} << 32) {
      refuse(of + " has " + std::to_string(shape.size[d]) + " elements", "1 to 2^32");
    }
    if (shape.box[d] == 0 || shape.box[d] > 256) {
      refuse("a box has " + std::to_string(shape.box[d]) + " elements in " + of, "1 to 256");
    }
    if (d > 0 && (shape.strides[d - 1] % 16 != 0 || shape.strides[d - 1] >> 40 != 0)) {
      refuse(of + " has a stride of " + std::to_string(shape.strides[d - 1]) + " bytes",
             "a multiple of 16 below 2^40");
    }
  }
  if (shape.box[0] * 2 != swizzle_row_bytes) {
    refuse("a box is " + std::to_string(shape.box[0]) + " elements wide",
           "64, the width of the swizzle");
  }
}

}  // namespace quire::simt
