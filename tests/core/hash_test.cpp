#include <quire/core/hash.hpp>

#include <array>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace quire {
namespace {

std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0) {
  return hash_bytes(std::as_bytes(std::span(text)), seed);
}

// Golden values from the python-xxhash package (xxh3_64_intdigest).
TEST(Hash, IsXxh3) {
  EXPECT_EQ(hash_text(""), 0x2d06800538d394c2u);
  EXPECT_EQ(hash_text("quire"), 0x9ba9c72dbd0ad0ecu);
  EXPECT_EQ(hash_text("quire", 7), 0xab55c55f83631ab4u);
  std::vector<std::uint8_t> bytes(1024);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(hash_span<std::uint8_t>(bytes, 1), 0xc74822a5f349cef8u);
}

TEST(Hash, SpanHashesTheMemoryOfItsValues) {
  const std::array<std::uint32_t, 3> tokens = {1, 2, 3};
  EXPECT_EQ(hash_span<std::uint32_t>(tokens, 5), hash_bytes(std::as_bytes(std::span(tokens)), 5));
}

// Golden values from the formula written in Python.
TEST(Hash, CombineDependsOnOrder) {
  static_assert(hash_combine(0, 0) == 0x2e72b465600b6cb4u);
  EXPECT_EQ(hash_combine(hash_combine(0, 1), 2), 0x857e62ca7bdd4226u);
  EXPECT_EQ(hash_combine(hash_combine(0, 2), 1), 0xf0d957d6cb8e40d9u);
}

}  // namespace
}  // namespace quire
