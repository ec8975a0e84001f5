#pragma once

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include <quire/core/error.hpp>

namespace quire::experiment {

/// One of several equal parts of a list: every count-th element, from index on.
struct Shard {
  std::size_t index = 0;  // 0 .. count - 1
  std::size_t count = 1;

  [[nodiscard]] bool has(std::size_t element) const { return element % count == index; }
};

/// Reads `i/n`, counted from 1: 1/4 .. 4/4. \errors usage error.
[[nodiscard]] inline Shard parse_shard(std::string_view text) {
  const std::string where = "--shard " + std::string(text);
  const auto number = [&where](std::string_view digits) {
    std::size_t value = 0;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (status != std::errc{} || end != digits.data() + digits.size()) {
      throw usage_error(where, "is no shard", "i/n with i from 1 to n");
    }
    return value;
  };
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) throw usage_error(where, "is no shard", "i/n, such as 1/4");
  const std::size_t index = number(text.substr(0, slash));
  const std::size_t count = number(text.substr(slash + 1));
  if (index < 1 || index > count) throw usage_error(where, "is out of range", "i from 1 to n");
  return {index - 1, count};
}

/// Checks a pair of 0-based index and count, as job arrays number their tasks. \errors usage error.
[[nodiscard]] inline Shard checked_shard(std::size_t index, std::size_t count) {
  if (count < 1 || index >= count) {
    throw usage_error("--index " + std::to_string(index) + " --count " + std::to_string(count),
                      "is out of range", "an index from 0 to count - 1");
  }
  return {index, count};
}

}  // namespace quire::experiment
