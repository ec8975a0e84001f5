#include <quire/checkpoint/generation_config.hpp>

#include <string>

#include <gmock/gmock.h>

namespace {

using quire::checkpoint::GenerationConfig;
using quire::checkpoint::parse_generation_config;
using testing::ElementsAre;
using testing::HasSubstr;

GenerationConfig parse(const char* text) { return parse_generation_config(text, "g.json"); }
std::string refusal(const std::string& text) {
  try {
    (void)parse(text.c_str());
  } catch (const quire::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("g.json: "));
    return error.what();
  }
  return "no error";
}

TEST(GenerationConfig, ReadsTheDefaultsOfACheckpoint) {  // those of Llama 3.1 8B Instruct, and more
  const GenerationConfig config = parse(R"({"bos_token_id": 128000, "do_sample": true,
      "eos_token_id": [128001, 128008, 128009], "temperature": 0.6, "top_p": 0.9, "top_k": 20,
      "min_p": 0.05, "repetition_penalty": 1.05, "max_new_tokens": 256, "pad_token_id": 151643,
      "transformers_version": "4.42.3", "num_beams": 1, "max_length": 4096})");
  EXPECT_EQ(config.bos, 128000u);
  EXPECT_EQ(config.pad, 151643u);
  EXPECT_THAT(config.eos, ElementsAre(128001, 128008, 128009));
  EXPECT_EQ(config.do_sample, true);
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_p, 0.9);
  EXPECT_EQ(config.top_k, 20);
  EXPECT_EQ(config.min_p, 0.05);
  EXPECT_EQ(config.repetition_penalty, 1.05);
  EXPECT_EQ(config.max_new_tokens, 256);
}

TEST(GenerationConfig, WhatIsAbsentStaysEmpty) {
  const GenerationConfig config = parse(R"({"_from_model_config": true, "eos_token_id": 2})");
  EXPECT_THAT(config.eos, ElementsAre(2));
  EXPECT_FALSE(config.temperature || config.top_p || config.top_k || config.do_sample);
}

TEST(GenerationConfig, RefusesNumbersOutOfRange) {
  EXPECT_THAT(refusal(R"({"temperature": -1})"), HasSubstr("temperature"));
  EXPECT_THAT(refusal(R"({"top_p": 0})"), HasSubstr("top_p"));
  EXPECT_THAT(refusal(R"({"top_p": 1.1})"), HasSubstr("top_p"));
  EXPECT_THAT(refusal(R"({"top_k": 1.5})"), HasSubstr("top_k"));
  EXPECT_THAT(refusal(R"({"repetition_penalty": 0})"), HasSubstr("repetition_penalty"));
  EXPECT_THAT(refusal(R"({"max_new_tokens": 0})"), HasSubstr("max_new_tokens"));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
}

TEST(GenerationConfig, RefusesWhatWouldChangeTheTokens) {
  EXPECT_THAT(refusal(R"({"num_beams": 4})"), HasSubstr("num_beams is not supported"));
  EXPECT_THAT(refusal(R"({"no_repeat_ngram_size": 3})"), HasSubstr("no_repeat_ngram_size"));
  EXPECT_THAT(refusal(R"({"suppress_tokens": [1]})"), HasSubstr("suppress_tokens"));
  EXPECT_THAT(refusal(R"({"guidance_scale": 1.5})"), HasSubstr("guidance_scale"));
  EXPECT_EQ(refusal(R"({"guidance_scale": 1.0, "suppress_tokens": null})"), "no error");
}

}  // namespace
