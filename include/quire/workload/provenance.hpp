#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <quire/workload/request.hpp>

namespace quire::workload {

/// Where requests came from and what was done to them on the way: all that a result row needs so
/// that somebody else can make the same requests.
struct Provenance {
  std::string schema;           // `azure`, `mooncake`, ... or the generator's name
  std::string path;             // of the trace; empty for generated requests
  std::string sha256;           // of the trace file
  std::uint64_t rows = 0;       // rows read from the trace
  std::uint64_t dropped = 0;    // rows without input or without output tokens
  std::uint64_t reordered = 0;  // rows that came before their predecessor in time, sorted in
  std::uint64_t seed = 0;
  std::string parameters;  // what was asked for and done, in words and numbers
};

/// Requests in order of arrival, with a name and a history. What an engine replays.
struct Workload {
  std::string name;
  std::vector<Request> requests;  // sorted by arrival; ids are 0, 1, 2, ... in this order
  Provenance provenance;
  /// False for traces of lengths alone: every arrival is 0 until an arrival process sets them.
  bool timed = true;
};

}  // namespace quire::workload
