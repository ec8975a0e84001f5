#include <quire/core/error.hpp>

#include <string>

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(Error, SaysWhereWhatAndWhatWasExpected) {
  const Error error =
      data_error("model.safetensors: byte 8", "the header is not JSON", "an object");
  EXPECT_STREQ(error.what(),
               "model.safetensors: byte 8: the header is not JSON; expected an object");
}

TEST(Error, LeavesOutWhatIsNotKnown) {
  EXPECT_STREQ(data_error("", "no blocks left").what(), "no blocks left");
  EXPECT_STREQ(data_error("", "no blocks left", "at least one").what(),
               "no blocks left; expected at least one");
  EXPECT_STREQ(data_error("pool", "no blocks left").what(), "pool: no blocks left");
}

TEST(Error, IsOneLineWhateverTheOutsideTextHolds) {
  std::string hostile = "a\nb\r\tc\x1b[31m\x7f";
  hostile.push_back('\0');
  hostile += "end";
  const std::string line = usage_error(hostile, hostile, hostile).what();
  for (const char c : line) {
    EXPECT_GE(static_cast<unsigned char>(c), 0x20);
    EXPECT_NE(c, '\x7f');
  }
  EXPECT_NE(line.find("end"), std::string::npos) << "a NUL byte must not cut the line";
  EXPECT_NE(line.find("a?b"), std::string::npos);
}

TEST(Error, KeepsTextBeyondAscii) {
  EXPECT_STREQ(data_error("Zähler", "größer als 3").what(), "Zähler: größer als 3");
}

TEST(Error, KindDecidesTheExitCode) {
  EXPECT_EQ(usage_error("--x", "unknown").exit_code(), 2);
  EXPECT_EQ(data_error("f", "bad").exit_code(), 1);
  EXPECT_EQ(state_error("f", "bad").exit_code(), 1);
  EXPECT_EQ(state_error("f", "bad").kind(), ErrorKind::state);
}

}  // namespace
}  // namespace quire
