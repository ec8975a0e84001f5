#include <experiments/common/table.hpp>

#include <sstream>

#include <gtest/gtest.h>

namespace {

using quire::experiment::Table;

const std::vector<std::string> rows{
    R"({"variant": "a", "rate": 0.5, "x": 1.23456789, "inside": {"y": 1}})",
    R"({"variant": "b,c", "rate": 2, "x": null, "same": true})"};

TEST(Table, WritesCsvWithEveryColumn) {
  std::ostringstream out;
  Table(rows).print_csv(out);
  EXPECT_EQ(out.str(), "variant,rate,x,same\na,0.5,1.2345678899999999,\n\"b,c\",2,,true\n");
}

TEST(Table, WritesMarkdownWithTheColumnsThatDiffer) {
  std::ostringstream out;
  Table(rows).print_markdown(out, {"variant", "x", "absent"}, {"rate", "same"});
  EXPECT_EQ(out.str(),
            "| variant | rate | same |     x |\n"
            "|---------|------|------|-------|\n"
            "|       a |  0.5 |      | 1.235 |\n"
            "|     b,c |    2 | true |       |\n");
}

}  // namespace
