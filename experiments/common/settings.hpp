#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <experiments/common/suggest.hpp>
#include <quire/core/error.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {

/// Everything about one run that is a value: the workload, the machine, the limits. Policies are
/// not here; they are the variant.
struct Settings {
  // workload
  std::string workload = "sharegpt";
  std::string trace;
  std::int64_t num_prompts = 1000;
  double request_rate = std::numeric_limits<double>::infinity();
  std::string arrival = "poisson";
  double burstiness = 1;
  std::int64_t seed = 0;
  std::int64_t n = 1;
  std::int64_t beam_width = 0;
  std::int64_t input_len = 1024;
  std::int64_t output_len = 128;
  double range_ratio = 0;
  std::int64_t prefix_len = 80;
  std::int64_t num_prefixes = 1;
  std::int64_t context = 1024;
  double new_probability = 0.5;
  double jitter = 0;
  // machine
  std::string executor = "simulated";
  std::string model = "opt_13b";
  std::string hardware = "a100_40gb";
  std::int64_t tensor_parallel_size = 1;
  double gpu_memory_utilization = 0.9;
  double kv_memory_gib = 0;
  double swap_space_gib = 4;
  double disk_space_gib = 100;
  std::string cost_model = "roofline";
  std::string profile;
  std::string host_overhead = "none";
  double acceptance = 0.7;
  std::string draft_model = "opt_125m";
  std::int64_t threads = 0;
  std::string thread_places = "anywhere";
  std::string disk_dir;
  // limits
  std::int64_t max_num_seqs = 256;
  std::int64_t max_num_batched_tokens = 0;
  std::int64_t max_model_len = 0;
  double watermark = 0.01;
  std::int64_t max_batch = 8;
  double max_delay_ms = 0;
  std::int64_t chunk_size = 512;
  std::int64_t retention_budget = 1024;
  std::int64_t retention_sinks = 4;
  // measurement
  double warmup_s = 0;
  double until_s = std::numeric_limits<double>::infinity();
};

/// One member of Settings as flags (`--request-rate`), axes and row fields (`request_rate`) name it.
struct SettingField {
  std::string_view name;
  std::string_view help;
  void (*set)(Settings&, const std::string& text, const std::string& where);
  std::string (*json)(const Settings&);
  std::string_view alias = {};                   // vLLM's flag, where it is another word
  std::span<const std::string_view> words = {};  // what a text may be; empty: anything
};

namespace detail {

inline constexpr std::string_view workload_names[] = {
    "sharegpt", "alpaca", "azure_conversation", "mooncake_conversation", "shared_prefix", "chat",
    "random",   "trace"};
inline constexpr std::string_view arrival_names[] = {"poisson", "gamma",     "quantum_poisson",
                                                     "even",    "saturated", "trace"};
inline constexpr std::string_view executor_names[] = {"simulated", "cpu", "cuda"};
inline constexpr std::string_view cost_model_names[] = {"roofline", "affine", "tabulated",
                                                        "tabulated_or_roofline"};
inline constexpr std::string_view thread_place_names[] = {"anywhere", "pinned"};
inline constexpr std::string_view overhead_names[] = {"none", "python_2023", "python_2023_loop"};

template <auto member, std::int64_t low, std::int64_t high>
constexpr SettingField integer(std::string_view name, std::string_view help,
                               std::string_view alias = {}) {
  return {name, help,
          [](Settings& s, const std::string& text, const std::string& where) {
            std::int64_t value = 0;
            const char* last = text.data() + text.size();
            const auto [end, status] = std::from_chars(text.data(), last, value);
            if (status != std::errc{} || end != last || value < low || value > high) {
              throw usage_error(
                  where, in_quotes(text) + " is out of range or no number",
                  "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
            }
            s.*member = value;
          },
          [](const Settings& s) { return std::to_string(s.*member); }, alias};
}

enum class Bound { positive, not_negative, share, gib };

/// A pebibyte: bytes and blocks of it fit their types.
inline constexpr double most_gib = 1 << 20;

template <auto member, Bound bound, bool infinite = false>
constexpr SettingField real(std::string_view name, std::string_view help,
                            std::string_view alias = {}) {
  return {name, help,
          [](Settings& s, const std::string& text, const std::string& where) {
            double value = 0;
            const char* last = text.data() + text.size();
            const auto [end, status] = std::from_chars(text.data(), last, value);
            const bool number = status == std::errc{} && end == last && !std::isnan(value) &&
                                (infinite || std::isfinite(value));
            const bool good = bound == Bound::positive       ? value > 0
                              : bound == Bound::not_negative ? value >= 0
                              : bound == Bound::gib          ? value >= 0 && value <= most_gib
                                                             : value >= 0 && value <= 1;
            if (!number || !good) {
              throw usage_error(where, in_quotes(text) + " is out of range or no number",
                                bound == Bound::positive       ? "a positive number"
                                : bound == Bound::not_negative ? "0 or more"
                                : bound == Bound::gib          ? "0 to 1048576 GiB"
                                                               : "a share from 0 to 1");
            }
            s.*member = value;
          },
          [](const Settings& s) {
            return std::isinf(s.*member) ? "\"inf\"" : metrics::json_number(s.*member);
          },
          alias};
}

template <auto member>
constexpr SettingField text(std::string_view name, std::string_view help,
                            std::span<const std::string_view> words = {},
                            std::string_view alias = {}) {
  return {name,
          help,
          [](Settings& s, const std::string& value, const std::string&) { s.*member = value; },
          [](const Settings& s) { return metrics::json_quoted(s.*member); },
          alias,
          words};
}

inline constexpr std::int64_t most = std::int64_t{1} << 40;

}  // namespace detail

/// Every setting, in the order in which --help and rows list them.
[[nodiscard]] inline std::span<const SettingField> setting_fields() {
  using S = Settings;
  using namespace detail;
  static constexpr SettingField fields[] = {
      text<&S::workload>("workload", "sharegpt, alpaca, shared_prefix, chat, random or trace",
                         workload_names, "dataset_name"),
      text<&S::trace>("trace", "file of the workload `trace`; its first line tells the schema", {},
                      "dataset_path"),
      integer<&S::num_prompts, 1, 100'000'000>("num_prompts", "requests; of a trace, at most"),
      real<&S::request_rate, Bound::positive, true>("request_rate",
                                                    "requests a second; inf: all at once"),
      text<&S::arrival>("arrival",
                        "poisson, gamma, quantum_poisson, even, saturated, or trace for its own",
                        arrival_names),
      real<&S::burstiness, Bound::positive>("burstiness",
                                            "of gamma arrivals: 1 is Poisson, below 1 burstier"),
      integer<&S::seed, 0, most>("seed", "of arrivals, lengths and draws"),
      integer<&S::n, 1, 1024>("n", "samples of each request"),
      integer<&S::beam_width, 0, 1024>("beam_width", "> 0: beam search in place of sampling"),
      integer<&S::input_len, 1, 1 << 24>("input_len", "prompt tokens of `random`",
                                         "random_input_len"),
      integer<&S::output_len, 1, 1 << 24>("output_len", "output tokens of `random`",
                                          "random_output_len"),
      real<&S::range_ratio, Bound::share>("range_ratio", "lengths of `random` vary by this share",
                                          "random_range_ratio"),
      integer<&S::prefix_len, 1, 1 << 24>("prefix_len", "shared tokens of `shared_prefix`"),
      integer<&S::num_prefixes, 1, 1 << 30>("num_prefixes", "different prefixes"),
      integer<&S::context, 1, 1 << 24>("context", "most prompt tokens of `chat`"),
      real<&S::new_probability, Bound::share>("new_probability",
                                              "of a request of `chat` to begin a conversation"),
      real<&S::jitter, Bound::not_negative>("jitter", "seconds that a trace's arrivals are moved"),
      text<&S::executor>("executor", "simulated, or a checkpoint for real: cpu, cuda",
                         executor_names),
      text<&S::model>(
          "model",
          "shape of the model by name, or a checkpoint's folder; --executor cpu and cuda run it"),
      text<&S::hardware>("hardware", "device of the cost model, or a file of `quire calibrate`"),
      integer<&S::tensor_parallel_size, 1, 1024>("tensor_parallel_size", "devices"),
      real<&S::gpu_memory_utilization, Bound::share>("gpu_memory_utilization",
                                                     "share of device memory in use"),
      real<&S::kv_memory_gib, Bound::gib>("kv_memory_gib", "> 0: GiB for keys and values"),
      real<&S::swap_space_gib, Bound::gib>("swap_space_gib", "GiB of the host tier", "swap_space"),
      real<&S::disk_space_gib, Bound::gib>("disk_space_gib", "GiB of the disk tier"),
      text<&S::cost_model>(
          "cost_model", "what a step takes: roofline, affine, tabulated, or tabulated_or_roofline",
          cost_model_names),
      text<&S::profile>(
          "profile",
          "of the cost model: files of measured operators, comma between them, or the\n"
          "prefix of LLMServingSim's tables; of affine DistServe's file"),
      text<&S::host_overhead>("host_overhead", "none, python_2023 or python_2023_loop",
                              overhead_names),
      real<&S::acceptance, Bound::share>("acceptance", "chance that a draft of speculation holds"),
      text<&S::draft_model>("draft_model",
                            "shape of the model that guesses, by name, where one does"),
      integer<&S::threads, 0, 4096>("threads", "of --executor cpu; 0: one per processor"),
      text<&S::thread_places>(
          "thread_places",
          "of --executor cpu: anywhere, or pinned to a processor each, with what they\n"
          "write first in the memory nearest to it",
          thread_place_names),
      text<&S::disk_dir>(
          "disk_dir",
          "folder of the disk tier (1 GiB at most) of --executor cpu and cuda: the next run finds\n"
          "there what this one has cached; of several, each has a folder of its own in it"),
      integer<&S::max_num_seqs, 1, most>("max_num_seqs", "sequences running at once"),
      integer<&S::max_num_batched_tokens, 0, most>(
          "max_num_batched_tokens",
          "tokens of a step, but for chunked prefill; 0: 2560, or what one sequence may have"),
      integer<&S::max_model_len, 0, most>("max_model_len", "prompt and output; 0: the model's"),
      real<&S::watermark, Bound::share>("watermark", "blocks kept free when admitting"),
      integer<&S::max_batch, 1, most>("max_batch", "requests of a batch, request-level schedulers"),
      real<&S::max_delay_ms, Bound::not_negative>("max_delay_ms", "longest wait for a full batch"),
      integer<&S::chunk_size, 1, most>("chunk_size", "tokens of a step of chunked prefill"),
      integer<&S::retention_budget, 1, most>("retention_budget",
                                             "tokens that a retention policy keeps of a sequence"),
      integer<&S::retention_sinks, 0, most>("retention_sinks",
                                            "of them, the first ones that streaming_llm keeps"),
      real<&S::warmup_s, Bound::not_negative>("warmup_s", "requests arriving before do not count"),
      real<&S::until_s, Bound::positive, true>("until_s", "no step begins after this time"),
  };
  return fields;
}

[[nodiscard]] inline const SettingField* find_setting(std::string_view name) {
  for (const SettingField& f : setting_fields()) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

/// Sets one member from text. \errors usage error: what is no value of it, with the nearest that is.
inline void set_setting(Settings& settings, const SettingField& field, const std::string& value,
                        const std::string& where) {
  if (!field.words.empty()) {
    bool known = false;
    for (const std::string_view word : field.words) known = known || word == value;
    if (!known) throw unknown_name(where, field.name, value, field.words);
  }
  field.set(settings, value, where);
}

}  // namespace quire::experiment
