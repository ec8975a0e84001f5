#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <experiments/quire/runner.hpp>

namespace quire::experiment {

/// How a sweep is spread over a Slurm cluster.
struct SlurmOptions {
  std::size_t cells_per_task = 20;
  std::size_t max_tasks = 1000;  // of one job array; Slurm's own default limit is 1001
  std::size_t at_once = 0;       // tasks that run at once; 0: as the cluster likes
  double poll_s = 2;
  std::vector<std::string> sbatch{};  // further words for sbatch
};

struct SweepOptions {
  RunOptions run{};
  std::filesystem::path cells{};  // a file of cells instead of flags that make them
  std::string backend = "local";
  int retries = 2;
  SlurmOptions slurm{};
};

/// One line a cell, schema quire.cell/1: the hash of all that names it, which is the run_id of its
/// row, and the words that run it alone.
void write_cells(const std::filesystem::path& path, const Prepared& prepared,
                 const std::vector<std::size_t>& which);

/// The lines of a file of cells. \errors data error: there is none, it is empty, or it ends inside a line.
[[nodiscard]] std::vector<std::string> lines_of_plan(const std::filesystem::path& path);

/// The cells of a file, of the part that the options ask for, and their hashes; fills the variants
/// and the measurement of the options.
/// \errors data error: a line is no cell, or not one of this program.
[[nodiscard]] std::vector<Cell> read_cells(const std::filesystem::path& path, RunOptions& options,
                                           std::vector<std::string>& hashes);

/// Checks that the cells, now that files were read, are those that the hashes name.
/// \errors data error: a trace, a checkpoint or a default has changed since.
void check_hashes(const std::filesystem::path& path, const Prepared& prepared,
                  const std::vector<std::string>& hashes);

/// Runs the cells in processes of this machine. Returns the exit code.
[[nodiscard]] int run_in_processes(const Prepared& prepared, const SweepOptions& options);

/// Runs the cells as job arrays and waits for them. Returns the exit code.
[[nodiscard]] int run_on_slurm(const Prepared& prepared, const SweepOptions& options);

/// Where a sweep says of each attempt at a cell what became of it, beside the rows.
[[nodiscard]] inline std::filesystem::path log_of(const std::filesystem::path& rows) {
  return rows.string() + ".log";
}

}  // namespace quire::experiment
