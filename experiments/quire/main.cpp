// The quire program: `quire --help` says what it does.
#include <algorithm>
#include <array>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/build_info.hpp>
#include <experiments/common/cells.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/common/terminal.hpp>
#include <experiments/quire/commands.hpp>

namespace quire::experiment {
namespace {

constexpr std::array<std::string_view, 11> commands{
    "list",      "run",     "sweep", "compare",      "generate", "bench-limits",
    "calibrate", "convert", "image", "random-model", "info"};

/// All flags that the chosen command takes.
std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    for (const std::string& name : option->get_snames()) flags.push_back("-" + name);
  }
  return flags;
}

const CLI::App& chosen(const CLI::App& app) {
  const auto used = app.get_subcommands();
  return used.empty() ? app : chosen(*used.front());
}

/// What a parse error means, in our words: an unknown flag is told the nearest known one.
Error explained(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = chosen(app);
  std::string where = command.get_name();
  for (const CLI::App* a = command.get_parent(); a != nullptr; a = a->get_parent()) {
    where = a->get_name() + " " + where;
  }
  for (const std::string& word : app.remaining(true)) {
    if (word.size() > 1 && word.front() == '-') {
      const std::string flag = word.substr(0, word.find('='));
      std::string slot = flag.substr(std::min<std::size_t>(2, flag.size()));
      std::replace(slot.begin(), slot.end(), '-', '_');
      const std::vector<std::string> flags = flags_of(command);
      if (detail::slot_index(slot) < slot_count &&
          std::find(flags.begin(), flags.end(), "--axis") != flags.end()) {
        return usage_error(where, flag + " is no flag: policies are an axis",
                           "--axis " + slot + "=NAME, or --variant");
      }
      return unknown_name(where, "flag", flag, flags);
    }
  }
  std::string what = error.what();
  std::replace(what.begin(), what.end(), '\n', ' ');
  constexpr std::string_view once = ": At Most 1 required but received ";
  if (const std::size_t at = what.find(once); at != std::string::npos) {
    return usage_error(where,
                       what.substr(0, at) + " is given " + what.substr(at + once.size()) + " times",
                       "it once");
  }
  constexpr std::string_view value = ": 1 required ";  // and a type
  if (const std::size_t at = what.find(value);
      at != std::string::npos && what.ends_with("missing")) {
    return usage_error(where, what.substr(0, at) + " has no value", "one behind it");
  }
  constexpr std::string_view expected = "; expected ";  // of flag_values.hpp
  if (const std::size_t at = what.find(expected); at != std::string::npos) {
    return usage_error(where, what.substr(0, at), what.substr(at + expected.size()));
  }
  return usage_error(where, what, "what `" + where + " --help` says");
}

int run_program(int argc, char** argv) {
  CLI::App app(
      "Runs engines composed of paged-attention policies, in simulated time or for real.\n\n"
      "Examples:\n"
      "  quire list --filter orca\n"
      "  quire run --variant vllm --workload sharegpt --request-rate 2 --model opt_13b\n"
      "  quire run --variant vllm_prefix_cache --axis eviction=[lru,sieve] --out rows.jsonl\n"
      "  quire compare rows.jsonl --between eviction\n"
      "  quire sweep plan --axis block_size=[1,16,256] --axis request_rate=[0.5:2:0.5]\n"
      "  quire generate MODEL_DIR --prompt \"Once upon a time\"\n",
      "quire");
  app.set_version_flag("--version", "quire " + build_info().version);
  app.require_subcommand(1);
  app.footer("Exit codes: 0 ok, 1 a run failed, 2 usage, 3 nothing matched, 130 interrupted.");
  int exit_code = 0;
  const Invocation invocation{argc, argv};
  add_list(app, exit_code);
  add_run(app, exit_code, invocation);
  add_sweep(app, exit_code, invocation);
  add_compare(app, exit_code);
  add_generate(app, exit_code);
  add_bench_limits(app, exit_code);
  add_calibrate(app, exit_code);
  add_convert(app, exit_code);
  add_image(app, exit_code);
  add_random_model(app, exit_code);
  add_info(app, exit_code);
  if (argc > 1 && argv[1][0] != '-' &&
      std::find(commands.begin(), commands.end(), argv[1]) == commands.end()) {
    throw unknown_name("quire", "command", argv[1], commands);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {  // --help and --version
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    throw explained(app, error);
  }
  return exit_code;
}

/// One line on stderr; an error that begins with the program's name is not given it again.
void complain(const std::string& text) {
  std::cerr << (text.starts_with("quire") ? "" : "quire: ") << text << '\n';
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  try {
    return quire::experiment::run_program(argc, argv);
  } catch (const quire::experiment::NothingMatched& nothing) {
    quire::experiment::complain(nothing.what);
    return 3;
  } catch (const quire::experiment::Interrupted&) {
    return 130;
  } catch (const quire::Error& error) {
    quire::experiment::complain(error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    quire::experiment::complain(error.what());
    return 1;
  }
}
