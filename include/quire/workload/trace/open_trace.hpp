#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <quire/core/text.hpp>
#include <quire/core/type_list.hpp>
#include <quire/workload/trace/azure.hpp>
#include <quire/workload/trace/burst_gpt.hpp>
#include <quire/workload/trace/llm_serving_sim.hpp>
#include <quire/workload/trace/mooncake.hpp>
#include <quire/workload/trace/plain_csv.hpp>
#include <quire/workload/trace/qwen_bailian.hpp>
#include <quire/workload/trace/vidur.hpp>

namespace quire::workload::trace {

/// Every schema that open_trace() recognizes, in the order in which it asks.
using Schemas = type_list<Azure, BurstGpt, Vidur, LlmServingSim, Mooncake, QwenBailian, PlainCsv>;

/// Reads a trace whose schema its first line tells.
/// \errors data error: a first line of no known schema, and what the schema's reader refuses.
[[nodiscard]] inline Workload open_trace(const std::filesystem::path& path,
                                         const TraceOptions& options = {}) {
  std::string first;
  {
    LineReader lines(path);
    std::string_view line;
    if (!lines.next(line)) throw data_error(path.string(), "is empty", "a trace");
    first = line.substr(line.find_first_not_of(" \t"));
  }
  if (first.starts_with('[')) {
    throw data_error(path.string(), "looks like a ShareGPT conversation file",
                     "a tokenizer to measure it with: read it by read_share_gpt_json()");
  }
  Workload out;
  bool known = false;
  std::string names;
  for_each_type(Schemas{}, [&]<class Reader>() {
    names.append(names.empty() ? "" : ", ").append(Reader::name);
    if (known || !Reader::recognizes(first)) return;
    known = true;
    out = read_trace<Reader>(path, options);
  });
  if (!known) {
    if (const std::string stranger = PlainCsv::unknown_column(first); !stranger.empty()) {
      std::string columns;
      for (const std::string_view c : std::span(PlainCsv::columns).subspan(2)) {
        columns.append(columns.empty() ? "" : ", ").append(c);
      }
      throw data_error(path.string() + ": line 1", "has the unknown column " + in_quotes(stranger),
                       "columns input and output, and any of " + columns);
    }
    throw data_error(path.string() + ": line 1", "is the start of no schema that Quire knows",
                     "one of " + names + " (plain_csv needs the columns input and output)");
  }
  return out;
}

}  // namespace quire::workload::trace
