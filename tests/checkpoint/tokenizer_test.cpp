#include <quire/checkpoint/tokenizer.hpp>

#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/core/json.hpp>

namespace {

using quire::TokenId;
using quire::checkpoint::Tokenizer;
namespace json = quire::json;

const std::string golden = "tests/golden/tokenizer/";

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<TokenId> ids_of(const json::Value& list) {
  std::vector<TokenId> ids;
  for (const json::Value& id : *list.array()) ids.push_back(static_cast<TokenId>(*id.integer()));
  return ids;
}

/// The raw bytes of a line of strings.jsonl.
std::string text_of(const std::string& line) {
  const json::Value value = json::parse(line, "strings.jsonl");
  if (const json::Value* text = value.object()->find("t")) return *text->string();
  std::string out;
  const std::string& hex = *value.object()->find("b")->string();
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool skip) {
  auto stream = tokenizer.stream(skip);
  std::string out;
  for (const TokenId id : ids) {
    const std::string part = stream.push(id);
    EXPECT_FALSE(quire::utf8::first_invalid(part)) << "half a character came out";
    out += part;
  }
  return out + stream.finish();
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, IdsAndTextEqualTheReference) {
  const Tokenizer tokenizer = Tokenizer::from_file(golden + GetParam() + ".json");
  const auto strings = lines_of(golden + "strings.jsonl");
  const auto expected = lines_of(golden + GetParam() + ".jsonl");
  ASSERT_GE(strings.size(), 2000u);
  ASSERT_GT(expected.size(), strings.size());
  int wrong = 0;
  for (std::size_t i = 0; i < expected.size() && wrong < 5; ++i) {
    const json::Value row = json::parse(expected[i], GetParam());
    const bool has_text = i < strings.size();
    const std::vector<TokenId> ids = ids_of(*row.object()->find(has_text ? "i" : "r"));
    std::string text;
    if (has_text) {
      const std::string raw = text_of(strings[i]);
      const auto mine = tokenizer.encode(raw, false);
      EXPECT_EQ(mine, ids) << "string " << i << ": " << strings[i].substr(0, 200);
      wrong += mine != ids ? 1 : 0;
      text = quire::utf8::sanitized(raw);
    }
    for (const bool skip : {true, false}) {
      const json::Value* other = row.object()->find(skip ? "d" : "k");
      const std::string& wanted = other == nullptr ? text : *other->string();
      const std::string decoded = tokenizer.decode(ids, skip);
      EXPECT_EQ(decoded, wanted) << "line " << i << (skip ? " without" : " with")
                                 << " special tokens: " << expected[i].substr(0, 200);
      wrong += decoded != wanted ? 1 : 0;
      if (wanted.find("\xEF\xBF\xBD") == std::string::npos || GetParam() != "sentencepiece") {
        EXPECT_EQ(streamed(tokenizer, ids, skip), wanted) << "line " << i;
      }
    }
  }
}

TEST(Tokenizer, SpecialTokensInTextCanStayText) {
  const Tokenizer tokenizer = Tokenizer::from_file(golden + "llama3.json");
  const TokenId end = tokenizer.token_to_id("<|eot_id|>").value();
  EXPECT_TRUE(tokenizer.is_special(end));
  const std::string prompt = "a<|eot_id|>b";
  EXPECT_THAT(tokenizer.encode(prompt), testing::Contains(end));
  const auto plain = tokenizer.encode(prompt, false, false);
  EXPECT_THAT(plain, testing::Not(testing::Contains(end)));
  EXPECT_EQ(tokenizer.decode(plain), prompt);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(prompt)), "ab");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(prompt, false), false), prompt);
}

TEST(Tokenizer, LooksTokensUpBothWays) {
  const Tokenizer tokenizer = Tokenizer::from_file(golden + "llama3.json");
  EXPECT_EQ(tokenizer.vocab_size(), 1510u);  // as the reference counts them
  for (TokenId id = 0; id < 1510; ++id) {
    const auto piece = tokenizer.id_to_piece(id);
    ASSERT_TRUE(piece.has_value());
    EXPECT_EQ(tokenizer.token_to_id(*piece), id);
  }
  EXPECT_EQ(tokenizer.id_to_piece(1510), std::nullopt);
  EXPECT_EQ(tokenizer.token_to_id("no such piece"), std::nullopt);
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{4000000000u}), "");
}

TEST(Tokenizer, ACopyOutlivesTheOriginal) {
  auto original = std::make_unique<Tokenizer>(Tokenizer::from_file(golden + "qwen2.json"));
  const Tokenizer copy = *original;
  auto stream = original->stream();
  original.reset();
  const auto ids = copy.encode("still here", false);
  EXPECT_EQ(stream.push(ids.front()), copy.decode(std::span(ids).first(1)));
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenTest,
                         testing::Values("gpt2", "opt", "llama3", "qwen2", "sentencepiece",
                                         "metaspace"),
                         [](const auto& kind) { return kind.param; });

}  // namespace
