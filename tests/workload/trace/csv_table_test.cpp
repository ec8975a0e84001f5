#include <quire/workload/trace/csv_table.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/common/temp_file.hpp"

namespace {

using quire::testing::TempDir;
using namespace quire::workload::trace;

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> fields{"left over", "left over", "left over", "left over"};
  split_csv(line, fields, [] { return std::string("f"); });
  return fields;
}
std::string error_of(std::string_view text) {
  const TempDir folder;
  try {
    CsvTable table(LineReader(folder.write("t", text)), {"a", "b", "c"}, 2);
    while (table.next()) static_cast<void>(table.tokens(0));
  } catch (const quire::Error& error) {
    return std::string(error.what()).substr(folder.path().string().size() + 1);
  }
  return {};
}

TEST(CsvTable, SplitsQuotedAndEmptyValues) {
  using Fields = std::vector<std::string>;
  EXPECT_EQ(split("a,b"), (Fields{"a", "b"}));
  EXPECT_EQ(split(""), (Fields{""}));
  EXPECT_EQ(split(",,"), (Fields{"", "", ""}));
  EXPECT_EQ(split(R"("a,b",c)"), (Fields{"a,b", "c"}));
  EXPECT_EQ(split(R"("say ""x""",)"), (Fields{R"(say "x")", ""}));
  EXPECT_THROW(split(R"("a)"), quire::Error);
  EXPECT_THROW(split(R"("a"b,c)"), quire::Error);
}

TEST(CsvTable, FindsColumnsByNameInAnyOrder) {
  const TempDir folder;
  CsvTable table(LineReader(folder.write("t", "z, b ,a\n1,2,3\n")), {"a", "b", "c"}, 2);
  ASSERT_TRUE(table.next());
  EXPECT_EQ(table.tokens(0), quire::Tokens(3));
  EXPECT_EQ(table.tokens(1), quire::Tokens(2));
  EXPECT_FALSE(table.has(2));
  EXPECT_FALSE(table.next());
}

TEST(CsvTable, NamesFileLineAndColumn) {
  EXPECT_EQ(error_of(""), "t: is empty; expected a header line");
  EXPECT_EQ(error_of("a,c\n"), "t: line 1: has no column 'b'; expected the columns a, b");
  EXPECT_EQ(error_of("a,b,a\n"), "t: line 1: has column 'a' twice; expected it once");
  EXPECT_EQ(error_of("a,b\n1,2\n\n3\n"), "t: line 4: has 1 value; expected 2 as in the header");
  EXPECT_EQ(
      error_of("a,b\n1,2\nx,2\n"),
      "t: line 3, field 'a': 'x' is not a number; expected a whole number from 0 to 16777216");
  EXPECT_EQ(error_of("a,b\n1,2,3\n"), "t: line 2: has 3 values; expected 2 as in the header");
}

}  // namespace
