#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/llm/stop_strings.hpp>

namespace quire {
namespace {

TEST(StopStrings, HoldsBackWhatMayBeginAStop) {
  StopStrings s({"END", "xyz"});
  EXPECT_EQ(s.push("abc"), "abc");
  EXPECT_EQ(s.push("dE"), "d");
  EXPECT_EQ(s.push("N"), "");
  EXPECT_EQ(s.push("e"), "ENe");
  EXPECT_FALSE(s.matched());
  EXPECT_EQ(s.push("..xENDyz"), "..x");
  EXPECT_TRUE(s.matched());
  EXPECT_EQ(s.push("more"), "");
  EXPECT_EQ(s.finish(), "");
}

TEST(StopStrings, NoStopsHoldNothing) {
  StopStrings s({""});
  EXPECT_EQ(s.push("anything"), "anything");
  EXPECT_EQ(s.finish(), "");
}

/// Whatever the pieces, the text is cut before the first stop string, as in the whole text.
TEST(StopStrings, EqualACutOfTheWholeText) {
  Rng rng(5);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::uint64_t n = rng.below(30); text.size() < n;) {
      text += static_cast<char>('a' + rng.below(3));
    }
    std::vector<std::string> stops(1 + rng.below(3));
    for (std::string& stop : stops) {
      for (std::uint64_t n = 1 + rng.below(4); stop.size() < n;) {
        stop += static_cast<char>('a' + rng.below(3));
      }
    }
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops) first = std::min(first, text.find(stop));
    StopStrings s(stops);
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t n = 1 + rng.below(5);
      out += s.push(text.substr(i, n));
      i += n;
      EXPECT_TRUE(text.starts_with(out));
    }
    const bool matched = s.matched();
    out += s.finish();
    EXPECT_EQ(matched, first != std::string::npos);
    if (!matched) {
      EXPECT_EQ(out, text);
    } else {
      // pieces may show one of several overlapping stops before the one that starts first ends
      EXPECT_TRUE(text.starts_with(out));
      EXPECT_TRUE(std::any_of(stops.begin(), stops.end(), [&](const std::string& stop) {
        return text.substr(out.size()).starts_with(stop);
      }));
      for (const std::string& stop : stops) EXPECT_EQ(out.find(stop), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace quire
