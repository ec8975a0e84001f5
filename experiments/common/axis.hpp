#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::experiment {

/// One quantity and the values that it takes in turn.
struct Axis {
  std::string name;
  std::vector<std::string> values;
};

namespace detail {

/// A number in the shortest form that reads back the same.
[[nodiscard]] inline std::string plain_number(double value) {
  char digits[40];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

[[nodiscard]] inline std::vector<double> range_numbers(std::string_view text,
                                                       const std::string& where) {
  std::vector<double> numbers;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    double value = 0;
    const auto [last, status] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (status != std::errc{} || last != part.data() + part.size() || !std::isfinite(value)) {
      throw usage_error(where, in_quotes(part) + " is not a number", "start:stop:step in numbers");
    }
    numbers.push_back(value);
    begin = end + 1;
  }
  return numbers;
}

}  // namespace detail

/// Reads an axis as nvbench writes them: `eviction=[lru,fifo]`, `request_rate=[0.5:2:0.5]` (stop
/// included), `block_size[pow2]=[0:8]` (2^0 to 2^8: the numbers are exponents), or `seed=3` for
/// a single value. Dashes in the name are underscores.
/// \errors usage error: no name, no value, an unknown kind of range, more than 10,000 values.
[[nodiscard]] inline Axis parse_axis(std::string_view text) {
  const std::string where = "--axis " + std::string(text);
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw usage_error(where, "is no axis", "name=[value,...] or name=[start:stop:step]");
  }
  Axis axis;
  std::string_view name = text.substr(0, equals);
  bool powers = false;
  if (const std::size_t bracket = name.find('['); bracket != std::string_view::npos) {
    if (name.substr(bracket) != "[pow2]") {
      throw usage_error(where, "unknown kind of axis " + in_quotes(name.substr(bracket)), "[pow2]");
    }
    powers = true;
    name = name.substr(0, bracket);
  }
  for (const char c : name) axis.name.push_back(c == '-' ? '_' : c);
  std::string_view list = text.substr(equals + 1);
  if (list.starts_with('[') != list.ends_with(']')) {
    throw usage_error(where, "has one bracket of two",
                      "name=[value,...] or name=[start:stop:step]");
  }
  if (list.starts_with('[') && list.size() > 1) list = list.substr(1, list.size() - 2);
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view item = list.substr(begin, end - begin);
    begin = end + 1;
    if (item.empty()) throw usage_error(where, "a value is empty", "values between commas");
    // A range of numbers; a path or a name may hold a colon too, but then not in this form.
    const bool range = item.find(':') != std::string_view::npos &&
                       item.find_first_not_of("0123456789.:-+eE") == std::string_view::npos;
    if (!range && !powers) {
      axis.values.emplace_back(item);
      continue;
    }
    std::vector<double> n = detail::range_numbers(item, where);
    if (n.size() == 1) n.push_back(n[0]);
    if (n.size() == 2) n.push_back(1);
    if (n.size() != 3 || !(n[2] > 0) || n[1] < n[0] || (n[1] - n[0]) / n[2] > 10000) {
      throw usage_error(where, in_quotes(item) + " is no range",
                        "start:stop:step with a positive step, at most 10,000 values");
    }
    const auto steps = static_cast<std::size_t>((n[1] - n[0]) / n[2] + 1e-9);
    for (std::size_t i = 0; i <= steps; ++i) {
      const double value = n[0] + static_cast<double>(i) * n[2];
      // Rounded to 12 digits, so that 0.1 + 2 * 0.1 names the same cell as 0.3.
      const double shown = std::round(value * 1e12) / 1e12;
      if (powers && !(shown >= 0 && shown <= 62)) {
        throw usage_error(where, in_quotes(item) + " has no such power of two",
                          "exponents from 0 to 62: [pow2]=[0:8] is 1 to 256");
      }
      axis.values.push_back(detail::plain_number(powers ? std::exp2(shown) : shown));
    }
  }
  return axis;
}

}  // namespace quire::experiment
