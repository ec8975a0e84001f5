#include <quire/metrics/row_file.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/common/temp_file.hpp"

namespace {

using quire::metrics::read_rows;
using quire::metrics::RowFile;
using quire::testing::TempDir;
using Rows = std::vector<std::string>;

TEST(RowFile, AppendsWholeLines) {
  const TempDir folder;
  const auto path = folder.path() / "deep" / "er" / "rows.jsonl";
  RowFile(path).append("one");
  RowFile(path).append("two");
  EXPECT_EQ(quire::testing::read_file(path), "one\ntwo\n");
  EXPECT_EQ(read_rows(path), (Rows{"one", "two"}));
}

TEST(RowFile, IgnoresATornLastLineAndCutsItOffBeforeWriting) {
  const TempDir folder;
  const auto path = folder.write("rows", "one\n\ntwo\r\n{\"tor");
  bool torn = false;
  EXPECT_EQ(read_rows(path, &torn), (Rows{"one", "two"}));
  EXPECT_TRUE(torn);
  RowFile(path).append("three");
  EXPECT_EQ(read_rows(path, &torn), (Rows{"one", "two", "three"}));
  EXPECT_FALSE(torn);
  const auto all_torn = folder.write("torn", "no line feed");
  EXPECT_EQ(read_rows(all_torn), Rows{});
  RowFile(all_torn).append("x");
  EXPECT_EQ(quire::testing::read_file(all_torn), "x\n");
}

TEST(RowFile, AFileThatIsNotThereHasNoRows) {
  const TempDir folder;
  EXPECT_EQ(read_rows(folder.path() / "none"), Rows{});
  EXPECT_THROW(static_cast<void>(read_rows(folder.path())), quire::Error);
}

TEST(RowFile, WhatNobodyWroteToIsGoneAndNoRowGoesWithIt) {
  const TempDir folder;
  const auto path = folder.path() / "rows";
  { const RowFile unwritten(path); }
  EXPECT_FALSE(std::filesystem::exists(path));
  folder.write("rows", "");  // somebody else's
  { const RowFile unwritten(path); }
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
  auto first = std::make_unique<RowFile>(path);
  RowFile second(path);  // opened while the first one's file was there
  first.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  second.append("two");
  EXPECT_EQ(read_rows(path), Rows{"two"});
  RowFile third = RowFile(path);
  third.append("three");
  EXPECT_EQ(read_rows(path), (Rows{"two", "three"}));
}

TEST(RowFile, RefusesPlacesThatCannotBeWritten) {
  EXPECT_THROW(RowFile("/proc/quire/rows.jsonl"), quire::Error);
  const TempDir folder;
  EXPECT_THROW(RowFile(folder.path()), quire::Error);
}

/// Four processes write to one file at once.
TEST(RowFile, ProcessesDoNotTearEachOthersRows) {
  const TempDir folder;
  const auto path = folder.path() / "rows";
  std::vector<pid_t> children;
  for (int child = 0; child < 4; ++child) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      RowFile file(path);
      for (int i = 0; i < 25; ++i) {
        file.append(std::to_string(child) + ":" + std::to_string(i) + ":" +
                    std::string(static_cast<std::size_t>(200 * child + i), 'x'));
      }
      _exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  bool torn = true;
  const Rows rows = read_rows(path, &torn);
  EXPECT_FALSE(torn);
  EXPECT_EQ(rows.size(), 100u);
  EXPECT_EQ(std::set<std::string>(rows.begin(), rows.end()).size(), 100u);
  for (const std::string& row : rows) {
    const int child = row[0] - '0';
    const int i = std::stoi(row.substr(2));
    EXPECT_EQ(row.size() - row.rfind(':') - 1, static_cast<std::size_t>(200 * child + i));
  }
}

}  // namespace
