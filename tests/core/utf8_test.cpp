#include <quire/core/utf8.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace {

namespace utf8 = quire::utf8;

TEST(Utf8, EveryScalarValueGoesThereAndBack) {
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point == 0xD800) point = 0xE000;
    std::string text;
    utf8::append(text, point);
    const utf8::Step step = utf8::decode(text);
    ASSERT_TRUE(step.valid) << static_cast<std::uint32_t>(point);
    ASSERT_TRUE(step.point == point);
    ASSERT_EQ(step.size, text.size());
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const utf8::Step half = utf8::decode(std::string_view(text).substr(0, cut));
      ASSERT_TRUE(!half.valid && half.cut && half.size == cut) << static_cast<std::uint32_t>(point);
    }
  }
}

TEST(Utf8, ReplacesMaximalSubpartsAsUnicodeTable38Does) {
  const std::string r = "\xEF\xBF\xBD";
  // The examples of the Unicode Standard, section 3.9, tables 3-8 to 3-11.
  EXPECT_EQ(utf8::sanitized("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(utf8::sanitized("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(utf8::sanitized("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(utf8::sanitized("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(utf8::first_invalid("aé😀"), std::nullopt);
  EXPECT_EQ(utf8::first_invalid("aé\x80"), 3u);
  EXPECT_EQ(utf8::first_invalid("\xC3"), 0u);
}

}  // namespace
