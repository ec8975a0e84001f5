#pragma once

#include <unistd.h>

#include <cstddef>
#include <ctime>
#include <fstream>
#include <istream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <quire/metrics/json_object.hpp>

namespace quire::metrics {

/// How a program was built; its build system knows, the header does not.
struct BuildInfo {
  std::string git_sha = "unknown";
  bool git_dirty = false;     // changed, or with headers that were never added
  std::string project_sha{};  // of another project that builds Quire's program; empty: none
  bool project_dirty = false;
  std::string version = "unknown";
  std::string cxx_flags{};
  std::string build_type{};
};

/// Where, when and by what a row was made.
struct RunProvenance {
  BuildInfo build{};
  std::string compiler{};
  std::string compiler_version{};
  std::string host{};
  std::string cpu_model{};
  unsigned num_cpus = 0;
  std::string gpu{}, driver{}, cuda{};  // empty: none took part
  std::string program{};                // hash of the running program, where one asked for it
  std::string cmdline{};
  std::string time_utc{};  // empty: the row is the same whenever it is made

  [[nodiscard]] JsonObject json(bool simulated) const {
    JsonObject out;
    out.add("git_sha", build.git_sha).add("git_dirty", build.git_dirty);
    if (!build.project_sha.empty()) {
      out.add("project_sha", build.project_sha).add("project_dirty", build.project_dirty);
    }
    out.add("version", build.version).add("host", host).add("cpu_model", cpu_model);
    out.add("num_cpus", num_cpus).add("gpu", gpu).add("driver", driver).add("cuda", cuda);
    out.add("compiler", compiler).add("compiler_version", compiler_version);
    out.add("cxx_flags", build.cxx_flags).add("build_type", build.build_type);
    out.add("program", program);
    out.add("cmdline", cmdline);
    time_utc.empty() ? out.raw("time_utc", "null") : out.add("time_utc", time_utc);
    return out.add("simulated", simulated);
  }
};

/// The command as one could type it again: words that a shell would split or expand are quoted.
[[nodiscard]] inline std::string command_line(int argc, const char* const* argv) {
  std::string out;
  for (int i = 0; i < argc; ++i) {
    std::string_view word = argv[i];
    if (i > 0) out.push_back(' ');
    if (i == 0) word = word.substr(word.rfind('/') + 1);  // the program, wherever it was built
    constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./:,@%";
    if (!word.empty() && word.find_first_not_of(plain) == std::string_view::npos) {
      out.append(word);
      continue;
    }
    out.push_back('\'');
    for (const char c : word) c == '\'' ? out.append("'\\''") : out.append(1, c);
    out.push_back('\'');
  }
  return out;
}

/// Seconds since 1970 as `2023-11-16T18:15:46Z`.
[[nodiscard]] inline std::string utc_time(std::time_t seconds) {
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

/// The first processor of a /proc/cpuinfo: its name and, where they are told, family and model, since
/// virtual machines call several generations alike. Empty when it has no name.
[[nodiscard]] inline std::string processor(std::istream& cpus) {
  std::string name, family, model;
  for (std::string line; std::getline(cpus, line) && !line.empty();) {
    const std::size_t colon = line.find(':');
    const std::size_t key = line.find_last_not_of(" \t", colon - 1);
    const std::size_t value = line.find_first_not_of(" \t", colon + 1);
    if (colon == std::string::npos || key == std::string::npos || value == std::string::npos)
      continue;
    const std::string_view field(line.data(), key + 1);
    if (field == "model name") name = line.substr(value);
    if (field == "cpu family") family = ", family " + line.substr(value);
    if (field == "model") model = " model " + line.substr(value);
  }
  return name.empty() || family.empty() ? name : name + family + model;
}

/// Asks the machine and the clock. \errors none: what cannot be found out is empty.
[[nodiscard]] inline RunProvenance provenance_now(BuildInfo build, int argc,
                                                  const char* const* argv) {
  RunProvenance p;
  p.build = std::move(build);
#if defined(__clang__)
  p.compiler = "clang++";
#else
  p.compiler = "g++";
#endif
  p.compiler_version = __VERSION__;
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) == 0) p.host = host;
  std::ifstream cpus("/proc/cpuinfo");
  p.cpu_model = processor(cpus);
  p.num_cpus = std::thread::hardware_concurrency();
  p.cmdline = command_line(argc, argv);
  p.time_utc = utc_time(std::time(nullptr));
  return p;
}

}  // namespace quire::metrics
