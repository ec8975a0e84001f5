#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace quire::metrics {

/// Text as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD, so that whatever
/// a path or an error holds, the line stays JSON.
[[nodiscard]] inline std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(text[i++]);
    } else if (c < 0x20) {
      constexpr char hex[] = "0123456789abcdef";
      out.append("\\u00").append(1, hex[c >> 4]).append(1, hex[c & 15]);
      ++i;
    } else if (c < 0x80) {
      out.push_back(text[i++]);
    } else {
      const std::size_t length = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
      bool good = length > 0 && c < 0xf5 && i + length <= text.size();
      for (std::size_t k = 1; good && k < length; ++k) {
        const auto next = static_cast<unsigned char>(text[i + k]);
        good = (next & 0xc0) == 0x80;
        if (k == 1 && ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) ||
                       (c == 0xf0 && next < 0x90) || (c == 0xf4 && next > 0x8f))) {
          good = false;  // overlong, half a surrogate pair, or above U+10FFFF
        }
      }
      if (good) {
        out.append(text.substr(i, length));
        i += length;
      } else {
        out.append("\xef\xbf\xbd");
        ++i;
      }
    }
  }
  out.push_back('"');
  return out;
}

/// A number as JSON, the shortest text that reads back as the same double; null where there is
/// none.
[[nodiscard]] inline std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  char digits[40];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

/// Writes one JSON object, members in the order in which they are added, on one line.
class JsonObject {
 public:
  JsonObject& add(std::string_view name, std::string_view value) {
    return raw(name, json_quoted(value));
  }
  JsonObject& add(std::string_view name, const char* value) {
    return add(name, std::string_view(value));
  }
  JsonObject& add(std::string_view name, const std::string& value) {
    return add(name, std::string_view(value));
  }
  template <std::floating_point T>
  JsonObject& add(std::string_view name, T value) {
    return raw(name, json_number(static_cast<double>(value)));
  }
  template <std::integral T>
  JsonObject& add(std::string_view name, T value) {
    if constexpr (std::same_as<T, bool>) {
      return raw(name, value ? "true" : "false");
    } else {
      return raw(name, std::to_string(value));
    }
  }
  JsonObject& add(std::string_view name, const JsonObject& value) {
    return raw(name, value.text());
  }
  /// json: a JSON value already.
  JsonObject& raw(std::string_view name, std::string_view json) {
    if (!members_.empty()) members_ += ", ";
    members_.append(json_quoted(name)).append(": ").append(json);
    return *this;
  }
  /// Adds the members of another object after those that are there.
  JsonObject& append(const JsonObject& other) {
    if (!members_.empty() && !other.members_.empty()) members_ += ", ";
    members_ += other.members_;
    return *this;
  }
  [[nodiscard]] bool empty() const { return members_.empty(); }
  [[nodiscard]] std::string text() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

}  // namespace quire::metrics
