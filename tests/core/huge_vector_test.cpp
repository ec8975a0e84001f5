#include <quire/core/huge_vector.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>

namespace quire {
namespace {

TEST(HugeVector, IsAVectorAtAnySize) {
  for (const std::size_t n : {std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20}) {
    huge_vector<std::uint32_t> v(n);
    std::iota(v.begin(), v.end(), 0u);
    const huge_vector<std::uint32_t> copy = v;
    v.assign(n, 7);
    EXPECT_EQ(copy.back(), n - 1);
    EXPECT_EQ(v.front(), 7u);
    v = copy;
    v.push_back(3);  // moves to another size
    EXPECT_EQ(v[n / 2], n / 2);
  }
}

TEST(HugeVector, LargeArraysBeginOnAPageOfTheirOwn) {
  const huge_vector<std::uint64_t> large((std::size_t{2} << 20) / 8);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % (std::size_t{2} << 20), 0u);
  struct alignas(64) Line {
    std::uint64_t words[8];
  };
  const huge_vector<Line> lines(3);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(lines.data()) % 64, 0u);
}

}  // namespace
}  // namespace quire
