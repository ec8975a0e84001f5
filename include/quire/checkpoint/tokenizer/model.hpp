#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <quire/checkpoint/tokenizer/added_tokens.hpp>
#include <quire/checkpoint/tokenizer/bpe.hpp>
#include <quire/checkpoint/tokenizer/decoder.hpp>
#include <quire/checkpoint/tokenizer/stages.hpp>
#include <quire/core/ids.hpp>

namespace quire::checkpoint::tokenizer {

/// Everything that a tokenizer.json says, checked; made by `read_model`.
struct Model {
  Model() = default;
  Model(const Model&) = delete;  // the matchers point into `added`
  Model& operator=(const Model&) = delete;

  Bpe bpe;
  std::deque<AddedToken> added;
  std::unordered_map<TokenId, const AddedToken*> added_by_id;
  std::unordered_map<std::string_view, const AddedToken*> added_by_content;
  std::unordered_map<TokenId, std::string> decoded;  // of added tokens that differ from content
  AddedTokenMatcher in_raw_text;
  AddedTokenMatcher in_normalized_text;
  std::vector<NormalizerStep> normalizer;
  PreTokenizer pre_tokenizer;
  Template around;
  Decoder decoder;
};

}  // namespace quire::checkpoint::tokenizer
