#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <experiments/common/cells.hpp>
#include <experiments/common/output.hpp>
#include <experiments/common/run_cell.hpp>
#include <experiments/common/shard.hpp>
#include <experiments/quire/commands.hpp>

namespace quire::experiment {

/// What `quire run` and `quire sweep` are asked for, as text where it must be checked together.
struct RunOptions {
  std::vector<RunVariant> variants{};  // of the executor; filled by planned_cells()
  Selection selection{};
  std::vector<std::string> axes{};
  Measurement measurement{};
  std::vector<std::string> goodput{};
  std::filesystem::path out{};
  bool append = false, resume = false, force = false;
  std::string shard{};
  std::size_t index = 0, count = 0;  // count 0: no such part was asked for
  bool dry_run = false, continue_on_error = false;
  bool progress = false, no_progress = false, quiet = false;
  std::size_t jobs = 1;
  std::string format{};
  std::string label{};
  std::vector<std::string> metadata{};
};

/// Adds the flags of a run to a command.
void add_run_flags(CLI::App& command, RunOptions& options);

/// The cells that the options ask for, of this part of the sweep. Part of checking them is done
/// here: everything that can be wrong without running anything is found before the first cell runs.
/// \errors usage error, NothingMatched.
/// The cells point into options.variants.
[[nodiscard]] std::vector<Cell> planned_cells(RunOptions& options);

/// One line that says what a cell is.
[[nodiscard]] std::string describe(const Cell& cell);

/// Runs the cells, writes their rows, prints what came out. Returns the exit code.
[[nodiscard]] int run_planned(std::vector<Cell> cells, RunOptions& options,
                              const Invocation& invocation);

}  // namespace quire::experiment
