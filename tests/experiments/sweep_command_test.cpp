// quire sweep as a user meets it: plans, processes that die, kill -9 and resume.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/core/json.hpp>
#include <quire/metrics/row_file.hpp>

#include "tests/experiments/command.hpp"

#if defined(QUIRE_COMMAND)  // not built where QUIRE_EXPERIMENTS is off

namespace {

using quire::metrics::read_rows;
using quire::testing::Ran;
using quire::testing::TempDir;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
Ran quire_command(const Words& words) { return quire::testing::run_program(QUIRE_COMMAND, words); }
std::string text(const std::string& line, std::string_view name) {
  const auto value = quire::json::parse(line, "row");
  const auto* member = value.object()->find(name);
  return member == nullptr || member->string() == nullptr ? "" : *member->string();
}
std::vector<std::string> sorted_rows(const std::string& path) {
  bool torn = false;
  auto rows = read_rows(path, &torn);
  EXPECT_FALSE(torn);
  std::sort(rows.begin(), rows.end());
  return rows;
}

TEST(SweepCommand, APlanIsRunFromItsFileInAnyParts) {
  const TempDir folder;
  const auto at = [&folder](const char* name) { return (folder.path() / name).string(); };
  const Words what{"--variant",
                   "vllm,orca_max",
                   "--axis",
                   "seed=[0:3]",
                   "--num-prompts",
                   "10",
                   "--goodput",
                   "ttft:200",
                   "tpot:50",
                   "--request-rate",
                   "2",
                   "--metric-percentiles",
                   "50,99"};
  const Words plan = joined(joined({"sweep", "plan"}, what), {"--out", at("cells"), "-q"});
  ASSERT_EQ(quire_command(plan).exit_code, 0);
  EXPECT_THAT(quire_command(plan).err, HasSubstr("is there already"));
  const auto cells = read_rows(at("cells"));
  ASSERT_EQ(cells.size(), 8u);
  // straight from the flags, and in parts from the plan: the same bytes
  ASSERT_EQ(
      quire_command(joined(joined({"sweep", "run"}, what), {"--out", at("all"), "-q"})).exit_code,
      0);
  Words collect{"sweep", "collect"};
  for (int i = 0; i < 3; ++i) {
    const std::string part = at("part") + std::to_string(i);
    const Ran ran = quire_command({"sweep", "run", "--cells", at("cells"), "--index",
                                   std::to_string(i), "--count", "3", "--out", part, "-q"});
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
    if (i > 0) collect.push_back(part);
  }
  collect.insert(collect.end(), {"--cells", at("cells"), "--out", at("joined")});
  Ran gathered = quire_command(collect);
  EXPECT_EQ(gathered.exit_code, 1);
  EXPECT_THAT(gathered.err, HasSubstr("3 cells of the plan have no row"));
  collect.insert(collect.end(), {at("part0"), "--force"});
  gathered = quire_command(collect);
  EXPECT_EQ(gathered.exit_code, 0) << gathered.err;
  EXPECT_EQ(sorted_rows(at("joined")), sorted_rows(at("all")));
  const auto rows = read_rows(at("joined"));
  ASSERT_EQ(rows.size(), 8u);
  for (std::size_t i = 0; i < rows.size(); ++i) {  // in the order of the plan, named by its hashes
    EXPECT_EQ(text(rows[i], "run_id"), text(cells[i], "cell"));
  }
  // the command in the row repeats the row
  EXPECT_THAT(rows[5], HasSubstr("\"rerun\": \"quire run --variant orca_max"));
  EXPECT_EQ(rows[5].find("wall_seconds"), std::string::npos);
  EXPECT_THAT(rows[5], HasSubstr("\"time_utc\": null"));
  for (const std::string& attempt : read_rows(at("all.log"))) {
    EXPECT_THAT(attempt, HasSubstr("\"wall_seconds\": "));
    EXPECT_EQ(text(attempt, "ended"), "done");
  }
  EXPECT_EQ(read_rows(at("all.log")).size(), 8u);
}

TEST(SweepCommand, RefusesPlansThatAreNotItsOwn) {
  const TempDir folder;
  const auto refused = [&folder](const std::string& plan, const std::string& why) {
    const auto cells = folder.write("cells", plan);
    std::filesystem::remove(folder.path() / "rows");
    const Ran ran = quire_command(
        {"sweep", "run", "--cells", cells.string(), "--out", (folder.path() / "rows").string()});
    EXPECT_EQ(ran.exit_code, 1) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(why));
    EXPECT_THAT(ran.err, HasSubstr("cells: "));
  };
  const std::string head = R"({"schema": "quire.cell/1", "cell": "00", "repetition": 0, )";
  refused("", "holds no cell");
  refused("{\"schema\": \"quire.cell", "line 1: the file ends inside it");
  refused("{}\n", "is no cell");
  refused("hello\n", "cells: line 1");
  refused(head + "\"words\": []}\n", "is no whole cell");
  refused(head + "\"words\": [1]}\n", "a word that is none");
  refused(head + R"("words": ["run", "--no-such-flag"]})" + "\n", "not those of a run");
  refused(head + R"("words": ["run", "--variant", "vllm,tgi"]})" + "\n", "make 2 runs");
  refused(head + R"("words": ["run", "--variant", "vllm", "--num-prompts", "3"]})" + "\n",
          "is another one now");
  const Ran both = quire_command({"sweep", "run", "--cells", "x", "--variant", "vllm", "--out",
                                  (folder.path() / "rows").string()});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("one of both"));
}

TEST(SweepCommand, ATraceThatChangedIsNotThePlannedOne) {
  const TempDir folder;
  const auto trace = folder.write("t.csv",
                                  "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                                  "2023-11-16 18:15:46.6805900,374,44\n");
  const std::string cells = (folder.path() / "cells").string();
  ASSERT_EQ(quire_command({"sweep", "plan", "--workload", "trace", "--trace", trace.string(),
                           "--arrival", "trace", "--out", cells, "-q"})
                .exit_code,
            0);
  std::ofstream(trace, std::ios::app) << "2023-11-16 18:15:47.6805900,10,4\n";
  const Ran ran =
      quire_command({"sweep", "run", "--cells", cells, "--out", (folder.path() / "rows").string()});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("is another one now"));
}

/// 60 cells of about 10 ms or more.
const Words sixty{
    "sweep", "run",    "--axis", "seed=[0:59]", "--num-prompts", "300", "--request-rate",
    "4",     "--jobs", "2",      "-q"};

TEST(SweepCommand, KilledAtRandomMomentsAndResumedItGivesTheSameBytes) {
  const TempDir folder;
  const std::string whole = (folder.path() / "whole").string();
  const std::string out = (folder.path() / "rows").string();
  ASSERT_EQ(quire_command(joined(sixty, {"--out", whole})).exit_code, 0);
  ASSERT_EQ(read_rows(whole).size(), 60u);
  std::minstd_rand rng(7);
  int in_the_middle = 0;
  std::size_t rows = 0;
  for (int kill = 0; kill < 10; ++kill) {
    const TempDir printed;
    const pid_t child =
        quire::testing::start(QUIRE_COMMAND, joined(sixty, {"--out", out, "--resume"}), printed);
    // until it has written a few more, or is about to: at most a minute
    const std::size_t enough = rows + rng() % 5;
    for (int i = 0; i < 12'000 && read_rows(out).size() < enough; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(rng() % 30'000));
    ::kill(child, SIGKILL);
    EXPECT_EQ(quire::testing::wait_for(child, printed).exit_code, 128 + SIGKILL);
    rows = read_rows(out).size();
    in_the_middle += rows > 0 && rows < 60 ? 1 : 0;
  }
  EXPECT_GE(in_the_middle, 5);
  ASSERT_EQ(quire_command(joined(sixty, {"--out", out, "--resume"})).exit_code, 0);
  EXPECT_EQ(sorted_rows(out), sorted_rows(whole));
}

TEST(SweepCommand, AProcessThatIsKilledIsReplacedAndItsCellRunsAgain) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  const pid_t child = quire::testing::start(QUIRE_COMMAND, joined(sixty, {"--out", out}), folder);
  const std::string children =
      "/proc/" + std::to_string(child) + "/task/" + std::to_string(child) + "/children";
  int killed = 0;
  for (int i = 0; i < 12'000 && killed < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::ifstream list(children);
    pid_t worker = 0;
    if (read_rows(out).size() < static_cast<std::size_t>(10 * killed + 1) || !(list >> worker)) {
      continue;
    }
    ::kill(worker, SIGKILL);
    ++killed;
  }
  const Ran ran = quire::testing::wait_for(child, folder);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(killed, 3);
  EXPECT_EQ(read_rows(out).size(), 60u);
  const auto log = read_rows(out + ".log");
  EXPECT_EQ(log.size(), 63u);
  EXPECT_EQ(std::count_if(log.begin(), log.end(),
                          [](const auto& line) {
                            return text(line, "error").find("signal 9") != std::string::npos;
                          }),
            3);
}

TEST(SweepCommand, WithoutSlurmItSaysSo) {
  const TempDir folder;
  std::string path = std::getenv("PATH");
  ::setenv("PATH", folder.path().c_str(), 1);
  const Ran ran = quire_command({"sweep", "run", "--num-prompts", "2", "--backend", "slurm",
                                 "--out", (folder.path() / "rows").string()});
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("there is no sbatch on PATH"));
}

}  // namespace

#endif  // QUIRE_COMMAND
