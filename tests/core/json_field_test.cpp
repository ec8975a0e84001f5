#include <quire/core/json_field.hpp>

#include <string>

#include <gmock/gmock.h>

namespace {

using ::testing::HasSubstr;
namespace json = quire::json;

TEST(JsonField, AFieldNamesItsPlace) {
  const json::Value value = json::parse(R"({"a": {"b": [1, "x", 2.5]}, "n": null})", "f.json");
  const json::Field root(value, "f.json");
  const auto message = [](auto read) -> std::string {
    try {
      read();
    } catch (const quire::Error& error) {
      return error.what();
    }
    return "no error";
  };
  const json::Field b = root.at("a").at("b");
  EXPECT_EQ(message([&] { (void)b.at(1).integer(0, 9); }),
            "f.json: a.b[1] (byte 16): value is a string; expected an integer from 0 to 9");
  EXPECT_EQ(message([&] { (void)b.at(std::size_t{0}).integer(2, 9); }),
            "f.json: a.b[0] (byte 13): value 1 out of range; expected an integer from 2 to 9");
  EXPECT_EQ(message([&] { (void)root.at("a").at("c"); }),
            "f.json: a (byte 6): key \"c\" is missing; expected it to be set");
  EXPECT_THAT(message([&] { (void)b.at(2).number(3, 4); }), HasSubstr("from 3 to 4"));
  EXPECT_THAT(message([&] { (void)b.boolean(); }), HasSubstr("expected true or false"));
  EXPECT_TRUE(root.find("n").has_value());
  EXPECT_FALSE(root.find_set("n").has_value());
  EXPECT_FALSE(root.find("m").has_value());
}

}  // namespace
