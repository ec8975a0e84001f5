#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/cost_model/operator_profile.hpp>
#include <quire/cost_model/profile_rows.hpp>

namespace quire {

namespace detail {

using AttentionTimes = std::vector<OperatorProfile::AttentionTime>;

/// Vidur's mlp.csv: medians in milliseconds, by tokens and tensor-parallel workers.
inline void read_vidur_layers(const std::string& path, std::int64_t devices, OperatorProfile& out) {
  using Pair = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Pair, 8> names{Pair{"emb", "embedding"},
                                             Pair{"attn_pre_proj", "qkv_proj"},
                                             Pair{"attn_rope", "rotary_emb"},
                                             Pair{"attn_post_proj", "o_proj"},
                                             Pair{"mlp_up_proj", "gate_up_proj"},
                                             Pair{"mlp_act", "act_fn"},
                                             Pair{"mlp_down_proj", "down_proj"},
                                             Pair{"input_layernorm", "layernorm"}};
  std::vector<std::string> columns{"num_tokens", "num_tensor_parallel_workers"};
  for (const Pair& p : names) columns.push_back("time_stats." + std::string(p.first) + ".median");
  columns.emplace_back("time_stats.add.median");  // each norm has its residual beside it
  const std::vector<std::string_view> wanted(columns.begin(), columns.end());
  bool any = false;
  each_profile_row(
      path, wanted,
      [&](auto& f, auto& place) {
        if (profile_positive(f[1], place) != static_cast<double>(devices)) return;
        any = true;
        const double tokens = profile_positive(f[0], place);
        for (std::size_t i = 0; i < names.size(); ++i) {
          double ms = profile_number(f[2 + i], place);
          if (names[i].second == "layernorm") ms += profile_number(f[2 + names.size()], place);
          out.add_dense(std::string(names[i].second), tokens, 1e3 * ms);
        }
      },
      "the columns of Vidur's mlp.csv");
  if (!any) {
    throw data_error(path, "has no row for " + std::to_string(devices) + " devices",
                     "rows with that many tensor-parallel workers");
  }
}

/// Operators of that layout, and of which of ours they are a part.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 14> layer_names{
    {{"embedding", "embedding"},
     {"q_proj", "qkv_proj"},
     {"k_proj", "qkv_proj"},
     {"v_proj", "qkv_proj"},
     {"qkv_proj", "qkv_proj"},
     {"rope", "rotary_emb"},
     {"o_proj", "o_proj"},
     {"gate_proj", "gate_up_proj"},
     {"up_proj", "gate_up_proj"},
     {"act_fn", "act_fn"},
     {"down_proj", "down_proj"},
     {"input_layernorm", "layernorm"},
     {"post_layernorm", "layernorm"},
     {"final_layernorm", "final_layernorm"}}};

/// The first layout of LLMServingSim, layers.csv: nanoseconds, by tokens, each projection apart. Its
/// attention is of prompts without cached tokens.
inline void read_simulator_layers(const std::string& path, std::int64_t devices,
                                  OperatorProfile& out, AttentionTimes& prompts) {
  static constexpr std::array<std::string_view, 5> columns{"layer_name", "input", "kv_cache",
                                                           "tp_size", "latency(ns)"};
  std::map<std::pair<std::string_view, double>, double> sums;
  bool any = false;
  each_profile_row(
      path, columns,
      [&](auto& f, auto& place) {
        if (profile_positive(f[3], place) != static_cast<double>(devices)) return;
        any = true;
        const double tokens = profile_positive(f[1], place);
        const double us = 1e-3 * profile_positive(f[4], place);
        if (f[0] == "attn") {
          if (profile_number(f[2], place) == 0) prompts.push_back({.chunk = tokens, .time_us = us});
          return;
        }
        if (f[0] == "lm_head") return out.add_per_sequence("lm_head", tokens, us);
        for (const auto& [theirs, ours] : layer_names) {
          // the two norms of a layer are one entry, of which a layer has two
          if (f[0] == theirs) sums[{ours, tokens}] += ours == "layernorm" ? us / 2 : us;
        }
      },
      "the columns of LLMServingSim's layers.csv");
  if (!any) {
    throw data_error(path, "has no row for " + std::to_string(devices) + " devices",
                     "rows of that tp_size");
  }
  for (const auto& [key, us] : sums) out.add_dense(std::string(key.first), key.second, us);
}

}  // namespace detail

/// Reads measured times in the layouts in which they were published, told apart by their first lines:
/// Vidur's mlp.csv, LLMServingSim's first layers.csv, and BLIS' attention of decodes
/// (`batch_size,kv_len,latency_us`) and of prompts (`seq_len,latency_us`). What no file has is not in the
/// profile. The layout of LLMServingSim's profiler is OperatorProfile::read()'s.
/// devices: tensor-parallel ones; attention files do not say theirs and are taken as they are.
/// \errors data error naming file, line and what was expected.
/// \source microsoft/vidur; casys-kaist/LLMServingSim, profiler/v0; inference-sim, bench_data.
[[nodiscard]] inline OperatorProfile read_profile_files(std::span<const std::string> files,
                                                        std::int64_t devices) {
  OperatorProfile out;
  detail::AttentionTimes decodes, prompts, eager;
  for (const std::string& path : files) {
    std::ifstream in(path);
    std::string line;
    if (!in || !std::filesystem::is_regular_file(path) || !std::getline(in, line)) {
      throw data_error(path, "cannot be read or is empty", "a profile");
    }
    const auto has = [&line](std::string_view column) {
      return line.find(column) != std::string::npos;
    };
    using detail::profile_positive;
    if (has("time_stats.mlp_up_proj.median")) {
      detail::read_vidur_layers(path, devices, out);
    } else if (has("layer_name") && has("latency(ns)")) {
      detail::read_simulator_layers(path, devices, out, eager);
    } else if (has("kv_len") && has("latency_us")) {
      static constexpr std::array<std::string_view, 3> columns{"batch_size", "kv_len",
                                                               "latency_us"};
      detail::each_profile_row(path, columns, [&](auto& f, auto& place) {
        decodes.push_back({.decodes = profile_positive(f[0], place),
                           .kv = profile_positive(f[1], place),
                           .time_us = profile_positive(f[2], place)});
      });
    } else if (has("seq_len") && has("latency_us")) {
      static constexpr std::array<std::string_view, 2> columns{"seq_len", "latency_us"};
      detail::each_profile_row(path, columns, [&](auto& f, auto& place) {
        prompts.push_back(
            {.chunk = profile_positive(f[0], place), .time_us = profile_positive(f[1], place)});
      });
    } else {
      throw data_error(
          path + ": line 1", "the header " + in_quotes(line, 80) + " is of no layout",
          "Vidur's mlp.csv, LLMServingSim's layers.csv, BLIS' mha_decode or mha_prefill");
    }
  }
  if (prompts.empty()) prompts = std::move(eager);
  const std::string place = files.empty() ? std::string("operator profile") : files.front();
  if (!decodes.empty()) out.add_attention(decodes, place);
  if (!prompts.empty()) out.add_attention(prompts, place);
  return out;
}

}  // namespace quire
