// quire sweep: many runs, on one machine or on several.
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/quire/runner.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {
namespace {

struct CollectOptions {
  std::vector<std::string> in;
  std::filesystem::path out;
  bool force = false;
};

/// Brings the rows of several files together; of rows with one id the last one read stays.
int collect(const CollectOptions& options) {
  std::vector<std::string> order;
  std::map<std::string, std::string> rows;
  std::size_t read = 0;
  std::size_t torn_files = 0;
  for (const std::string& path : options.in) {
    if (!std::filesystem::exists(path)) {
      throw data_error(path, "does not exist", "a file of result rows");
    }
    bool torn = false;
    std::size_t number = 0;
    for (std::string& line : metrics::read_rows(path, &torn)) {
      const std::string where = path + ": row " + std::to_string(++number);
      const json::Value row = json::parse(line, where);
      const std::string* schema = text_member(&row, "schema");
      const std::string* id = text_member(&row, "run_id");
      if (schema == nullptr || id == nullptr || *schema != metrics::ResultRow::schema) {
        throw data_error(where, "is no result row", "schema quire.result/1 and a run_id");
      }
      ++read;
      if (!rows.contains(*id)) order.push_back(*id);
      rows[*id] = std::move(line);
    }
    torn_files += torn;
  }
  Output output = open_output(options.out, options.force ? Existing::force : Existing::refuse, "",
                              "another file, or --force (starts anew)");
  for (const std::string& id : order) output.file->append(rows.at(id));
  std::cerr << order.size() << " rows of " << options.in.size() << " files, " << read - order.size()
            << " of them again and left out";
  if (torn_files > 0) std::cerr << ", " << torn_files << " files with a torn last line";
  std::cerr << '\n';
  return order.empty() ? 3 : 0;
}

}  // namespace

void add_sweep(CLI::App& app, int& exit_code, const Invocation& invocation) {
  CLI::App* sweep = app.add_subcommand(
      "sweep",
      "Plans many runs, runs a part of them, brings the rows of the parts together.\n\n"
      "Examples:\n"
      "  quire sweep plan --filter orca --axis request_rate=[0.5:2:0.5]\n"
      "  quire sweep run  --filter orca --axis request_rate=[0.5:2:0.5] --index 0 --count 4 "
      "--out part0.jsonl\n"
      "  quire sweep collect part*.jsonl --out rows.jsonl\n\n"
      "On a Slurm cluster: --index $SLURM_ARRAY_TASK_ID --count $SLURM_ARRAY_TASK_COUNT, and a\n"
      "file for each task.\n");
  sweep->require_subcommand(1);

  CLI::App* plan = sweep->add_subcommand("plan", "Prints the cells, one a line, and runs none.");
  const auto planned = std::make_shared<RunOptions>();
  add_run_flags(*plan, *planned);
  plan->callback([planned, &exit_code] {
    if (!planned->out.empty() || planned->append || planned->resume || planned->force) {
      throw usage_error("quire sweep plan", "writes no rows, so there is no file to write",
                        "no --out, --append, --resume or --force; or `quire sweep run`");
    }
    const auto cells = planned_cells(*planned);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (planned->format == "json" || planned->format == "jsonl") {
        std::cout << metrics::JsonObject()
                         .add("index", i)
                         .add("cell", describe(cells[i]))
                         .add("incompatible", cells[i].variant->incompatible)
                         .text()
                  << '\n';
      } else {
        std::cout << i << '\t' << describe(cells[i]) << '\n';
      }
    }
    exit_code = 0;
  });

  CLI::App* run = sweep->add_subcommand("run", "Runs the cells, or the part that --index names.");
  const auto running = std::make_shared<RunOptions>();
  add_run_flags(*run, *running);
  CLI::Option* index =
      run->add_option("--index", running->index, "part of the sweep, from 0")->group("Control");
  CLI::Option* count =
      run->add_option("--count", running->count, "number of parts")->group("Control");
  count->check(CLI::Range(1, 1'000'000));
  index->needs(count);
  count->needs(index);
  run->get_option("--out")->required();
  run->callback([running, &exit_code, invocation] {
    exit_code = run_planned(planned_cells(*running), *running, invocation);
  });

  CLI::App* gather = sweep->add_subcommand("collect", "Joins files of rows, each row once.");
  const auto collecting = std::make_shared<CollectOptions>();
  gather->add_option("files", collecting->in, "files of result rows")->required();
  gather->add_option("-o,--out", collecting->out, "file that they are joined in")->required();
  gather->add_flag("--force", collecting->force, "start --out anew");
  gather->callback([collecting, &exit_code] { exit_code = collect(*collecting); });
}

}  // namespace quire::experiment
