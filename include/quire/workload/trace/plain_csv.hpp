#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <quire/workload/trace/csv_table.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// Quire's own plain file: columns input and output (tokens), and as many of these as are wanted,
/// in any order: arrival (seconds), n, beam_width, prefix (id of a shared beginning) with
/// prefix_tokens, session, turn, tenant, priority, salt (of the prefix index), keep_for (seconds that
/// its text stays pinned after its end). \errors as TraceReader says.
class PlainCsv {
 public:
  static constexpr std::string_view name = "plain_csv";
  static constexpr bool rebased = false;
  static constexpr std::array<std::string_view, 13> columns{
      "input",   "output", "arrival", "n",        "beam_width", "prefix",  "prefix_tokens",
      "session", "turn",   "tenant",  "priority", "salt",       "keep_for"};
  /// Every column must be one of ours: a table that merely has an `input` is not a trace.
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    bool input = false;
    bool output = false;
    while (!first_line.empty()) {
      const auto comma = std::min(first_line.find(','), first_line.size());
      const std::string_view column = trim(first_line.substr(0, comma));
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) return false;
      input = input || column == columns[0];
      output = output || column == columns[1];
      first_line.remove_prefix(std::min(comma + 1, first_line.size()));
    }
    return input && output;
  }
  /// The first column that is not ours, of a header that has `input` and `output`; else empty.
  [[nodiscard]] static std::string unknown_column(std::string_view first_line) {
    std::string unknown;
    std::size_t needed = 0;
    while (!first_line.empty()) {
      const auto comma = std::min(first_line.find(','), first_line.size());
      const std::string_view column = trim(first_line.substr(0, comma));
      if (column == columns[0] || column == columns[1]) ++needed;
      if (unknown.empty() && std::find(columns.begin(), columns.end(), column) == columns.end()) {
        unknown = column.empty() ? "(empty)" : std::string(column);
      }
      first_line.remove_prefix(std::min(comma + 1, first_line.size()));
    }
    return needed == 2 ? unknown : "";
  }

  explicit PlainCsv(LineReader lines) : table_(std::move(lines), columns, 2) {
    if (table_.has(5) != table_.has(6)) {
      throw data_error(table_.lines().where(), "has one of 'prefix' and 'prefix_tokens'", "both");
    }
  }

  [[nodiscard]] bool next(Request& request) {
    if (!table_.next()) return false;
    constexpr auto most32 = std::numeric_limits<std::int32_t>::max();
    constexpr auto most64 = std::numeric_limits<std::int64_t>::max();
    request.prompt_length = table_.tokens(0);
    request.output_length = table_.tokens(1);
    if (table_.has(2)) request.arrival = table_.arrival(2);
    if (table_.has(3)) request.sampling.n = small(3, 1, max_width);
    if (table_.has(4)) request.sampling.beam_width = small(4, 0, max_width);
    if (table_.has(5)) {
      const auto prefix = static_cast<std::uint64_t>(table_.integer(5, 0, most64));
      const Tokens tokens = table_.integer(6, 0, request.prompt_length.value);
      if (tokens > Tokens(0)) request.chunks.push_back({prefix, tokens});
      if (tokens > Tokens(0) && tokens < request.prompt_length) {
        request.chunks.push_back(
            {~std::uint64_t{table_.lines().line_number()}, request.prompt_length - tokens});
      }
    }
    if (table_.has(7)) request.session = static_cast<std::uint64_t>(table_.integer(7, 0, most64));
    if (table_.has(8)) request.turn = small(8, 0, most32);
    if (table_.has(9)) request.tenant.value = static_cast<std::uint32_t>(small(9, 0, most32));
    if (table_.has(10)) request.priority = small(10, -most32, most32);
    if (table_.has(11)) request.salt = static_cast<std::uint64_t>(table_.integer(11, 0, most64));
    if (table_.has(12)) request.keep_for = table_.arrival(12);
    return true;
  }
  [[nodiscard]] bool timed() const { return table_.has(2); }
  [[nodiscard]] LineReader& lines() { return table_.lines(); }

 private:
  static constexpr std::int32_t max_width = 1024;  // sequences of one request
  std::int32_t small(std::size_t column, std::int32_t low, std::int32_t high) const {
    return static_cast<std::int32_t>(table_.integer(column, low, high));
  }
  CsvTable table_;
};
static_assert(TraceReader<PlainCsv>);

}  // namespace quire::workload::trace
