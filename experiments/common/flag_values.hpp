#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include <quire/core/text.hpp>

#include <experiments/common/suggest.hpp>

/// What a flag may be, said as settings.hpp says it. CLI11's own checks let nan through, and write the
/// largest double out in 309 digits.
namespace quire::experiment {

namespace detail {
/// good(value): whether a number is one that is expected.
template <class Number, class Good>
[[nodiscard]] CLI::Validator flag_value(const std::string& expected, Good good) {
  CLI::Validator validator(expected);
  validator.operation([expected, good](std::string& text) -> std::string {
    Number value{};
    const char* last = text.data() + text.size();
    const auto [end, status] = std::from_chars(text.data(), last, value);
    if (status == std::errc{} && end == last && good(value)) return "";
    return in_quotes(text) + " is out of range or no number; expected " + expected;
  });
  return validator;
}
}  // namespace detail

[[nodiscard]] inline CLI::Validator whole_number(std::int64_t low, std::int64_t high) {
  return detail::flag_value<std::int64_t>(
      "a whole number from " + std::to_string(low) + " to " + std::to_string(high),
      [low, high](std::int64_t value) { return value >= low && value <= high; });
}
/// From 0 on, 64 bits.
[[nodiscard]] inline CLI::Validator seed_number() {
  return detail::flag_value<std::uint64_t>("a whole number from 0 to 18446744073709551615",
                                           [](std::uint64_t) { return true; });
}

[[nodiscard]] inline CLI::Validator finite_number() {
  return detail::flag_value<double>("a number", [](double v) { return std::isfinite(v); });
}
[[nodiscard]] inline CLI::Validator positive_number() {
  return detail::flag_value<double>("a positive number",
                                    [](double v) { return v > 0 && std::isfinite(v); });
}
[[nodiscard]] inline CLI::Validator zero_or_more() {
  return detail::flag_value<double>("0 or more",
                                    [](double v) { return v >= 0 && std::isfinite(v); });
}
/// expected: the bounds in words, both of them allowed.
[[nodiscard]] inline CLI::Validator number_between(double low, double high,
                                                   const std::string& expected) {
  return detail::flag_value<double>(expected,
                                    [low, high](double v) { return v >= low && v <= high; });
}
[[nodiscard]] inline CLI::Validator share() { return number_between(0, 1, "a share from 0 to 1"); }
[[nodiscard]] inline CLI::Validator positive_share() {
  return detail::flag_value<double>("a share above 0, at most 1",
                                    [](double v) { return v > 0 && v <= 1; });
}

/// A path, of something that may not be there yet. An empty word is what a script passes whose variable is
/// not set: without this it would pass for a flag that was not given.
[[nodiscard]] inline CLI::Validator a_path() {
  CLI::Validator validator;
  validator.operation([](std::string& text) {
    return std::string(text.empty() ? "\"\" is no path; expected a file or a folder" : "");
  });
  return validator;
}

/// One of a few words. kind: what they are.
[[nodiscard]] inline CLI::Validator one_of(std::string_view kind, std::vector<std::string> words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  CLI::Validator validator(all);
  validator.operation([kind = std::string(kind), words = std::move(words)](std::string& text) {
    if (std::find(words.begin(), words.end(), text) != words.end()) return std::string();
    return std::string(unknown_name("", kind, text, words).what());
  });
  return validator;
}

}  // namespace quire::experiment
