#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <quire/workload/arrivals.hpp>
#include <quire/workload/provenance.hpp>

namespace quire::workload {

/// Requests a second from the first arrival to the last; infinity when all arrive at once.
[[nodiscard]] inline double arrival_rate(const Workload& workload) {
  if (workload.requests.size() < 2) return std::numeric_limits<double>::infinity();
  const double span = (workload.requests.back().arrival - workload.requests.front().arrival).value;
  return static_cast<double>(workload.requests.size() - 1) / span;
}

/// The same requests in the same order, arriving by another process.
[[nodiscard]] inline Workload with_arrivals(Workload workload, const ArrivalProcess& process,
                                            std::uint64_t seed = 0) {
  const std::vector<Seconds> times = arrival_times(process, workload.requests.size(), seed);
  for (std::size_t i = 0; i < times.size(); ++i) workload.requests[i].arrival = times[i];
  workload.timed = true;
  workload.provenance.seed = seed;
  workload.provenance.parameters += ", arrivals drawn anew";
  return workload;
}

/// The same arrival pattern, stretched or pressed to `rate` requests a second.
/// \errors usage error: a rate that is not positive and finite, or arrivals without a span.
[[nodiscard]] inline Workload at_rate(Workload workload, double rate) {
  detail::check_positive(rate, "rate");
  const double now = arrival_rate(workload);
  if (!std::isfinite(now)) {
    throw usage_error(workload.name, "has no arrivals that could be stretched",
                      "a trace with times, or an arrival process");
  }
  const Seconds first = workload.requests.front().arrival;
  for (Request& r : workload.requests) r.arrival = (r.arrival - first) * (now / rate);
  workload.provenance.parameters += ", stretched to rate " + std::to_string(rate);
  return workload;
}

/// The first `count` requests, or all of them.
[[nodiscard]] inline Workload first_requests(Workload workload, std::size_t count) {
  if (count < workload.requests.size()) {
    workload.requests.resize(count);
    workload.provenance.parameters += ", first " + std::to_string(count) + " requests";
  }
  return workload;
}

/// Every request with n samples, or with beam search where beam_width > 0.
[[nodiscard]] inline Workload with_samples(Workload workload, std::int32_t n,
                                           std::int32_t beam_width = 0) {
  if (n < 1 || beam_width < 0) {
    throw usage_error("n", "a request has at least one sequence", "n >= 1 and beam_width >= 0");
  }
  for (Request& r : workload.requests) {
    r.sampling.n = beam_width > 0 ? beam_width : n;
    r.sampling.beam_width = beam_width;
  }
  workload.provenance.parameters +=
      beam_width > 0 ? ", beam " + std::to_string(beam_width) : ", n " + std::to_string(n);
  return workload;
}

}  // namespace quire::workload
