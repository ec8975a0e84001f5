#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quire {

/// Watches a growing text for stop strings. Text that may be the beginning of one is held back, so
/// that nothing is given out that would have to be taken back.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
    std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
  }

  /// Adds text; returns what is certain to stand before any stop string.
  /// Once one was found, matched() is true and nothing more comes out.
  [[nodiscard]] std::string push(std::string_view text) {
    if (matched_) return {};
    held_ += text;
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
    if (first != std::string::npos) {
      matched_ = true;
      held_.resize(first);
      return std::exchange(held_, {});
    }
    const std::size_t keep = possible_beginning();
    std::string out = held_.substr(0, held_.size() - keep);
    held_.erase(0, out.size());
    return out;
  }
  /// The text has ended: what was held back was no stop string.
  [[nodiscard]] std::string finish() { return std::exchange(held_, {}); }
  [[nodiscard]] bool matched() const { return matched_; }

 private:
  /// Length of the longest end of the held text that begins a stop string.
  [[nodiscard]] std::size_t possible_beginning() const {
    std::size_t longest = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
        if (held_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
      }
    }
    return longest;
  }

  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace quire
