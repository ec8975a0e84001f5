#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <quire/core/utf8.hpp>

/// The byte-level alphabet: each byte as one printable character, so that pieces are plain text.
/// \source Radford et al., GPT-2: 188 bytes stand for themselves, the others for U+0100 and on.
namespace quire::checkpoint::tokenizer::byte_level {

namespace detail {
struct Alphabet {
  std::array<char16_t, 256> character{};
  std::array<std::int16_t, 0x144> byte{};  // of a character, or -1

  constexpr Alphabet() {
    for (auto& b : byte) b = -1;
    char16_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      const auto c = printable ? static_cast<char16_t>(b) : next++;
      character[static_cast<std::size_t>(b)] = c;
      byte[c] = static_cast<std::int16_t>(b);
    }
  }
};
inline constexpr Alphabet alphabet{};
}  // namespace detail

/// The character of a byte.
[[nodiscard]] constexpr char32_t character(unsigned char byte) {
  return detail::alphabet.character[byte];
}

/// Writes each byte of text as its character.
[[nodiscard]] inline std::string encode(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char c : text) utf8::append(out, character(static_cast<unsigned char>(c)));
  return out;
}

/// Reads the bytes of a piece back; nothing when a character is not of the alphabet.
[[nodiscard]] inline std::optional<std::string> decode(std::string_view piece) {
  std::string out;
  out.reserve(piece.size());
  for (std::size_t at = 0; at < piece.size();) {
    const utf8::Step step = utf8::decode(piece.substr(at));
    if (!step.valid || step.point >= detail::alphabet.byte.size()) return std::nullopt;
    const std::int16_t byte = detail::alphabet.byte[step.point];
    if (byte < 0) return std::nullopt;
    out.push_back(static_cast<char>(byte));
    at += step.size;
  }
  return out;
}

}  // namespace quire::checkpoint::tokenizer::byte_level
