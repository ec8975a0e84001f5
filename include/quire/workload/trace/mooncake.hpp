#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/workload/trace/hash_blocks.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// Mooncake's conversation, tool-and-agent and older traces, one JSON object a line: timestamp in
/// milliseconds, input_length, output_length, hash_ids of 512-token blocks. Equal ids are equal
/// prefixes, and become prompt chunks. Arrivals come in groups 3 s apart: see TraceOptions::jitter.
/// \errors as TraceReader says.
/// \source kvcache-ai/Mooncake (Apache-2.0); Qin et al., "Mooncake", FAST '25.
class Mooncake {
 public:
  static constexpr std::string_view name = "mooncake";
  static constexpr bool rebased = false;
  static constexpr Tokens block_tokens = 512;
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    return first_line.starts_with('{') && first_line.find("\"hash_ids\"") != std::string::npos &&
           first_line.find("\"chat_id\"") == std::string::npos;
  }

  explicit Mooncake(LineReader lines) : lines_(std::move(lines)) {}

  [[nodiscard]] bool next(Request& request) {
    std::string_view line;
    if (!lines_.next(line)) return false;
    JsonCursor cursor(line, lines_.where());
    static constexpr std::string_view required[] = {"timestamp", "input_length", "output_length",
                                                    "hash_ids"};
    JsonRow::read(cursor, required, [&](std::string_view key) {
      if (key == "timestamp") {
        request.arrival =
            checked_arrival(cursor.number() * 1e-3, [&] { return lines_.where("timestamp"); });
      } else if (key == "input_length") {
        request.prompt_length = JsonRow::tokens(cursor);
      } else if (key == "output_length") {
        request.output_length = JsonRow::tokens(cursor);
      } else if (key == "hash_ids") {
        JsonRow::ids(cursor, ids_);
      } else {
        return false;
      }
      return true;
    });
    request.chunks =
        chunks_of(ids_, request.prompt_length, block_tokens, ~std::uint64_t{lines_.line_number()},
                  [&](std::string_view what, std::string_view expected) {
                    throw data_error(lines_.where("hash_ids"), what, expected);
                  });
    return true;
  }
  [[nodiscard]] bool timed() const { return true; }
  [[nodiscard]] LineReader& lines() { return lines_; }

 private:
  LineReader lines_;
  std::vector<std::uint64_t> ids_;
};
static_assert(TraceReader<Mooncake>);

}  // namespace quire::workload::trace
