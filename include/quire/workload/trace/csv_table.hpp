#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/workload/trace/field.hpp>
#include <quire/workload/trace/line_reader.hpp>

namespace quire::workload::trace {

/// Splits one line of comma-separated values; quotes as in RFC 4180, except that a value does not
/// span lines.
/// \errors data error at where() for a quote that does not end or text after one.
template <class Where>
void split_csv(std::string_view line, std::vector<std::string>& fields, const Where& where) {
  std::size_t count = 0;
  const auto slot = [&]() -> std::string& {
    if (count == fields.size()) fields.emplace_back();
    fields[count].clear();
    return fields[count++];
  };
  std::size_t i = 0;
  for (;;) {
    std::string& field = slot();
    if (i < line.size() && line[i] == '"') {
      for (++i;; ++i) {
        if (i >= line.size()) throw data_error(where(), "a quote does not end", "a closing quote");
        if (line[i] != '"') {
          field.push_back(line[i]);
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          field.push_back(line[i++]);
        } else {
          break;
        }
      }
      if (++i < line.size() && line[i] != ',') {
        throw data_error(where(), "text follows a closing quote", "a comma");
      }
    } else {
      const std::size_t end = std::min(line.find(',', i), line.size());
      field.assign(line.substr(i, end - i));
      i = end;
    }
    if (i >= line.size()) break;
    ++i;  // the comma
  }
  fields.resize(count);
}

/// A comma-separated file with one header line; columns are found by name, in any order, and more
/// of them than asked for is fine.
/// \errors data error naming file, line and column: a column that is missing or there twice, a row
/// with more or fewer values than the header.
class CsvTable {
 public:
  /// columns: those the caller will ask for by index; the first `required` of them must be there.
  CsvTable(LineReader lines, std::initializer_list<std::string_view> columns, std::size_t required)
      : CsvTable(std::move(lines), std::span(columns.begin(), columns.size()), required) {}
  CsvTable(LineReader lines, std::span<const std::string_view> columns, std::size_t required)
      : lines_(std::move(lines)), names_(columns.begin(), columns.end()) {
    std::string_view line;
    if (!lines_.next(line)) throw data_error(lines_.path(), "is empty", "a header line");
    std::vector<std::string> header;
    split_csv(line, header, [this] { return lines_.where(); });
    width_ = header.size();
    for (std::size_t c = 0; c < names_.size(); ++c) {
      const auto same = [&](const std::string& h) { return trim(h) == names_[c]; };
      const auto found = std::find_if(header.begin(), header.end(), same);
      if (found == header.end()) {
        if (c < required) {
          throw data_error(lines_.where(), "has no column '" + names_[c] + "'", list(required));
        }
        place_.push_back(absent);
        continue;
      }
      if (std::find_if(found + 1, header.end(), same) != header.end()) {
        throw data_error(lines_.where(), "has column '" + names_[c] + "' twice", "it once");
      }
      place_.push_back(static_cast<std::size_t>(found - header.begin()));
    }
  }

  /// Reads the next row; false at the end.
  [[nodiscard]] bool next() {
    std::string_view line;
    if (!lines_.next(line)) return false;
    split_csv(line, row_, [this] { return lines_.where(); });
    if (row_.size() != width_) {
      throw data_error(
          lines_.where(),
          "has " + std::to_string(row_.size()) + (row_.size() == 1 ? " value" : " values"),
          std::to_string(width_) + " as in the header");
    }
    return true;
  }

  [[nodiscard]] bool has(std::size_t column) const { return place_[column] != absent; }
  [[nodiscard]] std::string_view text(std::size_t column) const { return row_[place_[column]]; }
  [[nodiscard]] std::string where(std::size_t column) const { return lines_.where(names_[column]); }
  [[nodiscard]] Tokens tokens(std::size_t column) const {
    return parse_tokens(text(column), place_of(column));
  }
  [[nodiscard]] std::int64_t integer(std::size_t column, std::int64_t low,
                                     std::int64_t high) const {
    return parse_integer(text(column), low, high, place_of(column));
  }
  [[nodiscard]] double number(std::size_t column) const {
    return parse_number(text(column), place_of(column));
  }
  [[nodiscard]] Seconds arrival(std::size_t column, double seconds_a_unit = 1) const {
    return checked_arrival(number(column) * seconds_a_unit, place_of(column));
  }

  [[nodiscard]] LineReader& lines() { return lines_; }

 private:
  static constexpr std::size_t absent = static_cast<std::size_t>(-1);

  struct Place {  // makes the name of the place only when something is wrong there
    const CsvTable* table;
    std::size_t column;
    std::string operator()() const { return table->where(column); }
  };
  [[nodiscard]] Place place_of(std::size_t column) const { return {this, column}; }

  [[nodiscard]] std::string list(std::size_t required) const {
    std::string out = "the columns ";
    for (std::size_t c = 0; c < required; ++c) out += (c == 0 ? "" : ", ") + names_[c];
    return out;
  }

  LineReader lines_;
  std::vector<std::string> names_;
  std::vector<std::size_t> place_;  // of a column in the row
  std::vector<std::string> row_;
  std::size_t width_ = 0;
};

}  // namespace quire::workload::trace
