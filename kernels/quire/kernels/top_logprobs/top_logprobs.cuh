#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/block_primitives.cuh>
#include <quire/kernels/device_math.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

struct TopLogprobsParams {
  const float* logits = nullptr;  // \shape (rows, stride)
  std::size_t stride = 0;
  const std::uint32_t* rows = nullptr;  // \shape (grid.x): which rows of the logits
  std::uint32_t* tokens = nullptr;      // \shape (grid.x, count)
  float* logprobs = nullptr;            // \shape (grid.x, count)
  std::uint32_t vocab = 0, count = 0;
};

/// The likeliest `count` tokens of a row, best first, equal ones by rising id, with their
/// log-probabilities: the candidates of a beam (twice its width), or what a request asks to see.
/// Tokens at -infinity come last, by id; where the vocabulary is smaller than `count`, the rest is
/// token 0 at -infinity. Grid: (rows).
/// \cost reads the logits 1 + count times, from the second-level cache after the first
/// \pre no logit is NaN or infinity, and one is finite
template <BlockPrimitives Block>
struct TopLogprobs {
  using Params = TopLogprobsParams;
  static constexpr std::string_view name = "top_logprobs";
  static constexpr unsigned threads = Block::threads;
  static constexpr std::size_t shared_bytes = Block::bytes;

  QUIRE_DEVICE static void run(const Params& p) {
    const Block block{0};
    const float* logits = p.logits + p.rows[simt::block().x] * p.stride;
    Largest best{-simt::infinity(), p.vocab};
    for (unsigned i = simt::thread(); i < p.vocab; i += threads) {
      best = better(best, Largest{logits[i], i});
    }
    const float top = block.largest(best).value;
    float sum = 0;
    for (unsigned i = simt::thread(); i < p.vocab; i += threads) {
      sum += simt::exp2((logits[i] - top) * log2e);
    }
    constexpr float ln2 = 0.6931471805599453f;
    const float log_of_sum = simt::log2(block.sum(sum)) * ln2;
    Largest last{simt::infinity(), 0};  // what was listed before: the next one is worse
    for (unsigned n = 0; n < p.count; ++n) {
      best = {-simt::infinity(), p.vocab};
      for (unsigned i = simt::thread(); i < p.vocab; i += threads) {
        const float x = logits[i];
        const bool left = x < last.value || (x == last.value && i > last.index);
        if (left) best = better(best, Largest{x, i});
      }
      last = block.largest(best);
      if (simt::thread() == 0) {
        const std::size_t at = std::size_t{simt::block().x} * p.count + n;
        const bool none = last.index == p.vocab;
        p.tokens[at] = none ? 0 : last.index;
        p.logprobs[at] = none ? -simt::infinity() : last.value - top - log_of_sum;
      }
    }
  }
};

}  // namespace quire::kernels
