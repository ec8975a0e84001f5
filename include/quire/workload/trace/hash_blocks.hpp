#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/json_cursor.hpp>
#include <quire/core/rng.hpp>
#include <quire/workload/request.hpp>
#include <quire/workload/trace/field.hpp>

namespace quire::workload::trace {

/// Turns a row's block ids into prompt chunks: `block_tokens` tokens each, the last one what is
/// left. Where only full blocks have ids, the rest of the prompt is text of its own.
/// \errors calls fail(what, expected) when the number of ids does not fit the length.
template <class Fail>
[[nodiscard]] std::vector<PromptChunk> chunks_of(const std::vector<std::uint64_t>& ids,
                                                 Tokens length, Tokens block_tokens,
                                                 std::uint64_t own_content, const Fail& fail) {
  const auto count = static_cast<std::int64_t>(ids.size());
  const std::int64_t full = length.value / block_tokens.value;
  if (count != full && count != ceil_div(length.value, block_tokens.value)) {
    fail("has " + std::to_string(count) + " ids for " + std::to_string(length.value) + " tokens",
         "one id for every " + std::to_string(block_tokens.value) + " tokens");
  }
  std::vector<PromptChunk> chunks;
  chunks.reserve(ids.size() + 1);
  Tokens left = length;
  for (const std::uint64_t id : ids) {
    chunks.push_back({id, std::min(left, block_tokens)});
    left -= chunks.back().tokens;
  }
  if (left > Tokens(0)) chunks.push_back({own_content, left});
  return chunks;
}

/// Cuts chunks of `from` tokens into chunks of `to`: block h becomes h * m + j, j = 0 .. m - 1,
/// with m = from / to; the parts beyond a chunk's length fall away. Every id is known by its
/// predecessors, so that equal parts keep meaning equal prefixes. \errors usage error unless `to`
/// divides `from`.
[[nodiscard]] inline std::vector<PromptChunk> split_chunks(const std::vector<PromptChunk>& chunks,
                                                           Tokens from, Tokens to) {
  if (to.value <= 0 || from.value % to.value != 0) {
    throw usage_error("block size " + std::to_string(to.value),
                      "does not divide the trace's blocks",
                      "a divisor of " + std::to_string(from.value));
  }
  const auto m = static_cast<std::uint64_t>(from.value / to.value);
  std::vector<PromptChunk> out;
  for (const PromptChunk& chunk : chunks) {
    Tokens left = chunk.tokens;
    for (std::uint64_t j = 0; j < m && left > Tokens(0); ++j) {
      out.push_back({chunk.content * m + j, std::min(left, to)});
      left -= out.back().tokens;
    }
  }
  return out;
}

/// Reads members of one JSON row by name, each once, and says which are missing.
class JsonRow {
 public:
  /// Calls value(key, cursor) for each member; value returns false for one it does not know, which
  /// is passed over. required: names of the members that must be there.
  template <class Value, std::size_t N>
  static void read(JsonCursor& cursor, const std::string_view (&required)[N], Value&& value) {
    std::uint32_t seen = 0;
    cursor.object([&](std::string_view key) {
      const auto* found = std::find(std::begin(required), std::end(required), key);
      if (found != std::end(required)) {
        const auto bit = std::uint32_t{1} << (found - std::begin(required));
        if ((seen & bit) != 0) cursor.fail("the member is there twice", "it once");
        seen |= bit;
      }
      if (!value(key)) cursor.skip();
    });
    cursor.end();
    for (std::size_t i = 0; i < N; ++i) {
      if ((seen >> i & 1) == 0) {
        cursor.fail("the row has no '" + std::string(required[i]) + "'", "that member");
      }
    }
  }

  [[nodiscard]] static Tokens tokens(JsonCursor& cursor) {
    const std::int64_t value = cursor.integer();
    if (value < 0 || value > max_request_tokens) {
      cursor.fail("the length is out of range", "from 0 to " + std::to_string(max_request_tokens));
    }
    return value;
  }

  static void ids(JsonCursor& cursor, std::vector<std::uint64_t>& out) {
    out.clear();
    cursor.array([&] {
      const std::int64_t id = cursor.integer();
      if (id < 0) cursor.fail("the block id is negative", "0 or more");
      out.push_back(static_cast<std::uint64_t>(id));
    });
  }
};

}  // namespace quire::workload::trace
