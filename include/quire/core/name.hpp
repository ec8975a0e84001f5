#pragma once

#include <cstddef>
#include <string_view>

namespace quire {

/// A name with a number in it, made at compile time: "int4_g" and 32 give "int4_g32".
template <std::size_t most = 48>
struct Name {
  char text[most]{};
  std::size_t length = 0;

  constexpr Name& add(std::string_view part) {
    for (const char c : part) text[length++] = c;
    return *this;
  }
  constexpr Name& add(std::size_t number) {
    if (number >= 10) add(number / 10);
    text[length++] = static_cast<char>('0' + number % 10);
    return *this;
  }
  constexpr operator std::string_view() const { return {text, length}; }
};

}  // namespace quire
