#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/block_primitives.cuh>
#include <quire/kernels/device_math.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

struct RouteParams {
  const float* scores = nullptr;     // \shape (rows, experts)
  std::uint32_t* choices = nullptr;  // \shape (rows, chosen): experts, the best first
  float* weights = nullptr;          // \shape (rows, chosen): of their results
  std::uint32_t experts = 0;
  std::uint32_t chosen = 0;  // <= experts
  bool normalised = true;    // the chosen ones' weights add up to 1
};

/// Each row's best few experts, weighted by the softmax over all; of equal scores the earlier expert.
/// A warp takes a row. Grid: (rows). \cost reads the scores chosen + 2 times, from near caches
struct Route {
  using Params = RouteParams;
  static constexpr std::string_view name = "route";
  static constexpr unsigned threads = simt::warp_lanes;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t row = simt::block().x;
    const float* scores = p.scores + row * p.experts;
    float all = 0, few = 0, most = 0;
    Largest last{};
    for (unsigned i = 0; i < p.chosen; ++i) {
      Largest best{-simt::infinity(), p.experts - 1};
      for (unsigned e = simt::lane(); e < p.experts; e += threads) {
        const Largest one{scores[e], e};
        if (i == 0 || behind(one, last)) best = better(best, one);
      }
      QUIRE_UNROLL
      for (unsigned bits = threads / 2; bits > 0; bits /= 2) {
        best = better(best, simt::shuffle_xor(best, bits));
      }
      last = best;
      if (i == 0) {
        most = best.value;
        for (unsigned e = simt::lane(); e < p.experts; e += threads) all += share(scores[e], most);
        QUIRE_UNROLL
        for (unsigned bits = threads / 2; bits > 0; bits /= 2) all += simt::shuffle_xor(all, bits);
      }
      few += share(best.value, most);
      if (simt::lane() == 0) {
        p.choices[row * p.chosen + i] = best.index;
        p.weights[row * p.chosen + i] = share(best.value, most);
      }
    }
    const float total = p.normalised ? few : all;
    if (simt::lane() == 0) {
      for (unsigned i = 0; i < p.chosen; ++i) p.weights[row * p.chosen + i] /= total;
    }
  }

 private:
  QUIRE_DEVICE static float share(float score, float most) {
    return simt::exp2((score - most) * log2e);
  }
  /// Whether `one` comes after `last` in the order of choice.
  QUIRE_DEVICE static bool behind(Largest one, Largest last) {
    return one.value < last.value || (one.value == last.value && one.index > last.index);
  }
};

struct ListTakersParams {
  const std::uint32_t* choices = nullptr;  // \shape (count)
  std::uint32_t* takers = nullptr;         // \shape (experts, count)
  std::uint32_t* counts = nullptr;         // \shape (experts)
  std::uint32_t count = 0;                 // rows * chosen
};

/// Which choices fell on each expert, in their order: the first counts[e] of takers[e]. A warp takes an
/// expert. Grid: (experts). \cost reads all choices once an expert
struct ListTakers {
  using Params = ListTakersParams;
  static constexpr std::string_view name = "list_takers";
  static constexpr unsigned threads = simt::warp_lanes;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned expert = simt::block().x, below = (1u << simt::lane()) - 1;
    std::uint32_t* takers = p.takers + std::size_t{expert} * p.count;
    unsigned taken = 0;
    for (unsigned first = 0; first < p.count; first += threads) {
      const unsigned i = first + simt::lane();
      const bool mine = i < p.count && p.choices[i] == expert;
      const unsigned all = simt::ballot(mine);
      if (mine) takers[taken + simt::popcount(all & below)] = i;
      taken += simt::popcount(all);
    }
    if (simt::lane() == 0) p.counts[expert] = taken;
  }
};

struct JoinExpertsParams {
  const float* results = nullptr;  // \shape (rows, chosen, width)
  const float* weights = nullptr;  // \shape (rows, chosen)
  float* out = nullptr;            // \shape (rows, width)
  std::uint32_t width = 0;
  std::uint32_t chosen = 0;
};

/// out = the weighted sum of a row's results, in the order of choice. Grid: (rows, parts of the width).
/// \cost reads each result once
struct JoinExperts {
  using Params = JoinExpertsParams;
  static constexpr std::string_view name = "join_experts";
  static constexpr unsigned threads = 256;
  static constexpr std::size_t shared_bytes = 0;

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t row = simt::block().x;
    const unsigned i = simt::block().y * threads + simt::thread();
    if (i >= p.width) return;
    float sum = 0;
    for (unsigned c = 0; c < p.chosen; ++c) {
      const std::size_t choice = row * p.chosen + c;
      sum = simt::fma(p.weights[choice], p.results[choice * p.width + i], sum);
    }
    p.out[row * p.width + i] = sum;
  }
};

}  // namespace quire::kernels
