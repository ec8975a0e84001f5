#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/axis.hpp>

namespace quire::experiment {

/// How much is run: smoke touches everything in seconds, full has more seeds and finer axes.
enum class Scale { smoke, standard, full };

/// The flags that every experiment takes.
struct Options {
  std::filesystem::path out;  // rows are appended here
  Scale scale = Scale::standard;
  bool resume = false;           // leave out runs whose rows are in `out` already
  std::filesystem::path traces;  // folder of real traces, or empty
  std::string filter;            // only runs whose description contains this
  std::vector<Axis> axes;        // only runs whose axes have one of these values
  std::filesystem::path model;   // a checkpoint in place of the experiment's own, or empty
  std::size_t jobs = 1;          // threads
  bool list = false;
  bool help = false;

  /// The value that belongs to this run's scale.
  template <class T>
  [[nodiscard]] const T& pick(const T& smoke, const T& standard, const T& full) const {
    return scale == Scale::smoke ? smoke : scale == Scale::full ? full : standard;
  }
};

[[nodiscard]] constexpr std::string_view to_string(Scale scale) {
  return scale == Scale::smoke ? "smoke" : scale == Scale::full ? "full" : "default";
}

/// Reads `--flag value` and `--flag=value`.
/// \errors usage error: an unknown flag or value, with the nearest known one; a missing value.
[[nodiscard]] Options parse_options(const std::vector<std::string>& arguments);

}  // namespace quire::experiment
