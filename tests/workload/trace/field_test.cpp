#include <quire/workload/trace/field.hpp>

#include <gtest/gtest.h>

namespace {

using namespace quire::workload::trace;

std::string at() { return "f: line 2, field 'x'"; }

std::string tokens_error(std::string_view text) {
  try {
    static_cast<void>(parse_tokens(text, at));
  } catch (const quire::Error& error) {
    return error.what();
  }
  return {};
}

TEST(Field, ReadsWholeNumbersAsDataFramesWriteThem) {
  EXPECT_EQ(parse_tokens("374", at), quire::Tokens(374));
  EXPECT_EQ(parse_tokens(" 906.0 ", at), quire::Tokens(906));
  EXPECT_EQ(parse_tokens("1e3", at), quire::Tokens(1000));
  EXPECT_EQ(parse_tokens("16777216", at), quire::Tokens(16777216));
}

TEST(Field, RefusesTheRestInOneSentence) {
  EXPECT_EQ(
      tokens_error("-3"),
      "f: line 2, field 'x': '-3' is out of range; expected a whole number from 0 to 16777216");
  for (const char* text : {"", " ", "abc", "12x", "1.5", "nan", "NaN", "inf", "-inf", "1e999",
                           "16777217", "99999999999999999999", "0x10", "1,000", "--1", "+1"}) {
    EXPECT_NE(tokens_error(text), "") << text;
  }
}

TEST(Field, BoundsArrivals) {
  EXPECT_EQ(checked_arrival(1.5, at), quire::Seconds(1.5));
  EXPECT_THROW(static_cast<void>(checked_arrival(-1e-9, at)), quire::Error);
  EXPECT_THROW(static_cast<void>(checked_arrival(1e12, at)), quire::Error);
  EXPECT_EQ(parse_number("19440110.0", at), 19440110.0);
  EXPECT_THROW(static_cast<void>(parse_number("1e400", at)), quire::Error);
}

}  // namespace
