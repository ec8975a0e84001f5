#include <algorithm>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/core/stream_copy.hpp>

namespace quire {
namespace {

// Sizes about a line, a page and what is copied past the caches; from and to any byte of a line.
TEST(StreamCopy, CopiesEveryByteAndNoOther) {
  constexpr std::size_t room = 300'000;
  std::vector<std::byte> from(room);
  for (std::size_t i = 0; i < room; ++i) from[i] = static_cast<std::byte>(counter_bits(1, 2, i));
  Rng rng(3);
  for (const std::size_t size : {0, 1, 63, 64, 4096, 65535, 65536, 65599, 81920, 131072, 200001}) {
    for (int i = 0; i < 8; ++i) {
      const std::size_t a = rng.below(200), b = i == 0 ? 0 : 1 + rng.below(200);
      std::vector<std::byte> to(room, std::byte{0}), expected = to;
      stream_copy(to.data() + b, from.data() + a, size);
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(a), size,
                  expected.begin() + static_cast<std::ptrdiff_t>(b));
      ASSERT_EQ(to, expected) << size << " bytes from " << a << " to " << b;
    }
  }
}

}  // namespace
}  // namespace quire
