#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <quire/core/error.hpp>
#include <quire/core/units.hpp>

namespace quire::workload::trace {

/// Most tokens a prompt or an output may have: eight times the longest context in use, and small
/// enough that a mangled digit does not ask for gigabytes.
inline constexpr std::int64_t max_request_tokens = std::int64_t{1} << 24;
/// Latest arrival, in seconds from the start of a trace: 100 years.
inline constexpr double max_arrival_seconds = 3.2e9;

[[nodiscard]] constexpr std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// A finite number written in decimal. `where` makes the name of the place, when it is needed.
/// \errors data error at where().
template <class Where>
[[nodiscard]] double parse_number(std::string_view text, const Where& where) {
  text = trim(text);
  double value = 0;
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, value);
  if (status == std::errc::result_out_of_range) {
    throw data_error(where(), "the number does not fit", "a finite number");
  }
  if (status != std::errc{} || end != last || !std::isfinite(value)) {
    throw data_error(where(), "'" + std::string(text.substr(0, 40)) + "' is not a number",
                     "a finite number");
  }
  return value;
}

/// A whole number in [low, high]; `906.0`, as data frames write it, is whole.
/// \errors data error at where().
template <class Where>
[[nodiscard]] std::int64_t parse_integer(std::string_view text, std::int64_t low, std::int64_t high,
                                         const Where& where) {
  text = trim(text);
  const auto refuse = [&](std::string_view what) {
    throw data_error(where(), "'" + std::string(text.substr(0, 40)) + "' " + std::string(what),
                     "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  };
  std::int64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, value);
  if (status == std::errc::result_out_of_range) refuse("does not fit");
  if (status != std::errc{} || end != last) {
    double decimal = 0;
    const auto [decimal_end, decimal_status] = std::from_chars(text.data(), last, decimal);
    if (decimal_status != std::errc{} || decimal_end != last || !std::isfinite(decimal)) {
      refuse("is not a number");
    }
    if (decimal != std::floor(decimal)) refuse("is not whole");
    if (decimal < static_cast<double>(low) || decimal > static_cast<double>(high)) {
      refuse("is out of range");
    }
    value = static_cast<std::int64_t>(decimal);
  }
  if (value < low || value > high) refuse("is out of range");
  return value;
}

template <class Where>
[[nodiscard]] Tokens parse_tokens(std::string_view text, const Where& where) {
  return parse_integer(text, 0, max_request_tokens, where);
}

/// Seconds, not negative and no more than a trace could be long.
template <class Where>
[[nodiscard]] Seconds checked_arrival(double seconds, const Where& where) {
  if (!(seconds >= 0 && seconds <= max_arrival_seconds)) {
    throw data_error(where(), "the time is out of range", "from 0 to 3.2e9 seconds");
  }
  return seconds;
}

}  // namespace quire::workload::trace
