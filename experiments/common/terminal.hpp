#pragma once

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

namespace quire::experiment {

/// Thrown out of a run when the user has asked to stop: exit code 130, rows written stay.
struct Interrupted {};

/// Takes SIGINT and SIGTERM as a request to stop after what is at hand; the second one kills.
class Interruption {
 public:
  Interruption() {
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
  }
  [[nodiscard]] static bool requested() { return requested_.load(std::memory_order_relaxed); }
  /// \errors Interrupted.
  static void check() {
    if (requested()) throw Interrupted{};
  }

 private:
  static void on_signal(int signal) {
    requested_.store(true, std::memory_order_relaxed);
    std::signal(signal, SIG_DFL);
  }
  inline static std::atomic<bool> requested_{false};  // a signal handler reaches nothing else
  static_assert(std::atomic<bool>::is_always_lock_free);
};

/// One line on stderr that is rewritten as work goes on; silent unless stderr is a terminal.
class Progress {
 public:
  enum class Show { when_terminal, always, never };

  explicit Progress(Show show)
      : shown_(show == Show::always || (show == Show::when_terminal && ::isatty(2) == 1)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void show(std::size_t done, std::size_t all, std::string_view what) {
    if (!shown_) return;
    std::fprintf(stderr, "\r\033[K[%zu/%zu] %.*s", done, all, static_cast<int>(what.size()),
                 what.data());
    std::fflush(stderr);
    dirty_ = true;
  }
  void clear() {
    if (!dirty_) return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    dirty_ = false;
  }

 private:
  bool shown_;
  bool dirty_ = false;
};

}  // namespace quire::experiment
