#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include <experiments/common/options.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/metrics/result_row.hpp>

namespace quire::experiment {

/// One row to be: what names it, and a function that runs it and gives the metrics.
struct Run {
  metrics::ResultRow row{};  // identity: variant, workload, seed and axes
  /// Called at most once, on any thread.
  std::function<metrics::JsonObject()> measure{};
};

/// Whose checkpoint an experiment runs: --model is refused where nobody would read it.
enum class Reads { own_checkpoint, any_checkpoint };

/// The main of an experiment. make_runs: what is to be run; usage: what it does, examples;
/// summary: prints what came out, runs that were kept from before left out.
int run_experiment(int argc, char** argv, std::string_view experiment, std::string_view usage,
                   const std::function<std::vector<Run>(const Options&)>& make_runs,
                   const std::function<void(const std::vector<Run>&)>& summary = {},
                   Reads reads = Reads::own_checkpoint);

}  // namespace quire::experiment
