#pragma once

namespace quire::model {

/// Which parts of a step are done together with what comes before or after them, so that a row is touched
/// once where it would be twice. Each can be switched off; results are the same bits. What is not
/// here is fused always: query, key and value projections are one product, as are gate and up.
struct Fusion {
  /// The sum of a branch with the residual stream, and the norm before the next branch.
  bool residual_norm = true;
  /// Rotary embedding of a row's queries and keys, their conversion, and the write into the cache.
  bool rotary_cache_write = true;
  /// The product of gate and up, and the activation that joins them.
  bool gated_activation = true;
  /// The final norm and logits of rows that sample, and of no others.
  bool sampled_logits = true;
  /// Truncated sampling that orders no more of the vocabulary than it keeps, or little more.
  bool partial_sort = true;

  friend bool operator==(const Fusion&, const Fusion&) = default;
};

/// Everything one after the other.
inline constexpr Fusion no_fusion{false, false, false, false, false};

}  // namespace quire::model
