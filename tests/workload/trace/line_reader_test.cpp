#include <quire/workload/trace/line_reader.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/common/temp_file.hpp"

namespace {

using quire::testing::TempDir;
using quire::workload::trace::LineReader;

std::vector<std::string> lines_of(std::string_view text) {
  const TempDir folder;
  LineReader reader(folder.write("t", text));
  std::vector<std::string> out;
  for (std::string_view line; reader.next(line);) {
    out.push_back(std::to_string(reader.line_number()) + ":" + std::string(line));
  }
  return out;
}

TEST(LineReader, GivesLinesWithTheirNumbers) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(lines_of(""), Lines{});
  EXPECT_EQ(lines_of("a"), Lines{"1:a"});
  EXPECT_EQ(lines_of("a\n"), Lines{"1:a"});
  EXPECT_EQ(lines_of("a\n\n \t\r\nb"), (Lines{"1:a", "4:b"}));
  EXPECT_EQ(lines_of("\xef\xbb\xbf"
                     "a\r\nb\r\n"),
            (Lines{"1:a", "2:b"}));
}

TEST(LineReader, GivesLinesThatCrossItsChunksWhole) {
  std::string text;
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < 40; ++i) {
    const std::string line(i * 997, static_cast<char>('a' + i % 26));
    text += line + "\n";
    if (i > 0) expected.push_back(std::to_string(i + 1) + ":" + line);
  }
  EXPECT_EQ(lines_of(text), expected);
}

TEST(LineReader, HashesTheWholeFileHoweverMuchWasRead) {
  const TempDir folder;
  const std::string text = "abc\n" + std::string(200000, 'x');
  const auto file = folder.write("t", text);
  quire::workload::trace::Sha256 expected;
  expected.update(text);
  LineReader reader(file);
  std::string_view line;
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(reader.digest(), expected.hex());
}

TEST(LineReader, RefusesWhatIsNoTextFile) {
  const TempDir folder;
  const auto error = [](const std::filesystem::path& path) -> std::string {
    try {
      LineReader reader(path);
      for (std::string_view line; reader.next(line);) {
      }
    } catch (const quire::Error& e) {
      return e.what();
    }
    return {};
  };
  EXPECT_NE(error(folder.path()).find("is a directory"), std::string::npos);
  EXPECT_NE(error(folder.path() / "none").find("cannot be opened"), std::string::npos);
  EXPECT_NE(error(folder.write("z", "\x1f\x8b\x08 rest")).find("gzip"), std::string::npos);
  EXPECT_NE(error(folder.write("l", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
                .find("git lfs pull"),
            std::string::npos);
  const std::string endless(LineReader::max_line + 70000, 'x');
  EXPECT_NE(error(folder.write("e", "ok\n" + endless)).find("line 2: the line is too long"),
            std::string::npos);
}

}  // namespace
