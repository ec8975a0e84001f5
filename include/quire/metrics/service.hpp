#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <quire/metrics/jain.hpp>
#include <quire/metrics/request_record.hpp>

namespace quire::metrics {

/// Price of an input and of an output token, as in VTC.
struct ServiceWeights {
  double input = 1, output = 2;
};

/// Service that each tenant had received by the end of each of `count` equal parts of [0, until):
/// a request's input counts when its first token is there, its output token by token.
/// \source Sheng et al., "Fairness in Serving Large Language Models" (VTC), OSDI '24, section 3.
[[nodiscard]] inline std::map<std::uint64_t, std::vector<double>> service_over_time(
    std::span<const RequestRecord> records, Seconds until, std::size_t count,
    const ServiceWeights& weights = {}) {
  std::map<std::uint64_t, std::vector<double>> out;
  const auto part_of = [&](double time) {
    const double part = time / until.value * static_cast<double>(count);
    return std::min(static_cast<std::size_t>(std::max(part, 0.0)), count - 1);
  };
  for (const RequestRecord& r : records) {
    auto& parts = out[r.tenant.value];
    parts.resize(count, 0);
    if (!r.completed()) continue;
    parts[part_of(r.first_token.value)] +=
        weights.input * static_cast<double>(r.prompt_tokens.value);
    const double each = weights.output * r.output_length() * static_cast<double>(r.sequences) /
                        static_cast<double>(std::max<std::size_t>(r.token_times.size(), 1));
    if (r.token_times.empty()) parts[part_of(r.last_token.value)] += each;
    for (const double time : r.token_times) parts[part_of(time)] += each;
  }
  for (auto& [tenant, parts] : out) {
    for (std::size_t i = 1; i < parts.size(); ++i) parts[i] += parts[i - 1];
  }
  return out;
}

/// Largest difference, at any of those times, between the service of two tenants; 0 for fewer than two.
[[nodiscard]] inline double service_difference(
    const std::map<std::uint64_t, std::vector<double>>& service) {
  double difference = 0;
  if (service.empty()) return 0;
  for (std::size_t i = 0; i < service.begin()->second.size(); ++i) {
    double least = service.begin()->second[i], most = least;
    for (const auto& [tenant, parts] : service) {
      least = std::min(least, parts[i]);
      most = std::max(most, parts[i]);
    }
    difference = std::max(difference, most - least);
  }
  return difference;
}

/// Jain's index of the tenants' service at the end: of what they asked for, once all is served.
[[nodiscard]] inline double service_jain_index(
    const std::map<std::uint64_t, std::vector<double>>& service) {
  std::vector<double> shares;
  shares.reserve(service.size());
  for (const auto& [tenant, parts] : service) shares.push_back(parts.back());
  return jain_index(shares);
}

/// Jain's index of the speeds at which tenants are served: the reciprocal of a tenant's mean normalized
/// latency. 1 when all wait alike, however much each asks for; NaN when nothing completed.
[[nodiscard]] inline double speed_jain_index(std::span<const RequestRecord> records) {
  std::map<std::uint64_t, std::pair<double, double>> latency;  // sum, requests
  for (const RequestRecord& r : records) {
    if (!r.completed() || !(r.output_length() > 0)) continue;
    auto& [sum, count] = latency[r.tenant.value];
    sum += normalized_latency(r).value;
    count += 1;
  }
  std::vector<double> speeds;
  speeds.reserve(latency.size());
  for (const auto& [tenant, of] : latency) speeds.push_back(of.second / of.first);
  return jain_index(speeds);
}

}  // namespace quire::metrics
