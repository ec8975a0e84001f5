// mechanism: rows of a profile's CSV file by the names of its columns.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::detail {

/// The fields of a line of comma-separated values; they point into the line.
[[nodiscard]] inline std::vector<std::string_view> profile_fields(std::string& line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  std::vector<std::string_view> fields;
  for (std::size_t at = 0;;) {
    const std::size_t comma = line.find(',', at);
    fields.push_back(std::string_view(line).substr(at, comma - at));
    if (comma == std::string::npos) return fields;
    at = comma + 1;
  }
}

/// Calls row(fields, place) for each line after the header, with the fields of `names`; the file may have
/// its columns in any order, and others beside them. False when the file is not there.
/// \errors data error naming file and line: a column is missing, a line has more or fewer fields.
template <class Row>
bool each_profile_row(const std::string& path, std::span<const std::string_view> names, Row&& row,
                      std::string_view expected = "the columns of LLMServingSim's profiler") {
  std::ifstream in(path);
  if (!in) return false;
  std::string line;
  std::getline(in, line);
  const std::vector<std::string_view> header = profile_fields(line);
  std::vector<std::size_t> columns;
  for (const std::string_view name : names) {
    const auto at = std::find(header.begin(), header.end(), name);
    if (at == header.end()) {
      throw data_error(path + ": line 1",
                       "the header " + in_quotes(line, 120) + " has no column " + std::string(name),
                       expected);
    }
    columns.push_back(static_cast<std::size_t>(at - header.begin()));
  }
  const std::size_t width = header.size();
  std::vector<std::string_view> chosen(columns.size());
  for (std::size_t number = 2; std::getline(in, line); ++number) {
    const std::vector<std::string_view> fields = profile_fields(line);
    if (line.empty()) continue;
    const std::string place = path + ": line " + std::to_string(number);
    if (fields.size() != width) {
      throw data_error(place, std::to_string(fields.size()) + " fields", std::to_string(width));
    }
    for (std::size_t i = 0; i < columns.size(); ++i) chosen[i] = fields[columns[i]];
    row(chosen, place);
  }
  return true;
}

/// A finite number, not negative unless that is allowed. \errors data error naming the place.
[[nodiscard]] inline double profile_number(std::string_view text, const std::string& place,
                                           bool negative = false) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || !std::isfinite(value) ||
      (value < 0 && !negative)) {
    throw data_error(place, in_quotes(text) + " is no number", "a finite number, 0 or more");
  }
  return value;
}

/// A number above 0, such as a measured time. \errors data error naming the place.
[[nodiscard]] inline double profile_positive(std::string_view text, const std::string& place) {
  const double value = profile_number(text, place);
  if (!(value > 0))
    throw data_error(place, in_quotes(text) + " is not above 0", "a positive number");
  return value;
}

}  // namespace quire::detail
