#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/metrics/run_provenance.hpp>

namespace quire::metrics {

/// How a number came about. Every row says so: a simulated number that passes for a measured one is
/// worse than none.
enum class Mode { measured, simulated, published };

[[nodiscard]] constexpr std::string_view to_string(Mode mode) {
  switch (mode) {
    case Mode::measured:
      return "measured";
    case Mode::simulated:
      return "simulated";
    case Mode::published:
      return "published";
  }
  return "measured";
}

/// One line of schema quire.result/1: what ran, on what, what came out, and by which program.
struct ResultRow {
  static constexpr std::string_view schema = "quire.result/1";

  // identity: these name the cell, and make its run_id
  std::string experiment{};
  std::string variant{};
  std::string workload{};
  std::string trace_sha256{};
  std::uint64_t seed = 0;
  std::uint64_t repetition = 0;
  JsonObject axes{};  // what else was chosen: model, rate, sizes; and the policy of each slot
  // outcome
  Mode mode = Mode::measured;
  JsonObject metrics{};
  RunProvenance provenance{};

  /// Hash of the identity: equal for the same cell in every run, on every machine.
  [[nodiscard]] std::string run_id() const {
    const std::string name = identity().text();
    char text[17];
    std::snprintf(text, sizeof text, "%016llx",
                  static_cast<unsigned long long>(hash_span(std::span<const char>(name))));
    return text;
  }

  [[nodiscard]] std::string line() const {
    JsonObject row;
    row.add("schema", schema).add("run_id", run_id());
    row.append(identity()).add("mode", to_string(mode)).append(metrics);
    return row.add("provenance", provenance.json(mode == Mode::simulated)).text();
  }

 private:
  [[nodiscard]] JsonObject identity() const {
    JsonObject out;
    out.add("experiment", experiment).add("variant", variant).add("workload", workload);
    out.add("trace_sha256", trace_sha256).add("seed", seed).add("repetition", repetition);
    return out.append(axes);
  }
};

}  // namespace quire::metrics
