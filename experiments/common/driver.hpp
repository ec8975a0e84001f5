#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/options.hpp>
#include <experiments/common/row.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/json.hpp>
#include <quire/core/thread_pool.hpp>

#include <quire_build_info.hpp>

namespace quire::experiment {

/// One run of an experiment: what it is, and a function that runs it.
struct Cell {
  std::string variant;
  std::string workload;
  std::uint64_t seed = 0;
  Row identity{};              // the axes: part, rates, sizes; with the three above names the cell
  std::function<Row()> run{};  // gives the metrics; called at most once, on any thread
  std::string_view mode = "simulated";
  std::string trace_sha256{};  // of the trace behind the workload; empty for generators
};

namespace detail {

inline std::atomic<bool> interrupted{false};  // set by SIGINT

inline std::string first_line_after(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t at = line.find(": ");
    return at == std::string::npos ? "" : line.substr(at + 2);
  }
  return "";
}

inline std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

inline Row provenance(const std::string& cmdline, const std::string& program, bool simulated) {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  Row row;
  row.set("git_sha", build::git_sha)
      .set("git_dirty", build::git_dirty)
      .set("version", build::version);
  row.set("host", host).set("cpu_model", first_line_after("/proc/cpuinfo", "model name"));
  row.set("num_cpus", sysconf(_SC_NPROCESSORS_ONLN)).set("gpu", "").set("cuda", "");
#if defined(__clang__)
  row.set("compiler", "clang");
#else
  row.set("compiler", "g++");
#endif
  row.set("compiler_version", __VERSION__)
      .set("cxx_flags", build::cxx_flags)
      .set("build_type", build::build_type);
  return row.set("program", program)
      .set("cmdline", cmdline)
      .set("time_utc", utc_now())
      .set("simulated", simulated);
}

inline std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Names the running program by its content: equal programs make equal rows.
inline std::string program_id() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) throw state_error("/proc/self/exe", "cannot be read", "a mounted /proc");
  return hex(hash_span(std::span<const char>(text)));
}

inline std::string run_id(std::string_view experiment, const Cell& cell, Scale scale) {
  const std::string name = std::string(experiment) + '/' + cell.variant + '/' + cell.workload +
                           '/' + std::to_string(cell.seed) + '/' + std::string(to_string(scale)) +
                           '/' + cell.trace_sha256 + '/' + cell.identity.json();
  return hex(hash_span(std::span<const char>(name)));
}

/// Ids of the rows of a file that this very program made. What follows the last newline is an
/// interrupted write; it is cut off. \errors data error: a line that is not a row.
inline std::set<std::string> finished_rows(const std::filesystem::path& path,
                                           std::string_view program) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t end = text.rfind('\n') + 1;  // 0 when there is none
  if (end != text.size()) std::filesystem::resize_file(path, end);
  std::set<std::string> ids;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < end;) {
    const std::size_t stop = text.find('\n', begin);
    const std::string where = path.string() + ": line " + std::to_string(++number);
    const json::Value row = json::parse(std::string_view(text).substr(begin, stop - begin), where);
    begin = stop + 1;
    const auto member = [](const json::Value* value, std::string_view key) {
      return value == nullptr || value->object() == nullptr ? nullptr : value->object()->find(key);
    };
    const json::Value* id = member(&row, "run_id");
    const json::Value* made = member(member(&row, "provenance"), "program");
    if (id == nullptr || id->string() == nullptr || made == nullptr || made->string() == nullptr) {
      throw data_error(where, "is not a result row", "run_id and provenance.program");
    }
    if (*made->string() == program) ids.insert(*id->string());
  }
  return ids;
}

/// Appends whole lines to a file, each with one write and on the disk when append() returns.
class RowFile {
 public:
  explicit RowFile(const std::filesystem::path& path) : path_(path) {
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
    file_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) throw state_error(path.string(), "cannot be opened for writing");
  }
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;
  ~RowFile() { close(file_); }

  void append(const std::string& line) {
    const std::string text = line + '\n';
    if (write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        fdatasync(file_) != 0) {
      throw state_error(path_.string(), "a row could not be written", "room on the disk");
    }
  }

 private:
  std::filesystem::path path_;
  int file_;
};

constexpr std::string_view help =
    "Flags:\n"
    "  --out FILE                     rows are appended here, one JSON object a line\n"
    "  --scale smoke|default|full     how much is run\n"
    "  --traces DIR                   folder of real traces, replayed as well\n"
    "  --filter TEXT                  only cells whose description contains TEXT\n"
    "  --resume                       leave out cells that this program has finished in FILE\n"
    "  --jobs N                       threads\n"
    "  -l, --list                     print the cells, run none\n"
    "Exit codes: 0 ok, 1 a run failed, 2 usage, 3 nothing matched, 130 interrupted.\n";

inline std::string describe_cell(const Cell& cell) {
  return cell.variant + ' ' + cell.workload + " seed " + std::to_string(cell.seed) + ' ' +
         cell.identity.json();
}

inline int run_cells(std::string_view experiment, const Options& options,
                     const std::vector<Cell>& cells, const std::string& cmdline) {
  const std::string program = program_id();
  std::set<std::string> done;
  if (options.resume) done = finished_rows(options.out, program);
  std::vector<const Cell*> todo;
  for (const Cell& cell : cells) {
    if (!done.contains(run_id(experiment, cell, options.scale))) todo.push_back(&cell);
  }
  RowFile file(options.out);
  const bool watched = isatty(STDERR_FILENO) != 0;
  std::mutex mutex;
  std::size_t finished = 0;
  std::signal(SIGINT, [](int) { interrupted = true; });
  ThreadPool pool(options.jobs);
  pool.parallel_for(todo.size(), [&](std::size_t i) {
    if (interrupted) return;
    const Cell& cell = *todo[i];
    const Row metrics = cell.run();
    Row row;
    row.set("schema", "quire.result/1").set("run_id", run_id(experiment, cell, options.scale));
    row.set("experiment", experiment).set("variant", cell.variant).set("workload", cell.workload);
    row.set("trace_sha256", cell.trace_sha256).set("seed", cell.seed).set("repetition", 0);
    row.set("scale", to_string(options.scale))
        .set("mode", cell.mode)
        .append(cell.identity)
        .append(metrics);
    row.set("provenance", provenance(cmdline, program, cell.mode == "simulated"));
    const std::lock_guard lock(mutex);
    file.append(row.json());
    ++finished;
    if (watched)
      std::cerr << "\r\033[K" << experiment << ": " << finished << " of " << todo.size()
                << std::flush;
  });
  if (watched) std::cerr << "\r\033[K";
  std::cout << experiment << ": " << finished << " rows written, " << cells.size() - todo.size()
            << " kept from before\n";
  return interrupted ? 130 : 0;
}

}  // namespace detail

/// The main of an experiment. cells: Options -> std::vector<Cell>; usage: what it does and
/// examples.
template <class MakeCells>
int run(int argc, char** argv, std::string_view experiment, std::string_view usage,
        MakeCells&& cells) {
  try {
    std::string cmdline(experiment);  // the program by its name, wherever it was built
    for (int i = 1; i < argc; ++i) cmdline.append(1, ' ').append(argv[i]);
    const Options options = parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::cout << usage << '\n' << detail::help;
      return 0;
    }
    std::vector<Cell> chosen = cells(options);
    std::erase_if(chosen, [&](const Cell& cell) {
      return detail::describe_cell(cell).find(options.filter) == std::string::npos;
    });
    if (chosen.empty()) {
      std::cerr << experiment << ": no cell's description contains \"" << options.filter << "\"\n";
      return 3;
    }
    if (!options.list) return detail::run_cells(experiment, options, chosen, cmdline);
    for (const Cell& cell : chosen) std::cout << detail::describe_cell(cell) << '\n';
    return 0;
  } catch (const Error& error) {
    std::cerr << experiment << ": " << error.what() << '\n';
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << experiment << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace quire::experiment
