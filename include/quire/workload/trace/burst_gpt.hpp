#pragma once

#include <span>
#include <string_view>
#include <utility>

#include <quire/core/hash.hpp>
#include <quire/workload/trace/csv_table.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// BurstGPT, either header: Timestamp, [Session ID, Elapsed time,] Model, Request tokens, Response
/// tokens, Total tokens, Log Type. Arrivals count from the first request; calls that failed have 0
/// response tokens; equal session ids become one session.
/// \errors as TraceReader says.
/// \source HPMLL/BurstGPT (CC-BY-4.0); Wang et al., "BurstGPT", KDD '25.
class BurstGpt {
 public:
  static constexpr std::string_view name = "burst_gpt";
  static constexpr bool rebased = true;
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    return first_line.find("Timestamp") != std::string_view::npos &&
           first_line.find("Request tokens") != std::string_view::npos;
  }

  explicit BurstGpt(LineReader lines)
      : table_(std::move(lines), {"Timestamp", "Request tokens", "Response tokens", "Session ID"},
               3) {}

  [[nodiscard]] bool next(Request& request) {
    if (!table_.next()) return false;
    request.arrival = table_.arrival(0);
    request.prompt_length = table_.tokens(1);
    request.output_length = table_.tokens(2);
    if (table_.has(3) && !trim(table_.text(3)).empty()) {
      request.session = hash_span(std::span<const char>(trim(table_.text(3)))) | 1;
    }
    return true;
  }
  [[nodiscard]] bool timed() const { return true; }
  [[nodiscard]] LineReader& lines() { return table_.lines(); }

 private:
  CsvTable table_;
};
static_assert(TraceReader<BurstGpt>);

}  // namespace quire::workload::trace
