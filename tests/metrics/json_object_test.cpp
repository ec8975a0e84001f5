#include <quire/metrics/json_object.hpp>

#include <cmath>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>

namespace {

using namespace quire::metrics;

TEST(JsonObject, WritesEveryKindInOrder) {
  JsonObject o;
  o.add("text", "a\"b\\c\n").add("whole", 3).add("real", 0.1).add("yes", true);
  o.add("none", std::nan("")).add("inside", JsonObject().add("x", -1)).raw("list", "[1, 2]");
  EXPECT_EQ(o.text(),
            R"({"text": "a\"b\\c\u000a", "whole": 3, "real": 0.1, "yes": true, "none": null, )"
            R"("inside": {"x": -1}, "list": [1, 2]})");
  EXPECT_EQ(JsonObject().append(JsonObject().add("a", 1)).append(JsonObject()).text(),
            R"({"a": 1})");
}

TEST(JsonObject, NumbersReadBackExactly) {
  for (const double x : {0.1, 1e300, -5e-324, 1.0 / 3, 123456789.125, 0.0}) {
    EXPECT_EQ(std::strtod(json_number(x).c_str(), nullptr), x);
  }
  EXPECT_EQ(json_number(HUGE_VAL), "null");
}

TEST(JsonObject, WhateverTheBytesTheLineStaysJson) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      const std::string bytes{'x', static_cast<char>(a), static_cast<char>(b), 'y'};
      const std::string line = JsonObject().add("k", bytes).text();
      ASSERT_NO_THROW(static_cast<void>(quire::json::parse(line, "line"))) << a << " " << b;
      ASSERT_EQ(line.find('\n'), std::string::npos);
    }
  }
  for (const char* text : {"\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",
                           "\xc3\xa9\xf0\x9f\x98\x80\xe6\xbc\xa2"}) {
    EXPECT_NO_THROW(
        static_cast<void>(quire::json::parse(JsonObject().add("k", text).text(), "line")));
  }
  EXPECT_EQ(json_quoted("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\"");
}

}  // namespace
