#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace quire {

/// Mixes 64 bits so that every input bit reaches every output bit (the SplitMix64 finaliser).
/// \source Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA '14.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Uniform in [0, 1) from 64 random bits, 53 bits of it used.
[[nodiscard]] constexpr double unit_interval(std::uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

/// Random bits that depend on (seed, stream, index) alone, so that the draw for token `index` of a
/// sequence is the same in every batch, after every preemption and on every thread.
[[nodiscard]] constexpr std::uint64_t counter_bits(std::uint64_t seed, std::uint64_t stream,
                                                   std::uint64_t index) {
  return mix64(mix64(mix64(seed) ^ stream) + index);
}

/// Sequential generator with the distributions that workloads need; the standard library's own
/// distributions differ between implementations, these do not.
/// \source xoshiro256**: Blackman, Vigna, "Scrambled Linear Pseudorandom Number Generators", 2018.
class Rng {
 public:
  using result_type = std::uint64_t;
  explicit constexpr Rng(std::uint64_t seed) {
    for (auto& word : state_) word = seed = mix64(seed);
  }
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

  constexpr result_type operator()() {
    const std::uint64_t result = rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return result;
  }

  /// Uniform in [0, 1).
  constexpr double uniform() { return unit_interval((*this)()); }

  /// Uniform integer in [0, n). \pre n > 0. Unbiased: rejects the incomplete last range.
  constexpr std::uint64_t below(std::uint64_t n) {
    const std::uint64_t limit = max() - max() % n;
    std::uint64_t bits = (*this)();
    while (bits >= limit) bits = (*this)();
    return bits % n;
  }

  /// Exponential with the given mean: gaps of a Poisson process.
  double exponential(double mean) { return -mean * std::log1p(-uniform()); }

  /// Standard normal, by the polar method (two uniforms a try, second deviate dropped).
  double normal() {
    for (;;) {
      const double u = 2 * uniform() - 1;
      const double v = 2 * uniform() - 1;
      const double s = u * u + v * v;
      if (s > 0 && s < 1) return u * std::sqrt(-2 * std::log(s) / s);
    }
  }

  /// Gamma with the given shape and scale (mean = shape * scale). \pre shape > 0, scale > 0.
  /// \source Marsaglia, Tsang, "A Simple Method for Generating Gamma Variables", TOMS 2000.
  double gamma(double shape, double scale) {
    if (shape < 1) return gamma(shape + 1, scale) * std::pow(1 - uniform(), 1 / shape);
    const double d = shape - 1.0 / 3.0;
    const double c = 1 / std::sqrt(9 * d);
    for (;;) {
      const double x = normal();
      const double t = 1 + c * x;
      if (t <= 0) continue;
      const double v = t * t * t;
      if (std::log(1 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v * scale;
    }
  }

 private:
  static constexpr std::uint64_t rotl(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::uint64_t state_[4]{};
};

}  // namespace quire
