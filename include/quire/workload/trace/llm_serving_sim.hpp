#pragma once

#include <string_view>
#include <utility>

#include <quire/workload/trace/csv_table.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// Lengths and arrivals in the words of LLMServingSim: arrival_time_ns, input_toks, output_toks.
/// \errors as TraceReader says.
/// \source casys-kaist/LLMServingSim (MIT).
class LlmServingSim {
 public:
  static constexpr std::string_view name = "llm_serving_sim";
  static constexpr bool rebased = false;
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    return first_line.find("arrival_time_ns") != std::string_view::npos;
  }

  explicit LlmServingSim(LineReader lines)
      : table_(std::move(lines), {"arrival_time_ns", "input_toks", "output_toks"}, 3) {}

  [[nodiscard]] bool next(Request& request) {
    if (!table_.next()) return false;
    request.arrival = table_.arrival(0, 1e-9);
    request.prompt_length = table_.tokens(1);
    request.output_length = table_.tokens(2);
    return true;
  }
  [[nodiscard]] bool timed() const { return true; }
  [[nodiscard]] LineReader& lines() { return table_.lines(); }

 private:
  CsvTable table_;
};
static_assert(TraceReader<LlmServingSim>);

}  // namespace quire::workload::trace
