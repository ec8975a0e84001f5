#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quire::model {

/// What forward passes took of a model's weights, counted as the products are made.
struct WeightLoad {
  /// Bytes of matrices: all of one for each product with it. Rows of the embedding are not in it.
  std::int64_t bytes = 0;
  /// Bytes of activations that row-wise kernels and products read and write, but for attention.
  std::int64_t activation_bytes = 0;
  /// Of a mixture of experts: rows that each expert was given, the histogram of its load.
  /// \shape (layers, experts); empty before the first mixture
  std::vector<std::int64_t> expert_rows;

  void add_rows(std::size_t layers, std::size_t experts, std::size_t layer, std::size_t expert,
                std::size_t rows) {
    if (expert_rows.empty()) expert_rows.resize(layers * experts);
    expert_rows[layer * experts + expert] += static_cast<std::int64_t>(rows);
  }
  void clear() {
    bytes = activation_bytes = 0;
    expert_rows.clear();
  }
};

}  // namespace quire::model
