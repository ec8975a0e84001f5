#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/cost_model/affine_coefficients.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/roofline.hpp>

namespace quire::calibrate {

/// A measured matrix product: (tokens, in) by (in, out) at two bytes a value, on one device. Products of
/// one group are those of one layer at one number of tokens; errors are taken of their sum.
struct Product {
  double tokens = 0, in = 0, out = 0, seconds = 0;
  std::size_t group = 0;
};

/// How far a model is from measurements, as shares: 0.03 is 3 %.
struct Errors {
  double mean = 0;   // of the absolute errors
  double worst = 0;  // largest absolute error
  double bias = 0;   // mean of the signed errors
  std::size_t count = 0;
};

[[nodiscard]] inline Errors errors_of(std::span<const double> predicted,
                                      std::span<const double> measured) {
  Errors e;
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    const double error = predicted[i] / measured[i] - 1;
    e.mean += std::abs(error);
    e.bias += error;
    e.worst = std::max(e.worst, std::abs(error));
  }
  e.count = predicted.size();
  if (e.count > 0) {
    e.mean /= static_cast<double>(e.count);
    e.bias /= static_cast<double>(e.count);
  }
  return e;
}

/// Errors of a device's roofline over groups of products. \pre groups are numbered from 0 without gaps.
[[nodiscard]] inline Errors errors_of(const Hardware& hardware, std::span<const Product> products) {
  std::size_t groups = 0;
  for (const Product& p : products) groups = std::max(groups, p.group + 1);
  std::vector<double> predicted(groups, 0), measured(groups, 0);
  for (const Product& p : products) {
    const double bytes = 2 * (p.in * p.out + p.tokens * (p.in + p.out));
    predicted[p.group] +=
        cost_model::Roofline::product_seconds(hardware, p.tokens, p.in, p.out, bytes);
    measured[p.group] += p.seconds;
  }
  return errors_of(predicted, measured);
}

/// What the constants of a fit may be. Beyond them another thing was measured than a device at work: products
/// whose weights lie in a cache, or calls that wait for the host.
struct FitBounds {
  double highest_share = 0.95;  // of the bandwidth or arithmetic of a data sheet
  double lowest_launch = 0.5e-6, highest_launch = 10e-6;  // seconds
  double lowest_intensity = 2, highest_intensity = 500;
};

/// Names of the constants that a fit left at a bound; empty when it found all within.
[[nodiscard]] inline std::vector<std::string> at_bounds(const Hardware& h,
                                                        const FitBounds& bounds = {}) {
  std::vector<std::string> names;
  if (h.bandwidth_share >= bounds.highest_share) names.emplace_back("bandwidth_share");
  if (h.flops_share >= bounds.highest_share) names.emplace_back("flops_share");
  if (h.launch <= bounds.lowest_launch || h.launch >= bounds.highest_launch) {
    names.emplace_back("launch");
  }
  return names;
}

/// Fits a roofline's shares, launch time and, where hardware.multiprocessors is set, its tile constants,
/// to measured products: the least mean absolute error over groups and over single products together, since
/// in sums of large products a launch cannot be told from a lower bandwidth. The exponent stays. A random
/// descent from the given constants, within FitBounds; equal inputs give equal constants.
/// \errors usage error: no products.
[[nodiscard]] inline Hardware fit_roofline(Hardware hardware, std::span<const Product> products,
                                           std::uint64_t seed = 1, int rounds = 1500) {
  if (products.empty()) throw usage_error("calibrate", "there is nothing to fit to", "products");
  Rng rng(seed);
  const bool tiles = hardware.multiprocessors > 0;
  if (tiles && hardware.tile_intensity <= 0) {
    hardware.tile_intensity = 20;
    hardware.wave_share = 0.5;
  }
  std::vector<Product> single(products.begin(), products.end());
  for (std::size_t i = 0; i < single.size(); ++i) single[i].group = i;
  const auto error_of = [&](const Hardware& h) {
    return errors_of(h, products).mean + errors_of(h, single).mean;
  };
  const FitBounds bounds;
  hardware.bandwidth_share = std::min(hardware.bandwidth_share, bounds.highest_share);
  hardware.flops_share = std::min(hardware.flops_share, bounds.highest_share);
  hardware.launch = std::clamp(hardware.launch, bounds.lowest_launch, bounds.highest_launch);
  double best = error_of(hardware);
  for (int round = 0; round < rounds; ++round) {
    const double width = 0.25 * (1 - static_cast<double>(round) / rounds) + 0.02;
    // a step of that width in the logarithm, up or down
    const double factor = std::exp(width * (2 * rng.uniform() - 1) * 1.7);
    Hardware next = hardware;
    switch (rng.below(tiles ? 5 : 4)) {
      case 0:
        next.bandwidth_share = std::min(bounds.highest_share, next.bandwidth_share * factor);
        break;
      case 1:
        next.flops_share = std::min(bounds.highest_share, next.flops_share * factor);
        break;
      case 2:
        next.launch = std::clamp(next.launch * factor, bounds.lowest_launch, bounds.highest_launch);
        break;
      case 3:
        if (tiles) {
          next.tile_intensity = std::clamp(next.tile_intensity * factor, bounds.lowest_intensity,
                                           bounds.highest_intensity);
        } else {
          next.tile = std::int64_t{16} << rng.below(5);
        }
        break;
      default:
        next.wave_share = std::clamp(next.wave_share + std::log(factor), 0.0, 1.0);
    }
    const double error = error_of(next);
    if (error < best) {
      best = error;
      hardware = next;
    }
  }
  return hardware;
}

/// Bytes that were moved, and how long it took.
struct Moved {
  double bytes = 0, seconds = 0;
};

/// Errors of bytes / bandwidth + latency.
[[nodiscard]] inline Errors errors_of(double bandwidth, double latency,
                                      std::span<const Moved> rows) {
  std::vector<double> said, measured;
  for (const Moved& m : rows) {
    said.push_back(m.bytes / bandwidth + latency);
    measured.push_back(m.seconds);
  }
  return errors_of(said, measured);
}

/// The share of the bandwidth, in thousandths, at which decode attention reads keys and values: the least
/// mean absolute error, beside the launch time that the device has. \errors usage error: no rows.
[[nodiscard]] inline double fit_attention_share(const Hardware& hardware,
                                                std::span<const Moved> rows) {
  if (rows.empty()) throw usage_error("calibrate", "there is nothing to fit to", "attention");
  double best = 0, error = std::numeric_limits<double>::infinity();
  for (int thousandths = 50; thousandths <= 1000; ++thousandths) {
    const double share = thousandths / 1000.0;
    const double now = errors_of(share * hardware.bandwidth, hardware.launch, rows).mean;
    if (now < error) {
      error = now;
      best = share;
    }
  }
  return best;
}

/// One measured step and what it computed.
struct StepSample {
  double prompt_tokens = 0, prompt_squares = 0, context = 0, sequences = 0;
  double seconds = 0;
};

namespace detail {

/// One weighted least-squares fit; see fit_terms().
[[nodiscard]] inline AffineTerms fit_weighted(std::span<const double> x, std::span<const double> y,
                                              std::span<const double> seconds,
                                              std::span<const double> weights) {
  std::array<bool, 3> used{true, true, true};
  for (;;) {
    // normal equations of the terms in use, by elimination with the largest pivot
    std::array<std::array<double, 4>, 3> m{};
    for (std::size_t i = 0; i < seconds.size(); ++i) {
      const double w = weights[i];
      const std::array<double, 3> row{used[0] ? w : 0, used[1] ? w * x[i] : 0,
                                      used[2] ? w * y[i] : 0};
      for (std::size_t r = 0; r < 3; ++r) {
        for (std::size_t c = 0; c < 3; ++c) m[r][c] += row[r] * row[c];
        m[r][3] += row[r] * w * seconds[i];
      }
    }
    std::array<double, 3> scale{};
    for (std::size_t r = 0; r < 3; ++r) scale[r] = m[r][r] > 0 ? 1 / std::sqrt(m[r][r]) : 1;
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 3; ++c) m[r][c] *= scale[r] * scale[c];
      m[r][3] *= scale[r];
      if (m[r][r] == 0) m[r][r] = 1;  // a term that is not used is 0
    }
    for (std::size_t k = 0; k < 3; ++k) {
      std::size_t pivot = k;
      for (std::size_t r = k + 1; r < 3; ++r) {
        if (std::abs(m[r][k]) > std::abs(m[pivot][k])) pivot = r;
      }
      std::swap(m[k], m[pivot]);
      if (std::abs(m[k][k]) < 1e-13) continue;  // terms that cannot be told apart
      for (std::size_t r = 0; r < 3; ++r) {
        if (r == k) continue;
        const double by = m[r][k] / m[k][k];
        for (std::size_t c = k; c < 4; ++c) m[r][c] -= by * m[k][c];
      }
    }
    std::array<double, 3> found{};
    std::size_t worst = 3;
    for (std::size_t k = 0; k < 3; ++k) {
      found[k] = std::abs(m[k][k]) < 1e-13 ? 0 : m[k][3] / m[k][k] * scale[k];
      if (found[k] < 0 && (worst == 3 || found[k] / scale[k] < found[worst] / scale[worst])) {
        worst = k;
      }
    }
    if (worst == 3) return {found[0], found[1], found[2]};
    used[worst] = false;
  }
}

}  // namespace detail

/// The terms with the least sum of squared errors of a + b x + c y, each relative to what the terms
/// themselves say: weighing by measured seconds would favour the steps that happened to be quick. None is
/// negative; one that would be is left out. \pre x and y as long as seconds.
[[nodiscard]] inline AffineTerms fit_terms(std::span<const double> x, std::span<const double> y,
                                           std::span<const double> seconds) {
  std::vector<double> weights(seconds.size(), 1.0);
  AffineTerms terms = detail::fit_weighted(x, y, seconds, weights);
  for (int round = 0; round < 5; ++round) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double said = terms.constant + terms.first * x[i] + terms.second * y[i];
      weights[i] = said > 0 ? 1 / said : 0;
    }
    terms = detail::fit_weighted(x, y, seconds, weights);
  }
  return terms;
}

/// Coefficients of `affine` from measured steps. Steps without prompts give the decode terms, below and
/// from large_batch sequences on; the others give the prompt terms, decodes in them priced already.
/// \errors usage error: no steps of one of the two kinds.
[[nodiscard]] inline AffineCoefficients fit_affine(std::span<const StepSample> samples,
                                                   std::int64_t large_batch = 95) {
  AffineCoefficients c;
  c.large_batch = large_batch;
  std::array<std::array<std::vector<double>, 3>, 2> decode;
  for (const StepSample& s : samples) {
    if (s.prompt_tokens > 0) continue;
    auto& d = decode[s.sequences >= static_cast<double>(large_batch)];
    d[0].push_back(s.context);
    d[1].push_back(s.sequences);
    d[2].push_back(s.seconds);
  }
  if (decode[0][0].empty() && decode[1][0].empty()) {
    throw usage_error("calibrate", "no step is of decodes alone", "such steps");
  }
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
    const auto& d = decode[i][0].empty() ? decode[1 - i] : decode[i];
    (i == 0 ? c.decode_small : c.decode_large) = fit_terms(d[0], d[1], d[2]);
  }
  std::array<std::vector<double>, 3> prompt;
  for (const StepSample& s : samples) {
    if (s.prompt_tokens <= 0) continue;
    const AffineTerms& d =
        s.sequences >= static_cast<double>(large_batch) ? c.decode_large : c.decode_small;
    const double rest = s.seconds - d.first * s.context - d.second * s.sequences;
    if (rest <= 0) continue;
    prompt[0].push_back(s.prompt_tokens);
    prompt[1].push_back(s.prompt_squares);
    prompt[2].push_back(rest);
  }
  if (prompt[0].empty()) throw usage_error("calibrate", "no step has a prompt", "such steps");
  c.prefill = fit_terms(prompt[0], prompt[1], prompt[2]);
  return c;
}

/// What `affine` says of a measured step.
[[nodiscard]] inline double predicted(const AffineCoefficients& c, const StepSample& s) {
  const AffineTerms& d =
      s.sequences >= static_cast<double>(c.large_batch) ? c.decode_large : c.decode_small;
  double seconds = 0, constant = 0;
  if (s.prompt_tokens > 0) {
    seconds += c.prefill.first * s.prompt_tokens + c.prefill.second * s.prompt_squares;
    constant = c.prefill.constant;
  }
  if (s.sequences > 0) {
    seconds += d.first * s.context + d.second * s.sequences;
    if (s.prompt_tokens <= 0) constant = d.constant;
  }
  return seconds + constant;
}

/// Bandwidth and latency of moves between devices: least squares, each relative to what is said.
/// \errors data error: time that does not grow with the bytes.
inline void fit_reduce(Hardware& hardware, std::span<const Moved> rows) {
  std::vector<double> bytes, none(rows.size(), 0.0), seconds;
  for (const Moved& m : rows) {
    bytes.push_back(m.bytes);
    seconds.push_back(m.seconds);
  }
  const AffineTerms terms = fit_terms(bytes, none, seconds);
  if (!(terms.first > 0)) {
    throw data_error("calibrate", "the times of all-reduces do not grow with their bytes",
                     "messages of several sizes");
  }
  hardware.reduce_bandwidth = 1 / terms.first;
  hardware.reduce_latency = terms.constant;
}

[[nodiscard]] inline Errors errors_of(const AffineCoefficients& c,
                                      std::span<const StepSample> samples) {
  std::vector<double> said, measured;
  for (const StepSample& s : samples) {
    said.push_back(predicted(c, s));
    measured.push_back(s.seconds);
  }
  return errors_of(said, measured);
}

}  // namespace quire::calibrate
