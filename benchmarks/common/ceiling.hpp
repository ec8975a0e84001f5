#pragma once

#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

namespace quire_bench {

/// Names the limit of this machine (a benchmark of benchmarks/limits) that bounds the rate of this
/// one. Both count in the same unit: bytes if the limit is a bandwidth, items otherwise.
/// benchmarks/run measures both in one run and writes their ratio.
inline void against(benchmark::State& state, std::string_view limit) {
  state.SetLabel("ceiling=" + std::string(limit));
}

/// Another limit that bounds this benchmark, and how much of it an iteration takes, in the limit's unit:
/// benchmarks/run writes how long each bound would let it take, and the share of the tightest one.
inline void bound(benchmark::State& state, std::string_view limit, double per_iteration) {
  state.counters["bound:" + std::string(limit)] = per_iteration;
}

/// Counts one item per iteration and step. \pre the state's loop is over.
inline void count_items(benchmark::State& state, std::int64_t per_iteration) {
  state.SetItemsProcessed(state.iterations() * per_iteration);
}

/// Counts bytes moved. \pre the state's loop is over.
inline void count_bytes(benchmark::State& state, std::int64_t per_iteration) {
  state.SetBytesProcessed(state.iterations() * per_iteration);
}

}  // namespace quire_bench
