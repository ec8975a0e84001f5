#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/subprocess.hpp>
#include <quire/core/error.hpp>

/// Slurm through its own commands: nothing is linked, and `sbatch` and `squeue` need only be on
/// PATH.
namespace quire::experiment::slurm {

/// One job array to be submitted.
struct ArrayJob {
  std::string name{};
  std::size_t tasks = 1;
  std::size_t at_once = 0;           // tasks that may run at once; 0: as the cluster likes
  std::size_t cpus = 1;              // of each task
  std::vector<std::string> more{};   // further words for sbatch, such as --partition=short
  std::filesystem::path log{};       // what tasks print; %a is the task's number
  std::filesystem::path script{};    // where the batch script is written
  std::vector<std::string> words{};  // the command of each task; {task} in it is the task's number
};

/// A word as a shell reads it back.
[[nodiscard]] inline std::string shell_quoted(std::string_view word) {
  std::string out = "'";
  for (const char c : word) c == '\'' ? out.append("'\\''") : out.append(1, c);
  return out + "'";
}

/// Writes the batch script and submits it. A task that a broken node loses does not come back by
/// itself: whoever watches the job sees what is missing, and runs that and no more.
/// Returns the job's number. \errors state error: no sbatch, or what it complained of.
[[nodiscard]] inline std::string submit(const ArrayJob& job) {
  {
    std::ofstream script(job.script, std::ios::trunc);
    script << "#!/bin/sh\nexec";
    for (const std::string& word : job.words) {
      std::string text = shell_quoted(word);
      constexpr std::string_view number = "{task}";
      if (const std::size_t at = text.find(number); at != std::string::npos) {
        text.replace(at, number.size(), "'\"$SLURM_ARRAY_TASK_ID\"'");
      }
      script << ' ' << text;
    }
    script << '\n';
    if (!script.flush()) {
      throw state_error(job.script.string(), "cannot be written", "a folder all nodes see");
    }
  }
  std::string array = "--array=0-" + std::to_string(job.tasks - 1);
  if (job.at_once > 0) array += "%" + std::to_string(job.at_once);
  std::vector<std::string> words{"sbatch",
                                 "--parsable",
                                 "--no-requeue",
                                 "--job-name=" + job.name,
                                 "--cpus-per-task=" + std::to_string(job.cpus),
                                 "--output=" + job.log.string(),
                                 array};
  words.insert(words.end(), job.more.begin(), job.more.end());
  words.push_back(job.script.string());
  const Said said = run_command(words);
  if (said.exit_code == 127) {
    throw state_error("--backend slurm", "there is no sbatch on PATH",
                      "a machine of a Slurm cluster, or --backend local");
  }
  std::string id =
      said.out.substr(0, said.out.find_first_of(";\n"));  // a cluster's name may follow
  if (said.exit_code != 0 || id.empty() || id.find_first_not_of("0123456789") != id.npos) {
    std::string why = said.err.substr(0, said.err.find('\n'));
    throw state_error("sbatch", why.empty() ? "gave no job number" : why, "a job that is taken");
  }
  return id;
}

/// What the queue says of a job.
struct Queue {
  bool answered = false;  // false: the controller could not be asked
  std::size_t pending = 0;
  std::size_t running = 0;  // or ending
  std::string reason{};     // why a pending task waits
  [[nodiscard]] bool over() const { return answered && pending + running == 0; }
};

/// Asks the queue for the tasks of a job, or of several with commas between.
[[nodiscard]] inline Queue queue_of(const std::string& job) {
  const Said said = run_command(
      {"squeue", "--noheader", "--array", "--jobs=" + job, "--states=all", "--format=%T %r"});
  Queue queue;
  if (said.exit_code != 0) {  // a job that ended a while ago is no longer known
    queue.answered = said.err.find("Invalid job id") != std::string::npos;
    return queue;
  }
  queue.answered = true;
  std::istringstream lines(said.out);
  for (std::string line; std::getline(lines, line);) {
    const std::string state = line.substr(0, line.find(' '));
    if (state == "PENDING" || state == "CONFIGURING" || state == "REQUEUED") {
      ++queue.pending;
      queue.reason = line.substr(std::min(line.size(), state.size() + 1));
    } else if (state == "RUNNING" || state == "COMPLETING" || state == "SUSPENDED" ||
               state == "STOPPED" || state == "STAGE_OUT" || state == "SIGNALING" ||
               state == "RESIZING") {
      ++queue.running;
    }
  }
  return queue;
}

}  // namespace quire::experiment::slurm
