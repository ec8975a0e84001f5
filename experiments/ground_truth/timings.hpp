#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/ground_truth/shared_prefixes.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/operator_profile.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {

/// What a real engine did with one request, in seconds since the first one was queued.
struct RealTiming {
  double arrival = 0;                                                 // at the client
  double queued = 0, scheduled = 0, first_token = 0, last_token = 0;  // in the engine
  std::int64_t input = 0, output = 0;
};

/// One run of a real engine and the profile of its operators on the same card.
struct TimingSet {
  std::string name, hardware_name, dataset;
  model::Shape model;
  Hardware hardware;
  std::int64_t tensor_parallel = 1, max_sequences = 128;
  std::optional<std::int64_t> blocks, max_length;
  Tokens max_batched_tokens = 2048;
  bool asynchronous = true, prefix_caching = true;
  double memory_share = 0.9;
  std::vector<RealTiming> requests;
  std::map<std::string, double>
      peer;  // metric -> milliseconds of the simulator of the same authors
  std::shared_ptr<const OperatorProfile> profile;
};

namespace detail {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw data_error(path.string(), "cannot be read", "a file of the set of timings");
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Models by the name under which they are published.
inline const model::Shape* shape_of(std::string_view published) {
  static const std::pair<std::string_view, const model::Shape*> names[] = {
      {"meta-llama/Llama-2-7b-hf", &model::llama_7b},
      {"meta-llama/Llama-2-13b-hf", &model::llama_13b},
      {"meta-llama/Llama-2-70b-hf", &model::llama2_70b},
      {"meta-llama/Meta-Llama-3-8B", &model::llama3_8b},
      {"meta-llama/Llama-3.1-8B", &model::llama3_1_8b},
      {"meta-llama/Llama-3.1-8B-Instruct", &model::llama3_1_8b},
      {"meta-llama/Llama-3.1-70B", &model::llama3_1_70b},
      {"meta-llama/Llama-3.1-70B-Instruct", &model::llama3_1_70b},
      {"mistralai/Mistral-7B-v0.3", &model::mistral_7b},
      {"Qwen/Qwen3-8B", &model::qwen3_8b},
      {"Qwen/Qwen3-14B", &model::qwen3_14b},
      {"Qwen/Qwen3-32B", &model::qwen3_32b}};
  for (const auto& [name, shape] : names) {
    if (name == published) return shape;
  }
  return nullptr;
}

inline std::vector<RealTiming> read_requests(const std::filesystem::path& path) {
  std::vector<RealTiming> out;
  std::istringstream lines(read_text(path));
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    const std::string where = path.string() + ": line " + std::to_string(number);
    const json::Value value = json::parse(line, where);
    const json::Field row(value, where);
    const auto time = [&row](std::string_view key) { return row.at(key).number(0, 1e12); };
    RealTiming t{.arrival = time("arrival_time"),
                 .queued = time("queued_ts"),
                 .scheduled = time("scheduled_ts"),
                 .first_token = time("first_token_ts"),
                 .last_token = time("last_token_ts"),
                 .input = row.at("input_toks").integer(1),
                 .output = row.at("output_toks").integer(1)};
    if (!(t.queued <= t.scheduled && t.scheduled <= t.first_token &&
          t.first_token <= t.last_token)) {
      throw data_error(where, "the times of the request are out of order",
                       "queued <= scheduled <= first token <= last token");
    }
    out.push_back(t);
  }
  if (out.empty()) throw data_error(path.string(), "holds no request", "one a line");
  // the client's clock and the engine's are two: each counts from the first request
  const auto first = std::min_element(
      out.begin(), out.end(), [](const auto& a, const auto& b) { return a.arrival < b.arrival; });
  const double client = first->arrival, engine = first->queued;
  for (RealTiming& t : out) {
    t.arrival -= client;
    for (double* time : {&t.queued, &t.scheduled, &t.first_token, &t.last_token}) *time -= engine;
  }
  return out;
}

/// The table that the authors print: `TTFT Mean   real   simulated   difference`.
inline std::map<std::string, double> read_peer(const std::filesystem::path& path) {
  std::map<std::string, double> out;
  if (!std::filesystem::exists(path)) return out;
  std::istringstream lines(read_text(path));
  std::string line, metric, which;
  double real = 0, simulated = 0;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    if (words >> metric >> which >> real >> simulated) {
      const std::string what = metric == "TTFT" ? "ttft" : metric == "TPOT" ? "tpot" : "e2el";
      std::transform(which.begin(), which.end(), which.begin(),
                     [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
      out[which + "_" + what + "_ms"] = simulated;
    }
  }
  return out;
}

}  // namespace detail

/// Reads the set whose files begin with `prefix` (a path): `_requests.jsonl`, `_meta.json`,
/// `_peer_config.json` and the profile `_bf16_tpN_*.csv`. `_summary.txt` may be missing.
/// \errors data error: a file is missing or damaged, or names a model that is not known.
[[nodiscard]] inline TimingSet read_timings(const std::string& prefix) {
  TimingSet set;
  set.requests = detail::read_requests(prefix + "_requests.jsonl");
  set.peer = detail::read_peer(prefix + "_summary.txt");
  {
    const std::string path = prefix + "_meta.json";
    const json::Value value = json::parse(detail::read_text(path), path);
    const json::Field meta(value, path), engine = meta.at("engine_kwargs");
    const std::string published = meta.at("model").string();
    set.name = published.substr(published.find('/') + 1);
    const model::Shape* shape = detail::shape_of(published);
    if (shape == nullptr) {
      throw data_error(path, "the model " + published + " is not known",
                       "a line for it in experiments/ground_truth/timings.hpp");
    }
    set.model = *shape;
    set.dataset = meta.at("dataset_hash").string();
    set.tensor_parallel = engine.at("tensor_parallel_size").integer(1, 1024);
    set.max_sequences = engine.at("max_num_seqs").integer(1, 1 << 20);
    set.max_batched_tokens = engine.at("max_num_batched_tokens").integer(1, 1 << 30);
    if (const auto length = engine.find_set("max_model_len")) set.max_length = length->integer(1);
    if (const auto cache = meta.find_set("kv_cache")) {
      if (const auto b = cache->find_set("num_gpu_blocks")) set.blocks = b->integer(1);
      if (const auto p = cache->find_set("enable_prefix_caching"))
        set.prefix_caching = p->boolean();
    }
    if (const auto resolved = meta.find_set("resolved_config")) {
      if (const auto scheduler = resolved->find_set("scheduler_config")) {
        if (const auto a = scheduler->find_set("async_scheduling")) set.asynchronous = a->boolean();
      }
    }
  }
  {
    const std::string path = prefix + "_peer_config.json";
    const json::Value value = json::parse(detail::read_text(path), path);
    const json::Field config(value, path);
    const json::Field instance =
        config.at("nodes").at(std::size_t{0}).at("instances").at(std::size_t{0});
    const json::Field memory = instance.at("npu_mem");
    set.hardware_name = instance.at("hardware").string();
    set.hardware.name = "of the set";
    set.hardware.memory_bytes = memory.at("mem_size").number(1, 1e6) * hardware::gib;
    set.hardware.bandwidth = memory.at("mem_bw").number(1, 1e6) * 1e9;
    set.memory_share = memory.at("mem_util").number(0.01, 1);
    set.hardware.reduce_bandwidth = config.at("link_bw").number(0.001, 1e6) * 1e9;
    set.hardware.reduce_latency = config.at("link_latency").number(0, 1e9) * 1e-9;
  }
  set.profile = std::make_shared<const OperatorProfile>(
      OperatorProfile::read(prefix + "_bf16_tp" + std::to_string(set.tensor_parallel) + "_"));
  return set;
}

/// Prefixes of all sets in a folder, or in its folder `truth`; in the order of their names.
[[nodiscard]] inline std::vector<std::string> find_timings(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  constexpr std::string_view ending = "_requests.jsonl";
  for (const auto& place : {folder, folder / "truth"}) {
    if (!std::filesystem::is_directory(place)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(place)) {
      const std::string path = entry.path().string();
      if (path.ends_with(ending)) found.push_back(path.substr(0, path.size() - ending.size()));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The set's requests with the client's arrivals; prompts that begin alike say so.
[[nodiscard]] inline workload::Workload workload_of(const TimingSet& set) {
  workload::Workload w;
  w.name = "sharegpt300";
  std::map<std::size_t, SharedPrefix> shared;
  for (const SharedPrefix& p : shared_prefixes_of(set.dataset)) shared.emplace(p.request, p);
  std::vector<std::vector<PromptChunk>> texts;
  for (std::size_t i = 0; i < set.requests.size(); ++i) {
    const RealTiming& real = set.requests[i];
    Request r;
    r.arrival = real.arrival;
    std::vector<PromptChunk> text;
    Tokens left = real.input;
    if (const auto p = shared.find(i); p != shared.end() && p->second.as < texts.size()) {
      Tokens common = std::min(Tokens{p->second.tokens}, left);
      for (const PromptChunk& chunk : texts[p->second.as]) {
        const Tokens take = std::min(chunk.tokens, common);
        if (take > Tokens{0}) text.push_back({chunk.content, take});
        common -= take;
        left -= take;
      }
    }
    if (left > Tokens{0}) text.push_back({i + 1, left});
    texts.push_back(text);
    r.chunks = std::move(text);
    r.prompt_length = real.input;
    r.output_length = Tokens{real.output};
    w.requests.push_back(std::move(r));
  }
  std::stable_sort(w.requests.begin(), w.requests.end(),
                   [](const Request& a, const Request& b) { return a.arrival < b.arrival; });
  return w;
}

}  // namespace quire::experiment
