#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/rng.hpp>

/// Damage for readers of untrusted files: byte flips, cuts, repeats, swapped numbers and keywords.
namespace quire::testing {

/// How many damaged files a fuzz test tries.
/// QUIRE_FUZZ_SCALE multiplies `smoke`: 1 (the default) keeps a suite quick, 20 is the full count.
/// \pre smoke > 0
[[nodiscard]] inline std::size_t fuzz_count(std::size_t smoke) {
  const char* text = std::getenv("QUIRE_FUZZ_SCALE");
  const double scale = text == nullptr ? 1.0 : std::strtod(text, nullptr);
  const double count = static_cast<double>(smoke) * scale;
  return count >= 1.0 ? static_cast<std::size_t>(std::llround(count)) : 1;
}

/// Damages text in one to four ways drawn from a seeded stream; the same seed, the same damage.
class Mutator {
 public:
  /// `vocabulary`: fragments of the format that are spliced in now and then (keys, numbers).
  explicit Mutator(std::uint64_t seed, std::vector<std::string> vocabulary = {})
      : rng_(seed), vocabulary_(std::move(vocabulary)) {
    for (const char* number : {"-1", "0", "1", "4294967296", "9223372036854775807",
                               "18446744073709551616", "1e308", "1e999", "0.5", "-0.0", "null",
                               "true", "\"\"", "{}", "[]", "[[[[[[[[", "\"\\ud800\"", "NaN"}) {
      vocabulary_.emplace_back(number);
    }
  }

  [[nodiscard]] std::string mutate(std::string text) {
    for (std::size_t rounds = 1 + pick(4); rounds > 0; --rounds) damage(text);
    return text;
  }

 private:
  [[nodiscard]] std::size_t pick(std::size_t bound) {
    return bound == 0 ? 0 : static_cast<std::size_t>(rng_.below(bound));
  }

  void damage(std::string& text) {
    const std::size_t at = pick(text.size() + 1);
    const std::size_t length = std::min(text.size() - at, 1 + pick(pick(8) == 0 ? 400 : 12));
    switch (pick(9)) {
      case 0:  // one bit
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << pick(8)));
        break;
      case 1:  // one byte
        if (at < text.size()) text[at] = static_cast<char>(pick(256));
        break;
      case 2:
        text.resize(at);
        break;
      case 3:
        text.erase(at, length);
        break;
      case 4:
        text.insert(at, text.substr(at, length));
        break;
      case 5:
        text.insert(at, vocabulary_[pick(vocabulary_.size())]);
        break;
      case 6:
        swap_number(text, at);
        break;
      case 7: {  // a run of bytes from elsewhere
        const std::string piece = text.substr(pick(text.size() + 1), length);
        text.replace(at, std::min(piece.size(), text.size() - at), piece);
        break;
      }
      default:  // raw bytes
        for (std::size_t i = 0; i < length; ++i) text[at + i] = static_cast<char>(pick(256));
    }
  }
  /// Puts another number where the next number stands.
  void swap_number(std::string& text, std::size_t at) {
    const auto begin = text.find_first_of("0123456789", at);
    if (begin == std::string::npos) return;
    const auto end = std::min(text.find_first_not_of("0123456789.eE+-", begin), text.size());
    text.replace(begin, end - begin, vocabulary_[pick(vocabulary_.size())]);
  }

  Rng rng_;
  std::vector<std::string> vocabulary_;
};

}  // namespace quire::testing
