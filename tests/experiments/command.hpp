#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/common/temp_file.hpp"

namespace quire::testing {

/// What a program printed and how it ended; 128 + signal when a signal ended it.
struct Ran {
  int exit_code = -1;
  std::string out;
  std::string err;
};

/// Starts a program with its output in files of `folder`.
[[nodiscard]] inline pid_t start(const std::string& program, const std::vector<std::string>& words,
                                 const TempDir& folder) {
  const std::string out = (folder.path() / "stdout").string();
  const std::string err = (folder.path() / "stderr").string();
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  return child;
}

[[nodiscard]] inline Ran wait_for(pid_t child, const TempDir& folder) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          read_file(folder.path() / "stdout"), read_file(folder.path() / "stderr")};
}

[[nodiscard]] inline Ran run_program(const std::string& program,
                                     const std::vector<std::string>& words) {
  const TempDir folder;
  return wait_for(start(program, words, folder), folder);
}

}  // namespace quire::testing
