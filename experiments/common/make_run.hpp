#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <experiments/common/settings.hpp>
#include <experiments/common/suggest.hpp>
#include <quire/checkpoint/config.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/checkpoint/gguf/config.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/core/hash.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/hardware_file.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {

/// The arrival process that settings ask for.
[[nodiscard]] inline workload::ArrivalProcess arrivals_of(const Settings& s) {
  if (s.arrival == "saturated" || std::isinf(s.request_rate)) return workload::Saturated{};
  if (s.arrival == "gamma") return workload::Gamma{s.request_rate, 1 / std::sqrt(s.burstiness)};
  if (s.arrival == "quantum_poisson") return workload::QuantumPoisson{s.request_rate};
  if (s.arrival == "even") return workload::EvenlySpaced{s.request_rate};
  return workload::Poisson{s.request_rate};
}

/// Refuses settings that contradict each other, without reading or drawing anything.
/// \errors usage error.
inline void check_workload(const Settings& s) {
  if ((s.workload == "trace") != !s.trace.empty()) {
    throw usage_error("--workload " + s.workload,
                      s.trace.empty() ? "needs a file" : "does not read --trace " + s.trace,
                      "--workload trace --trace FILE");
  }
  if (s.arrival == "trace" && s.trace.empty()) {
    throw usage_error("--arrival trace", "there is no trace", "--workload trace --trace FILE");
  }
}

/// The requests that settings ask for.
/// \errors as check_workload(); usage error: a trace without arrivals is to give them; data error: a
/// damaged trace.
[[nodiscard]] inline workload::Workload workload_of(const Settings& s) {
  check_workload(s);
  const bool own_times = s.arrival == "trace";
  const auto seed = static_cast<std::uint64_t>(s.seed);
  const auto count = static_cast<std::size_t>(s.num_prompts);
  const workload::GeneratorOptions generator{.requests = count,
                                             .rate = s.request_rate,
                                             .seed = seed,
                                             .arrivals = arrivals_of(s),
                                             .n = static_cast<std::int32_t>(s.n),
                                             .beam_width = static_cast<std::int32_t>(s.beam_width)};
  if (s.workload == "sharegpt") return workload::sharegpt(generator);
  if (s.workload == "alpaca") return workload::alpaca(generator);
  if (s.workload == "azure_conversation") return workload::azure_conversation(generator);
  if (s.workload == "mooncake_conversation") return workload::mooncake_conversation(generator);
  if (s.workload == "shared_prefix") {
    return workload::shared_prefix({.prefix = s.prefix_len,
                                    .prefixes = static_cast<std::size_t>(s.num_prefixes),
                                    .generator = generator});
  }
  if (s.workload == "chat") {
    return workload::chat(
        {.context = s.context, .new_probability = s.new_probability, .generator = generator});
  }
  if (s.workload == "random") {
    const auto around = [&s](std::int64_t length) -> workload::LengthDistribution {
      const auto spread = static_cast<std::int64_t>(s.range_ratio * static_cast<double>(length));
      return workload::UniformLength{std::max<std::int64_t>(1, length - spread), length + spread};
    };
    return workload::synthetic(around(s.input_len), around(s.output_len), generator);
  }
  workload::Workload w = workload::trace::open_trace(
      s.trace, {.limit = count, .jitter = own_times ? s.jitter : 0.0, .seed = seed});
  if (!own_times) {
    w = workload::with_arrivals(std::move(w), arrivals_of(s), seed);
  } else if (!w.timed) {
    throw usage_error("--arrival trace", s.trace + " has lengths alone, and no arrivals",
                      "another arrival process");
  } else if (!std::isinf(s.request_rate)) {
    w = workload::at_rate(std::move(w), s.request_rate);
  }
  if (s.n > 1 || s.beam_width > 0) {
    w = workload::with_samples(std::move(w), static_cast<std::int32_t>(s.n),
                               static_cast<std::int32_t>(s.beam_width));
  }
  return w;
}

[[nodiscard]] inline std::vector<std::string_view> model_names() {
  std::vector<std::string_view> names;
  for (const model::Shape* shape : model::known_shapes) names.emplace_back(shape->name);
  return names;
}
[[nodiscard]] inline std::vector<std::string_view> hardware_names() {
  std::vector<std::string_view> names;
  for (const Hardware& h : hardware::all) names.push_back(h.name);
  return names;
}

/// Threads of the CPU executor.
[[nodiscard]] inline std::size_t threads_of(const Settings& s) {
  return s.threads > 0 ? static_cast<std::size_t>(s.threads)
                       : std::max<std::size_t>(1, std::thread::hardware_concurrency());
}

/// Bytes of so many GiB.
[[nodiscard]] inline std::int64_t gib(double x) {
  return static_cast<std::int64_t>(x * 1024 * 1024 * 1024);
}

/// The limits that every executor's engine has.
[[nodiscard]] inline SchedulerLimits limits_of(const Settings& s) {
  return {.max_batched_tokens = s.max_num_batched_tokens,
          .max_sequences = s.max_num_seqs,
          .max_length = s.max_model_len,
          .watermark = s.watermark,
          .max_batch = s.max_batch,
          .max_delay = s.max_delay_ms / 1000,
          .chunk = s.chunk_size,
          .retention = {.budget = s.retention_budget, .sinks = s.retention_sinks}};
}

/// What executors that compute are told alike: limits, the tiers below their pool, and that prompts of workloads
/// are known by identity, not by text.
template <class Options>
void take_settings(const Settings& s, Options& out) {
  out.limits = limits_of(s);
  if (s.swap_space_gib > 0) out.host_memory = gib(s.swap_space_gib);
  out.disk.directory = s.disk_dir;
  out.wrap_tokens = true;
}

/// Whether --model names a folder or a GGUF file, and no known shape.
[[nodiscard]] inline bool is_checkpoint(const Settings& s) {
  std::error_code none;
  return model::find_shape(s.model) == nullptr &&
         (std::filesystem::is_directory(s.model, none) || checkpoint::is_gguf(s.model));
}

/// The shape of the model that settings name: a known one, or that of a checkpoint's config.json or GGUF
/// file.
/// \errors usage error: an unknown name, more positions asked for than the model has; data error: a
/// damaged config.json.
[[nodiscard]] inline model::Shape shape_of(const Settings& s) {
  model::Shape shape;
  if (const model::Shape* known = model::find_shape(s.model)) {
    shape = *known;
  } else if (checkpoint::is_gguf(s.model)) {
    shape = checkpoint::gguf::config_of(checkpoint::gguf::open_file(s.model)).shape;
    shape.name = std::filesystem::path(s.model).stem().string();
  } else if (is_checkpoint(s)) {
    const auto folder = std::filesystem::path(s.model + "/").lexically_normal();
    shape = checkpoint::read_config((folder / "config.json").string()).shape;
    shape.name = folder.parent_path().filename().string();
  } else if (s.executor != "simulated" || s.model.find('/') != std::string::npos) {
    std::error_code none;
    const bool file = std::filesystem::exists(s.model, none);
    throw data_error(s.model,
                     file ? "is a file, and its name does not end in .gguf" : "no such directory",
                     "a checkpoint's folder, a .gguf or the name of a model");
  } else {
    throw unknown_name("--model", "model", s.model, model_names());
  }
  if (s.max_model_len > shape.max_length.value) {
    throw usage_error("--max-model-len " + std::to_string(s.max_model_len),
                      "is more than " + shape.name + " can take",
                      "at most " + std::to_string(shape.max_length.value));
  }
  return shape;
}

/// Hash of files, each by its name and content.
/// \errors data error: a file that cannot be read.
[[nodiscard]] inline std::string files_hash(const std::vector<std::filesystem::path>& files) {
  std::uint64_t hash = 0;
  for (const auto& file : files) {
    const std::string name = file.filename().string();
    hash = hash_combine(hash, hash_span(std::span<const char>(name)));
    const checkpoint::FileMap bytes(file.string());
    hash = hash_combine(hash, hash_bytes(bytes.bytes()));
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}
/// Hash of a checkpoint's files, or of its config.json alone. \errors as files_hash().
[[nodiscard]] inline std::string checkpoint_hash(const std::filesystem::path& folder,
                                                 bool config_alone) {
  std::vector<std::filesystem::path> files;
  if (checkpoint::is_gguf(folder.string())) {
    files.push_back(folder);
  } else if (config_alone) {
    files.push_back(folder / "config.json");
  } else {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const auto extension = entry.path().extension();
      if (entry.is_regular_file() && (extension == ".json" || extension == ".safetensors")) {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
  }
  return files_hash(files);
}

/// Whether --hardware names a file of `quire calibrate`, and no device by name.
[[nodiscard]] inline bool is_hardware_file(const Settings& s) {
  return hardware::find(s.hardware) == nullptr && s.hardware.ends_with(".json");
}

/// The device that settings name, by name or by file.
/// \errors usage error: an unknown device; data error: a damaged file, or one without the limits of a device.
[[nodiscard]] inline HardwareFile hardware_of(const Settings& s) {
  if (const Hardware* known = hardware::find(s.hardware))
    return {.name = {}, .hardware = *known, .affine = {}};
  if (!is_hardware_file(s)) {
    if (s.hardware.find_first_of("./") != std::string::npos) {
      throw usage_error("--hardware " + s.hardware, "is no device and no .json",
                        "a name of `quire list --json`, or a .json of `quire calibrate`");
    }
    throw unknown_name("--hardware", "hardware", s.hardware, hardware_names());
  }
  HardwareFile file = read_hardware(s.hardware);
  Hardware& h = file.hardware;
  h.name = "the hardware file";  // its own name does not live as long as an engine
  if (s.cost_model != "affine" && !(h.bandwidth > 0 && h.peak_flops > 0)) {
    throw data_error(s.hardware, "has no bandwidth or no peak_flops, of which a roofline is made",
                     "both, or --cost-model affine with what was measured");
  }
  if (!(h.memory_bytes > 0)) {
    throw data_error(s.hardware, "has no memory_bytes, so how many blocks there are is not known",
                     "a file with memory_bytes");
  }
  if (!(h.bandwidth_share > 0 && h.flops_share > 0 && h.attention_bandwidth_share > 0 &&
        h.exponent > 0 && h.link_bandwidth > 0 && h.reduce_bandwidth > 0 && h.disk_bandwidth > 0)) {
    throw data_error(s.hardware, "a share, the exponent or a bandwidth is 0", "numbers above 0");
  }
  return file;
}

/// The files that --profile names: those between its commas, or the tables of LLMServingSim's profiler that
/// begin so.
[[nodiscard]] inline std::vector<std::string> profile_files_of(const Settings& s) {
  std::vector<std::string> files;
  std::error_code none;
  for (const char* table :
       {"dense.csv", "per_sequence.csv", "attention.csv", "skew.csv", "skew_fit.csv"}) {
    if (std::filesystem::exists(s.profile + table, none)) files.push_back(s.profile + table);
  }
  if (!files.empty() || s.profile.empty()) return files;
  for (std::size_t at = 0; at <= s.profile.size();) {
    const std::size_t comma = std::min(s.profile.find(',', at), s.profile.size());
    files.push_back(s.profile.substr(at, comma - at));
    at = comma + 1;
  }
  return files;
}

/// What the simulated executor is told; drafts: of a variant that guesses with a draft model.
/// \errors as shape_of(); usage error: an unknown device or draft model, heads that the devices cannot
/// share.
[[nodiscard]] inline executor::Simulated::Options simulated_options(const Settings& s,
                                                                    bool drafts = false) {
  const model::Shape shape = shape_of(s);
  executor::Simulated::check_tensor_parallel(shape, s.tensor_parallel_size);
  const HardwareFile device = hardware_of(s);
  const model::Shape* draft = drafts ? model::find_shape(s.draft_model) : nullptr;
  if (drafts && draft == nullptr) {
    throw unknown_name("--draft-model", "model", s.draft_model, model_names());
  }
  if (draft != nullptr && draft->vocab != shape.vocab) {
    throw usage_error("--draft-model " + s.draft_model,
                      "has another vocabulary than " + shape.name + ": " +
                          std::to_string(draft->vocab) + " and " + std::to_string(shape.vocab) +
                          " tokens",
                      "two models with one vocabulary");
  }
  return {.model = shape,
          .hardware = device.hardware,
          .tensor_parallel = s.tensor_parallel_size,
          .limits = limits_of(s),
          .memory = {.utilization = s.gpu_memory_utilization,
                     .kv_bytes = gib(s.kv_memory_gib),
                     .host_bytes = gib(s.swap_space_gib),
                     .disk_bytes = gib(s.disk_space_gib)},
          .host = s.host_overhead == "python_2023"        ? host_overhead::python_2023
                  : s.host_overhead == "python_2023_loop" ? host_overhead::python_2023_loop
                                                          : host_overhead::none,
          .seed = static_cast<std::uint64_t>(s.seed),
          .acceptance = s.acceptance,
          .draft_model = draft == nullptr ? std::nullopt : std::optional(*draft)};
}

}  // namespace quire::experiment
