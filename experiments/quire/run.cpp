// quire run: one engine on one workload, or several of both.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/suggest.hpp>
#include <experiments/quire/runner.hpp>

namespace quire::experiment {
namespace {

/// `quire run NAME ...` starts the experiment of that name with the words that follow.
void run_experiment(const std::vector<std::string>& words) {
  const auto names = experiment_names();
  const std::string& name = words.front();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw unknown_name("quire run", "experiment", name, names);
  }
  const std::string program = experiment_program(name);
  if (program.empty()) {
    throw state_error("quire run " + name, "the experiment has not been built beside this program",
                      "a build of the target " + name);
  }
  become(program, {words.begin() + 1, words.end()});
}

}  // namespace

void add_run(CLI::App& app, int& exit_code, const Invocation& invocation) {
  CLI::App* command = app.add_subcommand(
      "run",
      "Replays a workload through engines in simulated time and prints what came out.\n\n"
      "Examples:\n"
      "  quire run --variant vllm --workload sharegpt --request-rate 2 --num-prompts 1000 --seed "
      "0\n"
      "  quire run --variant orca_max,vllm --axis request_rate=[0.5:2:0.5] --out rows.jsonl\n"
      "  quire run --workload trace --trace azure.csv --arrival trace --model llama3_8b\n"
      "  quire run block_size --out rows.jsonl        the experiment of that name\n");
  const auto options = std::make_shared<RunOptions>();
  add_run_flags(*command, *options);
  command->callback([options, &exit_code, invocation] {
    exit_code = run_planned(planned_cells(*options), *options, invocation);
  });
  // An experiment takes its own flags, so its words are not parsed here.
  if (invocation.argc > 2 && std::string(invocation.argv[1]) == "run" &&
      invocation.argv[2][0] != '-') {
    run_experiment({invocation.argv + 2, invocation.argv + invocation.argc});
  }
}

}  // namespace quire::experiment
