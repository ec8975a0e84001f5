#include <experiments/common/driver.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mutex>
#include <set>
#include <span>
#include <string>

#include <experiments/common/build_info.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/json.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/metrics/row_file.hpp>

namespace quire::experiment {

namespace {

std::atomic<bool> interrupted{false};  // set by SIGINT and SIGTERM

/// Names the running program by its content: equal programs make equal rows.
std::string program_id() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.empty()) throw state_error("/proc/self/exe", "cannot be read", "a mounted /proc");
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(hash_span(std::span<const char>(bytes))));
  return text;
}

/// Ids of the rows of a file that this very program made.
/// \errors data error: a line that is not a row.
std::set<std::string> finished_rows(const std::filesystem::path& path, std::string_view program) {
  std::set<std::string> ids;
  std::size_t number = 0;
  for (const std::string& line : metrics::read_rows(path)) {
    const std::string where = path.string() + ": row " + std::to_string(++number);
    const json::Value row = json::parse(line, where);
    const auto text = [&row](std::string_view name) -> const std::string* {
      const json::Value* member = row.object() == nullptr ? nullptr : row.object()->find(name);
      return member == nullptr ? nullptr : member->string();
    };
    const std::string *id = text("run_id"), *by = text("program");
    if (id == nullptr || by == nullptr) {
      throw data_error(where, "is no row of an experiment", "members run_id and program");
    }
    if (*by == program) ids.insert(*id);
  }
  return ids;
}

constexpr std::string_view help =
    "Flags:\n"
    "  --out FILE                     rows are appended here, one JSON object a line\n"
    "  --scale smoke|default|full     how much is run\n"
    "  --traces DIR                   folder of real traces, replayed as well\n"
    "  --filter TEXT                  only runs whose description contains TEXT\n"
    "  --axis NAME=[VALUE,...]        only runs whose axis NAME has one of the values\n"
    "  --model DIR|FILE.gguf          a checkpoint in place of the experiment's own, where it "
    "reads any\n"
    "  --resume                       leave out runs that this program has finished in FILE\n"
    "  --jobs N                       threads\n"
    "  -l, --list                     print the runs, make no row\n"
    "Exit codes: 0 ok, 1 a run failed, 2 usage, 3 nothing matched, 130 interrupted.\n";

std::string describe_run(const Run& run) {
  return run.row.variant + ' ' + run.row.workload + " seed " + std::to_string(run.row.seed) + ' ' +
         run.row.axes.text();
}

/// Keeps the runs whose axes have the values asked for.
/// \errors usage error: no run has such an axis, or such a value
void keep_axes(const std::vector<Axis>& axes, std::vector<Run>& runs) {
  for (const Axis& axis : axes) {
    std::set<std::string> values;
    std::erase_if(runs, [&](const Run& run) {
      const json::Value row = json::parse(run.row.axes.text(), "axes");
      const json::Value* member = row.object()->find(axis.name);
      if (member == nullptr) return true;
      std::string text;
      if (const std::string* word = member->string()) {
        text = *word;
      } else if (const auto number = member->number()) {
        text = detail::plain_number(*number);
      }
      values.insert(text);
      return std::find(axis.values.begin(), axis.values.end(), text) == axis.values.end();
    });
    const std::vector<std::string> all(values.begin(), values.end());
    if (all.empty()) throw usage_error("--axis " + axis.name, "no run has such an axis", "--list");
    for (const std::string& value : axis.values) {
      if (values.contains(value)) continue;
      throw usage_error("--axis " + axis.name, "no run has the value " + in_quotes(value),
                        "perhaps " + nearest_names(value, all, 1)[0]);
    }
  }
}

int measure_all(const Options& options, std::vector<Run>& runs,
                const metrics::RunProvenance& provenance) {
  const std::string program = program_id();
  std::set<std::string> done;
  if (options.resume) done = finished_rows(options.out, program);
  std::vector<Run*> todo;
  for (Run& run : runs) {
    if (!done.contains(run.row.run_id())) todo.push_back(&run);
  }
  metrics::RowFile file(options.out);
  const bool watched = isatty(STDERR_FILENO) != 0;
  std::mutex mutex;
  std::size_t finished = 0;
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { interrupted = true; });
  ThreadPool pool(options.jobs);
  pool.parallel_for(todo.size(), [&](std::size_t i) {
    if (interrupted) return;
    Run& run = *todo[i];
    run.row.metrics = run.measure();
    run.row.metrics.add("program", program);
    run.row.provenance = provenance;
    run.row.provenance.time_utc = metrics::utc_time(std::time(nullptr));
    const std::lock_guard lock(mutex);
    file.append(run.row.line());
    ++finished;
    if (watched) std::cerr << "\r\033[K" << finished << " of " << todo.size() << std::flush;
  });
  if (watched) std::cerr << "\r\033[K";
  std::cout << finished << " rows written, " << runs.size() - todo.size() << " kept from before\n";
  return interrupted ? 130 : 0;
}

}  // namespace

int run_experiment(int argc, char** argv, std::string_view experiment, std::string_view usage,
                   const std::function<std::vector<Run>(const Options&)>& make_runs,
                   const std::function<void(const std::vector<Run>&)>& summary, Reads reads) {
  try {
    const Options options = parse_options({argv + 1, argv + argc});
    if (options.help) {
      std::cout << usage << '\n' << help;
      return 0;
    }
    if (!options.model.empty() && reads == Reads::own_checkpoint) {
      throw usage_error("--model", "this experiment reads no checkpoint but its own", "no --model");
    }
    std::vector<Run> runs = make_runs(options);
    keep_axes(options.axes, runs);
    for (Run& run : runs) {
      run.row.experiment = experiment;
      run.row.axes.add("scale", to_string(options.scale));
    }
    std::erase_if(runs, [&](const Run& run) {
      return describe_run(run).find(options.filter) == std::string::npos;
    });
    if (runs.empty()) {
      std::cerr << experiment << ": no run's description contains " << in_quotes(options.filter)
                << '\n';
      return 3;
    }
    if (options.list) {
      for (const Run& run : runs) std::cout << describe_run(run) << '\n';
      return 0;
    }
    const int ended = measure_all(options, runs, metrics::provenance_now(build_info(), argc, argv));
    if (ended == 0 && summary) summary(runs);
    return ended;
  } catch (const Error& error) {
    std::cerr << experiment << ": " << error.what() << '\n';
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << experiment << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace quire::experiment
