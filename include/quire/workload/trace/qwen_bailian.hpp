#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/workload/trace/hash_blocks.hpp>
#include <quire/workload/trace/reader.hpp>

namespace quire::workload::trace {

/// The Qwen-Bailian traces, one JSON object a line: chat_id, parent_chat_id (-1: none), timestamp
/// in seconds, input_length, output_length, turn, hash_ids of 16-token blocks. A request and its
/// descendants are one session, named after the first of them in the file.
/// \complexity O(requests) memory for the table of chats.
/// \errors as TraceReader says.
/// \source alibaba-edu/qwen-bailian-usagetraces-anon (Apache-2.0); Wang et al., "KVCache Cache in
/// the Wild", ATC '25.
class QwenBailian {
 public:
  static constexpr std::string_view name = "qwen_bailian";
  static constexpr bool rebased = false;
  static constexpr Tokens block_tokens = 16;
  [[nodiscard]] static bool recognizes(std::string_view first_line) {
    return first_line.starts_with('{') && first_line.find("\"hash_ids\"") != std::string::npos &&
           first_line.find("\"chat_id\"") != std::string::npos;
  }

  explicit QwenBailian(LineReader lines) : lines_(std::move(lines)) {}

  [[nodiscard]] bool next(Request& request) {
    std::string_view line;
    if (!lines_.next(line)) return false;
    JsonCursor cursor(line, lines_.where());
    static constexpr std::string_view required[] = {"chat_id",      "parent_chat_id", "timestamp",
                                                    "input_length", "output_length",  "hash_ids"};
    std::int64_t chat = 0;
    std::int64_t parent = -1;
    JsonRow::read(cursor, required, [&](std::string_view key) {
      if (key == "timestamp") {
        request.arrival =
            checked_arrival(cursor.number(), [&] { return lines_.where("timestamp"); });
      } else if (key == "input_length") {
        request.prompt_length = JsonRow::tokens(cursor);
      } else if (key == "output_length") {
        request.output_length = JsonRow::tokens(cursor);
      } else if (key == "hash_ids") {
        JsonRow::ids(cursor, ids_);
      } else if (key == "chat_id") {
        chat = chat_id(cursor);
      } else if (key == "parent_chat_id") {
        parent = chat_id(cursor);
      } else if (key == "turn") {
        const std::int64_t turn = cursor.integer();
        if (turn < 0 || turn > std::numeric_limits<std::int32_t>::max()) {
          cursor.fail("the turn is out of range", "0 or more");
        }
        request.turn = static_cast<std::int32_t>(turn);
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
    const auto known = sessions_.find(parent);
    request.session = known == sessions_.end() ? static_cast<std::uint64_t>(chat) + 1  // 0: none
                                               : known->second;
    sessions_[chat] = request.session;
    return true;
  }
  [[nodiscard]] bool timed() const { return true; }
  [[nodiscard]] LineReader& lines() { return lines_; }

 private:
  static std::int64_t chat_id(JsonCursor& cursor) {
    const std::int64_t id = cursor.integer();
    if (id < -1 || id == std::numeric_limits<std::int64_t>::max()) {
      cursor.fail("the chat id is out of range", "-1 or more");
    }
    return id;
  }

  LineReader lines_;
  std::vector<std::uint64_t> ids_;
  std::unordered_map<std::int64_t, std::uint64_t> sessions_;  // of a chat
};
static_assert(TraceReader<QwenBailian>);

}  // namespace quire::workload::trace
