#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <quire/model/fusion.hpp>

namespace quire::experiment {

/// A fusion by name, and the member that switches it.
struct FusionAxis {
  std::string_view name;
  bool model::Fusion::*part;
};
inline constexpr std::array fusions{
    FusionAxis{"residual_norm", &model::Fusion::residual_norm},
    FusionAxis{"rotary_cache_write", &model::Fusion::rotary_cache_write},
    FusionAxis{"gated_activation", &model::Fusion::gated_activation},
    FusionAxis{"sampled_logits", &model::Fusion::sampled_logits},
    FusionAxis{"partial_sort", &model::Fusion::partial_sort}};

/// What a step does: sequences that each have `computed` tokens and run `tokens` more.
struct StepAxis {
  std::string_view name;
  std::int64_t sequences, computed, tokens;
  double temperature = 0, top_p = 1;
};
/// Low temperatures make a random model's flat distribution steep.
inline constexpr std::array steps{
    StepAxis{"decode_1", 1, 256, 1}, StepAxis{"decode_16", 16, 256, 1},
    StepAxis{"prefill_256", 1, 0, 256}, StepAxis{"sample_steep", 1, 256, 1, 0.02, 0.9},
    StepAxis{"sample_flat", 1, 256, 1, 1.0, 0.99}};

}  // namespace quire::experiment
