#include <quire/checkpoint/tokenizer/added_tokens.hpp>

#include <deque>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace {

using quire::checkpoint::tokenizer::AddedToken;
using quire::checkpoint::tokenizer::AddedTokenMatcher;
using testing::ElementsAre;

class AddedTokensTest : public testing::Test {
 protected:
  void add(AddedToken token) {
    tokens_.push_back(std::move(token));
    ASSERT_TRUE(matcher_.add(tokens_.back().content, tokens_.back()));
  }
  /// Parts as text; tokens in angle quotes.
  [[nodiscard]] std::vector<std::string> parts(const std::string& text,
                                               bool skip_special = false) const {
    std::vector<std::string> out;
    for (const auto& part : matcher_.parts(text, skip_special)) {
      const std::string piece = text.substr(part.begin, part.end - part.begin);
      out.push_back(part.token ? "«" + piece + "»" : piece);
    }
    return out;
  }
  std::deque<AddedToken> tokens_;
  AddedTokenMatcher matcher_;
};

TEST_F(AddedTokensTest, TakesTheLeftmostAndLongest) {
  add({.content = "<a>"});
  add({.content = "<a>b"});
  add({.content = "a>b<"});
  EXPECT_THAT(parts("x<a>b<a>c"), ElementsAre("x", "«<a>b»", "«<a>»", "c"));
  EXPECT_THAT(parts("a>b<a>"), ElementsAre("«a>b<»", "a>"));
  EXPECT_THAT(parts("nothing"), ElementsAre("nothing"));
  EXPECT_THAT(parts(""), ElementsAre());
}

TEST_F(AddedTokensTest, TakesSpaceAlong) {
  add({.content = "<l>", .lstrip = true});
  add({.content = "<r>", .rstrip = true});
  EXPECT_THAT(parts("a \u3000<l> b"), ElementsAre("a", "« \u3000<l>»", " b"));
  EXPECT_THAT(parts("a <r>\t\n b"), ElementsAre("a ", "«<r>\t\n »", "b"));
  EXPECT_THAT(parts("<r>  <l>"), ElementsAre("«<r>  »", "«<l>»"));
}

TEST_F(AddedTokensTest, ASingleWordStandsAlone) {
  add({.content = "word", .single_word = true});
  EXPECT_THAT(parts("word, word"), ElementsAre("«word»", ", ", "«word»"));
  EXPECT_THAT(parts("sword words wordé é\u0301word"), ElementsAre("sword words wordé é\u0301word"));
  EXPECT_THAT(parts("-word-"), ElementsAre("-", "«word»", "-"));
}

TEST_F(AddedTokensTest, SpecialTokensCanStayText) {
  add({.content = "<s>", .special = true});
  add({.content = "<t>"});
  EXPECT_THAT(parts("<s><t>", true), ElementsAre("<s>", "«<t>»"));
  EXPECT_THAT(parts("<s><t>", false), ElementsAre("«<s>»", "«<t>»"));
}

TEST_F(AddedTokensTest, RefusesATextThatIsTaken) {
  add({.content = "x"});
  const AddedToken again{.content = "x"};
  EXPECT_FALSE(matcher_.add("x", again));
}

TEST_F(AddedTokensTest, ManyTokensInOneRunOfSpaceAreNoWork) {  // quadratic work would take minutes
  add({.content = " ", .lstrip = true, .rstrip = true});
  EXPECT_EQ(matcher_.parts(std::string(300000, ' '), false).size(), 300000u);
}

}  // namespace
