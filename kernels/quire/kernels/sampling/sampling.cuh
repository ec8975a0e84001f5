#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/block_primitives.cuh>
#include <quire/kernels/device_math.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// How one row of logits becomes a token; fields as in SamplingParams.
struct SampleRow {
  std::uint32_t row = 0;                           // of the logits
  float inverse_temperature = 0;                   // 0: greedy
  std::uint32_t top_k = 0;                         // 0: all
  float top_p = 1;                                 // in (0, 1]
  float log_min_p = -1e30f;                        // log of min_p; below -1e29: off
  std::uint32_t draw = 0;                          // uniform 32 bits
  std::uint32_t first_penalty = 0, penalties = 0;  // the row's part of the list
};
/// One token that occurred in a row's history.
struct TokenPenalty {
  std::uint32_t token = 0;
  float repetition = 1;  // divides a positive logit, multiplies a negative one
  float subtract = 0;    // frequency times occurrences, plus presence; infinity bans the token
};

struct SampleParams {
  float* logits = nullptr;  // \shape (rows, stride): changed by penalties
  std::size_t stride = 0;
  const SampleRow* rows = nullptr;          // \shape (grid.x)
  const TokenPenalty* penalties = nullptr;  // \shape (entries): a token once a row
  std::uint32_t* tokens = nullptr;          // \shape (grid.x)
  std::uint32_t* broken = nullptr;  // \shape (grid.x): 1 where a row has nothing to draw from
  std::uint32_t vocab = 0;
};

/// Draws a token a row: penalties, temperature, min-p, top-k, top-p, then by the running sum in order
/// of ids. Thresholds are found by radix selection, without a sort; weights are integers, so that
/// sums, and with them the token, do not depend on the order of additions. Grid: (draws).
/// Two draws of one row must not both carry penalties.
/// \cost reads the logits 1 time (greedy) to 12 times (top-k and top-p), from the second-level cache
/// after the first
/// \source radix selection of a quantile: Alabi et al., "Fast k-Selection Algorithms for Graphics
/// Processing Units", 2012
template <BlockPrimitives Block>
struct Sample {
  using Params = SampleParams;
  static constexpr std::string_view name = "sample";
  static constexpr unsigned threads = Block::threads;
  static constexpr unsigned bins = 256;
  static constexpr std::size_t histogram_at = Block::bytes;
  static constexpr std::size_t shared_bytes = histogram_at + (bins + 2) * 8;
  using Count = unsigned long long;

  QUIRE_DEVICE static void run(const Params& p) {
    const SampleRow row = p.rows[simt::block().x];
    float* logits = p.logits + row.row * p.stride;
    for (unsigned i = simt::thread(); i < row.penalties; i += threads) {
      const TokenPenalty t = p.penalties[row.first_penalty + i];
      const float x = logits[t.token];
      logits[t.token] = (x > 0 ? x / t.repetition : x * t.repetition) - t.subtract;
    }
    simt::sync();
    const Block block{0};
    Largest best{-simt::infinity(), 0};
    Count wrong = 0;
    for (unsigned i = simt::thread(); i < p.vocab; i += threads) {
      const float x = logits[i];
      wrong += x <= 3.402823466e38f ? 0 : 1;
      best = better(best, Largest{x, i});
    }
    best = block.largest(best);
    wrong = block.sum(wrong);
    const bool none = wrong != 0 || best.value == -simt::infinity();
    if (simt::thread() == 0) p.broken[simt::block().x] = none ? 1 : 0;
    if (none || row.inverse_temperature == 0) {
      if (simt::thread() == 0) p.tokens[simt::block().x] = best.index;
      return;
    }

    // What a token weighs, in units of 2^-40 of the likeliest.
    const auto weight = [&](float x) {
      return static_cast<Count>(simt::exp2((x - best.value) * row.inverse_temperature * log2e) *
                                0x1p40f);
    };
    std::uint32_t least = key_of(-simt::infinity()) + 1;  // smallest key that is kept
    if (row.log_min_p > -1e29f) {
      const float limit = best.value + row.log_min_p / row.inverse_temperature;
      if (key_of(limit) > least) least = key_of(limit);
    }
    if (row.top_k > 0 && row.top_k < p.vocab) {
      const std::uint32_t k =
          select(block, logits, p.vocab, least, row.top_k, [](float) { return Count{1}; }).key;
      if (k > least) least = k;
    }
    Count total = 0;
    for (unsigned i = simt::thread(); i < p.vocab; i += threads) {
      if (key_of(logits[i]) >= least) total += weight(logits[i]);
    }
    total = block.sum(total);
    Count ties = ~Count{0};  // tokens of the smallest key that are kept, by rising id
    if (row.top_p < 1) {
      const auto target =
          static_cast<Count>(static_cast<double>(row.top_p) * static_cast<double>(total)) + 1;
      const Selected s =
          select(block, logits, p.vocab, least, target < total ? target : total, weight);
      least = s.key;
      const Count each = weight(value_of(s.key));
      ties = each == 0 ? 1 : (s.missing + each - 1) / each;
      total = 0;
      Count equal = 0;
      for (unsigned i = simt::thread(); i < p.vocab; i += threads) {
        if (key_of(logits[i]) > least) total += weight(logits[i]);
        if (key_of(logits[i]) == least) ++equal;
      }
      total = block.sum(total);
      equal = block.sum(equal);
      if (equal < ties) ties = equal;
      total += ties * each;
    }
    // The first token whose running sum exceeds the target.
    const Count high = total >> 32, low = total & 0xffffffffu;
    const Count target = high * row.draw + (low * row.draw >> 32);
    pick(p, block, logits, least, ties, target, weight);
  }

 private:
  struct Selected {
    std::uint32_t key;  // largest at which what lies at or above it reaches the target
    Count missing;      // what the keys above it leave of the target
  };

  /// Integers in the order of the numbers.
  QUIRE_DEVICE static std::uint32_t key_of(float x) {
    const auto bits = simt::bit_cast<std::uint32_t>(x + 0.0f);  // -0 as 0
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  }
  QUIRE_DEVICE static float value_of(std::uint32_t key) {
    return simt::bit_cast<float>((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
  }

  /// Finds the largest key K with sum of value(x) over keys >= K at least `target`, among keys from
  /// `least` on: eight bits at a time, from the top.
  template <class Value>
  QUIRE_DEVICE static Selected select(const Block&, const float* logits, unsigned vocab,
                                      std::uint32_t least, Count target, const Value& value) {
    const simt::Shared<Count> histogram(histogram_at, bins + 2);
    std::uint32_t prefix = 0;
    QUIRE_NO_UNROLL
    for (unsigned shift = 32; shift > 0; shift -= 8) {
      const unsigned at = shift - 8;
      for (unsigned b = simt::thread(); b < bins; b += threads) histogram.store(b, 0);
      simt::sync();
      for (unsigned i = simt::thread(); i < vocab; i += threads) {
        const std::uint32_t key = key_of(logits[i]);
        const bool mine = shift == 32 || key >> shift == prefix >> shift;
        if (mine && key >= least) histogram.atomic_add(key >> at & 255u, value(logits[i]));
      }
      simt::sync();
      if (simt::thread() == 0) {
        Count left = target;
        unsigned b = bins - 1;
        while (b > 0 && histogram.load(b) < left) left -= histogram.load(b--);
        histogram.store(bins, b);
        histogram.store(bins + 1, left);
      }
      simt::sync();
      prefix |= static_cast<std::uint32_t>(histogram.load(bins)) << at;
      target = histogram.load(bins + 1);
    }
    return {prefix, target};
  }

  template <class Weight>
  QUIRE_DEVICE static void pick(const Params& p, const Block& block, const float* logits,
                                std::uint32_t least, Count ties, Count target,
                                const Weight& weight) {
    Count sum = 0, seen = 0;  // of all before this round
    QUIRE_NO_UNROLL
    for (unsigned first = 0; first < p.vocab; first += threads) {
      const unsigned i = first + simt::thread();
      const float x = i < p.vocab ? logits[i] : -simt::infinity();
      const std::uint32_t key = key_of(x);
      const Count tie = i < p.vocab && key == least ? 1 : 0;
      const Count rank = seen + block.sum_before(tie);
      const bool kept = i < p.vocab && (key > least || (tie != 0 && rank < ties));
      const Count mine = kept ? weight(x) : 0;
      const Count before = sum + block.sum_before(mine);
      if (before <= target && target < before + mine) p.tokens[simt::block().x] = i;
      sum += block.sum(mine);
      seen += block.sum(tie);
    }
  }
};

}  // namespace quire::kernels
