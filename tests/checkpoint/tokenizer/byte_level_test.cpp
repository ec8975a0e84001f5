#include <quire/checkpoint/tokenizer/byte_level.hpp>

#include <set>
#include <string>

#include <gmock/gmock.h>

namespace {

namespace byte_level = quire::checkpoint::tokenizer::byte_level;

TEST(ByteLevel, EachByteHasItsOwnPrintableCharacter) {
  std::set<char32_t> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t c = byte_level::character(static_cast<unsigned char>(byte));
    EXPECT_TRUE(seen.insert(c).second);
    EXPECT_TRUE(c > 0x20 && c != 0x7F && c != 0xA0 && c != 0xAD && c < 0x144);
    const std::string text(1, static_cast<char>(byte));
    EXPECT_EQ(byte_level::decode(byte_level::encode(text)), text);
  }
  EXPECT_EQ(byte_level::encode(" a\n"), "ĠaĊ");  // as in the published vocabularies
}

TEST(ByteLevel, OtherCharactersAreNotOfTheAlphabet) {
  EXPECT_EQ(byte_level::decode("a b"), std::nullopt);
  EXPECT_EQ(byte_level::decode("中"), std::nullopt);
  EXPECT_EQ(byte_level::decode("\xff"), std::nullopt);
  EXPECT_EQ(byte_level::decode(""), "");
}

}  // namespace
