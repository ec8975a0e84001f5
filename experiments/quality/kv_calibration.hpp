#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/axis.hpp>
#include <experiments/quality/format.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/kv_format/codec.hpp>

/// How KV formats that are fitted to a model beforehand are fitted, and what is read: the laboratory's own
/// flags.
namespace quire::quality {

struct KvCalibration {
  std::string method;  // of fp8_per_head and its like; empty: whichever is asked for by name
  std::string text;    // a file that formats are fitted on; empty: calibration.jsonl
  std::string read;    // a file that is read in place of the stories; empty: those
};

namespace detail {

inline constexpr std::array<std::string_view, 3> fp8_families{"fp8_per_head", "fp8_per_tensor",
                                                              "fp8_e5m2_per_tensor"};
inline constexpr std::string_view method_flag = "--kv-calibration";
inline constexpr std::string_view text_flag = "--kv-calibration-text";
inline constexpr std::string_view read_flag = "--text";
inline constexpr std::array<std::string_view, 4> methods{"none", "min-max", "percentile", "mse"};

/// The value of a flag, taken out of the words; empty where it is not there. \errors usage
[[nodiscard]] inline std::string take_flag(std::vector<std::string>& words, std::string_view flag) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string value;
    std::ptrdiff_t count = 1;
    if (words[i] == flag) {
      if (i + 1 == words.size()) throw usage_error(std::string(flag), "a value is missing");
      value = words[i + 1];
      count = 2;
    } else if (words[i].starts_with(std::string(flag) + "=")) {
      value = words[i].substr(flag.size() + 1);
    } else {
      continue;
    }
    if (value.empty()) throw usage_error(std::string(flag), "its value is empty");
    const auto at = words.begin() + static_cast<std::ptrdiff_t>(i);
    words.erase(at, at + count);
    return value;
  }
  return "";
}

/// The format that a value of the axis names once a method is given. \errors usage where it takes none
[[nodiscard]] inline std::string with_method(const std::string& value, const std::string& method,
                                             const std::vector<Format>& formats) {
  const std::string where = std::string(method_flag) + " " + method;
  const std::string instead = "kv_format=" + std::string(fp8_families.front());
  for (const std::string_view family : fp8_families) {
    std::string name = std::string(family) + "_" + method;
    std::replace(name.begin(), name.end(), '-', '_');
    if (value == family || value == name) return name;
    if (value.starts_with(std::string(family) + "_")) {
      throw usage_error(where, in_quotes(value) + " names another method", instead);
    }
  }
  for (const Format& f : formats) {
    if (f.codec->name != value) continue;
    throw usage_error(where,
                      value + (kv_format::needs_calibration(*f.codec)
                                   ? " is fitted in its own way and takes no method"
                                   : " is not fitted beforehand and takes no calibration"),
                      instead);
  }
  return value;  // no format of this list: whoever reads the axis says so
}

}  // namespace detail

/// Takes the flags out of a command line, and gives the axis kv_format the names that follow.
/// \errors usage: an unknown method; a format that takes none, or no text; a file that is not there
[[nodiscard]] inline KvCalibration take_kv_calibration(std::vector<std::string>& words,
                                                       const std::vector<Format>& formats) {
  KvCalibration out;
  out.text = detail::take_flag(words, detail::text_flag);
  out.read = detail::take_flag(words, detail::read_flag);
  out.method = detail::take_flag(words, detail::method_flag);
  if (!out.method.empty() && std::find(detail::methods.begin(), detail::methods.end(),
                                       out.method) == detail::methods.end()) {
    throw usage_error(std::string(detail::method_flag), "unknown method " + in_quotes(out.method),
                      "none, min-max, percentile or mse");
  }
  if (!out.text.empty() && !std::filesystem::is_regular_file(out.text)) {
    throw usage_error(std::string(detail::text_flag), in_quotes(out.text) + " is no file",
                      "a text, or stories as in experiments/quality/calibration.jsonl");
  }
  if (!out.read.empty() && !std::filesystem::is_regular_file(out.read)) {
    throw usage_error(std::string(detail::read_flag), in_quotes(out.read) + " is no file",
                      "a text");
  }
  if (out.method.empty() && out.text.empty()) return out;
  bool named = false, fitted = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool joined = words[i].starts_with("--axis=");
    if (!joined && (words[i] != "--axis" || i + 1 == words.size())) continue;
    std::string& word = joined ? words[i] : words[i + 1];
    experiment::Axis axis = experiment::parse_axis(joined ? word.substr(7) : word);
    if (axis.name != "kv_format") continue;
    named = true;
    std::string list;
    for (std::string& value : axis.values) {
      if (!out.method.empty()) value = detail::with_method(value, out.method, formats);
      list += (list.empty() ? "" : ",") + value;
      for (const Format& f : formats) {
        fitted = fitted || (f.codec->name == value && kv_format::needs_calibration(*f.codec));
      }
    }
    word = std::string(joined ? "--axis=" : "") + "kv_format=[" + list + "]";
  }
  if (!named) {
    fitted = true;
    if (!out.method.empty()) {
      words.insert(
          words.end(),
          {"--axis", "kv_format=" + detail::with_method(std::string(detail::fp8_families.front()),
                                                        out.method, formats)});
    }
  }
  if (!out.text.empty() && !fitted) {
    throw usage_error(
        std::string(detail::text_flag), "no format that was asked for is fitted to texts",
        "kv_format=" + std::string(detail::fp8_families.front()) + ", kvquant3 or qserve_kv4");
  }
  return out;
}

}  // namespace quire::quality
