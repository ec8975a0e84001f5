#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <experiments/common/cells.hpp>
#include <experiments/common/output.hpp>
#include <experiments/common/run_cell.hpp>
#include <experiments/common/shard.hpp>
#include <experiments/common/terminal.hpp>
#include <experiments/quire/commands.hpp>

namespace quire::experiment {

/// What `quire run` and `quire sweep` are asked for, as text where it must be checked together.
struct RunOptions {
  std::vector<RunVariant> variants{};  // of the executor; filled by planned_cells()
  bool several_on_disk = false;        // runs that share --disk-dir; likewise
  Selection selection{};
  std::vector<std::string> axes{};
  Measurement measurement{};
  std::vector<std::string> goodput{};
  std::string search_rate{};
  std::vector<std::string> keep{};
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

/// Reads the flags of the measurement that are text; a search for a rate sets its upper end as the rate.
/// \errors usage error.
void settle_measurement(RunOptions& options);

/// Checks what can be wrong with a cell without running anything. \errors usage error.
void check_cell(const Cell& cell);

/// The cells that the options ask for, of this part of the sweep. Part of checking them is done
/// here: everything that can be wrong without running anything is found before the first cell runs.
/// \errors usage error, NothingMatched.
/// The cells point into options.variants.
[[nodiscard]] std::vector<Cell> planned_cells(RunOptions& options);

/// The part of the cells that --shard or --index names. \errors usage error.
[[nodiscard]] Shard shard_of(const RunOptions& options);

/// One line that says what a cell is.
[[nodiscard]] std::string describe(const Cell& cell);

/// What is in a row of when and where it was made.
enum class Stamp {
  moment,   // the time, how long the run took, and the command that was typed
  timeless  // of a simulated run nothing that is not the same when it is repeated
};

/// Cells that are ready to run, and what their rows have in common.
struct Prepared {
  std::vector<Cell> cells{};
  std::map<std::string, std::string> trace_hashes{};  // by path
  metrics::RunProvenance provenance{};
  metrics::JsonObject labels{};
  std::string program{};  // as it was called
  Measurement how{};
  Stamp stamp = Stamp::moment;
};

/// Finds out what the cells' settings come to on this machine.
[[nodiscard]] Prepared prepare(std::vector<Cell> cells, const RunOptions& options,
                               const Invocation& invocation, Stamp stamp = Stamp::moment);

/// The row of a cell before it runs, with all that names it.
[[nodiscard]] metrics::ResultRow row_of(const Prepared& prepared, std::size_t i);

/// The words that run this cell alone and print its row, from any folder; the program comes first.
[[nodiscard]] std::vector<std::string> rerun_words(const Cell& cell, const Measurement& how,
                                                   const std::string& program);

/// What running one cell came to.
struct CellRun {
  std::string line{};  // its row; empty when it failed
  std::vector<std::string> notices{};
  bool nothing_completed = false;
  std::string error{};
  int exit_code = 0;
  double wall_seconds = 0;
  std::optional<Outcome> outcome{};
};

/// Runs one cell; what fails is in the answer. \errors Interrupted.
[[nodiscard]] CellRun run_one(const Prepared& prepared, std::size_t i);

/// What to do with rows that are there, by the flags. \errors usage error: two of them.
[[nodiscard]] Existing existing_of(const RunOptions& options);

/// Writes rows as cells end, says what a user must know of them, and prints them when all is done.
class Tally {
 public:
  /// \errors as open_output().
  Tally(const Prepared& prepared, const RunOptions& options);

  /// Whether the row of a cell was there before; counted once a cell.
  [[nodiscard]] bool was_finished(std::size_t i);
  /// A cell has ended. Any thread.
  void add(std::size_t i, CellRun run);
  /// A line on stderr that does not run into the progress.
  void say(const std::string& text);
  /// Draws the progress again.
  void show(std::string_view what);
  /// Whether a cell failed and no further ones are to be run.
  [[nodiscard]] bool stopped() const { return errors_ > 0 && !options_->continue_on_error; }
  /// Prints what is left to print. Returns the exit code.
  [[nodiscard]] int close();

 private:
  const Prepared* prepared_;
  const RunOptions* options_;
  Output output_;
  Progress progress_;
  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::optional<Outcome> only_;
  double begun_ = 0;
  std::size_t done_ = 0, kept_ = 0, failed_ = 0, errors_ = 0, said_ = 0, unsaid_ = 0;
  int failure_code_ = 0;
};

/// Runs the cells, writes their rows, prints what came out. Returns the exit code.
[[nodiscard]] int run_planned(std::vector<Cell> cells, RunOptions& options,
                              const Invocation& invocation);

}  // namespace quire::experiment
