#include <quire/checkpoint/tokenizer/bpe.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include <quire/core/rng.hpp>

namespace {

using quire::TokenId;
using quire::checkpoint::tokenizer::Bpe;
using testing::ElementsAre;

std::vector<TokenId> encode(const Bpe& bpe, std::string_view word) {
  Bpe::Scratch scratch;
  std::vector<TokenId> out;
  bpe.encode(word, scratch, out);
  return out;
}

Bpe with_pieces(const std::vector<std::string>& pieces) {
  std::vector<std::pair<std::string, TokenId>> numbered;
  for (const std::string& piece : pieces) {
    numbered.emplace_back(piece, static_cast<TokenId>(numbered.size()));
  }
  Bpe bpe;
  bpe.set_pieces(numbered, numbered.size());
  return bpe;
}

TEST(Bpe, MergesTheLowestRankLeftmostFirst) {
  Bpe bpe = with_pieces({"a", "b", "ab", "ba", "aba"});
  ASSERT_TRUE(bpe.add_merge(0, 1, 2));  // a b
  ASSERT_TRUE(bpe.add_merge(1, 0, 3));  // b a
  ASSERT_TRUE(bpe.add_merge(2, 0, 4));  // ab a
  EXPECT_FALSE(bpe.add_merge(0, 1, 2));
  EXPECT_THAT(encode(bpe, "abab"), ElementsAre(2, 2));
  EXPECT_THAT(encode(bpe, "aba"), ElementsAre(4));
  EXPECT_THAT(encode(bpe, "bab"), ElementsAre(1, 2));
  EXPECT_THAT(encode(bpe, ""), ElementsAre());
}

TEST(Bpe, UnknownCharactersBecomeBytesOrTheUnknownToken) {
  Bpe bpe = with_pieces({"<unk>", "a", "<0xC3>", "<0xA9>"});
  bpe.set_options({.byte_fallback = true, .fuse_unknown = true, .unknown = 0});
  EXPECT_THAT(encode(bpe, "aé"), ElementsAre(1, 2, 3));
  EXPECT_THAT(encode(bpe, "xya"), ElementsAre(0, 1));  // no pieces for these bytes; fused
  bpe.set_options({.unknown = 0});
  EXPECT_THAT(encode(bpe, "xyéa"), ElementsAre(0, 0, 0, 1));
}

TEST(Bpe, IgnoreMergesTakesAWholeWord) {
  Bpe bpe = with_pieces({"a", "b", "ab"});
  bpe.set_options({.ignore_merges = true});
  EXPECT_THAT(encode(bpe, "ab"), ElementsAre(2));
  EXPECT_THAT(encode(bpe, "aba"), ElementsAre(0, 1, 0));
}

TEST(Bpe, LooksPiecesUpBothWays) {
  const Bpe bpe = with_pieces({"a", "bc"});
  EXPECT_EQ(bpe.find("bc"), 1u);
  EXPECT_EQ(bpe.find("c"), std::nullopt);
  EXPECT_EQ(bpe.piece(1), "bc");
  EXPECT_EQ(bpe.piece(2), std::nullopt);
  EXPECT_EQ(Bpe::byte_piece(0x0A), "<0x0A>");
}

/// Obviously right: looks through all pairs for the best, merges it, and starts again.
std::vector<std::string> naive(std::vector<std::string> symbols,
                               const std::map<std::pair<std::string, std::string>, int>& ranks) {
  for (;;) {
    int best = -1;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found != ranks.end() && (best < 0 || found->second < best)) {
        best = found->second;
        at = i;
      }
    }
    if (best < 0) return symbols;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, EqualsTheNaiveAlgorithmOnRandomMerges) {
  quire::Rng rng(11);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> pieces = {"a", "b", "c"};
    std::map<std::pair<std::string, std::string>, int> ranks;
    std::vector<std::pair<std::size_t, std::size_t>> merges;
    while (merges.size() < 25) {
      const std::size_t left = rng.below(pieces.size()), right = rng.below(pieces.size());
      const std::string both = pieces[left] + pieces[right];
      // A pair merges once, and each result has one way to be made, as in trained merges.
      if (std::find(pieces.begin(), pieces.end(), both) != pieces.end()) continue;
      ranks[{pieces[left], pieces[right]}] = static_cast<int>(merges.size());
      merges.emplace_back(left, right);
      pieces.push_back(both);
    }
    Bpe bpe = with_pieces(pieces);
    for (std::size_t i = 0; i < merges.size(); ++i) {
      ASSERT_TRUE(bpe.add_merge(static_cast<TokenId>(merges[i].first),
                                static_cast<TokenId>(merges[i].second),
                                static_cast<TokenId>(3 + i)));
    }
    for (int i = 0; i < 50; ++i) {
      std::string word;
      std::vector<std::string> symbols;
      for (auto length = 1 + rng.below(40); length > 0; --length) {
        symbols.emplace_back(1, static_cast<char>('a' + rng.below(3)));
        word += symbols.back();
      }
      std::vector<std::string> mine;
      for (const TokenId id : encode(bpe, word)) mine.push_back(pieces[id]);
      ASSERT_EQ(mine, naive(symbols, ranks)) << word;
    }
  }
}

TEST(Bpe, AVeryLongWordIsNoWork) {  // quadratic work would take minutes
  std::vector<std::string> pieces = {"a"};
  for (int i = 0; i < 17; ++i) pieces.push_back(pieces.back() + pieces.back());
  Bpe bpe = with_pieces(pieces);
  for (TokenId i = 0; i < 17; ++i) ASSERT_TRUE(bpe.add_merge(i, i, i + 1));
  EXPECT_THAT(encode(bpe, std::string(1 << 17, 'a')), ElementsAre(17));
  EXPECT_THAT(encode(bpe, std::string((1 << 17) + 5, 'a')), ElementsAre(17, 2, 0));
}

}  // namespace
