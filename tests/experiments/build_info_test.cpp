// What rows say of the sources they come from: cmake/build_info.cmake, run on repositories made here.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/command.hpp"

namespace {

using quire::testing::TempDir;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

std::string run(const Words& words) {
  const auto ran = quire::testing::run_program("/usr/bin/env", words);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");  // no warning of CMake either
  return ran.out.substr(0, ran.out.find('\n'));
}
void git(const std::string& folder, Words words) {
  words.insert(words.begin(), {"git", "-C", folder, "-c", "user.name=lab", "-c",
                               "user.email=lab@example.org", "-c", "init.defaultBranch=main"});
  run(words);
}

class BuildInfo : public ::testing::Test {
 protected:
  BuildInfo() {
    for (const char* part : {"user/quire/include", "user/quire/experiments", "user/build"}) {
      std::filesystem::create_directories(folder_.path() / part);
    }
    folder_.write("user/quire/include/a.hpp", "");
    folder_.write("user/main.cpp", "");
  }
  /// The header that a build of `project` writes.
  std::string header(const std::string& project) const {
    const std::string out = path("out.hpp");
    run({"cmake", "-DSOURCE=" + path("user/quire"), "-DPROJECT=" + path(project),
         "-DBINARY=" + path("user/build"), "-DOUT=" + out, "-DVERSION=1", "-DBUILD_TYPE=Release",
         "-DCXX_FLAGS=", "-P", QUIRE_SOURCE_DIR "/cmake/build_info.cmake"});
    return quire::testing::read_file(out);
  }
  std::string path(const std::string& inside) const { return (folder_.path() / inside).string(); }
  std::string commit(const std::string& inside) const {
    git(path(inside), {"init", "-q"});
    git(path(inside), {"add", "-A"});
    git(path(inside), {"commit", "-qm", "sources"});
    return run({"git", "-C", path(inside), "rev-parse", "HEAD"});
  }
  TempDir folder_;
};

TEST_F(BuildInfo, NamesTheCommitAndWhatWasNeverAdded) {
  const std::string sha = commit("user/quire");
  EXPECT_THAT(header("user/quire"), HasSubstr("git_sha = \"" + sha + "\""));
  EXPECT_THAT(header("user/quire"), HasSubstr("git_dirty = false"));
  EXPECT_THAT(header("user/quire"), HasSubstr("project_sha = \"\""));
  folder_.write("user/quire/include/new.hpp", "");
  EXPECT_THAT(header("user/quire"), HasSubstr("git_dirty = true"));
}

TEST_F(BuildInfo, TakesNoCommitOfARepositoryAroundTheSources) {
  const std::string sha = commit("user");
  EXPECT_THAT(header("user"), HasSubstr("git_sha = \"unknown\""));
  EXPECT_THAT(header("user"), HasSubstr("project_sha = \"" + sha + "\""));
  EXPECT_THAT(header("user"), HasSubstr("project_dirty = false"));
  folder_.write("user/build/generated.hpp", "");  // what the build makes is no change
  EXPECT_THAT(header("user"), HasSubstr("project_dirty = false"));
  folder_.write("user/main.cpp", "int main() {}");
  EXPECT_THAT(header("user"), HasSubstr("project_dirty = true"));
}

TEST_F(BuildInfo, NamesBothCommits) {
  const std::string quire_sha = commit("user/quire");
  folder_.write("user/.gitignore", "quire/\n");
  const std::string user_sha = commit("user");
  EXPECT_THAT(header("user"), HasSubstr("git_sha = \"" + quire_sha + "\""));
  EXPECT_THAT(header("user"), HasSubstr("project_sha = \"" + user_sha + "\""));
}

TEST_F(BuildInfo, KnowsNothingWithoutARepository) {
  EXPECT_THAT(header("user"), HasSubstr("git_sha = \"unknown\""));
  EXPECT_THAT(header("user"), HasSubstr("project_sha = \"\""));
}

}  // namespace
