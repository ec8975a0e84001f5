#include <cmath>

#include <quire/kv_format/channel_groups.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(ChannelGroupsKvFormat, AnOutlierChannelCoarsensNoOther) {
  using F = ChannelGroups<2, 32>;
  EXPECT_EQ(F::token_bytes(64), 24.0);
  EXPECT_FALSE(F::refusal(16, 64).empty());
  std::vector<float> rows;
  for (std::size_t t = 0; t < 64; ++t) {
    const std::vector<float> token = random_token(64, t);
    rows.insert(rows.end(), token.begin(), token.end());
    rows[t * 64 + 7] *= 1000;
  }
  AlignedArray<std::byte> slab(F::slab_bytes(64, 64));
  F::seal(slab.data(), 64, 64, rows.data());
  std::vector<float> got(64);
  for (std::size_t t = 0; t < 64; ++t) {
    F::load(slab.data(), 64, 64, t, got.data());
    for (std::size_t c = 0; c < 64; ++c) {
      if (c == 7) continue;
      EXPECT_NEAR(got[c], rows[t * 64 + c], 1.2);
    }
  }
}

}  // namespace
}  // namespace quire::testing
