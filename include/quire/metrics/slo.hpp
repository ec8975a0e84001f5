#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/metrics/request_record.hpp>

namespace quire::metrics {

/// Service-level objective of a request; what is not set is not asked for.
struct Slo {
  std::optional<Seconds> ttft{};
  std::optional<Seconds> tpot{};
  std::optional<Seconds> e2el{};

  [[nodiscard]] bool empty() const { return !ttft && !tpot && !e2el; }
};

/// Whether a request completed and met every objective. A single token has no TPOT to miss.
[[nodiscard]] inline bool meets(const RequestRecord& r, const Slo& slo) {
  if (!r.completed()) return false;
  if (slo.ttft && ttft(r) > *slo.ttft) return false;
  if (slo.tpot && tpot(r) > *slo.tpot) return false;
  return !slo.e2el || e2el(r) <= *slo.e2el;
}

/// Share of requests, failed ones included, that meet the objective; NaN without requests.
/// \source Zhong et al., "DistServe", OSDI '24.
[[nodiscard]] inline double slo_attainment(std::span<const RequestRecord> records, const Slo& slo) {
  if (records.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::size_t met = 0;
  for (const RequestRecord& r : records) met += meets(r, slo);
  return static_cast<double>(met) / static_cast<double>(records.size());
}

/// Reads objectives as vLLM's `--goodput` takes them: `ttft:200`, `tpot:50`, `e2el:5000`, in
/// milliseconds. \errors usage error: an unknown name, one given twice, a value that is no positive
/// number.
[[nodiscard]] inline Slo parse_slo(std::span<const std::string> words) {
  Slo slo;
  for (const std::string& word : words) {
    const std::size_t colon = word.find(':');
    const std::string_view name = std::string_view(word).substr(0, colon);
    std::optional<Seconds>* which = name == "ttft"   ? &slo.ttft
                                    : name == "tpot" ? &slo.tpot
                                    : name == "e2el" ? &slo.e2el
                                                     : nullptr;
    if (which == nullptr || colon == std::string::npos) {
      throw usage_error("--goodput " + word, "is no objective", "ttft:MS, tpot:MS or e2el:MS");
    }
    if (which->has_value()) {
      throw usage_error("--goodput " + word, "is a second " + std::string(name),
                        "each objective once");
    }
    double ms = 0;
    const char* last = word.data() + word.size();
    const auto [end, status] = std::from_chars(word.data() + colon + 1, last, ms);
    if (status != std::errc{} || end != last || !(ms > 0 && std::isfinite(ms))) {
      throw usage_error("--goodput " + word, "has no time", "a positive number of milliseconds");
    }
    *which = ms / 1000;
  }
  return slo;
}

/// One run of a rate ladder.
struct RatePoint {
  double rate = 0;        // requests a second
  double attainment = 0;  // share that met the objective, or 1 and 0 for a criterion of the run
};

/// Largest measured rate up to which every measured rate attains `share`: DistServe's goodput with
/// share 0.9; with attainment 1 or 0 for "P99 TBT and median scheduling delay within bounds",
/// Sarathi's capacity. 0 when the lowest rate fails already. \pre points in ascending order of
/// rate. \source Zhong et al., OSDI '24; Agrawal et al., "Sarathi-Serve", OSDI '24.
[[nodiscard]] inline double largest_rate(std::span<const RatePoint> points, double share) {
  double best = 0;
  for (const RatePoint& p : points) {
    if (!(p.attainment >= share)) break;
    best = p.rate;
  }
  return best;
}

/// Where a rate stops to attain something: the highest rate that was seen to, and the lowest that was
/// seen not to; 0 where none did, infinity where all did.
struct RateInterval {
  double attains = 0;
  double fails = std::numeric_limits<double>::infinity();
};

/// Highest rate that still attains `share`, between `low` and `high`, by bisection until the two are
/// within `precision` of each other as a share: DistServe's goodput, and with a criterion of 1 or 0
/// Sarathi's capacity. attainment(rate) runs the workload at a rate and gives the share that met the
/// objective; it is taken to fall with the rate. 0 when `low` fails; `high` when that attains.
/// \errors usage error: bounds or precision that are none.
template <class Attainment>
[[nodiscard]] RateInterval highest_rate_between(Attainment&& attainment, double share, double low,
                                                double high, double precision = 0.01) {
  if (!(low > 0 && high >= low && precision > 0)) {
    throw usage_error("rate search", "the bounds enclose no rate",
                      "0 < low <= high, precision > 0");
  }
  if (!(attainment(low) >= share)) return {0, low};
  if (attainment(high) >= share) return {high, std::numeric_limits<double>::infinity()};
  while (high - low > precision * low) {
    const double middle = low + (high - low) / 2;
    (attainment(middle) >= share ? low : high) = middle;
  }
  return {low, high};
}

/// The lower end of highest_rate_between().
template <class Attainment>
[[nodiscard]] double highest_rate(Attainment&& attainment, double share, double low, double high,
                                  double precision = 0.01) {
  return highest_rate_between(attainment, share, low, high, precision).attains;
}

}  // namespace quire::metrics
