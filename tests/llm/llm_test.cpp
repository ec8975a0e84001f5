#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/file_map.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/llm/llm.hpp>
#include <quire/offload/tiered.hpp>
#include <quire/speculation/draft_model.hpp>

#include "tests/common/cpu_steps.hpp"
#include "tests/common/temp_file.hpp"

namespace quire {
namespace {

std::string root(const std::string& path) {
  return (std::filesystem::path(QUIRE_SOURCE_DIR) / path).string();
}
/// A model that continues a text as it went on when it last occurred: what it says is known.
LLM<> induction() {
  return LLM<>(root("experiments/small_models/checkpoints/induction"), {.threads = 1});
}
const std::string text = "abcdefghijkl 0123;abcd";

TEST(Llm, TextsEqualThoseOfTransformers) {
  for (const std::string name : {"induction", "stories", "bytes"}) {
    SCOPED_TRACE(name);
    const std::string path = root("tests/golden/models/" + name + "/generate.json");
    const json::Value value = json::parse(checkpoint::read_file(path, 1 << 24), path);
    const json::Field file(value, path);
    LLM<> llm(root(file.at("checkpoint").string()), {.threads = 1});
    const auto texts = file.at("texts");
    std::vector<std::string> prompts;
    for (std::size_t i = 0; i < texts.array().size(); ++i) {
      prompts.push_back(texts.at(i).at("prompt").string());
    }
    const auto out = llm.generate(
        prompts, {.temperature = 0, .max_tokens = file.at("max_new_tokens").integer(1, 1000)});
    ASSERT_GE(out.size(), 4u);
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i].outputs.at(0).text, texts.at(i).at("greedy_text").string());
      const auto ids = texts.at(i).at("greedy_ids");
      ASSERT_EQ(out[i].outputs[0].tokens.size(), ids.array().size());
      for (std::size_t t = 0; t < ids.array().size(); ++t) {
        EXPECT_EQ(out[i].outputs[0].tokens[t], ids.at(t).integer(0, 1 << 20));
      }
    }
  }
}

/// Weights from a cache, or read in another way, say the same; the phases of a start add up.
TEST(Llm, StartsFromACacheAndByEveryFileLoad) {
  const std::string path = root("experiments/small_models/checkpoints/induction");
  const SamplingParams greedy{.temperature = 0, .max_tokens = 12};
  const std::string want = induction().generate({text}, greedy)[0].outputs[0].text;
  const testing::TempDir folder;
  const std::string cache = folder.path() / "cache";
  for (const checkpoint::FileLoader& loader : checkpoint::file_loaders()) {
    for (const std::string& kept : {std::string(), cache}) {
      SCOPED_TRACE(std::string(loader.name) + " " + kept);
      const auto begin = std::chrono::steady_clock::now();
      LLM<> llm(path, {.threads = 1, .weight_cache = kept, .file_load = std::string(loader.name)});
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      const StartupSeconds& s = llm.startup();
      for (const double phase : {s.config, s.tokenizer, s.tensors, s.weights, s.engine}) {
        EXPECT_GT(phase, 0);
      }
      EXPECT_LE(s.all(), took.count());
      EXPECT_EQ(llm.generate({text}, greedy)[0].outputs[0].text, want);
    }
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(cache), {}), 1);
  const std::string stories = root("experiments/small_models/checkpoints/stories");
  const auto says = [&](const LLM<>::Options& options) {
    LLM<> llm(stories, options);
    return llm.generate({"Once upon a time"}, greedy)[0].outputs[0].text;
  };
  // four layers of 0.7 MB beside an embedding of 0.7: two of them come and go
  EXPECT_EQ(says({.threads = 1, .weight_cache = cache, .resident_weights = 4'000'000}),
            says({.threads = 1}));
  EXPECT_THROW(says({.threads = 1, .resident_weights = 4'000'000}), Error);  // packed in memory
  EXPECT_THROW(says({.weight_cache = cache, .file_load = "direct", .resident_weights = 4'000'000}),
               Error);
  EXPECT_THROW(LLM<>(path, {.file_load = "none"}), Error);
}

TEST(Llm, StreamsTheTextThatItReturns) {
  LLM llm = induction();
  std::map<std::pair<std::size_t, std::int32_t>, std::string> streamed;
  int finished = 0;
  const auto out = llm.generate({text, "0123;;01"}, {.n = 2, .temperature = 0, .max_tokens = 20},
                                [&](const TextEvent& e) {
                                  streamed[{e.prompt, e.sample_index}] += e.text;
                                  finished += e.finish_reason != FinishReason::none ? 1 : 0;
                                });
  EXPECT_EQ(finished, 4);
  ASSERT_EQ(out.size(), 2u);
  for (std::size_t p = 0; p < 2; ++p) {
    ASSERT_EQ(out[p].outputs.size(), 2u);
    for (std::int32_t i = 0; i < 2; ++i) {
      EXPECT_EQ((streamed[{p, i}]), out[p].outputs[static_cast<std::size_t>(i)].text);
    }
  }
  EXPECT_EQ(out[0].outputs[0].text, "efghijkl 0123;abcdef");
  EXPECT_EQ(out[0].outputs[0].finish_reason, FinishReason::length);
}

TEST(Llm, StopsAtStringsAndTokens) {
  LLM llm = induction();
  SamplingParams p{.temperature = 0, .max_tokens = 30, .stop = {"23;", "zz"}};
  auto out = llm.generate({text}, p);
  EXPECT_EQ(out[0].outputs[0].text, "efghijkl 01");
  EXPECT_EQ(out[0].outputs[0].finish_reason, FinishReason::stop);
  EXPECT_EQ(out[0].outputs[0].tokens.size(), 14u);  // those of the stop string included

  p.min_tokens = 15;  // the first match is too early, the second is not
  p.max_tokens = 60;
  out = llm.generate({text}, p);
  EXPECT_EQ(out[0].outputs[0].text, "efghijkl 0123;abcdefghijkl 01");

  p = {.temperature = 0, .max_tokens = 30};
  p.stop_token_ids = {*llm.tokenizer().token_to_id("h")};
  out = llm.generate({text}, p);
  EXPECT_EQ(out[0].outputs[0].text, "efg");
  EXPECT_EQ(out[0].outputs[0].tokens.size(), 4u);
  EXPECT_EQ(out[0].outputs[0].finish_reason, FinishReason::stop);
}

TEST(Llm, EndTokenEndsUnlessIgnored) {
  LLM llm = induction();
  const std::string open = "abc0123;z";  // nothing to continue: the model ends
  EXPECT_EQ(llm.generate({open}, {.temperature = 0})[0].outputs[0].tokens.size(), 1u);
  EXPECT_EQ(llm.generate({open}, {.temperature = 0})[0].outputs[0].finish_reason,
            FinishReason::stop);
  EXPECT_EQ(llm.generate({open}, {.temperature = 0, .max_tokens = 5, .ignore_eos = true})[0]
                .outputs[0]
                .tokens.size(),
            5u);
}

TEST(Llm, BeamsComeBestFirst) {
  LLM llm = induction();
  const auto out = llm.generate({text}, {.n = 3, .beam_width = 4, .max_tokens = 12});
  ASSERT_EQ(out[0].outputs.size(), 3u);
  EXPECT_EQ(out[0].outputs[0].text, "efghijkl 012");
  for (std::size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(out[0].outputs[i].index, static_cast<std::int32_t>(i));
    EXPECT_LE(out[0].outputs[i].cumulative_logprob, out[0].outputs[i - 1].cumulative_logprob);
  }
  EXPECT_THROW((void)llm.generate({text}, {.beam_width = 2, .stop = {"x"}}), Error);
}

TEST(Llm, LogprobsCoverEveryToken) {
  LLM llm = induction();
  const auto out = llm.generate({text}, {.temperature = 0, .max_tokens = 6, .logprobs = 3});
  const Completion& c = out[0].outputs[0];
  ASSERT_EQ(c.logprobs.size(), 6u);
  ASSERT_EQ(c.alternatives.size(), 6u);
  double sum = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    ASSERT_EQ(c.alternatives[i].size(), 3u);
    EXPECT_EQ(c.alternatives[i][0].token, c.tokens[i]);
    EXPECT_EQ(c.alternatives[i][0].logprob, c.logprobs[i]);
    sum += static_cast<double>(c.logprobs[i]);
  }
  EXPECT_NEAR(sum, c.cumulative_logprob, 1e-9);
}

TEST(Llm, RefusesWhatCannotRunAndGoesOn) {
  LLM llm = induction();
  EXPECT_THROW((void)llm.generate_tokens({{1, 2}, {}}), Error);
  EXPECT_THROW((void)llm.generate({text}, {.n = 5, .beam_width = 2}), Error);
  EXPECT_EQ(llm.generate({text}, {.temperature = 0, .max_tokens = 3})[0].outputs[0].text, "efg");
  EXPECT_TRUE(llm.generate({}).empty());
}

std::string message_of(const auto& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Llm, SaysWhatIsWrongWithParametersFoldersAndWeights) {
  LLM llm = induction();
  EXPECT_NE(message_of([&] { (void)llm.generate({text}, {.temperature = -1}); }), "");
  EXPECT_NE(message_of([&] { (void)llm.generate({text}, {.top_p = 7}); }), "");
  EXPECT_NE(message_of([] { LLM<> none("/no/such/folder"); }).find("no such directory"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              LLM<> longer(root("experiments/small_models/checkpoints/induction"),
                           {.limits = {.max_length = 99999}});
            }).find("limits.max_length 99999"),
            std::string::npos);

  // weights that are no numbers: the error names the checkpoint
  const testing::TempDir folder;
  std::filesystem::copy(root("experiments/small_models/checkpoints/induction"),
                        folder.path() / "broken");
  const auto weights = folder.path() / "broken" / "model.safetensors";
  std::string bytes = testing::read_file(weights);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(8 + header), bytes.end(), '\xff');
  std::filesystem::permissions(weights, std::filesystem::perms::owner_all);
  std::ofstream(weights, std::ios::binary) << bytes;
  LLM<> broken((folder.path() / "broken").string(), {.threads = 1});
  EXPECT_NE(message_of([&] {
              (void)broken.generate({text});
            }).find((folder.path() / "broken").string() + ": logits"),
            std::string::npos);
}

/// What an executor has no part in is said, not passed over.
TEST(Llm, RefusesOptionsOfTheCpuExecutorOnOthers) {
  struct OfAnother {
  } another;
  const auto refused = [&another](const LLM<>::Options& asked) -> std::string {
    try {
      detail::take_cpu_options(asked, another);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      const std::string said = e.what();
      return said.substr(0, said.find(':'));
    }
    return "nothing";
  };
  EXPECT_EQ(refused({}), "nothing");
  EXPECT_EQ(refused({.threads = 2}), "threads");
  EXPECT_EQ(refused({.pin_threads = true}), "pin_threads");
  EXPECT_EQ(refused({.weight_cache = "images"}), "weight_cache");
  EXPECT_EQ(refused({.resident_weights = 1}), "resident_weights");
  EXPECT_EQ(refused({.kv_calibration = std::make_shared<kv_format::Calibration>()}),
            "kv_calibration");
  executor::Cpu::Options cpu;
  detail::take_cpu_options(LLM<>::Options{.threads = 3, .pin_threads = true}, cpu);
  EXPECT_EQ(cpu.threads, 3u);
  EXPECT_TRUE(cpu.pin_threads);
}

TEST(Llm, ForgetsNothingBetweenCalls) {
  LLM llm = induction();
  const auto first = llm.generate({text}, {.temperature = 0, .max_tokens = 30});
  const auto again = llm.generate({text}, {.temperature = 0, .max_tokens = 30});
  EXPECT_EQ(first[0].outputs[0].text, again[0].outputs[0].text);
  EXPECT_EQ(first[0].timeline.prefix_hit, Tokens{0});
  EXPECT_GE(again[0].timeline.prefix_hit, Tokens{16});
}

/// What reads all of the options; one engine, since each costs the build ten seconds.
struct OnDiskGuessing : LlmConfig {
  static constexpr std::string_view name = "llm+tiered+draft_model";
  using Offload = offload::Tiered;
  using Speculation = speculation::DraftModel;
};

TEST(Llm, FindsOnDiskWhatTheLastOneHasCached) {
  const std::string path = root("experiments/small_models/checkpoints/induction");
  const SamplingParams greedy{.temperature = 0, .max_tokens = 30};
  const std::string want = induction().generate({text}, greedy)[0].outputs[0].text;
  const testing::TempDir folder;
  for (const std::int64_t found : {0, 16}) {
    LLM<OnDiskGuessing> llm(path, {.threads = 1,
                                   .kv_memory = 1 << 20,
                                   .host_memory = 1 << 20,
                                   .disk_memory = 1 << 20,
                                   .disk = {.directory = folder.path() / "cache"},
                                   .draft_model = path});
    const auto out = llm.generate({text}, greedy);
    EXPECT_EQ(out[0].outputs[0].text, want);
    EXPECT_EQ(out[0].timeline.prefix_hit, Tokens{found});
    llm.engine().persist();
  }
  EXPECT_NE(message_of([&] {
              LLM<OnDiskGuessing>(path, {.threads = 1, .draft_model = path});
            }).find("disk.directory"),
            std::string::npos);
}

TEST(Llm, SaysOfADraftModelWhatIsWrongWithIt) {
  const std::string path = root("experiments/small_models/checkpoints/induction");
  const testing::TempDir folder;
  const auto draft = folder.path() / "draft";
  std::filesystem::copy(path, draft);
  std::string bytes = testing::read_file(draft / "model.safetensors");
  const std::size_t tensor = bytes.find("\"model.norm.weight\"");
  ASSERT_NE(tensor, std::string::npos);
  bytes.replace(tensor, 7, "\"morel.");
  std::filesystem::permissions(draft / "model.safetensors", std::filesystem::perms::owner_all);
  std::ofstream(draft / "model.safetensors", std::ios::binary) << bytes;
  const std::string said = message_of([&] {
    LLM<OnDiskGuessing>(path, {.threads = 1,
                               .disk = {.directory = folder.path() / "cache"},
                               .draft_model = draft.string()});
  });
  EXPECT_EQ(said.find("draft_model " + draft.string() + ": "), 0u) << said;
}

}  // namespace
}  // namespace quire
