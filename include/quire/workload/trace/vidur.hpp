#pragma once

#include <string_view>
#include <utility>

#include <quire/workload/trace/csv_table.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// The processed traces of Vidur and Sarathi-Serve: num_prefill_tokens, num_decode_tokens, and
/// arrived_at in seconds where the trace has arrivals. A num_total_tokens column must agree.
/// \errors as TraceReader says.
/// \source Agrawal et al., "Vidur", MLSys '24 (MIT); "Sarathi-Serve", OSDI '24 (Apache-2.0).
class Vidur {
 public:
  static constexpr std::string_view name = "vidur";
  static constexpr bool rebased = false;
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    return first_line.find("num_prefill_tokens") != std::string_view::npos;
  }

  explicit Vidur(LineReader lines)
      : table_(std::move(lines),
               {"num_prefill_tokens", "num_decode_tokens", "arrived_at", "num_total_tokens"}, 2) {}

  [[nodiscard]] bool next(Request& request) {
    if (!table_.next()) return false;
    request.prompt_length = table_.tokens(0);
    request.output_length = table_.tokens(1);
    if (timed()) request.arrival = table_.arrival(2);
    if (table_.has(3) && table_.integer(3, 0, 2 * max_request_tokens) !=
                             request.prompt_length.value + request.output_length->value) {
      throw data_error(table_.where(3), "does not add up", "prefill plus decode tokens");
    }
    return true;
  }
  [[nodiscard]] bool timed() const { return table_.has(2); }
  [[nodiscard]] LineReader& lines() { return table_.lines(); }

 private:
  CsvTable table_;
};
static_assert(TraceReader<Vidur>);

}  // namespace quire::workload::trace
