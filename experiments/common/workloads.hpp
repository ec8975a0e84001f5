#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/options.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {

/// Requests as the PagedAttention paper made them: Poisson counts in each 10 ms for `seconds`.
[[nodiscard]] inline workload::GeneratorOptions poisson_for(double rate, Seconds seconds,
                                                            std::uint64_t seed) {
  return {.requests = static_cast<std::size_t>(rate * seconds.value),
          .rate = rate,
          .seed = seed,
          .arrivals = workload::QuantumPoisson{.rate = rate}};
}

/// A real trace and the model it is replayed on, one A100-80GB: its requests are too long for OPT's
/// 2,048 positions. Llama-13B keeps a head of keys and values for each query head, as OPT does;
/// conversations of 100,000 tokens fit only a model that shares them, Llama-3-8B.
struct RealTrace {
  std::string_view name;
  std::string_view file;
  const model::Shape* model;
  Tokens max_length;  // the model gets this many positions; longer requests are left out
  Seconds jitter;     // see workload::trace::TraceOptions
  double top_rate;    // requests/s at which a ladder ends
};

inline const RealTrace real_traces[] = {
    {"sarathi_sharegpt", "sarathi_sharegpt_8k_llama2.csv", &model::llama_13b, 8192, 0.0, 2.0},
    {"azure_conv", "azure_llm_2023_conv.csv", &model::llama_13b, 8192, 0.0, 6.0},
    {"mooncake_conversation", "mooncake_conversation_trace.jsonl", &model::llama3_8b, 131072, 3.0,
     1.0},
};

[[nodiscard]] inline model::Shape model_for(const RealTrace& trace) {
  model::Shape shape = *trace.model;
  shape.max_length = trace.max_length;
  return shape;
}

/// Reads the trace if the folder has it; requests that are too long are left out and counted.
/// \errors usage error: the folder has none of the files that Quire knows; data error: a damaged
/// file.
[[nodiscard]] std::vector<std::pair<RealTrace, workload::Workload>> open_traces(
    const std::filesystem::path& folder);

}  // namespace quire::experiment
