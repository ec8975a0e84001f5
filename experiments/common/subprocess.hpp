#pragma once

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <quire/core/error.hpp>

extern char** environ;  // POSIX: the program declares it

namespace quire::experiment {

/// How a program ended and what it said. 127: there is no such program.
struct Said {
  int exit_code = -1;
  std::string out{};
  std::string err{};
};

/// Runs a program found on PATH with these words, and waits for its end; no shell takes part.
/// \errors state error: no process or pipe can be made.
[[nodiscard]] inline Said run_command(const std::vector<std::string>& words) {
  int out[2];
  int err[2];
  const auto fail = [&words](int reason) {
    throw state_error(words.front(), std::string("cannot be started: ") + std::strerror(reason),
                      "room for one more process");
  };
  if (::pipe2(out, O_CLOEXEC) != 0) fail(errno);
  if (::pipe2(err, O_CLOEXEC) != 0) {
    ::close(out[0]);
    ::close(out[1]);
    fail(errno);
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t child = -1;
  const int status = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  ::close(err[1]);
  Said said;
  if (status == 0) {
    pollfd files[] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
    std::string* texts[] = {&said.out, &said.err};
    for (int open = 2; open > 0;) {
      if (::poll(files, 2, -1) < 0 && errno != EINTR) break;
      for (int i = 0; i < 2; ++i) {
        if (files[i].fd < 0 || files[i].revents == 0) continue;
        char bytes[4096];
        const ssize_t got = ::read(files[i].fd, bytes, sizeof bytes);
        if (got > 0) texts[i]->append(bytes, static_cast<std::size_t>(got));
        if (got > 0 || (got < 0 && errno == EINTR)) continue;
        files[i].fd = -1;  // poll passes over it
        --open;
      }
    }
  }
  ::close(out[0]);
  ::close(err[0]);
  if (status == ENOENT) {
    said.exit_code = 127;
  } else if (status != 0) {
    fail(status);
  } else {
    int ended = 0;
    while (::waitpid(child, &ended, 0) < 0 && errno == EINTR) {
    }
    said.exit_code = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
  }
  return said;
}

}  // namespace quire::experiment
