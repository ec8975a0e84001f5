#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/// UTF-8 by the letter of the Unicode Standard: no overlong forms, no surrogates, nothing above
/// U+10FFFF.
namespace quire::utf8 {

inline constexpr char32_t replacement = 0xFFFD;

/// One step of decoding: the code point, the bytes taken, and whether they were valid.
struct Step {
  char32_t point = replacement;
  std::size_t size = 0;
  bool valid = false;
  bool cut = false;  // invalid only because the text ends inside a character
};

/// Decodes the character at the start of `text`.
/// Invalid bytes are taken as the maximal subpart of a character (Unicode 3.9, as Python's
/// errors="replace" and the WHATWG encoding standard do), so each Step is worth one U+FFFD.
/// \pre text is not empty
[[nodiscard]] constexpr Step decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true, false};
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;  // bounds of the second byte
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {replacement, 1, false, false};
  }
  char32_t point = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {replacement, i, false, true};
    if (byte(i) < low || byte(i) > high) return {replacement, i, false, false};
    point = (point << 6) | (byte(i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {point, length, true, false};
}

/// Appends one code point.
/// \pre point is a Unicode scalar value
inline void append(std::string& out, char32_t point) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | (point >> 6));
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

/// Finds the first byte that is not part of a valid character.
[[nodiscard]] constexpr std::optional<std::size_t> first_invalid(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Step step = decode(text.substr(at));
    if (!step.valid) return at;
    at += step.size;
  }
  return std::nullopt;
}

/// Copies text with each invalid maximal subpart replaced by U+FFFD.
[[nodiscard]] inline std::string sanitized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Step step = decode(text.substr(at));
    if (step.valid) {
      out.append(text.substr(at, step.size));
    } else {
      append(out, replacement);
    }
    at += step.size;
  }
  return out;
}

}  // namespace quire::utf8
