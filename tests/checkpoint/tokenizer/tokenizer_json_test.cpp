#include <quire/checkpoint/tokenizer/tokenizer_json.hpp>

#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <quire/checkpoint/tokenizer.hpp>

#include "tests/common/temp_file.hpp"

namespace {

using quire::TokenId;
using quire::checkpoint::Tokenizer;
using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::json;

/// A tokenizer of six letters, with an unknown token.
Json small() {
  return Json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "<unk>", "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
              "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
              "byte_fallback": false, "ignore_merges": false,
              "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]}})");
}
Tokenizer load(const Json& json) { return Tokenizer::from_text(json.dump(), "t.json"); }
std::string error(const Json& json) {
  try {
    (void)load(json);
  } catch (const quire::Error& error) {
    EXPECT_EQ(error.kind(), quire::ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("t.json: "));
    return error.what();
  }
  return "no error";
}
/// `small` with one place changed, given as a JSON pointer.
Json with(const char* place, Json value) {
  Json json = small();
  json[Json::json_pointer(place)] = std::move(value);
  return json;
}

TEST(TokenizerJson, ReadsTheSmallest) {
  const Tokenizer tokenizer = load(small());
  EXPECT_THAT(tokenizer.encode("abxa"), ElementsAre(3, 0, 1));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("aba"), true), "ab a");  // no decoder: joined
  EXPECT_EQ(tokenizer.vocab_size(), 4u);
}

TEST(TokenizerJson, BothSpellingsOfMergesAreRead) {
  EXPECT_THAT(load(with("/model/merges", {"#version: 0.2", "a b"})).encode("ab"), ElementsAre(3));
  EXPECT_THAT(error(with("/model/merges", {"ab"})), HasSubstr("model.merges[0]"));
  EXPECT_THAT(error(with("/model/merges", {"a b c"})), HasSubstr("one space between"));
  EXPECT_THAT(error(with("/model/merges", Json::array({{"a"}}))), HasSubstr("not a pair"));
  EXPECT_THAT(error(with("/model/merges", Json::array({{"a", 1}}))),
              HasSubstr("model.merges[0][1]"));
}

TEST(TokenizerJson, MergesMustBeOfPiecesAndUnique) {
  EXPECT_THAT(error(with("/model/merges", {"b a"})), HasSubstr("piece \"ba\" is not in the voc"));
  EXPECT_THAT(error(with("/model/merges", {"c a"})), HasSubstr("piece \"c\" is not in the voc"));
  EXPECT_THAT(error(with("/model/merges", {"a b", "a b"})), HasSubstr("occurs twice"));
}

TEST(TokenizerJson, IdsMustBeUniqueAndInProportion) {
  EXPECT_THAT(error(with("/model/vocab/b", 1)), HasSubstr("id 1 is taken"));
  EXPECT_THAT(error(with("/model/vocab/b", -1)), HasSubstr("model.vocab.b"));
  EXPECT_THAT(error(with("/model/vocab/b", 2.0)), HasSubstr("model.vocab.b"));
  EXPECT_THAT(error(with("/model/vocab/b", 2000000000)), HasSubstr("from 0 to 65551"));
  EXPECT_EQ(load(with("/model/vocab/b", 60000)).token_to_id("b"), 60000u);  // gaps are fine
}

TEST(TokenizerJson, WhatIsNotUnderstoodIsRefused) {
  EXPECT_THAT(error(with("/model/type", "Unigram")), HasSubstr("type \"Unigram\" is not supp"));
  EXPECT_THAT(error(with("/model/type", "WordPiece")), HasSubstr("model.type"));
  EXPECT_THAT(error(with("/model/dropout", 0.1)), HasSubstr("dropout makes ids random"));
  EXPECT_THAT(error(with("/model/end_of_word_suffix", "</w>")), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(error(with("/model/continuing_subword_prefix", "##")), HasSubstr("null or \"\""));
  EXPECT_THAT(error(with("/model/unk_token", "<x>")), HasSubstr("not in the vocabulary"));
  EXPECT_THAT(error(with("/model/novelty", 1)), HasSubstr("unknown key \"novelty\""));
  EXPECT_THAT(error(with("/extra", 1)), HasSubstr("unknown key \"extra\""));
  EXPECT_THAT(error(with("/version", "2.0")), HasSubstr("version"));
  EXPECT_THAT(error(with("/truncation", {{"max_length", 5}})), HasSubstr("truncation"));
  EXPECT_THAT(error(with("/padding", {{"strategy", "BatchLongest"}})), HasSubstr("padding"));
  for (const char* type : {"NFKC", "Lowercase", "BertNormalizer", "Precompiled"}) {
    EXPECT_THAT(error(with("/normalizer", {{"type", type}})), HasSubstr("normalizer.type")) << type;
  }
  for (const char* type : {"Whitespace", "BertPreTokenizer", "Digits", "UnicodeScripts"}) {
    EXPECT_THAT(error(with("/pre_tokenizer", {{"type", type}})), HasSubstr("pre_tokenizer.type"));
  }
  for (const char* type : {"WordPiece", "BPEDecoder", "CTC"}) {
    EXPECT_THAT(error(with("/decoder", {{"type", type}})), HasSubstr("decoder.type"));
  }
  EXPECT_THAT(error(with("/post_processor", {{"type", "BertProcessing"}})),
              HasSubstr("post_processor.type"));
}

TEST(TokenizerJson, PatternsMustBeKnown) {
  Json steps = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
  steps["pretokenizers"].push_back({{"type", "Split"},
                                    {"pattern", {{"Regex", "\\w+|\\s+"}}},
                                    {"behavior", "Isolated"},
                                    {"invert", false}});
  steps["pretokenizers"].push_back(
      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  EXPECT_THAT(error(with("/pre_tokenizer", steps)),
              HasSubstr("pre_tokenizer.pretokenizers[0].pattern.Regex"));
  steps["pretokenizers"][0]["pattern"]["Regex"] =
      std::string(quire::checkpoint::tokenizer::llama3_pattern);
  EXPECT_EQ(error(with("/pre_tokenizer", steps)), "no error");
  steps["pretokenizers"][0]["behavior"] = "Removed";
  EXPECT_THAT(error(with("/pre_tokenizer", steps)), HasSubstr("behavior \"Removed\""));
  steps["pretokenizers"][0]["invert"] = true;
  EXPECT_EQ(error(with("/pre_tokenizer", steps)), "no error");
  steps["pretokenizers"][1]["add_prefix_space"] = true;
  EXPECT_THAT(error(with("/pre_tokenizer", steps)), HasSubstr("add_prefix_space false"));
}

TEST(TokenizerJson, AVocabularyThatLosesTextIsRefused) {
  Json json = with("/model/unk_token", nullptr);
  EXPECT_THAT(error(json), HasSubstr("some texts would have no ids"));
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_THAT(error(json), HasSubstr("for byte 0 and no unk_token"));
}

TEST(TokenizerJson, AddedTokensAreNumberedAsTheReferenceDoes) {
  Json token = small()["added_tokens"][0];
  const auto second = [&](int id, const char* content) {
    token["id"] = id;
    token["content"] = content;
    Json json = small();
    json["added_tokens"].push_back(token);
    return json;
  };
  EXPECT_EQ(load(second(4, "<s>")).token_to_id("<s>"), 4u);
  EXPECT_EQ(load(second(4, "<s>")).vocab_size(), 5u);
  EXPECT_THAT(error(second(5, "<s>")), HasSubstr("id 5 of \"<s>\"; expected 4"));
  EXPECT_THAT(error(second(2, "a")), HasSubstr("expected 1"));
  EXPECT_THAT(error(second(0, "<unk>")), HasSubstr("is there twice"));
  EXPECT_THAT(error(second(4, "")), HasSubstr("a token of 0 bytes"));
}

TEST(TokenizerJson, DecoderStepsMustComeInTheirOrder) {
  const auto steps = [](std::initializer_list<Json> list) {
    return with("/decoder", {{"type", "Sequence"}, {"decoders", Json(list)}});
  };
  const Json fuse = {{"type", "Fuse"}}, bytes = {{"type", "ByteFallback"}};
  const Json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  EXPECT_EQ(error(steps({bytes, fuse, strip})), "no error");
  EXPECT_THAT(error(steps({fuse, bytes})), HasSubstr("in an order"));
  EXPECT_THAT(error(steps({bytes, strip})), HasSubstr("in an order"));
  Json both_ends = strip;
  both_ends["stop"] = 1;
  EXPECT_THAT(error(steps({fuse, both_ends})), HasSubstr("stop"));
}

TEST(TokenizerJson, TemplatesPutIdsAround) {
  const auto piece = [](const char* name) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
  };
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  Json processor = {{"type", "TemplateProcessing"},
                    {"single", {piece("<s>"), text, piece("</s>")}},
                    {"pair", Json::array()}};
  processor["special_tokens"] = {{"<s>", {{"id", "<s>"}, {"ids", {1, 2}}, {"tokens", {"a", "b"}}}},
                                 {"</s>", {{"id", "</s>"}, {"ids", {0}}, {"tokens", {"<unk>"}}}}};
  const Tokenizer tokenizer = load(with("/post_processor", processor));
  EXPECT_THAT(tokenizer.encode("ab"), ElementsAre(1, 2, 3, 0));
  EXPECT_THAT(tokenizer.encode("ab", false), ElementsAre(3));
  EXPECT_THAT(tokenizer.around().before, ElementsAre(1, 2));
  processor["special_tokens"]["<s>"]["ids"] = {9};
  EXPECT_THAT(error(with("/post_processor", processor)), HasSubstr("id 9 is not in the vocab"));
  processor["single"] = {piece("<s>")};
  EXPECT_THAT(error(with("/post_processor", processor)), HasSubstr("id 9"));
  processor["single"] = {text, text};
  EXPECT_THAT(error(with("/post_processor", processor)), HasSubstr("comes twice"));
  processor["single"] = Json::array();
  EXPECT_THAT(error(with("/post_processor", processor)), HasSubstr("no place in it"));
}

TEST(TokenizerJson, FilesOfBeforeModelTypesAreRead) {
  Json json = small();
  json["model"].erase("type");
  EXPECT_THAT(load(json).encode("ab"), ElementsAre(3));
}

TEST(TokenizerJson, AFileIsReadAndNamed) {
  const quire::testing::TempDir directory;
  const std::string path = directory.write("tokenizer.json", small().dump());
  EXPECT_THAT(Tokenizer::from_file(path).encode("ab"), ElementsAre(3));
  EXPECT_THROW((void)Tokenizer::from_file(path + ".none"), quire::Error);
}

}  // namespace
