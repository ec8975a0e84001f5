// quire sweep: many runs, on one machine or on several.
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/flag_values.hpp>
#include <experiments/quire/sweep.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {
namespace {

struct CollectOptions {
  std::vector<std::string> in;
  std::filesystem::path out;
  std::filesystem::path cells;
  bool force = false;
};

/// Hashes of the cells of a plan, in its order.
std::vector<std::string> hashes_of(const std::filesystem::path& plan) {
  std::vector<std::string> hashes;
  for (const std::string& line : lines_of_plan(plan)) {
    const std::string where = plan.string() + ": line " + std::to_string(hashes.size() + 1);
    const json::Value cell = json::parse(line, where);
    const std::string* hash = text_member(&cell, "cell");
    if (hash == nullptr) throw data_error(where, "is no cell", "schema quire.cell/1");
    hashes.push_back(*hash);
  }
  return hashes;
}

/// Brings the rows of several files together; of rows with one id the last one read stays. With a plan:
/// in its order, and it is an error when one of its rows is missing.
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
  std::size_t missing = 0;
  if (!options.cells.empty()) {
    order = hashes_of(options.cells);
    missing = std::erase_if(order, [&rows](const std::string& id) { return !rows.contains(id); });
  }
  Output output = open_output(options.out, options.force ? Existing::force : Existing::refuse, "",
                              "another file, or --force (starts anew)");
  for (const std::string& id : order) output.file->append(rows.at(id));
  std::cerr << order.size() << " rows of " << options.in.size() << " files, " << read - order.size()
            << " of them again and left out";
  if (torn_files > 0) std::cerr << ", " << torn_files << " files with a torn last line";
  if (missing > 0) std::cerr << "; " << missing << " cells of the plan have no row";
  std::cerr << '\n';
  return missing > 0 ? 1 : order.empty() ? 3 : 0;
}

/// Prints the cells, or writes them as a file that `sweep run --cells` takes.
int plan_sweep(RunOptions& o, const Invocation& invocation) {
  if (o.append || o.resume || !o.label.empty() || !o.metadata.empty() || o.dry_run) {
    throw usage_error("quire sweep plan", "runs nothing and writes no rows",
                      "--append, --resume, --label, --metadata and --dry-run at `quire sweep run`");
  }
  std::vector<Cell> cells = planned_cells(o);
  if (!o.out.empty()) {
    std::error_code none;
    if (!o.force && std::filesystem::exists(o.out, none)) {
      throw usage_error("--out " + o.out.string(), "is there already", "another file, or --force");
    }
    const Prepared prepared = prepare(std::move(cells), o, invocation);
    std::vector<std::size_t> all(prepared.cells.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    write_cells(o.out, prepared, all);
    if (!o.quiet) std::cerr << all.size() << (all.size() == 1 ? " cell\n" : " cells\n");
    return 0;
  }
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (o.format == "json" || o.format == "jsonl") {
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
  return 0;
}

int run_sweep(SweepOptions& o, const Invocation& invocation) {
  if (o.backend == "slurm" && (!o.run.shard.empty() || o.run.count > 0)) {
    throw usage_error("--backend slurm", "makes the parts itself", "no --shard and no --index");
  }
  std::vector<std::string> hashes;
  std::vector<Cell> cells =
      o.cells.empty() ? planned_cells(o.run) : read_cells(o.cells, o.run, hashes);
  if (o.run.dry_run) {
    for (const Cell& cell : cells) std::cout << describe(cell) << '\n';
    std::cout << cells.size() << (cells.size() == 1 ? " run\n" : " runs\n");
    return 0;
  }
  const Prepared prepared = prepare(std::move(cells), o.run, invocation, Stamp::timeless);
  check_hashes(o.cells, prepared, hashes);
  return o.backend == "slurm" ? run_on_slurm(prepared, o) : run_in_processes(prepared, o);
}

}  // namespace

void add_sweep(CLI::App& app, int& exit_code, const Invocation& invocation) {
  CLI::App* sweep = app.add_subcommand(
      "sweep",
      "Plans many runs, runs them here or on a cluster, brings the rows together.\n\n"
      "Examples:\n"
      "  quire sweep run  --axis request_rate=[0.5:2:0.5] --jobs 8 --out rows.jsonl\n"
      "  quire sweep run  --axis request_rate=[0.5:2:0.5] --jobs 8 --out rows.jsonl --resume\n"
      "  quire sweep plan --filter orca --axis request_rate=[0.5:2:0.5] --out cells.jsonl\n"
      "  quire sweep run  --cells cells.jsonl --backend slurm --cells-per-task 50 --out "
      "rows.jsonl\n"
      "  quire sweep run  --cells cells.jsonl --index 0 --count 4 --out part0.jsonl\n"
      "  quire sweep collect part*.jsonl --cells cells.jsonl --out rows.jsonl\n");
  sweep->require_subcommand(1);

  CLI::App* plan = sweep->add_subcommand(
      "plan", "Prints the cells, one a line, or writes them to --out; runs none.");
  const auto planned = std::make_shared<RunOptions>();
  add_run_flags(*plan, *planned);
  plan->callback(
      [planned, &exit_code, invocation] { exit_code = plan_sweep(*planned, invocation); });

  CLI::App* run = sweep->add_subcommand(
      "run",
      "Runs the cells, each in a process that may die alone, or the part that --index names. Rows "
      "of\n"
      "simulated runs are the same whenever and wherever they are made; when, where and how long\n"
      "is in FILE.log beside them. --resume runs what has no row yet.");
  const auto running = std::make_shared<SweepOptions>();
  add_run_flags(*run, running->run);
  run->add_option("--cells", running->cells, "file of cells, by `quire sweep plan --out`")
      ->group("Selection");
  CLI::Option* index =
      run->add_option("--index", running->run.index, "part of the sweep, from 0")->group("Control");
  CLI::Option* count =
      run->add_option("--count", running->run.count, "number of parts")->group("Control");
  count->check(whole_number(1, 1'000'000));
  index->needs(count);
  count->needs(index);
  run->add_option("--retries", running->retries,
                  "further attempts at cells whose process died, or that a job left without a row")
      ->check(whole_number(0, 100))
      ->capture_default_str()
      ->group("Control");
  run->add_option("--backend", running->backend, "where it runs: local or slurm")
      ->check(one_of("back end", {"local", "slurm"}))
      ->capture_default_str()
      ->group("Control");
  SlurmOptions& slurm = running->slurm;
  run->add_option(
         "--cells-per-task", slurm.cells_per_task,
         "cells that a task of the job array runs, --jobs at once; a task takes about half "
         "a second to start")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str()
      ->group("Slurm");
  run->add_option("--max-tasks", slurm.max_tasks,
                  "tasks of an array at most (MaxArraySize - 1); beyond it tasks get more cells")
      ->check(whole_number(1, 4'000'000))
      ->capture_default_str()
      ->group("Slurm");
  run->add_option("--at-once", slurm.at_once, "tasks that may run at once; 0: as the cluster likes")
      ->capture_default_str()
      ->group("Slurm");
  run->add_option("--poll", slurm.poll_s, "seconds between looks at the queue and at new rows")
      ->check(number_between(0.1, 3600, "0.1 to 3600 seconds"))
      ->capture_default_str()
      ->group("Slurm");
  run->add_option("--sbatch", slurm.sbatch, "a further word for sbatch, as --sbatch=--partition=x")
      ->allow_extra_args(false)
      ->group("Slurm");
  run->get_option("--out")->required();
  run->callback([running, &exit_code, invocation] { exit_code = run_sweep(*running, invocation); });

  CLI::App* gather = sweep->add_subcommand("collect", "Joins files of rows, each row once.");
  const auto collecting = std::make_shared<CollectOptions>();
  gather->add_option("files", collecting->in, "files of result rows")->required();
  gather->add_option("-o,--out", collecting->out, "file that they are joined in")->required();
  gather->add_option("--cells", collecting->cells,
                     "the plan: rows in its order, and exit code 1 when one is missing");
  gather->add_flag("--force", collecting->force, "start --out anew");
  gather->callback([collecting, &exit_code] { exit_code = collect(*collecting); });
}

}  // namespace quire::experiment
