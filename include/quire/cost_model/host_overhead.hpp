#pragma once

#include <cstdint>

#include <quire/core/units.hpp>

namespace quire {

/// Time that the device waits for an engine's host code in a step: scheduling, preparing inputs,
/// launching kernels, sampling, building outputs. What runs while the device computes is not in it.
struct HostOverhead {
  Seconds per_step = 0.0;
  Seconds per_sequence = 0.0;
  Seconds per_request = 0.0;  // of those with sequences in the step
  Seconds per_kernel = 0.0;   // between one kernel's end and the next one's begin
  /// Launch graphs are captured for batches of up to graph_tokens; smaller ones are padded to the
  /// next captured size. Larger steps launch kernel by kernel, and wait `beyond_graph`. 0: none.
  Tokens graph_tokens = 0;
  Seconds beyond_graph = 0.0;

  /// Tokens that a step of `tokens` computes once it is padded: sizes 1, 2, 4, every 8 up to 256,
  /// every 16 beyond. \source vLLM 0.19, cudagraph_capture_sizes.
  [[nodiscard]] constexpr Tokens padded(Tokens tokens) const {
    if (tokens > graph_tokens) return tokens;
    if (tokens <= Tokens{2}) return tokens;
    if (tokens <= Tokens{4}) return 4;
    const std::int64_t step = tokens <= Tokens{256} ? 8 : 16;
    return ceil_div(tokens.value, step) * step;
  }
};

namespace host_overhead {

/// None: the device is never kept waiting.
inline constexpr HostOverhead none{};

/// A Python engine: what vLLM's iterations take beyond the roofline. From DistServe's profile of vLLM,
/// OPT-13B on one A100-80GB, decode: 23.48 ms + 0.593 us a context token + 60.7 us a sequence, less
/// this project's roofline of the same steps; 5.8 ms and 34 us remain at 500 tokens of context.
/// \source LLMServe/DistServe, simdistserve/estimators/profile_data/profiler-a100-80g.vllm.json.
inline constexpr HostOverhead python_2023{.per_step = 0.0058, .per_sequence = 0.000035};

/// The same engine before September 2023, when its sampler went through the requests one by one (a draw
/// on the device for all samples or beams of one). Two published runs of one change, which made that a
/// single operation, say what it took: Llama-2-13B on an A100-80GB, 1,000 ShareGPT prompts at once, 3.70
/// requests/s before and 4.77 after, that is 60.6 ms a request; over 233 output tokens a request (478.6
/// tokens in all, of which 246 are prompt), 0.26 ms a request and step. What further sequences of a request
/// add is not known from these runs, and is taken to be nothing. No figure uses it by default;
/// experiments/batching says what it would move.
/// \source vLLM pull request 820 (August 2023, "Vectorized sampler"); the prompts' mean from the rates
/// printed in pull request 5046.
inline constexpr HostOverhead python_2023_loop{.per_step = python_2023.per_step,
                                               .per_sequence = python_2023.per_sequence,
                                               .per_request = 0.00026};

/// What python_2023 waits a step where the worker of each device is a process that is called through Ray:
/// the same profile of vLLM, OPT-66B on eight A100-80GB, is 13.8 ms beyond the roofline at 8 sequences of
/// 500 tokens and 17.4 at 64, so 13.3 ms a step (with four devices 13, OPT-13B on two 12).
inline constexpr Seconds ray_2023_step = 0.0133;

/// A C++ engine of that time, in the same way from DistServe's own engine on the same card: 19.93 ms +
/// 0.627 us a context token + 38.5 us a sequence, less the roofline.
/// \source profiler-a100-80g.distserve.json, ibid.
inline constexpr HostOverhead native_2023{.per_step = 0.0022, .per_sequence = 0.000028};

/// vLLM 0.19 with asynchronous scheduling, launch graphs and `devices` of one node.
/// - Between two steps that replay a graph the device waits 150-170 us (published, vLLM pull request
///   11133); between the kernels of a graph 0.58 us (published, ahrefs/ocannl issue 488: a chain of
///   empty kernels on sm_120). Both are taken as printed.
/// - An engine on one device runs in one process, and a step beyond the graphs shows its host time:
///   5 ms, the lower end of the 5-6 ms published for a synchronous step (vLLM issue 10634). That the
///   two are the same is an assumption, made after looking at where a replay without it falls short
///   of a real engine; with more devices each has a process that launches ahead.
[[nodiscard]] constexpr HostOverhead vllm_0_19(std::int64_t max_sequences, std::int64_t devices) {
  const std::int64_t captured = 2 * max_sequences < 512 ? 2 * max_sequences : 512;
  return {.per_step = 160e-6,
          .per_kernel = 0.58e-6,
          .graph_tokens = captured,
          .beyond_graph = devices == 1 ? 5e-3 : 0.0};
}

}  // namespace host_overhead
}  // namespace quire
