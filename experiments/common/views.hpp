#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/axis.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/table.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {

/// A table of what runs gave: a line for each variant, a column for each value of the axis `across`,
/// in the cells a metric.
struct View {
  std::string_view title;
  std::vector<std::pair<std::string_view, std::string_view>> where;  // axes, or "workload"
  std::string_view across, metric;
};

namespace detail {
/// An axis of a run as text; empty where it has none of that name.
inline std::string axis_text(const Run& run, const json::Value& axes, std::string_view name) {
  if (name == "workload") return run.row.workload;
  const json::Value* v = axes.object()->find(name);
  if (v == nullptr) return {};
  if (const std::string* text = v->string()) return *text;
  if (const std::int64_t* whole = v->integer()) return std::to_string(*whole);
  return plain_number(v->number().value_or(0));
}
}  // namespace detail

/// Prints each view that runs have something for.
inline void print_views(std::ostream& out, const std::vector<Run>& runs,
                        std::span<const View> views) {
  for (const View& view : views) {
    std::vector<std::string> variants, columns;
    std::vector<metrics::JsonObject> lines;
    for (const Run& run : runs) {
      const json::Value axes = json::parse(run.row.axes.text(), "axes");
      const json::Value found = json::parse(run.row.metrics.text(), "metrics");
      const json::Value* cell = found.object()->find(view.metric);
      const bool meant = std::all_of(view.where.begin(), view.where.end(), [&](const auto& w) {
        return detail::axis_text(run, axes, w.first) == w.second;
      });
      if (!meant || cell == nullptr || !cell->number()) continue;
      const std::string column = detail::axis_text(run, axes, view.across);
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
        columns.push_back(column);
      }
      auto at = std::find(variants.begin(), variants.end(), run.row.variant);
      if (at == variants.end()) {
        at = variants.insert(variants.end(), run.row.variant);
        lines.emplace_back().add("policy", run.row.variant);
      }
      lines[static_cast<std::size_t>(at - variants.begin())].add(column, *cell->number());
    }
    if (lines.empty()) continue;
    std::vector<std::string> texts;
    for (const metrics::JsonObject& line : lines) texts.push_back(line.text());
    std::vector<Table::Column> shown{{"policy"}};
    for (const std::string& column : columns) shown.push_back({column});
    out << '\n' << view.title << "\n\n";
    Table(texts).print_markdown(out, shown);
  }
}

}  // namespace quire::experiment
