#include <experiments/common/process_pool.hpp>

#include <sys/wait.h>

#include <csignal>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

using quire::experiment::ProcessPool;
using quire::experiment::TaskEnd;

constexpr auto go_on = [] { return true; };

TEST(ProcessPool, RunsEveryTaskOnceInProcessesOfTheirOwn) {
  for (const std::size_t processes : {1u, 3u, 8u}) {
    std::map<std::size_t, std::string> texts;
    std::set<std::string> pids;
    ProcessPool pool(processes, [](std::size_t i) {
      // longer than what fits into a pipe
      return std::to_string(::getpid()) + " " + std::string(100'000 * (i % 3), 'x');
    });
    pool.run(
        20,
        [&](TaskEnd end) {
          EXPECT_FALSE(end.died);
          EXPECT_FALSE(texts.contains(end.task));
          const std::size_t space = end.text.find(' ');
          pids.insert(end.text.substr(0, space));
          EXPECT_EQ(end.text.size() - space - 1, 100'000 * (end.task % 3));
          texts[end.task] = end.text;
          return false;
        },
        go_on);
    EXPECT_EQ(texts.size(), 20u);
    EXPECT_LE(pids.size(), processes);
    EXPECT_FALSE(pids.contains(std::to_string(::getpid())));
  }
}

TEST(ProcessPool, AProcessThatDiesTakesItsTaskAloneAndMayBeReplaced) {
  ProcessPool pool(2, [](std::size_t i) -> std::string {
    if (i == 3) ::raise(SIGKILL);
    if (i == 5) throw 1;
    return "well";
  });
  std::map<std::size_t, int> deaths;
  std::set<std::size_t> well;
  std::map<std::size_t, std::string> how;
  pool.run(
      10,
      [&](TaskEnd end) {
        if (!end.died) {
          EXPECT_TRUE(well.insert(end.task).second);
          return false;
        }
        how[end.task] = end.text;
        return ++deaths[end.task] < 3;
      },
      go_on);
  EXPECT_EQ(well, (std::set<std::size_t>{0, 1, 2, 4, 6, 7, 8, 9}));
  EXPECT_EQ(deaths, (std::map<std::size_t, int>{{3, 3}, {5, 3}}));
  EXPECT_EQ(how[3], "its process was ended by signal 9 (Killed)");
  EXPECT_EQ(how[5], "its process ended with code 1");
}

TEST(ProcessPool, AProcessThatWasInterruptedHasNothingToSay) {
  ProcessPool pool(1, [](std::size_t) -> std::string { throw quire::experiment::Interrupted{}; });
  std::string how;
  ::testing::internal::CaptureStderr();
  pool.run(
      1,
      [&](TaskEnd end) {
        how = end.text;
        return false;
      },
      go_on);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(how, "its process ended with code 130");
}

TEST(ProcessPool, WhenToldToStopItBeginsNothingAndAsksWhatRunsToEnd) {
  std::size_t ended = 0;
  ProcessPool pool(2, [](std::size_t i) -> std::string {
    if (i >= 2) ::pause();  // until SIGTERM ends it
    return "";
  });
  pool.run(
      100,
      [&](TaskEnd end) {
        EXPECT_FALSE(end.died);
        ++ended;
        return false;
      },
      [&] { return ended < 2; });
  EXPECT_EQ(ended, 2u);
}

TEST(ProcessPool, NoTaskIsNoProcess) {
  ProcessPool pool(4, [](std::size_t) -> std::string { return ""; });
  int looked = 0;
  pool.run(
      0,
      [](const TaskEnd&) {
        ADD_FAILURE() << "a task that nobody gave has ended";
        return false;
      },
      [&looked] {
        ++looked;
        EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "there is a process";
        return true;
      });
  EXPECT_GT(looked, 0);
}

}  // namespace
