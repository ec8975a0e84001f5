#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <experiments/common/terminal.hpp>
#include <quire/core/error.hpp>

namespace quire::experiment {

/// What became of one task of a process pool.
struct TaskEnd {
  std::size_t task = 0;
  bool died = false;   // the process ended before it had an answer
  std::string text{};  // the answer; of a process that died: how it ended
};

/// Runs numbered tasks in processes of their own, each process one task after the other, so that a
/// task that crashes or is killed takes nothing but itself along. The processes die with this one.
/// Nothing of this process but its memory as it is now is theirs; their output is not flushed.
/// \pre no other thread runs. \errors state error: no process or pipe can be made.
class ProcessPool {
 public:
  using Work = std::function<std::string(std::size_t)>;

  /// work: runs in the processes; an exception that leaves it ends its process.
  ProcessPool(std::size_t processes, Work work) : workers_(processes), work_(std::move(work)) {}
  ProcessPool(const ProcessPool&) = delete;
  ProcessPool& operator=(const ProcessPool&) = delete;
  ~ProcessPool() {
    for (Worker& w : workers_) {
      if (w.pid > 0) ::kill(w.pid, SIGKILL);
      bury(w);
    }
  }

  /// Runs tasks 0 .. count - 1. on_end is called here, one at a time; true: run that task again.
  /// tick is called several times a second, and says whether to go on: when not, no task is begun,
  /// and those that run are asked to stop (SIGTERM), waited for and told of if they have ended.
  template <class OnEnd, class Tick>
  void run(std::size_t count, OnEnd&& on_end, Tick&& tick) {
    std::vector<std::size_t> again;
    std::size_t next = 0;
    bool going = true;
    for (;;) {
      if (going && !tick()) {
        going = false;
        for (Worker& w : workers_) {
          if (w.busy) ::kill(w.pid, SIGTERM);
        }
      }
      std::size_t busy = 0;
      for (Worker& w : workers_) {
        if (!w.busy && going && (next < count || !again.empty())) {
          std::size_t task = next;
          if (next < count) {
            ++next;
          } else {
            task = again.back();
            again.pop_back();
          }
          hand_out(w, task);
        }
        busy += w.busy ? 1 : 0;
      }
      if (busy == 0) break;
      std::vector<pollfd> waited;
      std::vector<std::size_t> whose;
      for (std::size_t i = 0; i < workers_.size(); ++i) {
        if (!workers_[i].busy) continue;
        waited.push_back({workers_[i].answers, POLLIN, 0});
        whose.push_back(i);
      }
      if (::poll(waited.data(), waited.size(), 200) <= 0) continue;  // a signal, or time to tick
      for (std::size_t k = 0; k < waited.size(); ++k) {
        if (waited[k].revents == 0) continue;
        TaskEnd end = answer_of(workers_[whose[k]]);
        // a process that was asked to stop and did has no answer to tell of
        if (!going && end.died) continue;
        const std::size_t task = end.task;
        if (on_end(std::move(end))) again.push_back(task);
      }
    }
    for (Worker& w : workers_) bury(w);
  }

 private:
  struct Worker {
    pid_t pid = -1;
    int tasks = -1;    // numbers go in
    int answers = -1;  // length and text come out
    std::size_t task = 0;
    bool busy = false;
  };

  [[noreturn]] static void fail(const char* what) {
    throw state_error("process pool", std::string(what) + ": " + std::strerror(errno),
                      "fewer --jobs");
  }
  static bool read_all(int file, void* into, std::size_t bytes) {
    for (char* at = static_cast<char*>(into); bytes > 0;) {
      const ssize_t got = ::read(file, at, bytes);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      at += got;
      bytes -= static_cast<std::size_t>(got);
    }
    return true;
  }
  static bool write_all(int file, const void* from, std::size_t bytes) {
    for (const char* at = static_cast<const char*>(from); bytes > 0;) {
      const ssize_t put = ::write(file, at, bytes);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return false;
      at += put;
      bytes -= static_cast<std::size_t>(put);
    }
    return true;
  }

  void hand_out(Worker& w, std::size_t task) {
    if (w.pid < 0) start(w);
    w.task = task;
    w.busy = true;
    // A process that has died meanwhile is noticed when its answer is waited for.
    struct sigaction ignore {
    }, before{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &before);
    static_cast<void>(write_all(w.tasks, &task, sizeof task));
    ::sigaction(SIGPIPE, &before, nullptr);
  }

  void start(Worker& w) {
    int tasks[2];
    int answers[2];
    if (::pipe(tasks) != 0) fail("no pipe");
    if (::pipe(answers) != 0) {
      ::close(tasks[0]);
      ::close(tasks[1]);
      fail("no pipe");
    }
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) {
      for (const int file : {tasks[0], tasks[1], answers[0], answers[1]}) ::close(file);
      fail("no process");
    }
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);  // it died in between
      for (const Worker& other : workers_) {  // so that theirs end when this process lets go
        if (other.pid <= 0) continue;
        ::close(other.tasks);
        ::close(other.answers);
      }
      ::close(tasks[1]);
      ::close(answers[0]);
      serve(tasks[0], answers[1]);
    }
    ::close(tasks[0]);
    ::close(answers[1]);
    w = {.pid = child, .tasks = tasks[1], .answers = answers[0]};
  }

  [[noreturn]] void serve(int tasks, int answers) const {
    std::size_t task = 0;
    while (read_all(tasks, &task, sizeof task)) {
      std::string text;
      try {
        text = work_(task);
      } catch (const Interrupted&) {  // asked to stop, as the parent was
        ::_exit(130);
      } catch (const std::exception& error) {  // the parent sees a dead worker, and says which task
        std::fprintf(stderr, "task %zu: %s\n", task, error.what());
        ::_exit(1);
      } catch (...) {
        std::fprintf(stderr, "task %zu: an unknown exception\n", task);
        ::_exit(1);
      }
      const std::uint64_t length = text.size();
      if (!write_all(answers, &length, sizeof length) ||
          !write_all(answers, text.data(), text.size())) {
        break;
      }
    }
    ::_exit(0);
  }

  /// Waits for what a process says or for its end.
  TaskEnd answer_of(Worker& w) {
    TaskEnd end{.task = w.task};
    std::uint64_t length = 0;
    w.busy = false;
    if (read_all(w.answers, &length, sizeof length)) {
      end.text.resize(length);
      if (read_all(w.answers, end.text.data(), length)) return end;
    }
    end.died = true;
    const int status = bury(w);
    end.text = WIFSIGNALED(status)
                   ? std::string("its process was ended by signal ") +
                         std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) +
                         ")"
                   : "its process ended with code " + std::to_string(WEXITSTATUS(status));
    return end;
  }

  /// Lets go of a process and waits for its end. Its exit status.
  static int bury(Worker& w) {
    if (w.pid <= 0) return 0;
    ::close(w.tasks);
    ::close(w.answers);
    int status = 0;
    while (::waitpid(w.pid, &status, 0) < 0 && errno == EINTR) {
    }
    w = {};
    return status;
  }

  std::vector<Worker> workers_;
  Work work_;
};

}  // namespace quire::experiment
