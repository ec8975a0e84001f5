// The programs beside this one: experiments, and the benchmark of the machine's limits.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/quire/commands.hpp>
#include <quire/core/error.hpp>

namespace quire::experiment {

std::string program_folder() {
  std::error_code none;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", none);
  return none ? "" : self.parent_path().string();
}

std::vector<std::string> experiment_names() {
  std::vector<std::string> names;
  std::istringstream list(QUIRE_EXPERIMENT_NAMES);
  for (std::string name; std::getline(list, name, ',');) names.push_back(name);
  return names;
}

std::string experiment_program(const std::string& name) {
  const auto path = std::filesystem::path(program_folder()) / ".." / name / name;
  std::error_code none;
  return std::filesystem::is_regular_file(path, none) ? std::filesystem::canonical(path).string()
                                                      : "";
}

void become(const std::string& program, const std::vector<std::string>& words) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::cout.flush();
  ::execv(program.c_str(), argv.data());
  throw state_error(program, std::string("cannot be started: ") + std::strerror(errno),
                    "a program that was built");
}

void add_bench_limits(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand(
      "bench-limits",
      "Measures what this machine can do at most: the ceilings that benchmarks are held against.\n"
      "Flags are those of google benchmark, such as --benchmark_filter=REGEX.");
  command->allow_extras();
  command->callback([command] {
    const auto folder = std::filesystem::path(program_folder());
    for (const char* path :
         {"../../benchmarks/limits_bench", "../../../build/benchmarks/limits_bench"}) {
      const auto program = folder / path;
      std::error_code none;
      if (std::filesystem::is_regular_file(program, none)) {
        become(std::filesystem::canonical(program).string(), command->remaining());
      }
    }
    throw state_error("quire bench-limits", "the benchmark has not been built",
                      "a build with -DQUIRE_BENCHMARKS=ON, or ./benchmarks/run");
  });
}

}  // namespace quire::experiment
