#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <experiments/common/suggest.hpp>
#include <quire/core/error.hpp>
#include <quire/metrics/serving_summary.hpp>

namespace quire::experiment {

/// A number of a row, and the most it may be.
struct KeptBelow {
  std::string metric;
  double most = 0;
};

/// What the highest sustainable rate has to keep, and between which rates it lies.
struct RateSearch {
  double low = 0, high = 0;       // requests a second; high 0: none is looked for
  double attainment = 0.9;        // share of requests that meet the objectives, where there are any
  std::vector<KeptBelow> kept{};  // and numbers of the whole run

  [[nodiscard]] bool wanted() const { return high > 0; }
};

namespace detail {
[[nodiscard]] inline double positive_number(std::string_view text, const std::string& where) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() ||
      !(value > 0 && std::isfinite(value))) {
    throw usage_error(where, in_quotes(std::string(text)) + " is no positive number",
                      "a positive number");
  }
  return value;
}
}  // namespace detail

/// Reads `LOW:HIGH`, requests a second. \errors usage error.
inline void parse_rates(const std::string& text, RateSearch& search) {
  const std::string where = "--search-rate " + text;
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) throw usage_error(where, "is no range", "LOW:HIGH");
  search.low = detail::positive_number(std::string_view(text).substr(0, colon), where);
  search.high = detail::positive_number(std::string_view(text).substr(colon + 1), where);
  if (search.high <= search.low) throw usage_error(where, "is empty", "LOW below HIGH");
}

/// Reads `METRIC:MOST`, such as `p99_itl_ms:100`. \errors usage error: a metric that no row has.
[[nodiscard]] inline KeptBelow parse_kept(const std::string& text,
                                          std::span<const double> percentiles) {
  const std::string where = "--keep " + text;
  const std::size_t colon = text.find(':');
  const std::string metric = text.substr(0, colon);
  std::vector<std::string> names;
  for (const auto& [name, value] : metrics::named_values(metrics::ServingSummary{}, percentiles)) {
    names.push_back(name);
  }
  if (std::find(names.begin(), names.end(), metric) == names.end()) {
    std::vector<std::string_view> known(names.begin(), names.end());
    throw unknown_name(where, "metric", metric, known);
  }
  if (colon == std::string::npos) throw usage_error(where, "has no number", "METRIC:MOST");
  return {metric, detail::positive_number(std::string_view(text).substr(colon + 1), where)};
}

/// Whether a run keeps all that was asked. values: of its row, by name.
[[nodiscard]] inline bool keeps(const RateSearch& search, bool has_objectives,
                                const std::vector<std::pair<std::string, double>>& values) {
  const auto value = [&values](std::string_view name) {
    const auto at = std::find_if(values.begin(), values.end(),
                                 [&](const auto& pair) { return pair.first == name; });
    return at == values.end() ? std::nan("") : at->second;
  };
  if (has_objectives && !(value("slo_attainment") >= search.attainment)) return false;
  return std::all_of(search.kept.begin(), search.kept.end(),
                     [&](const KeptBelow& k) { return value(k.metric) <= k.most; });
}

}  // namespace quire::experiment
