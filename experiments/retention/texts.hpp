#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer.hpp>
#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/json.hpp>
#include <quire/core/rng.hpp>

namespace quire::experiment {

/// Pairs of keys and values, then questions: keys again, some of them often, each with its answer
/// behind it. In tokens of the induction model; the text begins with its BOS.
struct PairText {
  std::vector<TokenId> tokens;
  std::int64_t prompt = 0;              // BOS and the pairs
  std::vector<std::int64_t> questions;  // positions of the keys asked for
};
[[nodiscard]] inline PairText pair_text(std::uint64_t seed, std::size_t pairs,
                                        std::size_t questions) {
  Rng rng(seed);
  std::vector<TokenId> symbols;
  for (TokenId t = 2; t < 258; ++t) symbols.push_back(t);
  for (std::size_t i = symbols.size(); i > 1; --i) std::swap(symbols[i - 1], symbols[rng.below(i)]);
  PairText text;
  text.tokens.push_back(0);
  text.tokens.insert(text.tokens.end(), symbols.begin(),
                     symbols.begin() + static_cast<std::ptrdiff_t>(2 * pairs));
  text.prompt = static_cast<std::int64_t>(text.tokens.size());
  for (std::size_t q = 0; q < questions; ++q) {
    // every other question is about one of eight pairs spread over the context
    const std::size_t pair = q % 2 == 0 ? rng.below(pairs) : rng.below(8) * pairs / 8;
    text.questions.push_back(static_cast<std::int64_t>(text.tokens.size()));
    text.tokens.push_back(symbols[2 * pair]);
    text.tokens.push_back(symbols[2 * pair + 1]);
  }
  return text;
}

/// A story in tokens, with its questions as ranges of the answers' tokens.
struct Story {
  std::vector<TokenId> tokens;
  std::vector<std::pair<std::size_t, std::size_t>> answers;  // positions [first, last)
  std::vector<std::size_t> distances;  // tokens from the end of what states an answer to its first
  std::size_t asked = 0;               // where the questions begin
};

/// Reads held_out.jsonl and cuts it into the model's tokens. \errors data, with the line
[[nodiscard]] inline std::vector<Story> read_stories(const std::string& path,
                                                     const checkpoint::Tokenizer& tokenizer,
                                                     std::size_t most) {
  std::ifstream file(path);
  if (!file) throw data_error(path, "it cannot be read", "the stories of held_out.py");
  std::vector<Story> stories;
  std::string line;
  while (stories.size() < most && std::getline(file, line)) {
    const std::string where = path + ":" + std::to_string(stories.size() + 1);
    const json::Value value = json::parse(line, where);
    const json::Value* text = value.object() == nullptr ? nullptr : value.object()->find("text");
    const json::Value* asked =
        value.object() == nullptr ? nullptr : value.object()->find("questions");
    if (text == nullptr || text->string() == nullptr || asked == nullptr ||
        asked->array() == nullptr) {
      throw data_error(where, "it is no story", "members text and questions");
    }
    Story story;
    story.tokens = tokenizer.encode(*text->string());
    std::vector<std::size_t> begin;  // of each token, in characters; stories are ASCII
    std::size_t at = 0;
    for (const TokenId token : story.tokens) {
      begin.push_back(at);
      const TokenId one[] = {token};
      at += tokenizer.decode(one).size();
    }
    begin.push_back(at);
    if (at != text->string()->size()) {
      throw data_error(where, "its tokens do not spell its text", "ASCII text");
    }
    const std::size_t questions = text->string()->find("Question:");
    while (begin[story.asked] < questions && story.asked + 1 < story.tokens.size()) ++story.asked;
    for (const json::Value& question : *asked->array()) {
      const auto* bounds = question.array();
      if (bounds == nullptr || bounds->size() != 3) {
        throw data_error(where, "a question is no triple", "[begin, end, stated]");
      }
      const auto from = static_cast<std::size_t>((*bounds)[0].number().value_or(0));
      const auto to = static_cast<std::size_t>((*bounds)[1].number().value_or(0));
      std::size_t first = 0, last = 0;
      for (std::size_t t = 1; t < story.tokens.size(); ++t) {
        if (begin[t] < from || begin[t + 1] > to) continue;
        if (first == 0) first = t;
        last = t + 1;
      }
      if (first == 0)
        throw data_error(where, "an answer holds no whole token", "answers in the text");
      story.answers.emplace_back(first, last);
      const auto stated = static_cast<std::size_t>((*bounds)[2].number().value_or(0));
      std::size_t told = 0;
      while (told + 1 < first && begin[told + 2] <= stated) ++told;
      story.distances.push_back(first - told);
    }
    stories.push_back(std::move(story));
  }
  return stories;
}

}  // namespace quire::experiment
