#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

namespace quire::experiment {

/// `42s`, `3m05s`, `2h07m`, `3d04h`: seconds as one reads them.
[[nodiscard]] inline std::string short_time(double seconds) {
  if (!(seconds < 1e10)) return "?";
  const auto s = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  char text[40];
  if (s < 60) {
    std::snprintf(text, sizeof text, "%llds", s);
  } else if (s < 3600) {
    std::snprintf(text, sizeof text, "%lldm%02llds", s / 60, s % 60);
  } else if (s < 86400) {
    std::snprintf(text, sizeof text, "%lldh%02lldm", s / 3600, s / 60 % 60);
  } else {
    std::snprintf(text, sizeof text, "%lldd%02lldh", s / 86400, s / 3600 % 24);
  }
  return text;
}

/// How far a piece of work is and how long it will take, from what was done since it began:
/// `61 %, 12s, 8s left`. before: done already when it began, which tells nothing of its pace.
[[nodiscard]] inline std::string eta_text(std::size_t before, std::size_t done, std::size_t all,
                                          double elapsed) {
  std::string text = std::to_string(all == 0 ? 100 : 100 * done / all) + " %, ";
  text += short_time(elapsed);
  if (done <= before || done >= all) return text;
  const double each = elapsed / static_cast<double>(done - before);
  return text + ", " + short_time(each * static_cast<double>(all - done)) + " left";
}

}  // namespace quire::experiment
