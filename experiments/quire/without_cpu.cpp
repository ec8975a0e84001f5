// What a program without a CPU_LIST says when it is asked to compute.
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/quire/commands.hpp>
#include <quire/core/error.hpp>

namespace quire::experiment {

std::vector<RunVariant> variants_on_cpu() {
  throw usage_error(
      "--executor cpu", "this program was compiled without variants for it",
      "CPU_HEADER, CPU_LIST and CPU_COUNT in quire_driver(), or --executor simulated");
}

std::vector<std::string> chosen_names_on_cpu(std::string_view) { return {}; }
void add_chosen_on_cpu(std::vector<RunVariant>&, const Selection&) {}

void add_generate(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand(
      "generate", "Generates text; not in this program, which was compiled without a CPU_LIST.");
  command->allow_extras();
  command->callback([] {
    throw state_error("quire generate", "this program was compiled without the CPU executor",
                      "CPU_HEADER, CPU_LIST and CPU_COUNT in quire_driver()");
  });
}

}  // namespace quire::experiment
