#include <experiments/common/shard.hpp>

#include <gtest/gtest.h>

namespace {

using namespace quire::experiment;

TEST(Shard, PartsAreDisjointAndCoverAll) {
  for (std::size_t element = 0; element < 100; ++element) {
    int owners = 0;
    for (const char* part : {"1/3", "2/3", "3/3"}) owners += parse_shard(part).has(element);
    EXPECT_EQ(owners, 1);
  }
  EXPECT_TRUE(parse_shard("1/1").has(7));
  EXPECT_EQ(checked_shard(2, 3).index, 2u);
}

TEST(Shard, RefusesWhatIsNone) {
  for (const char* bad : {"", "1", "0/3", "4/3", "1/0", "a/b", "1/3x", "-1/3", "1/"}) {
    EXPECT_THROW(static_cast<void>(parse_shard(bad)), quire::Error) << bad;
  }
  EXPECT_THROW(static_cast<void>(checked_shard(3, 3)), quire::Error);
  EXPECT_THROW(static_cast<void>(checked_shard(0, 0)), quire::Error);
}

}  // namespace
