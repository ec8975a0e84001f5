#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/units.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::metrics {

/// Writes a timeline in Chrome's trace-event format, for ui.perfetto.dev: spans and instants on
/// numbered tracks, and counters. Tracks of one process stand under its name.
/// \unit times: seconds here, microseconds in the file.
/// \errors state error: the file cannot be written; close() says so, the destructor does not.
/// \source Trace Event Format, Google, 2016.
class ChromeTrace {
 public:
  explicit ChromeTrace(const std::filesystem::path& path)
      : path_(path.string()), file_(path, std::ios::binary | std::ios::trunc) {
    if (!file_) throw state_error(path_, "cannot be opened for writing", "a writable place");
    file_ << "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [";
  }
  ChromeTrace(const ChromeTrace&) = delete;
  ChromeTrace& operator=(const ChromeTrace&) = delete;
  ~ChromeTrace() {
    if (open_) finish();
  }

  void name_process(std::uint64_t process, std::string_view name) {
    write(event("process_name", "M", process, 0).add("args", JsonObject().add("name", name)));
  }
  void name_track(std::uint64_t process, std::uint64_t track, std::string_view name) {
    write(event("thread_name", "M", process, track).add("args", JsonObject().add("name", name)));
  }
  /// Something that lasted.
  void span(std::uint64_t process, std::uint64_t track, std::string_view name, Seconds begin,
            Seconds duration, const JsonObject& args = {}) {
    JsonObject e = event(name, "X", process, track);
    e.add("ts", begin.value * 1e6).add("dur", duration.value * 1e6);
    write(args.empty() ? e : e.add("args", args));
  }
  /// Something that happened at once.
  void instant(std::uint64_t process, std::uint64_t track, std::string_view name, Seconds time,
               const JsonObject& args = {}) {
    JsonObject e = event(name, "i", process, track);
    e.add("ts", time.value * 1e6).add("s", "t");
    write(args.empty() ? e : e.add("args", args));
  }
  /// Values from `time` on; several of them are stacked. values: numbers by name.
  void counter(std::uint64_t process, std::string_view name, Seconds time,
               const JsonObject& values) {
    write(event(name, "C", process, 0).add("ts", time.value * 1e6).add("args", values));
  }

  /// Ends the file.
  void close() {
    if (!open_) return;
    finish();
    if (!file_) throw state_error(path_, "could not be written to its end", "room on the disk");
  }

 private:
  static JsonObject event(std::string_view name, std::string_view phase, std::uint64_t process,
                          std::uint64_t track) {
    JsonObject e;
    e.add("name", name).add("ph", phase).add("pid", process).add("tid", track);
    return e;
  }
  void write(const JsonObject& e) {
    file_ << (first_ ? "\n" : ",\n") << e.text();
    first_ = false;
  }
  void finish() {
    file_ << "\n]}\n";
    file_.close();
    open_ = false;
  }

  std::string path_;
  std::ofstream file_;
  bool first_ = true;
  bool open_ = true;
};

}  // namespace quire::metrics
