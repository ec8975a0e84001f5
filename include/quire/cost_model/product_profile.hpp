#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/cost_model/calibrate.hpp>

namespace quire::calibrate {

/// Reads the matrix products of a layer out of Vidur's profile of a model: mlp.csv, medians of the query,
/// key and value projection, the output projection and the two of the MLP. One group a row.
/// devices: rows of that many tensor-parallel workers, 0 for all.
/// \errors data error naming file, line and column: a column is missing, or a field is no number.
/// \source microsoft/vidur, data/profiling/compute.
[[nodiscard]] inline std::vector<Product> read_vidur_products(const std::filesystem::path& path,
                                                              std::int64_t devices) {
  std::ifstream file(path);
  if (!file) throw data_error(path.string(), "cannot be read", "a profile of Vidur, mlp.csv");
  const auto fields_of = [](const std::string& line) {
    std::vector<std::string> out;
    std::istringstream parts(line);
    for (std::string part; std::getline(parts, part, ',');) {
      while (!part.empty() && part.back() == '\r') part.pop_back();
      out.push_back(part);
    }
    return out;
  };
  constexpr std::array<std::string_view, 11> wanted{"num_tokens",
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
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = fields_of(line);
  std::array<std::size_t, wanted.size()> column{};
  for (std::size_t w = 0; w < wanted.size(); ++w) {
    while (column[w] < header.size() && header[column[w]] != wanted[w]) ++column[w];
    if (column[w] == header.size()) {
      throw data_error(path.string() + ": line 1", "no column " + in_quotes(wanted[w]),
                       "the columns of Vidur's mlp.csv");
    }
  }
  std::vector<Product> products;
  std::size_t group = 0;
  for (std::size_t number = 2; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    const std::vector<std::string> fields = fields_of(line);
    const auto value = [&](std::size_t w) {
      const std::string where = path.string() + ": line " + std::to_string(number);
      if (column[w] >= fields.size()) throw data_error(where, "too few fields", "one a column");
      const std::string& text = fields[column[w]];
      if (text == "True" || text == "False") return text == "True" ? 1.0 : 0.0;
      double number_read = 0;
      const auto [end, status] =
          std::from_chars(text.data(), text.data() + text.size(), number_read);
      if (status != std::errc{} || end != text.data() + text.size() || !(number_read > 0)) {
        throw data_error(where, in_quotes(text) + " is no " + std::string(wanted[w]),
                         "a number above 0");
      }
      return number_read;
    };
    const double workers = value(1);
    if (devices > 0 && workers != static_cast<double>(devices)) continue;
    const double tokens = value(0), heads = value(2), kv = value(3), hidden = value(4),
                 wide = value(5) / workers, head = hidden / heads, query = hidden / workers;
    const double keys = head * (kv > workers ? kv / workers : 1);
    const double up = value(6) > 0 ? 2 * wide : wide;
    products.push_back({tokens, hidden, query + 2 * keys, 1e-3 * value(7), group});
    products.push_back({tokens, query, hidden, 1e-3 * value(8), group});
    products.push_back({tokens, hidden, up, 1e-3 * value(9), group});
    products.push_back({tokens, wide, hidden, 1e-3 * value(10), group});
    ++group;
  }
  if (products.empty()) {
    throw data_error(path.string(), "has no row for " + std::to_string(devices) + " devices",
                     "rows with that many tensor-parallel workers");
  }
  return products;
}

}  // namespace quire::calibrate
