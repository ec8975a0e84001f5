#include <quire/checkpoint/tokenizer/nfc.hpp>

#include <string>

#include <gmock/gmock.h>

namespace {

using quire::checkpoint::tokenizer::nfc;

TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(nfc("cafe\u0301"), "café");
  EXPECT_EQ(nfc("a\u0323\u0302"), "\u1EAD");
  EXPECT_EQ(nfc("a\u0302\u0323"), "\u1EAD");         // marks are put in order first
  EXPECT_EQ(nfc("\u0301a"), "\u0301a");              // nothing before it to join
  EXPECT_EQ(nfc("a\u0334\u0301"), "\u00E1\u0334");   // a mark of lower class does not block
  EXPECT_EQ(nfc("a\u0300\u0301"), "\u00E0\u0301");   // one of the same class does
  EXPECT_EQ(nfc("a\u0313\u0301"), "a\u0313\u0301");  // also when that one stays apart
  EXPECT_EQ(nfc("\u212B \u2126"), "\u00C5 \u03A9");  // singletons
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");          // excluded from composition
  EXPECT_EQ(nfc("\u1100\u1161\u11A8"), "\uAC01");    // Hangul by arithmetic
  EXPECT_EQ(nfc("\uAC00\u11A8"), "\uAC01");
  EXPECT_EQ(nfc("\u1100\u0301\u1161"), "\u1100\u0301\u1161");
  EXPECT_EQ(nfc("plain ASCII"), "plain ASCII");
  EXPECT_EQ(nfc(""), "");
}

TEST(Nfc, IsIdempotentOnEveryCharacter) {
  for (char32_t point = 0; point < 0x30000; ++point) {
    if (point == 0xD800) point = 0xE000;
    std::string text = "a\u0323";
    quire::utf8::append(text, point);
    text += "\u0301";
    const std::string once = nfc(text);
    ASSERT_EQ(nfc(once), once) << static_cast<std::uint32_t>(point);
  }
}

TEST(Nfc, ALongRunOfMarksIsSorted) {
  std::string text = "a", wanted = "\u1EA1";
  for (int i = 0; i < 50000; ++i) text += "\u0301";
  for (int i = 0; i < 50000; ++i) text += "\u0323";
  for (int i = 1; i < 50000; ++i) wanted += "\u0323";
  for (int i = 0; i < 50000; ++i) wanted += "\u0301";
  EXPECT_EQ(nfc(text), wanted);
}

}  // namespace
