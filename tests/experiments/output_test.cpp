#include <experiments/common/output.hpp>

#include <gtest/gtest.h>

#include "tests/common/temp_file.hpp"

namespace {

using namespace quire::experiment;
using quire::testing::read_file;
using quire::testing::TempDir;

constexpr const char* row = R"({"run_id": "1", "provenance": {"program": "p"}})";

TEST(Output, RefusesToMixRowsUnasked) {
  const TempDir folder;
  const auto path = folder.write("rows", std::string(row) + "\n");
  EXPECT_THROW(static_cast<void>(open_output(path, Existing::refuse, "p")), quire::Error);
  EXPECT_EQ(read_file(path), std::string(row) + "\n");
  open_output(path, Existing::append, "p").file->append("{}");
  EXPECT_EQ(read_file(path), std::string(row) + "\n{}\n");
  open_output(path, Existing::force, "p").file->append("{}");
  EXPECT_EQ(read_file(path), "{}\n");
  EXPECT_TRUE(open_output(folder.path() / "new", Existing::refuse, "p").file.has_value());
  EXPECT_FALSE(open_output("", Existing::refuse, "p").file.has_value());
  EXPECT_THROW(static_cast<void>(open_output("", Existing::resume, "p")), quire::Error);
  const auto notes = folder.write("notes", "what I saw\nand thought");
  EXPECT_THROW(static_cast<void>(open_output(notes, Existing::append, "p")), quire::Error);
  EXPECT_EQ(read_file(notes), "what I saw\nand thought");
}

TEST(Output, ResumesWhatThisProgramHasFinished) {
  const TempDir folder;
  const auto path = folder.write("rows", std::string(row) + "\n" +
                                             R"({"run_id": "2", "provenance": {"program": "q"}})" +
                                             "\n{\"run_id\": \"torn");
  EXPECT_EQ(open_output(path, Existing::resume, "p").finished, std::set<std::string>{"1"});
  EXPECT_EQ(open_output(path, Existing::resume, "q").finished, std::set<std::string>{"2"});
  const auto bad = folder.write("bad", "{\"x\": 1}\n");
  EXPECT_THROW(static_cast<void>(open_output(bad, Existing::resume, "p")), quire::Error);
  EXPECT_FALSE(program_hash().empty());
}

}  // namespace
