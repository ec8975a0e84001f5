#include <quire/checkpoint/tokenizer/word_split.hpp>

#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace {

using quire::checkpoint::tokenizer::WordPattern;
using quire::checkpoint::tokenizer::WordSplitter;
using testing::ElementsAre;

std::vector<std::string> split(std::string_view text, WordPattern pattern) {
  std::vector<std::string> out;
  WordSplitter(text, pattern).each([&](std::string_view word) { out.emplace_back(word); });
  return out;
}

TEST(WordSplit, Gpt2) {
  const auto words = [](std::string_view text) { return split(text, WordPattern::gpt2); };
  EXPECT_THAT(words("Hello world"), ElementsAre("Hello", " world"));
  EXPECT_THAT(words("a  b   "), ElementsAre("a", " ", " b", "   "));
  EXPECT_THAT(words("we've I'LL"), ElementsAre("we", "'ve", " I", "'", "LL"));
  EXPECT_THAT(words("x12345 ²½"), ElementsAre("x", "12345", " ²½"));
  EXPECT_THAT(words("a\n\n b\tc"), ElementsAre("a", "\n\n", " b", "\t", "c"));
  EXPECT_THAT(words("!?.. -->x"), ElementsAre("!?..", " -->", "x"));
  EXPECT_THAT(words("e\u0301e"), ElementsAre("e", "\u0301", "e"));  // a mark is no letter
  EXPECT_THAT(words(""), ElementsAre());
}

TEST(WordSplit, Llama3) {
  const auto words = [](std::string_view text) { return split(text, WordPattern::llama3); };
  EXPECT_THAT(words("Hello  world"), ElementsAre("Hello", " ", " world"));
  EXPECT_THAT(words("we'VE it'\u017F"), ElementsAre("we", "'VE", " it", "'\u017F"));
  EXPECT_THAT(words("1234567"), ElementsAre("123", "456", "7"));
  EXPECT_THAT(words("(word) \tword"), ElementsAre("(word", ")", " ", "\tword"));
  EXPECT_THAT(words("a !\r\n\nb"), ElementsAre("a", " !\r\n\n", "b"));
  EXPECT_THAT(words("a \n \n  b"), ElementsAre("a", " \n \n", " ", " b"));
  EXPECT_THAT(words("a  1"), ElementsAre("a", " ", " ", "1"));
  EXPECT_THAT(words("\nword"), ElementsAre("\n", "word"));
}

TEST(WordSplit, Qwen2TakesEachDigitAlone) {
  EXPECT_THAT(split("a123 4", WordPattern::qwen2), ElementsAre("a", "1", "2", "3", " ", "4"));
}

TEST(WordSplit, TheWordsAreTheText) {
  const std::string text = "It's 12:30 —\u00a0naïve 中文 \r\n\t x\u0301 ''ll \u3000 end  ";
  for (const auto pattern : {WordPattern::gpt2, WordPattern::llama3, WordPattern::qwen2}) {
    std::string joined;
    for (const std::string& word : split(text, pattern)) {
      EXPECT_FALSE(word.empty());
      joined += word;
    }
    EXPECT_EQ(joined, text);
  }
}

}  // namespace
