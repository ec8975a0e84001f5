#include <experiments/common/workloads.hpp>

#include <string>

#include <quire/core/error.hpp>
#include <quire/workload/trace/open_trace.hpp>

namespace quire::experiment {

std::vector<std::pair<RealTrace, workload::Workload>> open_traces(
    const std::filesystem::path& folder) {
  std::vector<std::pair<RealTrace, workload::Workload>> found;
  std::string names;
  for (const RealTrace& trace : real_traces) {
    names.append(names.empty() ? "" : ", ").append(trace.file);
    const std::filesystem::path path = folder / trace.file;
    if (!std::filesystem::exists(path)) continue;
    workload::Workload w = workload::trace::open_trace(path, {.jitter = trace.jitter});
    w.name = trace.name;
    const std::size_t all = w.requests.size();
    std::erase_if(w.requests, [&](const Request& r) {
      return r.prompt_length + r.output_length.value_or(0) >= trace.max_length;
    });
    w.provenance.parameters += ", " + std::to_string(all - w.requests.size()) + " longer than " +
                               std::to_string(trace.max_length.value) + " tokens left out";
    found.emplace_back(trace, std::move(w));
  }
  if (found.empty())
    throw usage_error("--traces", folder.string() + " has no trace", "any of " + names);
  return found;
}

}  // namespace quire::experiment
