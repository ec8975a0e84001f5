#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <quire/core/error.hpp>

namespace quire::experiment {

/// One flat JSON object, its fields in the order in which they were set.
class Row {
 public:
  Row& set(std::string_view name, std::string_view value) { return raw(name, quoted(value)); }
  Row& set(std::string_view name, const char* value) { return set(name, std::string_view(value)); }
  Row& set(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
  Row& set(std::string_view name, std::integral auto value) {
    return raw(name, std::to_string(value));
  }
  /// \errors state error: a value that is not finite, which JSON cannot say.
  Row& set(std::string_view name, double value) {
    if (!std::isfinite(value)) throw state_error(name, "the result is not a finite number");
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    return raw(name, {text, end});
  }
  Row& set(std::string_view name, const Row& object) { return raw(name, object.json()); }
  Row& append(const Row& other) {
    if (!other.fields_.empty()) fields_ += (fields_.empty() ? "" : ", ") + other.fields_;
    return *this;
  }
  [[nodiscard]] std::string json() const { return "{" + fields_ + "}"; }

 private:
  Row& raw(std::string_view name, std::string value) {
    if (!fields_.empty()) fields_ += ", ";
    fields_ += quoted(name) + ": " + std::move(value);
    return *this;
  }
  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        out.append(1, '\\').append(1, c);
      } else if (static_cast<unsigned char>(c) < 0x20) {
        constexpr char hex[] = "0123456789abcdef";
        out.append("\\u00").append(1, hex[c >> 4]).append(1, hex[c & 15]);
      } else {
        out.append(1, c);
      }
    }
    return out + '"';
  }

  std::string fields_;
};

}  // namespace quire::experiment
