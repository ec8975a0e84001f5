// mechanism: what a scheduler believes about output lengths, one axis for all policies that ask.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/engine/override.hpp>
#include <quire/workload/request.hpp>

namespace quire::scheduler::length_oracle {

namespace detail {
/// "word" and a number below 1000 as one string, at compile time.
template <const auto& word, std::int64_t N>
struct Numbered {
  static constexpr auto digits = quire::detail::digits<N>();
  static constexpr auto text = [] {
    std::array<char, word.size() + 3> joined{};
    std::size_t at = 0;
    for (char c : word) joined[at++] = c;
    for (std::size_t i = 0; i < digits.second; ++i) joined[at++] = digits.first[i];
    return joined;
  }();
  static constexpr std::string_view value{text.data(), word.size() + digits.second};
};
inline constexpr std::string_view bucketed = "bucketed";
inline constexpr std::string_view noisy = "noisy";
inline constexpr std::string_view rank_correlated = "rank_correlated";
}  // namespace detail

/// Knows the true output length in replay; otherwise the request's own limit.
struct Perfect {
  static constexpr std::string_view name = "perfect";
  [[nodiscard]] static double predict(const Request& r) {
    return static_cast<double>(r.output_length.value_or(r.sampling.max_tokens).value);
  }
};

/// Knows which of N equal parts of 0 .. 2048 tokens the length lies in, and answers its middle.
/// \source Jin et al., "S3: Increasing GPU Utilization during Generative Inference for Higher
/// Throughput", NeurIPS '23, which classifies into length buckets.
template <std::int64_t N>
struct Bucketed {
  static_assert(N >= 1, "quire: scheduler: a bucketed length oracle needs at least one bucket");
  static constexpr std::string_view name = detail::Numbered<detail::bucketed, N>::value;
  [[nodiscard]] static double predict(const Request& r) {
    const double width = 2048.0 / static_cast<double>(N);
    return (std::floor(Perfect::predict(r) / width) + 0.5) * width;
  }
};

/// The true length times a log-normal error whose logarithm has a deviation of Percent / 100; the same
/// request is always misjudged alike.
template <std::int64_t Percent>
struct Noisy {
  static constexpr std::string_view name = detail::Numbered<detail::noisy, Percent>::value;
  [[nodiscard]] static double predict(const Request& r) {
    Rng rng(counter_bits(0x6f7261636c65u, r.id.value, static_cast<std::uint64_t>(Percent)));
    return Perfect::predict(r) * std::exp(rng.normal() * static_cast<double>(Percent) / 100);
  }
};

/// Orders requests so that Kendall's tau between its order and that of the true lengths is Percent / 100,
/// and says no more of lengths than that: log lengths and predictions are two normal variables with
/// correlation sin(pi tau / 2). Exact where true lengths are log-normal as ShareGPT's outputs are; the same
/// request is always misjudged alike.
/// \source Kendall's tau as the quality of a ranking: Fu et al., "Efficient LLM Scheduling by Learning to
/// Rank", 2408.15792. Log-normal fit of ShareGPT outputs: mean 5.370, deviation 1.144.
template <std::int64_t Percent>
struct RankCorrelated {
  static_assert(Percent >= 0 && Percent <= 100,
                "quire: scheduler: a rank correlation is 0 to 100 percent");
  static constexpr std::string_view name =
      detail::Numbered<detail::rank_correlated, Percent>::value;
  [[nodiscard]] static double predict(const Request& r) {
    constexpr double mean = 5.370, deviation = 1.144, half_pi = 1.5707963267948966;
    Rng rng(counter_bits(0x72616e6b6564u, r.id.value, static_cast<std::uint64_t>(Percent)));
    const double z = (std::log(Perfect::predict(r)) - mean) / deviation;
    const double c = std::sin(half_pi * static_cast<double>(Percent) / 100);
    const double guess = c * z + std::sqrt(1 - c * c) * rng.normal();
    return std::exp(mean + deviation * guess);
  }
};

/// Knows nothing: every request is expected to be as long as every other.
struct None {
  static constexpr std::string_view name = "none";
  [[nodiscard]] static double predict(const Request&) { return 1; }
};

}  // namespace quire::scheduler::length_oracle
