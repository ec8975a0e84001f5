// quire sweep run on this machine: a pool of processes.
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <experiments/common/process_pool.hpp>
#include <experiments/quire/sweep.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {
namespace {

/// What a process tells of a cell, and back. The outcome stays where it is.
std::string packed(const CellRun& run) {
  std::string notices;
  for (const std::string& notice : run.notices) {
    notices += (notices.empty() ? "" : ", ") + metrics::json_quoted(notice);
  }
  return metrics::JsonObject()
      .add("line", run.line)
      .raw("notices", "[" + notices + "]")
      .add("nothing", run.nothing_completed)
      .add("error", run.error)
      .add("exit_code", run.exit_code)
      .add("wall_seconds", run.wall_seconds)
      .text();
}
CellRun unpacked(const std::string& text) {
  const json::Value value = json::parse(text, "answer of a process");
  const json::Object& o = *value.object();
  CellRun run;
  run.line = *o.find("line")->string();
  for (const json::Value& notice : *o.find("notices")->array()) {
    run.notices.push_back(*notice.string());
  }
  run.nothing_completed = *o.find("nothing")->boolean();
  run.error = *o.find("error")->string();
  run.exit_code = static_cast<int>(*o.find("exit_code")->integer());
  run.wall_seconds = *o.find("wall_seconds")->number();
  return run;
}

/// One line an attempt: which cell, what became of it, when, where and how long.
class AttemptLog {
 public:
  AttemptLog(const Prepared& prepared, const RunOptions& options)
      : prepared_(&prepared),
        file_(log_of(options.out), options.force ? std::ios::trunc : std::ios::app) {}
  void add(std::size_t i, int attempt, const CellRun& run) {
    file_ << metrics::JsonObject()
                 .add("cell", row_of(*prepared_, i).run_id())
                 .add("attempt", attempt)
                 .add("ended", run.line.empty() ? "failed" : "done")
                 .add("error", run.error)
                 .add("wall_seconds", run.wall_seconds)
                 .add("host", prepared_->provenance.host)
                 .add("time_utc", metrics::utc_time(std::time(nullptr)))
                 .text()
          << std::endl;
  }

 private:
  const Prepared* prepared_;
  std::ofstream file_;
};

}  // namespace

int run_in_processes(const Prepared& prepared, const SweepOptions& options) {
  Tally tally(prepared, options.run);
  const Interruption interruption;
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < prepared.cells.size(); ++i) {
    if (!tally.was_finished(i)) todo.push_back(i);
  }
  AttemptLog log(prepared, options.run);
  std::map<std::size_t, int> attempts;
  ProcessPool pool(std::min(options.run.jobs, std::max<std::size_t>(1, todo.size())),
                   [&](std::size_t k) { return packed(run_one(prepared, todo[k])); });
  pool.run(
      todo.size(),
      [&](TaskEnd end) {
        const std::size_t i = todo[end.task];
        if (end.died && Interruption::requested()) return false;  // it was told to stop as we were
        const int attempt = ++attempts[i];
        CellRun run;
        if (end.died) {
          run.error = end.text;
          run.exit_code = 1;
        } else {
          run = unpacked(end.text);
        }
        log.add(i, attempt, run);
        if (end.died && attempt <= options.retries) return true;
        tally.add(i, std::move(run));
        return false;
      },
      [&] {
        tally.show("");
        return !Interruption::requested() && !tally.stopped();
      });
  return tally.close();
}

}  // namespace quire::experiment
