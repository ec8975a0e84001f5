#include <experiments/common/table.hpp>

#include <sstream>

#include <gtest/gtest.h>

namespace {

using quire::experiment::Table;

const std::vector<std::string> rows{
    R"({"variant": "a", "rate": 0.5, "x": 1.23456789, "inside": {"y": 1}, "zero": 0, "one": 0, "alike": 2})",
    R"({"variant": "b,c", "rate": 2, "x": null, "same": true, "zero": 0, "one": 1, "alike": 2})"};

TEST(Table, WritesCsvWithEveryColumn) {
  std::ostringstream out;
  Table(rows).print_csv(out);
  EXPECT_EQ(out.str(),
            "variant,rate,x,zero,one,alike,same\na,0.5,1.2345678899999999,0,0,2,\n"
            "\"b,c\",2,,0,1,2,true\n");
}

TEST(Table, WritesMarkdownWithTheColumnsThatDiffer) {
  std::ostringstream out;
  using Show = Table::Show;
  Table(rows).print_markdown(out, {{"variant"},
                                   {"rate", Show::if_different},
                                   {"same", Show::if_different},
                                   {"x"},
                                   {"zero", Show::if_not_zero},
                                   {"one", Show::if_not_zero},
                                   {"alike", Show::if_different},
                                   {"absent"}});
  EXPECT_EQ(out.str(),
            "| variant | rate | same |     x | one |\n"
            "|---------|------|------|-------|-----|\n"
            "|       a |  0.5 |      | 1.235 |   0 |\n"
            "|     b,c |    2 | true |       |   1 |\n");
  EXPECT_TRUE(Table(rows).differs("rate"));
  EXPECT_FALSE(Table(rows).differs("alike"));
}

}  // namespace
