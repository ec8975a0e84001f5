#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>

namespace quire::workload {

/// Independent exponential gaps. \unit rate: requests a second.
struct Poisson {
  double rate = 1;
};

/// Gamma gaps with the given coefficient of variation: 1 is Poisson, larger is burstier. vLLM's
/// burstiness b is 1 / cv^2.
struct Gamma {
  double rate = 1;
  double cv = 1;
};

/// What the artifact of the PagedAttention paper draws: the number of arrivals of each 10 ms
/// quantum is Poisson, and all of them arrive as it begins. \source Kwon et al., SOSP '23,
/// artifact. Deviation: our random numbers, not numpy's.
struct QuantumPoisson {
  double rate = 1;
  Seconds quantum = 0.01;
};

/// Equal gaps of 1 / rate.
struct EvenlySpaced {
  double rate = 1;
};

/// A Poisson process that switches between two rates; it stays in each for an exponential time.
/// \source Fischer, Meier-Hellstern, "The Markov-modulated Poisson process cookbook", 1993.
struct MarkovModulated {
  double calm_rate = 1;
  double burst_rate = 10;
  Seconds calm = 60.0;  // mean stay
  Seconds burst = 10.0;
};

/// Everything is there from the start: the queue is never empty.
struct Saturated {};

using ArrivalProcess =
    std::variant<Poisson, Gamma, QuantumPoisson, EvenlySpaced, MarkovModulated, Saturated>;

namespace detail {

inline void check_positive(double value, const char* name) {
  if (!(value > 0 && std::isfinite(value))) {
    throw usage_error(name, "must be positive, not " + std::to_string(value), "a positive number");
  }
}

/// Number of events of a Poisson variable, by multiplying uniforms; means above 16 are split so
/// that the product does not underflow. \source Knuth, TAOCP 2, 3.4.1.
[[nodiscard]] inline std::uint64_t poisson_count(double mean, Rng& rng) {
  std::uint64_t count = 0;
  for (; mean > 16; mean -= 16) count += poisson_count(16, rng);
  const double limit = std::exp(-mean);
  for (double product = 1 - rng.uniform(); product > limit; product *= 1 - rng.uniform()) ++count;
  return count;
}

struct Draw {  // the arrivals of one process
  std::size_t count;
  Rng& rng;

  template <class Gap>
  [[nodiscard]] std::vector<Seconds> from_gaps(Gap&& gap) const {
    std::vector<Seconds> times(count);
    Seconds now = 0.0;
    for (Seconds& time : times) time = now += gap();
    return times;
  }

  [[nodiscard]] std::vector<Seconds> operator()(const Poisson& p) const {
    check_positive(p.rate, "rate");
    return from_gaps([&] { return rng.exponential(1 / p.rate); });
  }
  [[nodiscard]] std::vector<Seconds> operator()(const Gamma& p) const {
    check_positive(p.rate, "rate");
    check_positive(p.cv, "cv");
    const double shape = 1 / (p.cv * p.cv);
    return from_gaps([&] { return rng.gamma(shape, 1 / (shape * p.rate)); });
  }
  [[nodiscard]] std::vector<Seconds> operator()(const QuantumPoisson& p) const {
    check_positive(p.rate, "rate");
    check_positive(p.quantum.value, "quantum");
    const double mean = p.rate * p.quantum.value;
    check_positive(mean * 1e9, "arrivals in a quantum");
    std::vector<Seconds> times;
    times.reserve(count);
    for (double quantum = 0; times.size() < count; ++quantum) {
      const std::uint64_t here = poisson_count(mean, rng);
      for (std::uint64_t i = 0; i < here && times.size() < count; ++i) {
        times.push_back(p.quantum * quantum);
      }
    }
    return times;
  }
  [[nodiscard]] std::vector<Seconds> operator()(const EvenlySpaced& p) const {
    check_positive(p.rate, "rate");
    std::vector<Seconds> times(count);
    for (std::size_t i = 0; i < count; ++i) times[i] = static_cast<double>(i) / p.rate;
    return times;
  }
  [[nodiscard]] std::vector<Seconds> operator()(const MarkovModulated& p) const {
    check_positive(p.calm_rate, "calm_rate");
    check_positive(p.burst_rate, "burst_rate");
    check_positive(p.calm.value, "calm");
    check_positive(p.burst.value, "burst");
    bool bursting = false;
    double now = 0;
    double change = rng.exponential(p.calm.value);
    return from_gaps([&] {
      const double before = now;
      for (;;) {
        const double next = now + rng.exponential(1 / (bursting ? p.burst_rate : p.calm_rate));
        if (next < change) {
          now = next;
          return now - before;
        }
        now = change;  // the rate changes first; without memory, the wait starts anew
        bursting = !bursting;
        change = now + rng.exponential((bursting ? p.burst : p.calm).value);
      }
    });
  }
  [[nodiscard]] std::vector<Seconds> operator()(const Saturated&) const {
    return std::vector<Seconds>(count);
  }
};

}  // namespace detail

/// `count` arrival times in order. Lengths drawn from the same seed do not change with the rate,
/// nor arrivals with the lengths. \errors usage error: a rate, variation or time that is not
/// positive.
[[nodiscard]] inline std::vector<Seconds> arrival_times(const ArrivalProcess& process,
                                                        std::size_t count, std::uint64_t seed) {
  Rng rng(mix64(seed) ^ 0x6172726976616cu);  // a stream of its own: "arrival"
  return std::visit(detail::Draw{count, rng}, process);
}

/// Poisson arrivals at a finite rate, everything at once at an infinite one.
[[nodiscard]] inline ArrivalProcess poisson_or_saturated(double rate) {
  if (rate == std::numeric_limits<double>::infinity()) return Saturated{};
  return Poisson{rate};
}

}  // namespace quire::workload
