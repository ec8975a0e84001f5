#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <quire/workload/trace/csv_table.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// Nanoseconds since 1970 of `2023-11-16 18:15:46.6805900`, with an optional `T`, up to nine
/// decimals and an optional `Z` or `+00:00`; nothing if the text is anything else.
[[nodiscard]] inline std::optional<std::int64_t> parse_timestamp(std::string_view text) {
  const auto digits = [&text](std::size_t count, int low, int high) -> int {
    int value = -1;
    if (text.size() < count) return -1;
    const auto [end, status] = std::from_chars(text.data(), text.data() + count, value);
    if (status != std::errc{} || end != text.data() + count) return -1;
    text.remove_prefix(count);
    return value >= low && value <= high ? value : -1;
  };
  const auto mark = [&text](std::string_view any) {
    if (text.empty() || any.find(text.front()) == std::string_view::npos) return false;
    text.remove_prefix(1);
    return true;
  };
  const int year = digits(4, 1970, 2261);
  if (year < 0 || !mark("-")) return {};
  const int month = digits(2, 1, 12);
  if (month < 0 || !mark("-")) return {};
  const int day = digits(2, 1, 31);
  if (day < 0 || !mark(" T")) return {};
  const int hour = digits(2, 0, 23);
  if (hour < 0 || !mark(":")) return {};
  const int minute = digits(2, 0, 59);
  if (minute < 0 || !mark(":")) return {};
  const int second = digits(2, 0, 60);
  if (second < 0) return {};
  std::int64_t nanoseconds = 0;
  if (mark(".")) {
    int count = 0;
    for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; ++count) {
      if (count == 9) return {};
      nanoseconds = nanoseconds * 10 + (text.front() - '0');
      text.remove_prefix(1);
    }
    if (count == 0) return {};
    for (; count < 9; ++count) nanoseconds *= 10;
  }
  std::int64_t offset = 0;  // seconds east of Greenwich
  if (!text.empty() && !mark("Z")) {
    const bool west = text.front() == '-';
    if (!mark("+-")) return {};
    const int zone_hour = digits(2, 0, 14);
    if (zone_hour < 0 || !mark(":")) return {};
    const int zone_minute = digits(2, 0, 59);
    if (zone_minute < 0) return {};
    offset = (zone_hour * 3600 + zone_minute * 60) * (west ? -1 : 1);
  }
  if (!text.empty()) return {};
  // Days from 1970 with the year beginning in March, so that the leap day comes last.
  // Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
  const std::int64_t y = month <= 2 ? year - 1 : year;
  const std::int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const std::int64_t era = y / 400;
  const std::int64_t year_of_era = y - era * 400;
  const std::int64_t days =
      era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
  const std::int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset;
  return seconds * 1'000'000'000 + nanoseconds;
}

/// Azure LLM inference traces of 2023 and 2024: TIMESTAMP, ContextTokens, GeneratedTokens.
/// Arrivals count from the first request; lengths are all that is known of the text.
/// \errors as TraceReader says.
/// \source Azure/AzurePublicDataset (CC-BY-4.0); Patel et al., "Splitwise", ISCA '24.
class Azure {
 public:
  static constexpr std::string_view name = "azure";
  static constexpr bool rebased = true;
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    return first_line.find("TIMESTAMP") != std::string_view::npos &&
           first_line.find("ContextTokens") != std::string_view::npos;
  }

  explicit Azure(LineReader lines)
      : table_(std::move(lines), {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}, 3) {}

  [[nodiscard]] bool next(Request& request) {
    if (!table_.next()) return false;
    const auto time = parse_timestamp(trim(table_.text(0)));
    if (!time) {
      throw data_error(table_.where(0), "is not a time", "as in 2023-11-16 18:15:46.6805900");
    }
    if (!first_) first_ = *time;
    request.arrival = static_cast<double>(*time - *first_) * 1e-9;
    request.prompt_length = table_.tokens(1);
    request.output_length = table_.tokens(2);
    return true;
  }
  [[nodiscard]] bool timed() const { return true; }
  [[nodiscard]] LineReader& lines() { return table_.lines(); }

 private:
  CsvTable table_;
  std::optional<std::int64_t> first_;  // nanoseconds since 1970
};
static_assert(TraceReader<Azure>);

}  // namespace quire::workload::trace
