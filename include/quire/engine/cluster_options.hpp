#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/units.hpp>
#include <quire/engine/step_stats.hpp>
#include <quire/metrics/request_record.hpp>
#include <quire/metrics/serving_summary.hpp>
#include <quire/router/concepts.hpp>

namespace quire {

/// What instances send keys and values to each other over: each sends to one other at a time, and
/// receives from one, first come first served.
struct ClusterLink {
  double bytes_per_second = 25e9;
  Seconds latency = 1e-5;
};

/// How a running request is moved.
enum class Handover {
  live,      // copied while it runs; it stops for what it computed during the last copy
  blocking,  // stopped, copied, started
  recompute  // stopped, and computed again from its text
};

/// A cluster's run-time quantities. The router's instances and block size are filled in.
struct ClusterOptions {
  RouterOptions router{};
  std::vector<Role> roles{};  // of each instance; empty: all serve whole requests
  ClusterLink link{};
  double kv_bytes_per_token = 0;  // of all layers
  std::int64_t layers = 1;
  Handover handover = Handover::live;
  Seconds until = std::numeric_limits<double>::infinity();  // no step begins at or after it
};

/// What a replay on a cluster found.
struct ClusterReport {
  std::vector<metrics::RequestRecord> records;  // of the workload's requests, in order of their end
  Seconds duration = 0.0;
  std::int64_t unfinished = 0;
  std::vector<std::int64_t> placed;  // requests that were routed to each instance
  std::vector<double>
      transfer_seconds;             // of each prompt's keys and values, the wait for it included
  std::vector<double> downtimes;    // of each moved request: between two tokens, one each side
  std::int64_t moves_given_up = 0;  // it ended or was preempted meanwhile, or there was no room
  Tokens held_peak = 0;  // tokens whose keys and values waited for room on a decode instance
  std::vector<EngineCounters> counters;  // of each instance
  std::uint64_t decision_hash = 0;

  [[nodiscard]] metrics::ServingSummary summary(const metrics::Slo& slo = {}) const {
    return metrics::summarize(records, duration, slo);
  }
  [[nodiscard]] std::int64_t preemptions() const {
    std::int64_t sum = 0;
    for (const EngineCounters& c : counters) sum += c.preemptions;
    return sum;
  }
};

namespace detail {

/// A router behind one type, so that the loop below is compiled once; empty hooks are not offered.
struct RouterHooks {
  std::string_view name{};
  std::function<std::size_t(const Request&, const ClusterView&)> route{};
  std::function<std::size_t(const Request&, const ClusterView&)> decode_on{};
  std::function<std::vector<Move>(const ClusterView&)> moves{};
  std::function<std::size_t(std::span<const Movable>)> chosen{};
  std::function<void(std::size_t, Tokens, Tokens)> on_finished{};
  bool early = false, by_layer = false;
};

}  // namespace detail

}  // namespace quire
