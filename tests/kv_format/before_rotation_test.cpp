#include <cmath>
#include <quire/kv_format/before_rotation.hpp>
#include <quire/kv_format/codec.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(BeforeRotationKvFormat, TurnsKeysBackWhereTheyAreStored) {
  using F = BeforeRotation<ChannelGroups<4, 32>>;
  EXPECT_EQ(F::name, "pre_rope_int4_channel_g32");
  EXPECT_TRUE(stores_before_rotation<F>);
  EXPECT_FALSE((stores_before_rotation<ChannelGroups<4, 32>>));
  EXPECT_TRUE(codec_of<F>().keys.before_rotation);
  EXPECT_FALSE(codec_of<F>().values.before_rotation);
}

}  // namespace
}  // namespace quire::testing
