#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/cost_model/calibrate.hpp>
#include <quire/cost_model/profile_rows.hpp>

namespace quire::calibrate {

namespace detail {
inline void require_file(bool found, const std::filesystem::path& path, std::string_view what) {
  if (!found) throw data_error(path.string(), "cannot be read", what);
}
}  // namespace detail

/// Reads the matrix products of a layer out of Vidur's profile of a model: mlp.csv, medians of the query,
/// key and value projection, the output projection and the two of the MLP. One group a row.
/// devices: rows of that many tensor-parallel workers, 0 for all.
/// \errors data error naming file, line and column: a column is missing, or a field is no number.
/// \source microsoft/vidur, data/profiling/compute.
[[nodiscard]] inline std::vector<Product> read_vidur_products(const std::filesystem::path& path,
                                                              std::int64_t devices) {
  static constexpr std::array<std::string_view, 11> columns{"num_tokens",
                                                            "num_tensor_parallel_workers",
                                                            "n_head",
                                                            "n_kv_head",
                                                            "n_embd",
                                                            "n_expanded_embd",
                                                            "use_gated_mlp",
                                                            "time_stats.attn_pre_proj.median",
                                                            "time_stats.attn_post_proj.median",
                                                            "time_stats.mlp_up_proj.median",
                                                            "time_stats.mlp_down_proj.median"};
  std::vector<Product> products;
  std::size_t group = 0;
  const bool found = quire::detail::each_profile_row(
      path.string(), columns,
      [&](auto& f, auto& place) {
        const auto value = [&](std::size_t w) {
          return quire::detail::profile_positive(f[w], place + ", " + std::string(columns[w]));
        };
        const double workers = value(1);
        if (devices > 0 && workers != static_cast<double>(devices)) return;
        if (f[6] != "True" && f[6] != "False") {
          throw data_error(place, in_quotes(f[6]) + " is no use_gated_mlp", "True or False");
        }
        const double tokens = value(0), heads = value(2), kv = value(3), hidden = value(4),
                     wide = value(5) / workers, head = hidden / heads, query = hidden / workers;
        const double keys = head * (kv > workers ? kv / workers : 1);
        const double up = f[6] == "True" ? 2 * wide : wide;
        products.push_back({tokens, hidden, query + 2 * keys, 1e-3 * value(7), group});
        products.push_back({tokens, query, hidden, 1e-3 * value(8), group});
        products.push_back({tokens, hidden, up, 1e-3 * value(9), group});
        products.push_back({tokens, wide, hidden, 1e-3 * value(10), group});
        ++group;
      },
      "the columns of Vidur's mlp.csv");
  detail::require_file(found, path, "a profile of Vidur, mlp.csv");
  if (products.empty()) {
    throw data_error(path.string(), "has no row for " + std::to_string(devices) + " devices",
                     "rows with that many tensor-parallel workers");
  }
  return products;
}

/// Reads measured products one by one: columns m, k, n and latency_us, as BLIS has them. A group each.
/// \errors data error naming file and line. \source inference-sim, bench_data/gemm.
[[nodiscard]] inline std::vector<Product> read_gemm_products(const std::filesystem::path& path) {
  static constexpr std::array<std::string_view, 4> columns{"m", "k", "n", "latency_us"};
  std::vector<Product> products;
  const bool found = quire::detail::each_profile_row(
      path.string(), columns,
      [&](auto& f, auto& place) {
        const auto value = [&](std::size_t w) {
          return quire::detail::profile_positive(f[w], place);
        };
        products.push_back({value(0), value(1), value(2), 1e-6 * value(3), products.size()});
      },
      "the columns m, k, n and latency_us");
  detail::require_file(found, path, "measured products");
  if (products.empty()) throw data_error(path.string(), "has no row", "measured products");
  return products;
}

/// Products out of a file of either layout, by its first line. \errors as the readers.
[[nodiscard]] inline std::vector<Product> read_products(const std::filesystem::path& path,
                                                        std::int64_t devices) {
  std::ifstream file(path);
  std::string line;
  detail::require_file(std::filesystem::is_regular_file(path) && std::getline(file, line), path,
                       "a profile, Vidur's mlp.csv or columns m, k, n and latency_us");
  return line.starts_with("m,k,n,") ? read_gemm_products(path) : read_vidur_products(path, devices);
}

/// Decode attention of a file with the columns batch_size, kv_len and latency_us: bytes of keys and values
/// read, 16 bits each, and seconds. \errors data error naming file and line.
/// \source inference-sim, bench_data/mha/decode.
[[nodiscard]] inline std::vector<Moved> read_decode_attention(const std::filesystem::path& path,
                                                              std::int64_t kv_heads,
                                                              std::int64_t head_dim) {
  static constexpr std::array<std::string_view, 3> columns{"batch_size", "kv_len", "latency_us"};
  std::vector<Moved> rows;
  const double token = 4.0 * static_cast<double>(kv_heads * head_dim);
  const bool found = quire::detail::each_profile_row(
      path.string(), columns,
      [&](auto& f, auto& place) {
        const auto value = [&](std::size_t w) {
          return quire::detail::profile_positive(f[w], place);
        };
        rows.push_back({token * value(0) * value(1), 1e-6 * value(2)});
      },
      "the columns batch_size, kv_len and latency_us");
  detail::require_file(found && !rows.empty(), path, "measured attention of decodes");
  return rows;
}

/// All-reduces within one node of Vidur's all_reduce.csv, medians: bytes that pass a link, 2 (n - 1) / n of
/// the message, and seconds. devices: that many workers, 0 for all.
/// \errors data error naming file and line. \source microsoft/vidur, data/profiling/network.
[[nodiscard]] inline std::vector<Moved> read_all_reduce(const std::filesystem::path& path,
                                                        std::int64_t devices) {
  static constexpr std::array<std::string_view, 4> columns{
      "size", "num_workers", "devices_per_node", "time_stats.all_reduce.median"};
  std::vector<Moved> rows;
  const bool found = quire::detail::each_profile_row(
      path.string(), columns,
      [&](auto& f, auto& place) {
        const auto value = [&](std::size_t w) {
          return quire::detail::profile_positive(f[w], place);
        };
        const double n = value(1);
        if (n < 2 || value(2) != n || (devices > 0 && n != static_cast<double>(devices))) return;
        rows.push_back({2 * (n - 1) / n * value(0), 1e-3 * value(3)});
      },
      "the columns of Vidur's all_reduce.csv");
  detail::require_file(found && !rows.empty(), path,
                       "all-reduces of that many devices within one node");
  return rows;
}

}  // namespace quire::calibrate
