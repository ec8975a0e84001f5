#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/metrics/distribution.hpp>
#include <quire/metrics/slo.hpp>

namespace quire::metrics {

/// What a run did for its clients, in the words of vLLM's benchmark. Latencies are of completed
/// requests; the normalized latency of the PagedAttention paper and the scheduling delay are ours.
struct ServingSummary {
  std::int64_t completed = 0;
  std::int64_t failed = 0;
  Seconds duration = 0.0;
  Tokens input_tokens = 0;   // of completed requests
  Tokens output_tokens = 0;  // of completed requests, all their sequences
  std::int64_t preemptions = 0;
  Tokens prefix_hit = 0;
  double request_goodput = std::numeric_limits<double>::quiet_NaN();  // needs an objective
  double attainment = std::numeric_limits<double>::quiet_NaN();
  // \unit milliseconds, but for normalized_latency: seconds a token
  Distribution ttft, tpot, itl, e2el, scheduling_delay, normalized_latency;

  [[nodiscard]] double request_throughput() const {
    return static_cast<double>(completed) / duration.value;
  }
  [[nodiscard]] double output_throughput() const {
    return static_cast<double>(output_tokens.value) / duration.value;
  }
  [[nodiscard]] double total_token_throughput() const {
    return static_cast<double>((input_tokens + output_tokens).value) / duration.value;
  }
};

/// Sums up the requests of a run that took `duration`.
[[nodiscard]] inline ServingSummary summarize(std::span<const RequestRecord> records,
                                              Seconds duration, const Slo& slo = {}) {
  ServingSummary s;
  s.duration = duration;
  std::vector<double> first, per_token, gaps, whole, delay, normalized;
  for (const RequestRecord& r : records) {
    s.preemptions += r.preemptions;
    if (!r.completed()) {
      ++s.failed;
      continue;
    }
    ++s.completed;
    s.input_tokens += r.prompt_tokens;
    s.output_tokens += r.output_tokens;
    s.prefix_hit += r.prefix_hit;
    first.push_back(ttft(r).value * 1e3);
    if (const double t = tpot(r).value; !std::isnan(t)) per_token.push_back(t * 1e3);
    for (const double gap : inter_token_latencies(r)) gaps.push_back(gap * 1e3);
    whole.push_back(e2el(r).value * 1e3);
    delay.push_back(scheduling_delay(r).value * 1e3);
    normalized.push_back(normalized_latency(r).value);
  }
  s.ttft = Distribution(std::move(first));
  s.tpot = Distribution(std::move(per_token));
  s.itl = Distribution(std::move(gaps));
  s.e2el = Distribution(std::move(whole));
  s.scheduling_delay = Distribution(std::move(delay));
  s.normalized_latency = Distribution(std::move(normalized));
  if (!slo.empty()) {
    s.attainment = slo_attainment(records, slo);
    s.request_goodput = s.attainment * static_cast<double>(records.size()) / duration.value;
  }
  return s;
}

namespace detail {

/// The numbers of a summary, exact or streaming, of a run that took `duration`.
template <class Summary>
[[nodiscard]] std::vector<std::pair<std::string, double>> named_values(
    const Summary& s, Seconds duration, double goodput, double attainment,
    std::span<const double> percentiles) {
  static constexpr double p99[] = {99};
  if (percentiles.empty()) percentiles = p99;
  const auto number = [](auto n) { return static_cast<double>(n); };
  const double seconds = duration.value;
  std::vector<std::pair<std::string, double>> out{
      {"completed", number(s.completed)},
      {"failed", number(s.failed)},
      {"duration", seconds},
      {"total_input_tokens", number(s.input_tokens.value)},
      {"total_output_tokens", number(s.output_tokens.value)},
      {"request_throughput", number(s.completed) / seconds},
      {"output_throughput", number(s.output_tokens.value) / seconds},
      {"total_token_throughput", number((s.input_tokens + s.output_tokens).value) / seconds},
      {"request_goodput", goodput},
      {"slo_attainment", attainment},
      {"preemptions", number(s.preemptions)},
      {"prefix_hit_tokens", number(s.prefix_hit.value)}};
  const auto add = [&](const std::string& name, const auto& d) {
    out.emplace_back("mean_" + name, d.mean());
    out.emplace_back("median_" + name, d.median());
    out.emplace_back("std_" + name, d.standard_deviation());
    for (const double p : percentiles) {
      char label[32];
      std::snprintf(label, sizeof label, "p%g_", p);
      out.emplace_back(label + name, d.percentile(p));
    }
  };
  add("ttft_ms", s.ttft);
  add("tpot_ms", s.tpot);
  add("itl_ms", s.itl);
  add("e2el_ms", s.e2el);
  add("scheduling_delay_ms", s.scheduling_delay);
  add("normalized_latency_s", s.normalized_latency);
  return out;
}

}  // namespace detail

/// The numbers of a summary by name, in the order in which rows and tables carry them:
/// `mean_ttft_ms`, `median_ttft_ms`, `std_ttft_ms`, `p99_ttft_ms` and so on.
[[nodiscard]] inline std::vector<std::pair<std::string, double>> named_values(
    const ServingSummary& s, std::span<const double> percentiles = {}) {
  return detail::named_values(s, s.duration, s.request_goodput, s.attainment, percentiles);
}

namespace detail {

/// Prints the block that vLLM's benchmark prints, and our two metrics under it.
template <class Summary>
void print(std::ostream& out, const Summary& s, Seconds duration, double goodput) {
  const auto text = [&out](const char* name, const std::string& value) {
    std::string line(name);
    line.resize(std::max<std::size_t>(line.size() + 1, 40), ' ');
    out << line << value << '\n';
  };
  const auto number = [&](const char* name, double value) {
    char digits[64];
    std::snprintf(digits, sizeof digits, "%.2f", value);
    text(name, std::isnan(value) ? "-" : digits);
  };
  const auto section = [&](const char* title, const char* name, const auto& d) {
    out << title << '\n';
    const std::string label(name);
    number(("Mean " + label).c_str(), d.mean());
    number(("Median " + label).c_str(), d.median());
    number(("P99 " + label).c_str(), d.percentile(99));
  };
  out << "============ Serving Benchmark Result ============\n";
  text("Successful requests:", std::to_string(s.completed));
  if (s.failed > 0) text("Failed requests:", std::to_string(s.failed));
  number("Benchmark duration (s):", duration.value);
  text("Total input tokens:", std::to_string(s.input_tokens.value));
  text("Total generated tokens:", std::to_string(s.output_tokens.value));
  number("Request throughput (req/s):", static_cast<double>(s.completed) / duration.value);
  if (!std::isnan(goodput)) number("Request goodput (req/s):", goodput);
  number("Output token throughput (tok/s):",
         static_cast<double>(s.output_tokens.value) / duration.value);
  number("Total token throughput (tok/s):",
         static_cast<double>((s.input_tokens + s.output_tokens).value) / duration.value);
  section("---------------Time to First Token----------------", "TTFT (ms):", s.ttft);
  section("-----Time per Output Token (excl. 1st token)------", "TPOT (ms):", s.tpot);
  section("---------------Inter-token Latency----------------", "ITL (ms):", s.itl);
  section("----------------End-to-end Latency----------------", "E2EL (ms):", s.e2el);
  out << "-----------------Also----------------------------\n";
  char value[64];
  std::snprintf(value, sizeof value, "%.4f", s.normalized_latency.mean());
  text("Mean normalized latency (s/token):", s.completed > 0 ? value : "-");
  number("Median scheduling delay (ms):", s.scheduling_delay.median());
  text("Preemptions:", std::to_string(s.preemptions));
  out << "==================================================\n";
}

}  // namespace detail

inline std::ostream& operator<<(std::ostream& out, const ServingSummary& s) {
  detail::print(out, s, s.duration, s.request_goodput);
  return out;
}

}  // namespace quire::metrics
