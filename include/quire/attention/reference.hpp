#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <quire/attention/concepts.hpp>

namespace quire::attention {

/// The oracle of the kernels: one query's attention over a contiguous cache, in double.
/// \shape q (head_dim); keys, values (positions, head_dim); result (head_dim), zeros where nothing
/// is visible
template <AttentionVariant Variant>
[[nodiscard]] std::vector<double> reference(const Variant& variant, std::size_t head,
                                            std::int64_t position, double scale,
                                            std::size_t head_dim, const float* q, const float* keys,
                                            const float* values) {
  const std::int64_t first = variant.first_visible(position);
  std::vector<double> logits;
  double largest = -INFINITY;
  for (std::int64_t p = first; p <= position; ++p) {
    double s = 0;
    for (std::size_t i = 0; i < head_dim; ++i) {
      s += static_cast<double>(q[i]) *
           static_cast<double>(keys[static_cast<std::size_t>(p) * head_dim + i]);
    }
    s = variant.logit(DoubleMath{}, s * scale, head, static_cast<double>(position - p));
    logits.push_back(s);
    largest = std::fmax(largest, s);
  }
  std::vector<double> out(head_dim, 0.0);
  double total = 0;
  if (variant.has_sink) {
    const auto sink = static_cast<double>(variant.sink_logit(head));
    largest = std::fmax(largest, sink);
    total = std::exp(sink - largest);
  }
  for (std::int64_t p = first; p <= position; ++p) {
    const double weight = std::exp(logits[static_cast<std::size_t>(p - first)] - largest);
    total += weight;
    for (std::size_t i = 0; i < head_dim; ++i) {
      out[i] += weight * static_cast<double>(values[static_cast<std::size_t>(p) * head_dim + i]);
    }
  }
  if (total > 0) {
    for (double& x : out) x /= total;
  }
  return out;
}

}  // namespace quire::attention
