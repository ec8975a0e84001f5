#pragma once

#include <compare>
#include <cstdint>

namespace quire {

/// A number with a unit: adds and compares with its own kind, scales by plain numbers.
/// A plain number converts in, one unit never converts to another.
template <class Unit, class Rep>
struct Quantity {
  using rep = Rep;
  Rep value{};

  constexpr Quantity() = default;
  constexpr Quantity(Rep v) : value(v) {}  // NOLINT: `{.max_tokens = 50}` is meant to work

  friend constexpr auto operator<=>(const Quantity&, const Quantity&) = default;
  constexpr Quantity& operator+=(Quantity o) {
    value += o.value;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity o) {
    value -= o.value;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
  friend constexpr Quantity operator-(Quantity a) { return {-a.value}; }
  friend constexpr Quantity operator*(Quantity a, Rep s) { return {a.value * s}; }
  friend constexpr Quantity operator*(Rep s, Quantity a) { return {a.value * s}; }
  friend constexpr Quantity operator/(Quantity a, Rep s) { return {a.value / s}; }
};

using Tokens = Quantity<struct TokensUnit, std::int64_t>;
using BlockCount = Quantity<struct BlockCountUnit, std::int64_t>;
using Bytes = Quantity<struct BytesUnit, std::int64_t>;
using Flops = Quantity<struct FlopsUnit, double>;      // floating-point operations, not a rate
using Seconds = Quantity<struct SecondsUnit, double>;  // wall or virtual time since the run began
using Joules = Quantity<struct JoulesUnit, double>;

/// How often b goes into a: a dimensionless ratio.
template <class U, class R>
[[nodiscard]] constexpr double ratio(Quantity<U, R> a, Quantity<U, R> b) {
  return b.value == R{} ? 0.0 : static_cast<double>(a.value) / static_cast<double>(b.value);
}

/// Smallest n with n * b >= a, for a >= 0 and b > 0.
[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Blocks of `block_tokens` tokens that hold `tokens` tokens.
[[nodiscard]] constexpr BlockCount blocks_for(Tokens tokens, Tokens block_tokens) {
  return ceil_div(tokens.value, block_tokens.value);
}

}  // namespace quire
