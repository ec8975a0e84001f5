#include <experiments/common/eta.hpp>

#include <limits>

#include <gtest/gtest.h>

namespace {

using quire::experiment::eta_text;
using quire::experiment::short_time;

TEST(Eta, TimesAreShort) {
  EXPECT_EQ(short_time(0), "0s");
  EXPECT_EQ(short_time(59.4), "59s");
  EXPECT_EQ(short_time(59.6), "1m00s");
  EXPECT_EQ(short_time(3599), "59m59s");
  EXPECT_EQ(short_time(3600), "1h00m");
  EXPECT_EQ(short_time(86400 + 3600 * 4), "1d04h");
  EXPECT_EQ(short_time(-1), "0s");
  EXPECT_EQ(short_time(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(short_time(std::numeric_limits<double>::quiet_NaN()), "?");
}

TEST(Eta, CountsWhatWasDoneSinceItBeganAlone) {
  EXPECT_EQ(eta_text(0, 50, 200, 10), "25 %, 10s, 30s left");
  EXPECT_EQ(eta_text(100, 150, 200, 10), "75 %, 10s, 10s left");  // 50 in 10 s
  EXPECT_EQ(eta_text(100, 100, 200, 10), "50 %, 10s");            // no pace is known
  EXPECT_EQ(eta_text(0, 200, 200, 75), "100 %, 1m15s");
  EXPECT_EQ(eta_text(0, 0, 0, 0), "100 %, 0s");
}

}  // namespace
