#include <quire/core/json_cursor.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::JsonCursor;

std::string error_of(std::string_view text, void (*read)(JsonCursor&)) {
  JsonCursor cursor(text, "f");
  try {
    read(cursor);
    cursor.end();
  } catch (const quire::Error& error) {
    return error.what();
  }
  return {};
}
void skip(JsonCursor& cursor) { cursor.skip(); }

TEST(JsonCursor, ReadsEveryKindOfValue) {
  JsonCursor cursor(R"( {"a": [1, -2, 0], "b": "x\n\"\u00e9\ud83d\ude00", "c": 2.5e3, "d": true,
                         "e": null, "f": {"g": [[], {}, "y"]}, "h": []} )",
                    "f");
  std::vector<std::int64_t> a;
  std::string b;
  double c = 0;
  bool d = false;
  bool e = false;
  std::vector<std::string> keys;
  cursor.object([&](std::string_view key) {
    keys.emplace_back(key);
    if (key == "a") {
      cursor.array([&] { a.push_back(cursor.integer()); });
    } else if (key == "b") {
      b = cursor.string();
    } else if (key == "c") {
      c = cursor.number();
    } else if (key == "d") {
      d = cursor.boolean();
    } else if (key == "e") {
      e = cursor.null();
    } else {
      cursor.skip();
    }
  });
  cursor.end();
  EXPECT_EQ(a, (std::vector<std::int64_t>{1, -2, 0}));
  EXPECT_EQ(b, "x\n\"\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(c, 2500);
  EXPECT_TRUE(d);
  EXPECT_TRUE(e);
  EXPECT_EQ(keys, (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "h"}));
}

TEST(JsonCursor, NamesTheByteAndTheMember) {
  const auto nested = [](JsonCursor& c) {
    c.object([&](std::string_view) { c.object([&](std::string_view) { (void)c.integer(); }); });
  };
  EXPECT_EQ(error_of(R"({"a": {"b": 1.5}})", nested),
            "f, byte 15, field 'a.b': the number is not whole; expected an integer");
  EXPECT_EQ(error_of(R"({"a": )", skip), "f, byte 6: the text ends early; expected a number");
}

TEST(JsonCursor, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           "{",
                           "[",
                           "[1",
                           "[1,",
                           "[1,]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{1:2}",
                           "[1 2]",
                           "nul",
                           "tru",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "NaN",
                           "Infinity",
                           "\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\ud800\\u0041\"",
                           "\"\\udc00\"",
                           "\"a\nb\"",
                           "1 2",
                           "[]]",
                           "{\"a\":1}}",
                           "'a'",
                           "[1}",
                           "{\"a\":1]"}) {
    EXPECT_NE(error_of(text, skip), "") << text;
  }
  EXPECT_NE(error_of(std::string_view("1\0", 2), skip), "");
}

TEST(JsonCursor, RefusesNumbersThatDoNotFit) {
  const auto integer = [](JsonCursor& c) { (void)c.integer(); };
  const auto number = [](JsonCursor& c) { (void)c.number(); };
  EXPECT_NE(error_of("9223372036854775808", integer), "");
  EXPECT_EQ(error_of("9223372036854775807", integer), "");
  EXPECT_NE(error_of("1e999", number), "");
  EXPECT_NE(error_of("1e3", integer), "");
}

TEST(JsonCursor, BoundsDepthWithoutTheCallStack) {
  EXPECT_EQ(error_of(std::string(512, '[') + std::string(512, ']'), skip), "");
  EXPECT_NE(error_of(std::string(513, '[') + std::string(513, ']'), skip), "");
  EXPECT_NE(error_of(std::string(1 << 20, '['), skip), "");
}

TEST(JsonCursor, SkipsExactlyOneValue) {
  JsonCursor cursor(R"([{"a":[1,{"b":{}}],"c":"]"} , 7])", "f");
  int element = 0;
  cursor.array([&] {
    if (element++ == 0) {
      cursor.skip();
    } else {
      EXPECT_EQ(cursor.integer(), 7);
    }
  });
  cursor.end();
  EXPECT_EQ(element, 2);
}

}  // namespace
