#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>

#include <quire/core/byte_products.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/pair_products.hpp>
#include <quire/core/simd.hpp>

namespace quire::experiment {

/// Seconds that this thread has run: what else the machine does stands still in it.
[[nodiscard]] inline double now_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline volatile float read_sink = 0;  // what is summed must be needed
inline volatile std::int32_t product_sink = 0;

/// Bytes a second that one thread reads from memory, with full vectors and eight sums in flight.
/// \shape values (a buffer beyond the caches)
[[nodiscard]] inline double read_bandwidth(std::span<const float> values) {
  namespace hn = simd::hn;
  constexpr std::size_t sums = 8;
  simd::Vec total[sums];
  simd::unrolled<sums>([&](auto i) { total[i] = hn::Zero(simd::Floats()); });
  const double start = now_seconds();
  for (std::size_t at = 0; at + sums * simd::lanes <= values.size(); at += sums * simd::lanes) {
    simd::unrolled<sums>([&](auto i) __attribute__((always_inline)) {
      total[i] = hn::Add(total[i], simd::load(values.data() + at + i * simd::lanes));
    });
  }
  const double seconds = now_seconds() - start;
  float all = 0;
  simd::unrolled<sums>([&](auto i) { all += simd::sum(total[i]); });
  read_sink = all;
  return static_cast<double>(values.size_bytes()) / seconds;
}

/// Flops a second of fused multiply-adds in registers, by one thread.
[[nodiscard]] inline double multiply_add_rate() {
  namespace hn = simd::hn;
  constexpr std::size_t chains = 10;
  constexpr int steps = 2'000'000;
  const simd::Vec factor = simd::set(0.999f), term = simd::set(1e-3f);
  simd::Vec chain[chains];
  // from different numbers: a compiler computes equal chains once
  simd::unrolled<chains>([&](auto i) { chain[i] = simd::set(static_cast<float>(i())); });
  const double start = now_seconds();
  for (int step = 0; step < steps; ++step) {
    simd::unrolled<chains>([&](auto i) __attribute__((always_inline)) {
      chain[i] = hn::MulAdd(chain[i], factor, term);
    });
  }
  const double seconds = now_seconds() - start;
  float all = 0;
  simd::unrolled<chains>([&](auto i) { all += simd::sum(chain[i]); });
  read_sink = all;
  return 2.0 * chains * steps * static_cast<double>(simd::lanes) / seconds;
}

/// Operations a second of dot(sum), which adds so many products to each lane of a sum, in registers.
template <std::size_t products, class Sum, class Dot>
[[nodiscard]] double dot_rate(Sum (&sums)[12], const Dot& dot) {
  constexpr int steps = 2'000'000;
  const double start = now_seconds();
  for (int step = 0; step < steps; ++step) {
    simd::unrolled<12>([&](auto i) __attribute__((always_inline)) { sums[i] = dot(sums[i]); });
  }
  const double seconds = now_seconds() - start;
  return 2.0 * 12 * steps * products * static_cast<double>(simd::lanes) / seconds;
}

/// The same of products of bytes. A sum is one factor of its next products too: of two that stay, the products
/// stay, and where they take several instructions a compiler leaves the additions alone in the loop.
[[nodiscard]] inline double byte_product_rate() {
  namespace hn = simd::hn;
  const auto right = hn::Set(simd::Words(), 0x04030201);
  simd::WordVec sums[12];
  simd::unrolled<12>(
      [&](auto i) { sums[i] = hn::Set(simd::Words(), static_cast<std::int32_t>(i())); });
  const double rate = dot_rate<4>(
      sums, [&](auto sum)
                __attribute__((always_inline)) { return simd::dot_bytes(sum, sum, right); });
  auto all = hn::Zero(simd::Words());
  simd::unrolled<12>([&](auto i) { all = hn::Add(all, sums[i]); });
  product_sink = hn::GetLane(hn::SumOfLanes(simd::Words(), all));
  return rate;
}

/// The same of products of bf16 in pairs.
[[nodiscard]] inline double pair_product_rate() {
  namespace hn = simd::hn;
  const auto ones = hn::Set(simd::Words(), 0x3f803f80);
  simd::Vec sums[12];
  simd::unrolled<12>([&](auto i) { sums[i] = simd::set(static_cast<float>(i())); });
  const double rate = dot_rate<2>(
      sums, [&](auto sum)
                __attribute__((always_inline)) { return simd::dot_pairs(sum, ones, ones); });
  float all = 0;
  simd::unrolled<12>([&](auto i) { all += simd::sum(sums[i]); });
  read_sink = all;
  return rate;
}

}  // namespace quire::experiment
