#include <quire/checkpoint/file_load/file_load.hpp>

#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>

#include "tests/common/temp_file.hpp"

namespace {

using quire::checkpoint::file_loader;
using quire::checkpoint::FileBytes;
using quire::checkpoint::FileLoader;
using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;
namespace file_load = quire::file_load;

/// Every strategy as it comes, and those with sizes also so small that a file has many chunks.
std::vector<FileLoader> loaders() {
  std::vector<FileLoader> all(quire::checkpoint::file_loaders().begin(),
                              quire::checkpoint::file_loaders().end());
  all.push_back(file_loader(file_load::Buffered{.threads = 3, .chunk = 4096}));
  all.push_back(file_loader(file_load::Buffered{.threads = 1, .chunk = 8192}));
  all.push_back(file_loader(file_load::Direct{.threads = 3, .chunk = 4096}));
  all.push_back(file_loader(file_load::IoUring{.depth = 1, .chunk = 4096}));
  all.push_back(file_loader(file_load::IoUring{.depth = 5, .chunk = 8192}));
  return all;
}

/// Text without a period that a chunk or sector could hide in.
std::string text_of(std::size_t bytes) {
  std::string text(bytes, ' ');
  std::uint32_t x = 1;
  for (char& c : text) c = static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
  return text;
}

std::string error_of(const FileLoader& loader, const std::string& path) {
  try {
    (void)loader.load(path);
  } catch (const quire::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(FileLoad, GivesEveryByteOfFilesOfEveryLength) {
  const quire::testing::TempDir folder;
  for (const std::size_t bytes : {0, 1, 4095, 4096, 4097, 8192, 40960, 100'001, 5 << 20}) {
    const std::string text = text_of(bytes), path = folder.write("file", text);
    for (const FileLoader& loader : loaders()) {
      SCOPED_TRACE(std::string(loader.name) + ", " + std::to_string(bytes));
      const FileBytes file = loader.load(path);
      EXPECT_EQ(file.path, path);
      ASSERT_EQ(file.bytes.size(), bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.bytes.data()) % 4096, 0u);
      EXPECT_TRUE(
          std::equal(text.begin(), text.end(), reinterpret_cast<const char*>(file.bytes.data())));
    }
  }
}

TEST(FileLoad, BytesOutliveTheFileAndItsLoader) {
  const quire::testing::TempDir folder;
  const std::string text = text_of(3 << 20);
  for (const FileLoader& loader : loaders()) {
    const std::string path = folder.write("file", text);
    FileBytes file = FileLoader(loader).load(path);
    fs::remove(path);
    const FileBytes moved = std::move(file);
    EXPECT_TRUE(
        std::equal(text.begin(), text.end(), reinterpret_cast<const char*>(moved.bytes.data())))
        << loader.name;
  }
}

TEST(FileLoad, RefusesWhatIsNoFileAndNamesIt) {
  const quire::testing::TempDir folder;
  const std::string pipe = folder.path() / "pipe", none = folder.path() / "none";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const FileLoader& loader : loaders()) {
    EXPECT_THAT(error_of(loader, none), StartsWith(none + ": cannot open it")) << loader.name;
    for (const std::string& path : {pipe, folder.path().string()}) {
      EXPECT_THAT(error_of(loader, path), StartsWith(path + ": not a regular file")) << loader.name;
    }
  }
}

TEST(FileLoad, AFileThatShrinksIsNoticed) {
  const quire::testing::TempDir folder;
  const std::string path = folder.write("file", text_of(20'000));
  std::vector<std::byte> room(20480);
  for (const bool direct : {false, true}) {
    const quire::checkpoint::FileHandle file(path, direct);
    auto memory = file_load::detail::room_for(file.size());
    fs::resize_file(path, 5000);
    try {
      file_load::detail::read_chunk(file, path, 0, 20480, memory->data());
      FAIL() << "no error";
    } catch (const quire::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("the file ends while it is being read"));
      EXPECT_THAT(error.what(), HasSubstr("20000 bytes"));
    }
    fs::resize_file(path, 20'000);
  }
}

TEST(FileLoad, AReadThatFailsNamesTheFileAndTheByte) {
  const quire::testing::TempDir folder;
  const std::string path = folder.write("file", text_of(4096));
  const quire::checkpoint::FileHandle file(path);
  std::byte one[16];
  try {
    file_load::detail::read_chunk(file, path, 0, 16, nullptr);
    FAIL() << "no error";
  } catch (const quire::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(path + ": byte 0: cannot read it (Bad address)"));
  }
  file_load::detail::read_chunk(file, path, 0, 16, one);
}

/// What a thread of its own meets is told to whoever asked for the file, which gets no part of it.
TEST(FileLoad, AnErrorInAReadingThreadReachesTheCaller) {
  const quire::testing::TempDir folder;
  const std::string path = folder.write("file", text_of(64 * 4096));
  const auto caller = std::this_thread::get_id();
  for (const bool direct : {false, true}) {
    std::atomic<bool> failed = false;
    const auto read = [&](const quire::checkpoint::FileHandle& file, const std::string& name,
                          std::size_t at, std::size_t bytes, std::byte* to) {
      if (std::this_thread::get_id() != caller) {
        const bool first = !failed.exchange(true);
        throw quire::data_error(name + ": byte " + std::to_string(at),
                                first ? "a bad sector" : "another");
      }
      while (!failed) std::this_thread::yield();  // so that a thread meets it before all is read
      file_load::detail::read_chunk(file, name, at, bytes, to);
    };
    try {
      (void)file_load::detail::read_in_chunks(path, 3, 4096, direct, read);
      FAIL() << "no error";
    } catch (const quire::Error& error) {
      EXPECT_EQ(error.kind(), quire::ErrorKind::data);
      EXPECT_THAT(error.what(),
                  testing::MatchesRegex(".*/file: byte [0-9]+: (a bad sector|another)"));
    }
  }
}

/// Through the policies themselves: a file of the system's that says it has more bytes than it gives.
TEST(FileLoad, AFileThatSaysMoreThanItGivesIsAnError) {
  const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (!fs::exists(path) || fs::file_size(path) < 4096) GTEST_SKIP() << "no such file here";
  for (const FileLoader& loader : {file_loader(file_load::Buffered{.threads = 3, .chunk = 4096}),
                                   file_loader(file_load::Direct{.threads = 3, .chunk = 4096})}) {
    EXPECT_THAT(error_of(loader, path), HasSubstr("the file ends while it is being read"));
  }
}

TEST(FileLoad, NamesAreUniqueAndUnknownOnesAreSaid) {
  for (const FileLoader& loader : quire::checkpoint::file_loaders()) {
    EXPECT_EQ(quire::checkpoint::file_loader_named(loader.name).name, loader.name);
  }
  try {
    (void)quire::checkpoint::file_loader_named("mmap");
    FAIL() << "no error";
  } catch (const quire::Error& error) {
    EXPECT_STREQ(error.what(),
                 "file load \"mmap\": there is none of this name; expected mapped, mapped_ahead, "
                 "populated, buffered, direct, io_uring");
  }
}

TEST(FileLoad, SafetensorsAreTheSameByEach) {
  const quire::testing::TempDir folder;
  const std::string path = folder.path() / "model.safetensors";
  const std::vector<float> values = {1, 2, 3};
  const std::int64_t shape[] = {3};
  quire::checkpoint::safetensors::save(
      path, std::vector<quire::checkpoint::TensorView>{
                {"a", quire::checkpoint::DType::f32, shape, std::as_bytes(std::span(values))}});
  for (const FileLoader& loader : loaders()) {
    const auto tensors = quire::checkpoint::safetensors::open_file(path, loader);
    std::vector<float> read(3);
    quire::checkpoint::read_floats(tensors.at("a", {3}), 0, read);
    EXPECT_EQ(read, values) << loader.name;
    EXPECT_THAT(tensors.files(), testing::ElementsAre(path));
  }
}

}  // namespace
