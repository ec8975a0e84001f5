#include <quire/core/json.hpp>

#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/common/mutate.hpp"

namespace {

using ::testing::HasSubstr;
namespace json = quire::json;

std::string error_of(std::string_view text, json::Limits limits = {}) {
  try {
    (void)json::parse(text, "f.json", limits);
  } catch (const quire::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Json, ReadsEveryKindOfValue) {
  const json::Value root = json::parse(
      R"( {"a": [1, -2, 0.5, 1e3, true, false, null], "b": {"x": "é\u0041\ud83d\ude00\n"}} )", "f");
  const json::Object& object = *root.object();
  const json::Array& a = *object.find("a")->array();
  EXPECT_EQ(*a[0].integer(), 1);
  EXPECT_EQ(*a[1].integer(), -2);
  EXPECT_EQ(a[2].integer(), nullptr);
  EXPECT_EQ(*a[2].number(), 0.5);
  EXPECT_EQ(*a[3].number(), 1000);
  EXPECT_TRUE(*a[4].boolean());
  EXPECT_FALSE(*a[5].boolean());
  EXPECT_TRUE(a[6].is_null());
  EXPECT_EQ(*object.find("b")->object()->find("x")->string(), "éA😀\n");
  EXPECT_EQ(object.find("c"), nullptr);
  EXPECT_EQ(object.members()[1].key, "b");
  EXPECT_EQ(a[1].offset(), 11u);
}

TEST(Json, RefusesWhatTheGrammarDoesNotHave) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[1,]",
                           "{\"a\":1,}",
                           "{a:1}",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "nul",
                           "NaN",
                           "Infinity",
                           "'a'",
                           "\"a",
                           "\"\t\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "1 2",
                           "[1 2]",
                           "{\"a\" 1}",
                           "\"\xff\"",
                           "\"\xc3\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "// c\n1",
                           "[1}",
                           "tru",
                           "1e999",
                           "\"\\u-123\""}) {
    EXPECT_THAT(error_of(text), HasSubstr("f.json: byte ")) << text;
    EXPECT_FALSE(nlohmann::json::accept(text)) << text;
  }
}

TEST(Json, PassesOverAByteOrderMarkAtTheBeginAlone) {
  EXPECT_EQ(error_of("\xef\xbb\xbf{\"a\": 1}"), "no error");
  EXPECT_EQ(error_of("{\"a\": \xef\xbb\xbf"
                     "1}"),
            "f.json: byte 6: no JSON value begins here; expected an object, an array, a string, "
            "a number, true, false or null");
}

TEST(Json, RefusesDuplicateKeysAndGivesThePlace) {
  EXPECT_EQ(error_of(R"({"x": {"a": 1, "b": 2, "a": 3}})"),
            "f.json: byte 6: key \"a\" occurs twice in one object; expected each key once");
}

TEST(Json, StopsAtItsLimits) {
  EXPECT_THAT(error_of(std::string(100000, '[')), HasSubstr("nested too deeply"));
  EXPECT_EQ(error_of(std::string(10, '[') + std::string(10, ']'), {.depth = 10}), "no error");
  EXPECT_THAT(error_of("[1,2,3,4]", {.values = 4}), HasSubstr("too many values"));
}

TEST(Json, KeepsIntegersOf64BitsAndMakesLongerOnesNumbers) {
  EXPECT_EQ(*json::parse("9223372036854775807", "f").integer(), INT64_MAX);
  EXPECT_EQ(*json::parse("-9223372036854775808", "f").integer(), INT64_MIN);
  const json::Value longer = json::parse("9223372036854775808", "f");
  EXPECT_EQ(longer.integer(), nullptr);
  EXPECT_EQ(*longer.number(), 9223372036854775808.0);
}

TEST(Json, QuoteGivesTextBack) {
  const std::string text("a\"b\\c\n\x01 \0é😀/", 16);
  EXPECT_EQ(*json::parse(json::quote(text), "f").string(), quire::utf8::sanitized(text));
  EXPECT_EQ(json::quote("\xff"), "\"\xEF\xBF\xBD\"");
}

/// Same content as nlohmann's tree.
bool same(const json::Value& mine, const nlohmann::json& other) {
  if (other.is_null()) return mine.is_null();
  if (other.is_boolean()) return mine.boolean() && *mine.boolean() == other.get<bool>();
  if (other.is_string()) return mine.string() && *mine.string() == other.get<std::string>();
  if (other.is_number()) return mine.number() && *mine.number() == other.get<double>();
  if (other.is_array()) {
    if (!mine.array() || mine.array()->size() != other.size()) return false;
    for (std::size_t i = 0; i < other.size(); ++i) {
      if (!same((*mine.array())[i], other[i])) return false;
    }
    return true;
  }
  if (!mine.object() || mine.object()->members().size() != other.size()) return false;
  for (const auto& [key, value] : other.items()) {
    const json::Value* found = mine.object()->find(key);
    if (found == nullptr || !same(*found, value)) return false;
  }
  return true;
}

TEST(Json, AgreesWithAnIndependentReaderOnDamagedText) {
  const std::string seed =
      R"({"a": [1, -2.5e3, true, null, "x\u00e9\"\\ é😀"], "b": {"c": {}, "d": []}, "e": 0})";
  quire::testing::Mutator mutator(7, {"\"a\":1,", "\\u00e9", ",", "{", "}"});
  int accepted = 0;
  for (std::size_t i = 0; i < quire::testing::fuzz_count(3000); ++i) {
    const std::string text = mutator.mutate(seed);
    const auto other = nlohmann::json::parse(text, nullptr, false);
    const bool valid = !other.is_discarded();
    try {
      const json::Value mine = json::parse(text, "f.json", {.depth = 1000});
      EXPECT_TRUE(valid && same(mine, other)) << text;
      ++accepted;
    } catch (const quire::Error& error) {
      const std::string what = error.what();
      const bool stricter = what.find("occurs twice") != std::string::npos;
      EXPECT_TRUE(!valid || stricter) << text << "\n" << what;
    }
  }
  EXPECT_GT(accepted, 50);
}

}  // namespace
