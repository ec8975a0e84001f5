// Slurm's commands are played by scripts here; slurm_sweep.py runs a real one.
#include <experiments/common/slurm.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/common/temp_file.hpp"

namespace {

namespace slurm = quire::experiment::slurm;
using quire::experiment::run_command;
using quire::testing::read_file;
using ::testing::HasSubstr;

/// A folder in front of PATH in which commands can be put.
class SlurmCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = std::getenv("PATH");
    ::setenv("PATH", (folder_.path().string() + ":" + before_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", before_.c_str(), 1); }
  void put(const std::string& name, const std::string& script) {
    const auto path = folder_.write(name, "#!/bin/sh\n" + script + "\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }
  slurm::ArrayJob job() {
    return {.name = "a job",
            .tasks = 10,
            .at_once = 4,
            .more = {"--partition=x y"},
            .log = folder_.path() / "log_%a.txt",
            .script = folder_.path() / "job.sh",
            .words = {"printf", "%s|", "it's $HOME", "part_{task}.jsonl", "{task}"}};
  }
  quire::testing::TempDir folder_;
  std::string before_;
};

TEST_F(SlurmCommands, SubmitsAnArrayWhoseTasksKnowTheirNumber) {
  put("sbatch",
      "printf '%s\\n' \"$@\" > " + (folder_.path() / "said").string() + "; echo '123;cluster'");
  EXPECT_EQ(slurm::submit(job()), "123");
  const std::string said = read_file(folder_.path() / "said");
  EXPECT_THAT(said, HasSubstr("--array=0-9%4\n"));
  EXPECT_THAT(said, HasSubstr("--partition=x y\n"));
  EXPECT_THAT(said, HasSubstr("--no-requeue\n"));
  ::setenv("SLURM_ARRAY_TASK_ID", "7", 1);
  EXPECT_EQ(run_command({"sh", (folder_.path() / "job.sh").string()}).out,
            "it's $HOME|part_7.jsonl|7|");
  ::unsetenv("SLURM_ARRAY_TASK_ID");
}

TEST_F(SlurmCommands, SaysWhyAJobIsNotTaken) {
  const auto complaint = [&]() -> std::string {
    try {
      static_cast<void>(slurm::submit(job()));
    } catch (const quire::Error& error) {
      return error.what();
    }
    return "none";
  };
  put("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1");
  EXPECT_THAT(complaint(), HasSubstr("invalid partition"));
  put("sbatch", "echo hello");
  EXPECT_THAT(complaint(), HasSubstr("gave no job number"));
  ::setenv("PATH", folder_.path().c_str(), 1);
  std::filesystem::remove(folder_.path() / "sbatch");
  EXPECT_THAT(complaint(), HasSubstr("no sbatch on PATH"));
}

TEST_F(SlurmCommands, CountsTasksByState) {
  put("squeue", "printf 'RUNNING None\\nCOMPLETING None\\nPENDING Resources\\nNODE_FAIL x\\n'");
  slurm::Queue q = slurm::queue_of("123");
  EXPECT_TRUE(q.answered);
  EXPECT_EQ(q.running, 2u);
  EXPECT_EQ(q.pending, 1u);
  EXPECT_EQ(q.reason, "Resources");
  EXPECT_FALSE(q.over());
  put("squeue", "printf 'COMPLETED None\\nFAILED NonZeroExitCode\\nNODE_FAIL x\\n'");
  EXPECT_TRUE(slurm::queue_of("123").over());
  put("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
  EXPECT_TRUE(slurm::queue_of("123").over());
  put("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1");
  EXPECT_FALSE(slurm::queue_of("123").answered);
  EXPECT_FALSE(slurm::queue_of("123").over());
}

TEST(RunCommand, TakesBothOutputsHoweverLong) {
  const auto said =
      run_command({"sh", "-c", "head -c 200000 /dev/zero >&2; head -c 200000 /dev/zero; exit 3"});
  EXPECT_EQ(said.exit_code, 3);
  EXPECT_EQ(said.out.size(), 200'000u);
  EXPECT_EQ(said.err.size(), 200'000u);
  EXPECT_EQ(run_command({"sh", "-c", "kill -9 $$"}).exit_code, 137);
  EXPECT_EQ(run_command({"no_such_program_at_all"}).exit_code, 127);
}

}  // namespace
