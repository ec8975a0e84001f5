#include <quire/checkpoint/file_map.hpp>

#include <string>
#include <utility>

#include <gmock/gmock.h>

#include "tests/common/temp_file.hpp"

namespace {

using quire::checkpoint::FileMap;

std::string text_of(const FileMap& map) {
  return {reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size()};
}

TEST(FileMap, MapsAWholeFileAndMoves) {
  const quire::testing::TempDir directory;
  FileMap a(directory.write("a", "one"));
  EXPECT_EQ(text_of(a), "one");
  FileMap b(std::move(a));
  EXPECT_EQ(text_of(b), "one");
  a = FileMap(directory.write("b", "two"));
  std::swap(a, b);
  EXPECT_EQ(text_of(a), "one");
  EXPECT_EQ(text_of(b), "two");
  EXPECT_EQ(b.path(), directory.path() / "b");
  EXPECT_TRUE(FileMap(directory.write("empty", "")).bytes().empty());
}

TEST(FileMap, ReadFileHasALimit) {
  const quire::testing::TempDir directory;
  const std::string path = directory.write("a", std::string("x\0y", 3));
  EXPECT_EQ(quire::checkpoint::read_file(path, 3), std::string("x\0y", 3));
  EXPECT_THROW((void)quire::checkpoint::read_file(path, 2), quire::Error);
  EXPECT_THROW((void)quire::checkpoint::read_file(directory.path(), 2), quire::Error);
  EXPECT_THROW((void)quire::checkpoint::read_file(path + "none", 2), quire::Error);
}

}  // namespace
