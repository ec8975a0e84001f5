#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/json.hpp>

namespace quire::experiment {

/// Result rows as a table for people and spreadsheets. Rows are lines of JSON; members that are
/// objects are left out.
class Table {
 public:
  /// \errors data error: a line that is no JSON object.
  explicit Table(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) {
      const json::Value value = json::parse(line, "result row");
      if (value.object() == nullptr) throw data_error("result row", "is no object", "an object");
      std::vector<std::string> row(columns_.size());
      for (const auto& member : value.object()->members()) {
        if (member.value.object() != nullptr || member.value.array() != nullptr) continue;
        auto at = std::find(columns_.begin(), columns_.end(), member.key);
        if (at == columns_.end()) at = columns_.insert(columns_.end(), member.key);
        row.resize(columns_.size());
        row[static_cast<std::size_t>(at - columns_.begin())] = text_of(member.value);
      }
      rows_.push_back(std::move(row));
    }
    for (auto& row : rows_) row.resize(columns_.size());
  }

  void print_csv(std::ostream& out) const {
    print_csv_row(out, columns_);
    for (const auto& row : rows_) print_csv_row(out, row);
  }

  /// When a column is shown: always where rows have it, where its values differ, where one is not 0.
  enum class Show { always, if_different, if_not_zero };
  struct Column {
    std::string_view name;
    Show show = Show::always;
  };

  /// Whether the rows have different values in a column.
  [[nodiscard]] bool differs(std::string_view name) const {
    const auto at = std::find(columns_.begin(), columns_.end(), name);
    if (at == columns_.end()) return false;
    const auto c = static_cast<std::size_t>(at - columns_.begin());
    return std::any_of(rows_.begin(), rows_.end(),
                       [&](const auto& row) { return row[c] != rows_.front()[c]; });
  }

  /// The columns in the order given; those that rows do not have are left out.
  void print_markdown(std::ostream& out, const std::vector<Column>& columns) const {
    std::vector<std::size_t> shown;
    for (const Column& column : columns) {
      const auto at = std::find(columns_.begin(), columns_.end(), column.name);
      if (at == columns_.end()) continue;
      const auto c = static_cast<std::size_t>(at - columns_.begin());
      const bool any = std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) {
        return !row[c].empty() && row[c] != "0";
      });
      if (column.show == Show::always ||
          (column.show == Show::if_different && differs(column.name)) ||
          (column.show == Show::if_not_zero && any)) {
        shown.push_back(c);
      }
    }
    std::vector<std::size_t> width;
    for (const std::size_t c : shown) {
      std::size_t w = columns_[c].size();
      for (const auto& row : rows_) w = std::max(w, short_form(row[c]).size());
      width.push_back(w);
    }
    const auto line = [&](auto&& cell) {
      for (std::size_t i = 0; i < shown.size(); ++i) {
        std::string text = cell(shown[i]);
        text.insert(0, width[i] - std::min(width[i], text.size()), ' ');
        out << (i == 0 ? "| " : " | ") << text;
      }
      out << " |\n";
    };
    line([&](std::size_t c) { return columns_[c]; });
    for (std::size_t i = 0; i < shown.size(); ++i) {
      out << (i == 0 ? "|-" : "-|-") << std::string(width[i], '-');
    }
    out << "-|\n";
    for (const auto& row : rows_) line([&](std::size_t c) { return short_form(row[c]); });
  }

 private:
  static std::string text_of(const json::Value& value) {
    if (const auto* text = value.string()) return *text;
    if (const auto* truth = value.boolean()) return *truth ? "true" : "false";
    if (const auto* whole = value.integer()) return std::to_string(*whole);
    if (const auto number = value.number()) {
      char digits[40];
      std::snprintf(digits, sizeof digits, "%.17g", *number);
      return digits;
    }
    return "";
  }
  /// Numbers with a fraction to four digits, or to all before the point where those are more: 10402, and
  /// no 1.04e+04 beside a difference of 2. The rest as it is.
  static std::string short_form(const std::string& text) {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || text.find_first_of(".e") == std::string::npos) return text;
    char digits[40];
    const bool large = std::abs(number) >= 9999.5 && std::abs(number) < 1e15;
    std::snprintf(digits, sizeof digits, large ? "%.0f" : "%.4g", number);
    return digits;
  }
  static void print_csv_row(std::ostream& out, const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) out << ',';
      if (row[i].find_first_of(",\"\r\n") == std::string::npos) {
        out << row[i];
        continue;
      }
      out << '"';
      for (const char c : row[i]) out << (c == '"' ? "\"\"" : std::string(1, c));
      out << '"';
    }
    out << '\n';
  }

  std::vector<std::string> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace quire::experiment
