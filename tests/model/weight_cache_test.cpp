#include <quire/model/weight_cache.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/gguf/save.hpp>
#include <quire/model/bitsandbytes.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/q8_0.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"
#include "tests/model/same_weights.hpp"

namespace quire::model {
namespace {

namespace fs = std::filesystem;
using quire::testing::opened;
using quire::testing::TempDir;
using ::testing::HasSubstr;
using weight_format::codec_of;
using weight_format::Packed;
using weight_format::WeightCodec;

class WeightCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy(QUIRE_SOURCE_DIR "/tests/golden/models/llama", model_);
    cache_.directory = folder_.path() / "new" / "cache";
  }
  [[nodiscard]] std::size_t images() const {
    std::size_t n = 0;
    for (const auto& file : fs::directory_iterator(cache_.directory)) {
      n += file.path().extension() == ".safetensors" ? 1 : 0;
    }
    return n;
  }
  template <class Format = Packed>
  [[nodiscard]] checkpoint::Checkpoint cached(
      const checkpoint::Checkpoint& model,
      const WeightCodec& codec = codec_of<weight_format::Q80>()) const {
    return with_cached_weights<Format>(model, codec, cache_, threads_);
  }
  void expect_same_weights(const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b) const {
    const WeightCodec& codec = codec_of<weight_format::Q80>();
    expect_same(Parts<Packed>(a, codec), Parts<Packed>(b, codec));
  }
  TempDir folder_;
  std::string model_ = folder_.path() / "llama";
  WeightCache cache_;
  mutable ThreadPool threads_{2};
};

TEST_F(WeightCacheTest, TheSecondStartFindsWhatTheFirstLeft) {
  const checkpoint::Checkpoint model = opened(model_);
  const checkpoint::Checkpoint first = cached(model);
  ASSERT_TRUE(first.config.packed.has_value());
  EXPECT_EQ(images(), 1u);
  const auto written = fs::last_write_time(first.tensors.where());
  const checkpoint::Checkpoint second = cached(opened(model_));
  EXPECT_EQ(images(), 1u);
  EXPECT_EQ(second.tensors.where(), first.tensors.where());
  EXPECT_EQ(fs::last_write_time(second.tensors.where()), written);
  expect_same_weights(model, first);
  expect_same_weights(model, second);
  (void)cached<weight_format::Fp32>(model, codec_of<weight_format::Fp32>());
  EXPECT_EQ(images(), 2u);
}

/// A checkpoint that changed, even one of as many bytes whose time was set back, is packed anew.
TEST_F(WeightCacheTest, AnImageBelongsToTheFilesAsTheyAre) {
  (void)cached(opened(model_));
  const std::string file = model_ + "/model.safetensors";
  const auto time = fs::last_write_time(file);
  std::string all = quire::testing::read_file(file);
  all[all.size() - 2] = static_cast<char>(all[all.size() - 2] ^ 0x10);
  std::ofstream(file, std::ios::binary) << all;
  fs::last_write_time(file, time);
  const checkpoint::Checkpoint changed = opened(model_);
  const checkpoint::Checkpoint image = cached(changed);
  EXPECT_EQ(images(), 2u);
  expect_same_weights(changed, image);
}

TEST_F(WeightCacheTest, ADamagedImageIsSaidNotUsed) {
  const std::string path = cached(opened(model_)).tensors.where();
  fs::resize_file(path, fs::file_size(path) - 64);
  try {
    (void)cached(opened(model_));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(path));
  }
}

TEST_F(WeightCacheTest, WhatIsNotInFilesIsNotCached) {
  const checkpoint::Checkpoint rounded =
      to_bitsandbytes(opened(model_), checkpoint::Quantisation::Layout::bitsandbytes_nf4);
  EXPECT_FALSE(cached<weight_format::Fp32>(rounded, codec_of<weight_format::Fp32>())
                   .config.packed.has_value());
  EXPECT_FALSE(fs::exists(cache_.directory));
}

TEST_F(WeightCacheTest, GgufFilesAreCachedToo) {
  const std::string gguf = folder_.path() / "llama.gguf";
  checkpoint::save_gguf(opened(model_), gguf, checkpoint::DType::f32);
  const checkpoint::Checkpoint model = opened(gguf);
  const checkpoint::Checkpoint image = cached(model);
  ASSERT_TRUE(image.config.packed.has_value());
  expect_same_weights(model, image);
}

TEST_F(WeightCacheTest, ACacheThatCannotBeMadeIsAnError) {
  cache_.directory = (folder_.write("file", "") / "cache").string();
  try {
    (void)cached(opened(model_));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot make it"));
  }
}

/// A start that is killed while it writes: its half an image is not used, and the next start removes it.
TEST_F(WeightCacheTest, AKilledStartLeavesNothingBehind) {
  const checkpoint::Checkpoint model = opened(model_);
  const pid_t child = ::fork();
  if (child == 0) {  // the system kills who writes more than this to a file
    const rlimit no_core{0, 0}, short_file{20'000, 20'000};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::setrlimit(RLIMIT_FSIZE, &short_file);
    ThreadPool own(1);
    (void)with_cached_weights<Packed>(model, codec_of<weight_format::Q80>(), cache_, own);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) << status;
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(cache_.directory)) {
      names.push_back(file.path().filename().string());
    }
    return names;
  };
  ASSERT_EQ(files().size(), 1u);
  EXPECT_THAT(files()[0], ::testing::EndsWith("." + std::to_string(child) + ".part"));
  EXPECT_EQ(images(), 0u);
  // what others keep there is no business of ours
  std::ofstream(fs::path(cache_.directory) / "notes.part") << "mine";
  std::ofstream(fs::path(cache_.directory) / "a-0123456789abcdef.safetensors") << "mine";
  const checkpoint::Checkpoint image = cached(model);
  expect_same_weights(model, image);
  EXPECT_THAT(files(),
              ::testing::UnorderedElementsAre(fs::path(image.tensors.where()).filename().string(),
                                              "notes.part", "a-0123456789abcdef.safetensors"));
  cache_.capacity = 1;  // nor is it dropped to make room, unlike an image
  (void)cached(model);
  EXPECT_EQ(files().size(), 3u);
}

/// The one whose last use is longest ago goes first, and is said; the one that is being used stays.
TEST_F(WeightCacheTest, ImagesThatDoNotFitAreDropped) {
  std::vector<std::string> told;
  cache_.tell = [&](const std::string& line) { told.push_back(line); };
  const auto image_of = [&](const std::string& name) {
    const fs::path copy = folder_.path() / name;
    if (!fs::exists(copy)) fs::copy(model_, copy);
    return fs::path(cached(opened(copy)).tensors.where());
  };
  const auto used = [](const fs::path& path, long seconds) {  // as if it was used then
    const timespec times[2] = {{seconds, 0}, {0, UTIME_OMIT}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  };
  const fs::path a = image_of("a"), b = image_of("b");
  used(a, 1000);
  used(b, 2000);
  EXPECT_EQ(image_of("a"), a);  // a use
  cache_.capacity = static_cast<std::int64_t>(2 * fs::file_size(a) + 100);
  const fs::path c = image_of("c");
  EXPECT_TRUE(fs::exists(a) && fs::exists(c));
  EXPECT_FALSE(fs::exists(b)) << "its last use was before that of the other";
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0],
              HasSubstr("weight cache " + cache_.directory + ": dropped " + b.filename().string()));
  EXPECT_THAT(told[0], HasSubstr("whose last use is longest ago; it holds at most 0 MiB"));
  // a smaller limit is kept by a start that finds its image, too, but for that image
  used(a, 1000);
  cache_.capacity = 1;
  EXPECT_EQ(image_of("a"), a);
  EXPECT_TRUE(fs::exists(a));
  EXPECT_FALSE(fs::exists(c));
}

TEST_F(WeightCacheTest, AnImageLargerThanTheCacheIsSaid) {
  cache_.capacity = 1000;
  try {
    (void)cached(opened(model_));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(),
                HasSubstr("weight cache " + cache_.directory + ": the image of " + model_));
    EXPECT_THAT(error.what(), HasSubstr("more than all images may have"));
  }
  EXPECT_EQ(images(), 0u);
  cache_.capacity = 0;  // none
  (void)cached(opened(model_));
  EXPECT_EQ(images(), 1u);
}

/// A cache that is there and may not be written to is used as it is.
TEST_F(WeightCacheTest, ACacheThatMayOnlyBeReadIsUsed) {
  const checkpoint::Checkpoint model = opened(model_);
  const checkpoint::Checkpoint first = cached(model);
  fs::permissions(cache_.directory, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(cached(model).tensors.where(), first.tensors.where());
  fs::permissions(cache_.directory, fs::perms::owner_all);
}

}  // namespace
}  // namespace quire::model
