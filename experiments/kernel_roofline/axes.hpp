#pragma once

#include <cstdint>
#include <vector>

#include <experiments/common/options.hpp>

namespace quire::experiment {

using Sizes = std::vector<std::int64_t>;

/// Axes of the part `paged`: tokens of each sequence, sequences, and tokens of a block.
struct PagedAxes {
  Sizes contexts, batches, blocks;
  std::int64_t most_tokens;  // of all sequences together
};
[[nodiscard]] inline PagedAxes paged_axes(const Options& options) {
  return {options.pick<Sizes>({64}, {64, 1024, 16384},
                              {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}),
          options.pick<Sizes>({1}, {1, 32}, {1, 2, 4, 8, 16, 32}),
          options.pick<Sizes>({16}, {1, 16, 256}, {1, 2, 4, 8, 16, 32, 64, 128, 256}),
          options.pick<std::int64_t>(1 << 10, 1 << 16, 1 << 19)};
}
/// Axes of the part `low_rank`: rows that a layer is multiplied with at once, and percent of its numbers that go.
struct LowRankAxes {
  Sizes rows, percents;
};
[[nodiscard]] inline LowRankAxes low_rank_axes(const Options& options) {
  return {options.pick<Sizes>({1}, {1, 64}, {1, 16, 64, 256}),
          options.pick<Sizes>({40}, {10, 20, 40, 60, 80}, {10, 20, 30, 40, 50, 60, 70, 80, 90})};
}
/// Rows that a matrix is multiplied with at once.
[[nodiscard]] inline Sizes product_rows(const Options& options) {
  return options.pick<Sizes>({1}, {1, 8, 256}, {1, 4, 16, 64, 256, 512});
}

}  // namespace quire::experiment
