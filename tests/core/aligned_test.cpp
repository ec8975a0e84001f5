#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>

namespace quire {
namespace {

TEST(AlignedArray, StartsOnALineAndIsZero) {
  for (std::size_t size = 1; size < 200; size += 13) {
    AlignedArray<float> a(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data()) % 64, 0u);
    for (std::size_t i = 0; i < size; ++i) EXPECT_EQ(a[i], 0.0f);
    a[size - 1] = 1;
  }
  EXPECT_EQ(AlignedArray<int>().data(), nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(AlignedArray<int>(9, 4096).data()) % 4096, 0u);
}

TEST(AlignedArray, MovesItsMemory) {
  AlignedArray<int> a(3);
  a[2] = 7;
  const int* place = a.data();
  const AlignedArray<int> b = std::move(a);
  EXPECT_EQ(b.data(), place);
  EXPECT_EQ(b[2], 7);
}

}  // namespace
}  // namespace quire
