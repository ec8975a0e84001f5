#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/file_map.hpp>
#include <quire/checkpoint/gguf/save.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/core/json.hpp>
#include <quire/model/decoder.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"

namespace quire::model {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> golden_models() {
  std::vector<std::string> names;
  for (const auto& entry :
       fs::directory_iterator(fs::path(QUIRE_SOURCE_DIR) / "tests/golden/models")) {
    if (!fs::exists(entry.path() / "golden.safetensors")) continue;
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::int64_t> integers(const checkpoint::TensorView& view) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(view.elements()));
  std::memcpy(out.data(), view.bytes.data(), view.bytes.size());
  return out;
}

std::string folder(const std::string& name) {
  return (fs::path(QUIRE_SOURCE_DIR) / "tests/golden/models" / name).string();
}
/// The checkpoint lies beside the logits, or where generate.json says.
std::string checkpoint_of(const std::string& name) {
  if (fs::exists(fs::path(folder(name)) / "config.json")) return folder(name);
  const std::string path = folder(name) + "/generate.json";
  const json::Value value = json::parse(checkpoint::read_file(path, 1 << 24), path);
  return (fs::path(QUIRE_SOURCE_DIR) / json::Field(value, path).at("checkpoint").string()).string();
}

/// Largest error of any kept row, relative to the largest logit of that row.
template <class Format>
double largest_error(const std::string& name, const checkpoint::Checkpoint& checkpoint) {
  const auto golden = checkpoint::safetensors::open_file(folder(name) + "/golden.safetensors");
  ThreadPool threads(2);
  const Decoder<Format> model(checkpoint.config, checkpoint.tensors, threads);
  double worst = 0;
  int compared = 0;
  for (int i = 0; golden.contains("seq" + std::to_string(i) + ".ids"); ++i) {
    const std::string prefix = "seq" + std::to_string(i) + ".";
    const auto ids = integers(golden.at(prefix + "ids"));
    const auto positions = integers(golden.at(prefix + "positions"));
    const std::vector<TokenId> tokens(ids.begin(), ids.end());
    const auto logits = full_logits(model, tokens, threads);
    std::vector<float> want(positions.size() * model.vocab());
    checkpoint::read_floats(golden.at(prefix + "logits"), 0, want);
    for (std::size_t p = 0; p < positions.size(); ++p) {
      double error = 0, size = 0;
      for (std::size_t v = 0; v < model.vocab(); ++v) {
        const double a =
            static_cast<double>(logits[static_cast<std::size_t>(positions[p]) * model.vocab() + v]);
        const double b = static_cast<double>(want[p * model.vocab() + v]);
        error = std::isnan(a) ? INFINITY : std::max(error, std::abs(a - b));
        size = std::max(size, std::abs(b));
      }
      worst = std::max(worst, error / size);
      ++compared;
    }
  }
  EXPECT_GT(compared, 0) << name << " has no logits to compare with";
  return worst;
}

template <class Format>
double largest_error(const std::string& name) {
  return largest_error<Format>(name, quire::testing::opened(checkpoint_of(name)));
}

class GoldenLogits : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenLogits, AgreeWithTransformers) {
  const double error = largest_error<weight_format::Fp32>(GetParam());
  RecordProperty("error", std::to_string(error));
  EXPECT_LT(error, 1e-4);
}

/// The same in bfloat16 weights is near, and not the same: the format is really applied.
TEST_P(GoldenLogits, Bf16WeightsAreNear) {
  const double error = largest_error<weight_format::Bf16>(GetParam());
  EXPECT_LT(error, 0.2);
  const auto tensors = quire::testing::opened(checkpoint_of(GetParam())).tensors;
  if (tensors.all().front().dtype == checkpoint::DType::bf16) {
    EXPECT_LT(error, 1e-4);  // nothing to round
  } else {
    EXPECT_GT(error, 1e-4);
  }
}

/// What ggml's own library wrote, and what we write, computes the same as the directory.
TEST(GgufLogits, AgreeWithTransformers) {
  EXPECT_LT(largest_error<weight_format::Fp32>(
                "llama", quire::testing::opened("tests/golden/formats/llama.gguf")),
            1e-4);
  const quire::testing::TempDir folder;
  for (const char* name : {"llama_rope_llama3", "llama_bias", "mistral", "mixtral", "qwen3"}) {
    const std::string path = folder.path() / (std::string(name) + ".gguf");
    checkpoint::save_gguf(quire::testing::opened(checkpoint_of(name)), path,
                          checkpoint::DType::f32);
    EXPECT_LT(largest_error<weight_format::Fp32>(name, quire::testing::opened(path)), 1e-4) << name;
  }
}

class GoldenContinuation : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenContinuation, IsTheSame) {
  const auto checkpoint = quire::testing::opened(checkpoint_of(GetParam()));
  const auto golden =
      checkpoint::safetensors::open_file(folder(GetParam()) + "/golden.safetensors");
  ThreadPool threads(1);
  const Decoder<weight_format::Fp32> model(checkpoint.config, checkpoint.tensors, threads);
  const auto ids = integers(golden.at("seq1.ids"));
  std::vector<TokenId> tokens(ids.begin(), ids.end());
  const auto greedy = integers(golden.at("seq1.greedy"));
  ASSERT_GT(greedy.size(), 1u);
  for (const std::int64_t want : greedy) {
    const auto logits = full_logits(model, tokens, threads);
    const auto last = logits.end() - static_cast<std::ptrdiff_t>(model.vocab());
    tokens.push_back(static_cast<TokenId>(std::max_element(last, logits.end()) - last));
    ASSERT_EQ(tokens.back(), static_cast<TokenId>(want));
  }
}

/// Models whose continuation is with their logits; those of the others are texts, in generate.json,
/// which llm_test compares.
std::vector<std::string> continued_models() {
  std::vector<std::string> names = golden_models();
  std::erase_if(names, [](const std::string& name) {
    return fs::exists(fs::path(folder(name)) / "generate.json");
  });
  return names;
}
INSTANTIATE_TEST_SUITE_P(AllFamilies, GoldenContinuation, ::testing::ValuesIn(continued_models()),
                         [](const auto& info) { return info.param; });

/// Each family has its model, so that none is left out by a folder that is missing.
TEST(GoldenModels, CoverEveryFamily) {
  const auto names = golden_models();
  for (const char* family :
       {"gpt2", "llama", "llama_bf16", "llama_bias", "llama_rope_llama3", "mistral", "mixtral",
        "opt", "opt_post_norm", "qwen2", "qwen2_window", "qwen3", "qwen3_moe", "stories", "bytes",
        // as other tools quantise them
        "llama_gptq_int4", "llama_gptq_int3", "llama_awq_int4", "llama_bitsandbytes_nf4",
        "llama_bitsandbytes_fp4", "llama_bitsandbytes_int8", "llama_compressed_int4"}) {
    EXPECT_TRUE(std::binary_search(names.begin(), names.end(), family)) << family;
  }
  EXPECT_GE(continued_models().size(), 12u);
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, GoldenLogits, ::testing::ValuesIn(golden_models()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace quire::model
