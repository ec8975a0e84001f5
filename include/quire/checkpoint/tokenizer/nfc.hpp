#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer/unicode.hpp>
#include <quire/core/utf8.hpp>

namespace quire::checkpoint::tokenizer {

namespace detail {

// Hangul syllables are composed by arithmetic (Unicode 3.12).
inline constexpr char32_t first_syllable = 0xAC00, last_syllable = 0xD7A3;
inline constexpr char32_t lead_jamo = 0x1100, vowel_jamo = 0x1161, before_tail_jamo = 0x11A7;
inline constexpr char32_t leads = 19, vowels = 21, tails = 28;  // tails counts "no tail"

[[nodiscard]] inline char32_t combining_class(char32_t point) {
  if (point < 0x300) return 0;
  const tables::ClassRange* row = find_row(tables::combining_classes, point);
  return row == nullptr ? 0 : row->combining_class;
}

/// Appends the full canonical decomposition; mappings nest a few levels deep at most.
inline void decompose(char32_t point, std::vector<char32_t>& out) {
  if (point >= first_syllable && point <= last_syllable) {
    const char32_t s = point - first_syllable;
    out.push_back(lead_jamo + s / (vowels * tails));
    out.push_back(vowel_jamo + s % (vowels * tails) / tails);
    if (s % tails != 0) out.push_back(before_tail_jamo + s % tails);
    return;
  }
  const auto* at =
      std::lower_bound(std::begin(tables::decompositions), std::end(tables::decompositions), point,
                       [](const tables::Mapping& m, char32_t p) { return m.a < p; });
  if (point < 0xC0 || at == std::end(tables::decompositions) || at->a != point) {
    out.push_back(point);
    return;
  }
  decompose(at->b, out);
  if (at->c != 0) decompose(at->c, out);
}

/// The character that a and then b compose to, or 0.
[[nodiscard]] inline char32_t compose(char32_t a, char32_t b) {
  if (a >= lead_jamo && a < lead_jamo + leads && b >= vowel_jamo && b < vowel_jamo + vowels) {
    return first_syllable + ((a - lead_jamo) * vowels + (b - vowel_jamo)) * tails;
  }
  if (a >= first_syllable && a <= last_syllable && (a - first_syllable) % tails == 0 &&
      b > before_tail_jamo && b < before_tail_jamo + tails) {
    return a + (b - before_tail_jamo);
  }
  const auto* at = std::lower_bound(
      std::begin(tables::compositions), std::end(tables::compositions), std::pair(a, b),
      [](const tables::Mapping& m, const auto& pair) { return std::pair(m.a, m.b) < pair; });
  const bool found = at != std::end(tables::compositions) && at->a == a && at->b == b;
  return found ? at->c : 0;
}

}  // namespace detail

/// Brings text into normalisation form C.
/// \pre text is valid UTF-8
/// \complexity O(n log n) at worst (one long run of marks); a copy when all is below U+0300
/// \source Unicode Standard Annex 15, with the tables of Unicode 9.0.0: characters newer than that
/// stay as they are, as in the reference tokenizers.
[[nodiscard]] inline std::string nfc(std::string_view text) {
  // Lead bytes below 0xCC start characters below U+0300, none of which NFC changes or moves.
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0xCC; })) {
    return std::string(text);
  }
  std::vector<char32_t> points;
  points.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const utf8::Step step = utf8::decode(text.substr(at));
    detail::decompose(step.point, points);
    at += step.size;
  }

  struct Mark {
    char32_t combining_class;
    char32_t point;
  };
  std::vector<Mark> marks;
  std::vector<char32_t> composed;
  composed.reserve(points.size());
  for (std::size_t at = 0; at < points.size();) {
    // One starter (or the text's start) and the marks after it, sorted by class.
    marks.clear();
    const char32_t first_class = detail::combining_class(points[at]);
    std::size_t starter = composed.size();
    bool has_starter = false;
    if (first_class == 0) {
      const char32_t joined = composed.empty() ? 0 : detail::compose(composed.back(), points[at]);
      // Two starters compose only when nothing stands between them.
      if (joined != 0 && detail::combining_class(composed.back()) == 0) {
        composed.back() = joined;
        starter = composed.size() - 1;
      } else {
        composed.push_back(points[at]);
      }
      has_starter = true;
      ++at;
    }
    for (; at < points.size(); ++at) {
      const char32_t mark_class = detail::combining_class(points[at]);
      if (mark_class == 0) break;
      marks.push_back({mark_class, points[at]});
    }
    std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
      return a.combining_class < b.combining_class;
    });
    char32_t last_class = 0;  // of the last mark that stayed behind the starter
    for (const Mark& mark : marks) {
      if (has_starter && mark.combining_class > last_class) {
        if (const char32_t joined = detail::compose(composed[starter], mark.point)) {
          composed[starter] = joined;
          continue;
        }
      }
      last_class = mark.combining_class;
      composed.push_back(mark.point);
    }
  }

  std::string out;
  out.reserve(text.size());
  for (const char32_t point : composed) utf8::append(out, point);
  return out;
}

}  // namespace quire::checkpoint::tokenizer
