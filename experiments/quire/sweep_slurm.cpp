// quire sweep run --backend slurm: job arrays, watched until every row is there.
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <experiments/common/eta.hpp>
#include <experiments/common/slurm.hpp>
#include <experiments/quire/sweep.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {
namespace {

namespace fs = std::filesystem;

/// A sweep whose cells run as tasks of job arrays. Each task writes a file of its own in a folder beside
/// the rows; what is whole in those files is brought into the rows as it comes, each row once. When a
/// job is over and rows are missing, whatever the reason, a further job runs just these cells.
class SlurmSweep {
 public:
  SlurmSweep(const Prepared& prepared, const SweepOptions& options)
      : prepared_(prepared),
        options_(options),
        folder_(fs::absolute(options.run.out.string() + ".slurm")),
        output_(open_output(options.run.out, existing_of(options.run), program())),
        progress_(options.run.no_progress || options.run.quiet ? Progress::Show::never
                  : options.run.progress                       ? Progress::Show::always
                                                               : Progress::Show::when_terminal),
        begun_(std::chrono::steady_clock::now()) {
    for (std::size_t i = 0; i < prepared.cells.size(); ++i) {
      std::string id = row_of(prepared, i).run_id();
      if (!output_.finished.contains(id)) missing_.emplace(std::move(id), i);
    }
    before_ = done();
  }

  int run() {
    const Interruption interruption;
    std::string job = options_.run.resume ? last_job() : "";
    if (job.empty() && !options_.run.resume) fs::remove_all(folder_);
    fs::create_directories(folder_);
    gather();
    int rounds = 0;
    while (!missing_.empty()) {
      if (job.empty()) {
        if (rounds++ > options_.retries) break;
        job = submit();
      }
      if (!watch(job)) return interrupted(job);
      job.clear();
    }
    progress_.clear();
    say(std::to_string(done()) + " of " + std::to_string(prepared_.cells.size()) + " rows, " +
        std::to_string(before_) + " of them from before");
    if (!missing_.empty()) tell_failures();
    return missing_.empty() ? 0 : 1;
  }

 private:
  [[nodiscard]] const std::string& program() const { return prepared_.provenance.program; }
  [[nodiscard]] std::size_t done() const { return prepared_.cells.size() - missing_.size(); }
  [[nodiscard]] fs::path jobs_file() const { return folder_ / "jobs.jsonl"; }

  void say(const std::string& text) {
    progress_.clear();
    if (!options_.run.quiet) std::cerr << "quire: " << text << '\n';
  }

  /// The job that was submitted last, by a sweep that was stopped since; empty: none.
  std::string last_job() {
    std::string job;
    for (const std::string& line : metrics::read_rows(jobs_file())) {
      const json::Value value = json::parse(line, jobs_file().string());
      const std::string* id = text_member(&value, "job");
      if (id == nullptr) throw data_error(jobs_file().string(), "names no job", "a member 'job'");
      job = *id;
      ++round_;
    }
    if (!job.empty()) say("watching job " + job + " again");
    return job;
  }

  /// Submits the cells that are missing. The job's number is on the disk when this returns.
  std::string submit() {
    std::vector<std::size_t> which;
    for (const auto& [id, i] : missing_) which.push_back(i);
    std::sort(which.begin(), which.end());
    const std::string round = std::to_string(++round_);
    const fs::path cells = folder_ / ("cells_" + round + ".jsonl");
    write_cells(cells, prepared_, which);
    const SlurmOptions& s = options_.slurm;
    const std::size_t tasks =
        std::min(s.max_tasks, (which.size() + s.cells_per_task - 1) / s.cells_per_task);
    const RunOptions& r = options_.run;
    slurm::ArrayJob array{.name = "quire-sweep",
                          .tasks = tasks,
                          .at_once = s.at_once,
                          .cpus = r.jobs,
                          .more = s.sbatch,
                          .log = folder_ / ("log_" + round + "_%a.txt"),
                          .script = folder_ / ("job_" + round + ".sh")};
    array.words = {fs::read_symlink("/proc/self/exe").string(),
                   "sweep",
                   "run",
                   "--cells",
                   cells.string(),
                   "--index",
                   "{task}",
                   "--count",
                   std::to_string(tasks),
                   "--out",
                   (folder_ / ("part_" + round + "_{task}.jsonl")).string(),
                   "--resume",
                   "--continue-on-error",
                   "--quiet",
                   "--retries",
                   "0",
                   "--jobs",
                   std::to_string(r.jobs)};
    const auto add = [&array](const char* flag, const std::string& value) {
      array.words.insert(array.words.end(), {flag, value});
    };
    if (!r.label.empty()) add("--label", r.label);
    for (const std::string& pair : r.metadata) add("--metadata", pair);
    if (r.measurement.timeout_s > 0) {
      add("--timeout", detail::plain_number(r.measurement.timeout_s));
    }
    const std::string job = slurm::submit(array);
    metrics::RowFile(jobs_file())
        .append(metrics::JsonObject()
                    .add("job", job)
                    .add("cells", which.size())
                    .add("tasks", tasks)
                    .add("time_utc", metrics::utc_time(std::time(nullptr)))
                    .text());
    say("job " + job + ": " + std::to_string(which.size()) + " cells in " + std::to_string(tasks) +
        (tasks == 1 ? " task" : " tasks"));
    return job;
  }

  /// Brings rows in until the job is over or none is missing. False: interrupted.
  bool watch(const std::string& job) {
    int over = 0;
    while (!missing_.empty()) {
      const slurm::Queue queue = slurm::queue_of(job);
      gather();
      if (missing_.empty()) break;
      // Twice: a file system may show a task's last rows a little later than the queue its end.
      if (queue.over() && ++over == 2) break;
      const double elapsed =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
      std::string text =
          eta_text(before_, done(), prepared_.cells.size(), elapsed) + "  job " + job;
      text += !queue.answered ? ": the controller does not answer"
                              : ": " + std::to_string(queue.running) + " tasks running, " +
                                    std::to_string(queue.pending) + " pending";
      if (!queue.reason.empty() && queue.reason != "None") text += " (" + queue.reason + ")";
      progress_.show(done(), prepared_.cells.size(), text);
      const auto next =
          std::chrono::steady_clock::now() + std::chrono::duration<double>(options_.slurm.poll_s);
      while (std::chrono::steady_clock::now() < next) {
        if (Interruption::requested()) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    }
    return true;
  }

  int interrupted(const std::string& job) {
    progress_.clear();
    std::cerr << "quire: interrupted; job " << job
              << " goes on: the same command with --resume watches it again, `scancel " << job
              << "` ends it\n";
    return 130;
  }

  /// Takes what is new and whole in the tasks' files into the rows.
  void gather() {
    std::set<fs::path> parts;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("part_") && name.ends_with(".jsonl")) parts.insert(entry.path());
    }
    for (const fs::path& path : parts) {
      std::streamoff& read = read_[path.string()];
      std::ifstream file(path, std::ios::binary);
      file.seekg(read);
      for (std::string line; std::getline(file, line) && !file.eof();) {
        read += static_cast<std::streamoff>(line.size()) + 1;
        const json::Value row = json::parse(line, path.string());
        const std::string* id = text_member(&row, "run_id");
        const json::Value* provenance =
            row.object() == nullptr ? nullptr : row.object()->find("provenance");
        const std::string* by = text_member(provenance, "program");
        if (id == nullptr || by == nullptr) {
          throw data_error(path.string(), "holds a line that is no row", "result rows alone");
        }
        const auto at = missing_.find(*id);
        if (at == missing_.end() || *by != program()) continue;
        output_.file->append(line);
        missing_.erase(at);
      }
    }
  }

  /// Says of the first few cells without a row why they have none.
  void tell_failures() {
    std::map<std::string, std::string> errors;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      if (!entry.path().filename().string().ends_with(".jsonl.log")) continue;
      for (const std::string& line : metrics::read_rows(entry.path())) {
        const json::Value value = json::parse(line, entry.path().string());
        const std::string* cell = text_member(&value, "cell");
        const std::string* error = text_member(&value, "error");
        if (cell != nullptr && error != nullptr && !error->empty()) errors[*cell] = *error;
      }
    }
    std::size_t told = 0;
    for (const auto& [id, i] : missing_) {
      if (++told > 5) break;
      const auto at = errors.find(id);
      std::cerr << "quire: " << describe(prepared_.cells[i]) << ": "
                << (at == errors.end() ? "its task ended before it did; see " + folder_.string()
                                       : at->second)
                << '\n';
    }
    if (missing_.size() > told) {
      std::cerr << "quire: and " << missing_.size() - told << " further cells without a row\n";
    }
  }

  const Prepared& prepared_;
  const SweepOptions& options_;
  fs::path folder_;
  Output output_;
  Progress progress_;
  std::chrono::steady_clock::time_point begun_;
  std::map<std::string, std::size_t> missing_;  // cell by the id of its row
  std::map<std::string, std::streamoff> read_;  // bytes of each part that were taken in
  std::size_t before_ = 0;
  int round_ = 0;
};

}  // namespace

int run_on_slurm(const Prepared& prepared, const SweepOptions& options) {
  return SlurmSweep(prepared, options).run();
}

}  // namespace quire::experiment
