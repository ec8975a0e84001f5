#pragma once

#include <cstdint>

#include <quire/core/units.hpp>
#include <quire/model/shape.hpp>

namespace quire::metrics {

/// Floating-point operations that a model needs for tokens at given positions, whatever an engine does:
/// two a weight and token, and four a query head, dimension and attended position. Experts that a token
/// is not routed to, and the embedding's table, do not count.
/// \source Chowdhery et al., "PaLM", 2022, appendix B, for inference.
class ModelFlops {
 public:
  explicit ModelFlops(const model::Shape& m) {
    const std::int64_t mlps = m.experts > 0
                                  ? m.experts_per_token * m.mlp_weights() + m.hidden * m.experts
                                  : m.mlp_weights();
    per_token_ = 2.0 * static_cast<double>(m.layers * (m.attention_weights() + mlps));
    per_draw_ = 2.0 * static_cast<double>(m.hidden * m.vocab);
    per_position_ = 4.0 * static_cast<double>(m.layers * m.heads * m.head_dim);
  }

  /// `tokens` tokens of one sequence behind `computed` others; `draws` of them get logits.
  void add(Tokens computed, Tokens tokens, std::int64_t draws) {
    const double n = static_cast<double>(tokens.value),
                 before = static_cast<double>(computed.value);
    flops_ += n * per_token_ + static_cast<double>(draws > 0 ? 1 : 0) * per_draw_ +
              per_position_ * n * (before + (n + 1) / 2);
  }
  [[nodiscard]] double flops() const { return flops_; }
  /// Share of `devices` devices' peak that these operations were, over `seconds`.
  [[nodiscard]] double mfu(Seconds seconds, double peak_flops, std::int64_t devices = 1) const {
    return flops_ / (seconds.value * peak_flops * static_cast<double>(devices));
  }

 private:
  double per_token_ = 0, per_draw_ = 0, per_position_ = 0, flops_ = 0;
};

}  // namespace quire::metrics
