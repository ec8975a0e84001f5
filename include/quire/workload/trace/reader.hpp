#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/workload/provenance.hpp>
#include <quire/workload/trace/line_reader.hpp>

namespace quire::workload::trace {

/// Reads one schema row by row in constant memory.
/// Promises: recognizes() looks at a file's first line alone; next() fills arrival, lengths and
/// whatever else the schema knows, keeps ids and sampling untouched, and gives rows in the file's
/// order; a row is either given whole or refused with one quire::Error naming file, line and field.
/// `timed`: rows have arrivals, else they stay 0. `rebased`: arrivals count from an origin outside
/// the trace, so that only their differences mean anything.
template <class R>
concept TraceReader = requires(R r, Request& request, std::string_view line, LineReader lines) {
  { R::name } -> std::convertible_to<std::string_view>;
  { R::recognizes(line) } -> std::same_as<bool>;
  {R(std::move(lines))};
  { r.next(request) } -> std::same_as<bool>;
  { r.timed() } -> std::same_as<bool>;
  { R::rebased } -> std::convertible_to<bool>;
  { r.lines() } -> std::same_as<LineReader&>;
};

/// What to do with a row of 0 input or 0 output tokens (BurstGPT marks failed calls that way).
enum class ZeroLengths {
  drop,    // leave it out and count it in Provenance::dropped
  refuse,  // a data error
};

struct TraceOptions {
  std::size_t limit = 0;  // requests kept, from the start of the file; 0: all
  ZeroLengths zero_lengths = ZeroLengths::drop;
  /// Rows out of order are sorted in and counted in Provenance::reordered, or refused.
  bool refuse_unsorted = false;
  /// Each arrival is moved later by a uniform draw in [0, jitter). Mooncake's arrivals come in
  /// groups 3 s apart; without a jitter of 3 s the groups, not the engine, set the time to the
  /// first token.
  Seconds jitter = 0.0;
  std::uint64_t seed = 0;  // of the jitter
};

/// Makes requests replayable: in order of arrival, numbered, running exactly their output length.
inline void number_requests(std::vector<Request>& requests) {
  const auto earlier = [](const Request& a, const Request& b) { return a.arrival < b.arrival; };
  if (!std::is_sorted(requests.begin(), requests.end(), earlier)) {
    std::stable_sort(requests.begin(), requests.end(), earlier);
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& r = requests[i];
    r.id = RequestId{i};
    r.sampling.seed = i;
    if (r.output_length) {
      r.sampling.max_tokens = *r.output_length;
      r.sampling.ignore_eos = true;
    }
  }
}

/// Reads a whole trace. \errors data error: what the reader refuses, no request left, and what the
/// options say.
template <TraceReader Reader>
[[nodiscard]] Workload read_trace(const std::filesystem::path& path,
                                  const TraceOptions& options = {}) {
  Workload out;
  out.name = path.stem().string();
  out.provenance.schema = Reader::name;
  out.provenance.path = path.string();
  out.provenance.seed = options.seed;
  Reader reader{LineReader(path)};
  Request request;
  while ((options.limit == 0 || out.requests.size() < options.limit) && reader.next(request)) {
    ++out.provenance.rows;
    if (request.prompt_length.value == 0 || request.output_length.value_or(1).value == 0) {
      if (options.zero_lengths == ZeroLengths::refuse) {
        throw data_error(reader.lines().where(), "the request has no tokens",
                         "at least one of input and one of output");
      }
      ++out.provenance.dropped;
    } else {
      if (!out.requests.empty() && request.arrival < out.requests.back().arrival) {
        if (options.refuse_unsorted) {
          throw data_error(reader.lines().where(), "the arrival is before the one above",
                           "arrivals in order");
        }
        ++out.provenance.reordered;
      }
      out.requests.push_back(std::move(request));
    }
    request = Request{};
  }
  if (out.requests.empty()) {
    throw data_error(path.string(),
                     out.provenance.rows == 0
                         ? "has no request"
                         : "has no request with input and output tokens: " +
                               std::to_string(out.provenance.rows) + " without were left out",
                     "at least one row with input and output tokens");
  }
  out.timed = reader.timed();
  if (out.timed) {
    if (Reader::rebased) {
      Seconds first = out.requests.front().arrival;
      for (const Request& r : out.requests) first = std::min(first, r.arrival);
      for (Request& r : out.requests) r.arrival -= first;
    }
    if (options.jitter.value > 0) {
      Rng rng(options.seed);
      for (Request& r : out.requests) r.arrival += options.jitter * rng.uniform();
      out.provenance.parameters = "jitter " + std::to_string(options.jitter.value) + " s";
    }
  }
  number_requests(out.requests);
  out.provenance.sha256 = reader.lines().digest();
  return out;
}

}  // namespace quire::workload::trace
