#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include <experiments/common/run_variant.hpp>
#include <experiments/common/settings.hpp>

namespace quire::experiment {

namespace detail {

template <std::size_t n>
[[nodiscard]] bool is_one_of(std::string_view word, const std::string_view (&words)[n]) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

[[nodiscard]] inline std::string_view policy_of(const RunVariant& variant, std::string_view slot) {
  for (std::size_t i = 0; i < slot_count; ++i) {
    if (slot_names[i] == slot) return variant.slots[i];
  }
  return {};
}

/// Whether what the device gives up may go to a disk. Policies that are not Quire's own are taken to have one.
[[nodiscard]] inline bool has_disk_tier(const RunVariant& variant) {
  return !is_one_of(policy_of(variant, "offload"),
                    {"recompute", "recompute_single_swap_group", "swap_to_host", "overlapped_swap",
                     "proactive_swap", "host_cache"});
}

/// The member of SchedulerLimits that is one scheduler's own and that a setting gives; empty for others.
[[nodiscard]] inline std::string_view limit_of(std::string_view setting) {
  return setting == "chunk_size"     ? "chunk"
         : setting == "max_batch"    ? "max_batch"
         : setting == "max_delay_ms" ? "max_delay"
                                     : "";
}

/// Quire's own schedulers, of which it is known what they read.
[[nodiscard]] inline bool is_house_scheduler(std::string_view name) {
  return is_one_of(name, {"fcfs", "orca", "chunked_prefill", "static_batch", "dynamic_batch",
                          "priority", "sjf", "srpt", "vtc", "mlfq", "weighted_vtc",
                          "predictive_vtc", "qoe", "learning_to_rank", "longest_prefix"});
}

}  // namespace detail

/// Why a setting changes nothing in a run of this variant with these settings; empty when it may.
/// A scheduler that is not Quire's own reads what it says that it does, or, if it does not say, may read
/// every limit (may_be_unread).
[[nodiscard]] inline std::string_view unread_because(std::string_view setting, const Settings& s,
                                                     const RunVariant& variant) {
  using detail::is_one_of;
  const std::string_view scheduler = detail::policy_of(variant, "scheduler");
  const std::string_view reservation = detail::policy_of(variant, "reservation");
  const bool contiguous =
      is_one_of(reservation, {"max_length", "power_of_two", "oracle", "request_limit"});
  const bool at_once = std::isinf(s.request_rate) && s.arrival != "trace";
  const bool measured = variant.mode == metrics::Mode::measured;
  if (is_one_of(setting, {"input_len", "output_len", "range_ratio"})) {
    return s.workload == "random" ? "" : "it is of --workload random";
  }
  if (is_one_of(setting, {"prefix_len", "num_prefixes"})) {
    return s.workload == "shared_prefix" ? "" : "it is of --workload shared_prefix";
  }
  if (is_one_of(setting, {"context", "new_probability"})) {
    return s.workload == "chat" ? "" : "it is of --workload chat";
  }
  if (setting == "n") {
    return s.beam_width > 0 ? "a beam search has as many candidates as --beam-width says" : "";
  }
  if (setting == "jitter") return s.arrival == "trace" ? "" : "it is of --arrival trace";
  if (setting == "burstiness") {
    return s.arrival == "gamma" && !at_once ? "" : "it is of --arrival gamma at a --request-rate";
  }
  if (setting == "request_rate") {
    return s.arrival == "saturated" ? "--arrival saturated has all requests at once" : "";
  }
  if (setting == "arrival") {
    return at_once && s.arrival != "saturated"
               ? "all requests come at once where no --request-rate is given"
               : "";
  }
  if (setting == "seed") {
    const bool drawn =
        s.workload != "trace" || s.beam_width > 0 ||
        (s.arrival == "trace" ? s.jitter > 0
                              : !at_once && s.arrival != "even" && s.arrival != "saturated");
    return drawn ? "" : "nothing is drawn: lengths and arrivals are the trace's";
  }
  if (setting == "profile" && !measured) {
    return s.cost_model != "roofline" ? "" : "it is of --cost-model affine or tabulated";
  }
  if (is_one_of(setting,
                {"hardware", "tensor_parallel_size", "host_overhead", "cost_model", "profile"})) {
    return measured ? "the machine is this one; it is of --executor simulated" : "";
  }
  if (setting == "acceptance") {
    return measured ? "texts say which drafts hold; it is of --executor simulated"
           : detail::policy_of(variant, "speculation") == "none" ? "the variant guesses nothing"
                                                                 : "";
  }
  if (setting == "draft_model") {
    return measured ? "it is of --executor simulated"
           : detail::policy_of(variant, "speculation") != "draft_model"
               ? "the variant guesses with no model"
               : "";
  }
  if (setting == "gpu_memory_utilization") {
    return s.executor == "cpu"   ? "it is of --executor simulated and cuda"
           : s.kv_memory_gib > 0 ? "--kv-memory-gib says how much memory there is"
                                 : "";
  }
  if (is_one_of(setting, {"threads", "thread_places"}))
    return s.executor == "cpu" ? "" : "it is of --executor cpu";
  if (setting == "swap_space_gib") {
    if (contiguous) return "a contiguous reservation is never preempted";
    return detail::policy_of(variant, "offload") == "recompute" ? "the offload policy never swaps"
                                                                : "";
  }
  if (is_one_of(setting, {"disk_space_gib", "disk_dir"})) {
    if (contiguous) return "a contiguous reservation is never preempted";
    if (setting == "disk_space_gib" && measured) return "it is of --executor simulated";
    if (setting == "disk_dir" && !measured) return "it is of --executor cpu and cuda";
    return detail::has_disk_tier(variant) ? "" : "the offload policy has no disk tier";
  }
  if (setting == "retention_budget") {
    return detail::policy_of(variant, "retention") == "keep_all" ? "the variant keeps all tokens"
                                                                 : "";
  }
  if (setting == "retention_sinks") {
    return is_one_of(detail::policy_of(variant, "retention"),
                     {"keep_all", "sliding_window", "h2o", "tova", "scissorhands", "snap_kv",
                      "pyramid_kv", "quest"})
               ? "it is of the retention policy streaming_llm"
               : "";
  }
  if (setting == "watermark") return contiguous ? "a contiguous reservation has none" : "";
  if (setting == "max_num_batched_tokens") {
    return scheduler == "chunked_prefill" && s.beam_width == 0
               ? "chunked_prefill fills steps up to --chunk-size"
               : "";
  }
  if (const std::string_view limit = detail::limit_of(setting);
      variant.scheduler_reads && !limit.empty()) {
    const auto& reads = *variant.scheduler_reads;
    return std::find(reads.begin(), reads.end(), limit) == reads.end()
               ? "the scheduler does not name it among what it `reads`"
               : "";
  }
  // What Quire's own schedulers are known not to read.
  if (!detail::is_house_scheduler(scheduler)) return "";
  if (setting == "chunk_size") {
    return scheduler == "chunked_prefill" ? "" : "it is of the scheduler chunked_prefill";
  }
  if (setting == "max_batch") {
    return is_one_of(scheduler, {"static_batch", "dynamic_batch"})
               ? ""
               : "it is of the schedulers static_batch and dynamic_batch";
  }
  if (setting == "max_delay_ms") {
    return scheduler == "dynamic_batch" ? "" : "it is of the scheduler dynamic_batch";
  }
  return "";
}

/// Whether a setting is taken without anybody knowing that the run reads it: the scheduler is not Quire's
/// own and does not say.
[[nodiscard]] inline bool may_be_unread(std::string_view setting, const RunVariant& variant) {
  return !detail::limit_of(setting).empty() && !variant.scheduler_reads &&
         !detail::is_house_scheduler(detail::policy_of(variant, "scheduler"));
}

}  // namespace quire::experiment
