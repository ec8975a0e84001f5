#include <quire/core/text.hpp>

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace {

TEST(Text, QuotesOutsideTextOnOneLine) {
  EXPECT_EQ(quire::in_quotes("a\nb\x7f"), "\"a?b?\"");
  EXPECT_EQ(quire::in_quotes("abcdef", 3), "\"abc...\"");
  EXPECT_EQ(quire::in_quotes("abcdef", 6), "\"abcdef\"");
}

TEST(Text, EditDistanceCountsEdits) {
  EXPECT_EQ(quire::edit_distance("", "abc"), 3u);
  EXPECT_EQ(quire::edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(quire::edit_distance("same", "same"), 0u);
}

TEST(Text, NearestNamesComeNearestFirst) {
  const std::vector<std::string> names = {"fifo", "lru", "sieve", "clock", "lfu"};
  EXPECT_THAT(quire::nearest_names("siev", names, 1), ::testing::ElementsAre("sieve"));
  EXPECT_THAT(quire::nearest_names("lr", names, 2), ::testing::ElementsAre("lru", "lfu"));
  EXPECT_THAT(quire::nearest_names("x", std::vector<std::string>{}), testing::IsEmpty());
}

}  // namespace
