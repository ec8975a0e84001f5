// What eviction policies cost, beside a chain of dependent loads over as much memory as the policy
// has blocks: no access can be cheaper than a fraction of that.
//
//   eviction_bench --benchmark_filter=access/sieve
//
// QUIRE_BENCH_BLOCKS=1000000 adds sizes up to that (default 10,000, for a quick look).
// QUIRE_TRACES=DIR adds replays of the Mooncake conversation trace in that folder.
// items_per_second of *access* and *turnover* is what the literature calls requests per second.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/huge_vector.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/eviction/eviction.hpp>

namespace {

using namespace quire;

using all_policies =
    type_list<eviction::Fifo, eviction::Lru, eviction::Mru, eviction::Clock, eviction::Lfu,
              eviction::LfuDa, eviction::TwoQ, eviction::LruK, eviction::Slru, eviction::Arc,
              eviction::S3Fifo, eviction::Sieve, eviction::WTinyLfu, eviction::Gdsf,
              eviction::Hyperbolic, eviction::Priority, eviction::RandomMarking,
              eviction::TailOptimizedLru, eviction::LeadingChunkFirst, eviction::WorkloadAware,
              eviction::Belady>;

/// Draws ranks 0 .. n - 1 with probability proportional to 1 / (rank + 1)^exponent.
/// \source Hoermann, Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", TOMACS 1996.
class Zipf {
 public:
  Zipf(std::uint64_t n, double exponent)
      : n_(static_cast<double>(n)), s_(exponent), low_(h(1.5) - 1), high_(h(n_ + 0.5)) {}
  std::uint64_t operator()(Rng& rng) const {
    for (;;) {
      const double u = high_ + rng.uniform() * (low_ - high_);
      const double x = inverse(u);
      const double k = std::clamp(std::round(x), 1.0, n_);
      if (k - x <= 1 - inverse(h(1.5) - std::pow(2.0, -s_)) || u >= h(k + 0.5) - std::pow(k, -s_)) {
        return static_cast<std::uint64_t>(k) - 1;
      }
    }
  }

 private:
  [[nodiscard]] double h(double x) const { return std::pow(x, 1 - s_) / (1 - s_); }
  [[nodiscard]] double inverse(double u) const { return std::pow((1 - s_) * u, 1 / (1 - s_)); }
  double n_, s_, low_, high_;
};

/// Block ids in Zipf order of popularity, scattered over the pool, and long enough that a cache of
/// half as many blocks never holds them all. Kept for all benchmarks of the size, which may take turns
/// with those of others. \shape (a power of two)
const std::vector<BlockId>& zipf_blocks(std::int64_t blocks) {
  static std::map<std::int64_t, std::vector<BlockId>> made;
  std::vector<BlockId>& out = made[blocks];
  if (!out.empty()) return out;
  std::vector<std::uint32_t> scatter(static_cast<std::size_t>(blocks));
  std::iota(scatter.begin(), scatter.end(), 0u);
  Rng rng(3);
  for (std::size_t i = scatter.size(); i > 1; --i) std::swap(scatter[i - 1], scatter[rng.below(i)]);
  const Zipf zipf(static_cast<std::uint64_t>(blocks), 0.9);
  out.resize(std::bit_ceil(std::clamp<std::size_t>(4 * scatter.size(), 1 << 14, 1 << 25)));
  for (BlockId& b : out) b = BlockId{scatter[zipf(rng)]};
  return out;
}

BlockContext context_of(std::uint64_t content, std::uint64_t now) {
  const std::uint64_t bits = mix64(content);
  return {.position = static_cast<std::int64_t>(bits % 8192),
          .recompute = 1e9 * (1 + static_cast<double>(bits % 97)),
          .size = 2097152,
          .tenant = {static_cast<std::uint32_t>(bits >> 20 & 3)},
          .priority = static_cast<std::int32_t>(bits >> 24 & 3),
          .category = static_cast<std::int32_t>(bits >> 28 & 3),
          .content = content,
          .next_use = now + (bits >> 32) % 1000000};
}

template <class Policy>
Policy filled(std::int64_t blocks) {
  Policy policy{BlockCount{blocks}};
  for (std::uint32_t b = 0; b < blocks; ++b) {
    policy.on_insert(BlockId{b}, context_of(1 + b, b));
    policy.set_evictable(BlockId{b}, true);
  }
  return policy;
}

/// A hit on a cached block that no sequence uses.
template <class Policy>
void access(benchmark::State& state) {
  Policy policy = filled<Policy>(state.range(0));
  const auto& blocks = zipf_blocks(state.range(0));
  const std::size_t mask = blocks.size() - 1;
  std::size_t i = 0;
  std::uint64_t now = 0;
  for (auto _ : state) {
    const BlockId b = blocks[i++ & mask];
    benchmark::DoNotOptimize(b.value);  // some policies do nothing: what is left is to read this
    policy.on_access(b, {.content = 1 + b.value, .next_use = ++now});
  }
  state.SetItemsProcessed(state.iterations());
}

/// A hit as an engine makes it: taken into use, accessed, and let go when its sequence ends, 1,024
/// hits later.
template <class Policy>
void access_in_use(benchmark::State& state) {
  constexpr std::size_t in_flight = 1024;
  Policy policy = filled<Policy>(state.range(0));
  const auto& blocks = zipf_blocks(state.range(0));
  const std::size_t mask = blocks.size() - 1;
  std::vector<std::uint16_t> uses(static_cast<std::size_t>(state.range(0)));
  std::size_t i = 0;
  std::uint64_t now = 0;
  for (auto _ : state) {
    const BlockId b = blocks[i & mask];
    if (uses[b.value]++ == 0) policy.set_evictable(b, false);
    policy.on_access(b, {.content = 1 + b.value, .next_use = ++now});
    if (i >= in_flight) {
      const BlockId old = blocks[(i - in_flight) & mask];
      if (--uses[old.value] == 0) policy.set_evictable(old, true);
    }
    ++i;
  }
  state.SetItemsProcessed(state.iterations());
}

/// A miss: victim, removal, insertion of new content into the block, release.
template <class Policy>
void evict(benchmark::State& state) {
  Policy policy = filled<Policy>(state.range(0));
  std::uint64_t content = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    const BlockId b = *policy.victim();
    policy.on_remove(b);
    ++content;
    policy.on_insert(b, context_of(content, content));
    policy.set_evictable(b, true);
  }
  state.SetItemsProcessed(state.iterations());
}

/// A cache under requests for twice as many contents as it has blocks.
template <class Policy>
class Cache {
 public:
  explicit Cache(std::int64_t blocks)
      : policy_(BlockCount{blocks}),
        capacity_(static_cast<std::size_t>(blocks)),
        block_of_(2 * capacity_, none),
        content_of_(capacity_, none) {}

  [[nodiscard]] std::uint64_t hits() const { return hits_; }
  /// before(), after(): called around victim()
  template <class Before, class After>
  void request(std::uint32_t content, Before before, After after) {
    ++now_;
    const BlockContext context{.content = 1 + content, .next_use = now_ + mix64(content) % 100000};
    if (block_of_[content] != none) {
      ++hits_;
      return policy_.on_access(BlockId{block_of_[content]}, context);
    }
    BlockId b{static_cast<std::uint32_t>(used_)};
    if (used_ < capacity_) {
      ++used_;
    } else {
      before();
      b = *policy_.victim();
      after();
      policy_.on_remove(b);
      block_of_[content_of_[b.value]] = none;
    }
    block_of_[content] = b.value;
    content_of_[b.value] = content;
    policy_.on_insert(b, context);
    policy_.set_evictable(b, true);
  }
  void request(std::uint32_t content) {
    request(
        content, [] {}, [] {});
  }

 private:
  static constexpr std::uint32_t none = ~0u;
  Policy policy_;
  std::size_t capacity_;
  quire::huge_vector<std::uint32_t> block_of_;    // \shape (contents)
  quire::huge_vector<std::uint32_t> content_of_;  // \shape (blocks)
  std::size_t used_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t hits_ = 0;
};

/// How long each victim() of a run takes, in nanoseconds: the least of three runs that are alike to the
/// bit. What a policy does, and which of its memory is far away, is the same in all; a timer tick, or
/// another program on the core, strikes one of them. A call of 2 us meets a tick of 250 Hz once in
/// 2,000 times, so that one run's 99.99th percentile tells how long a tick takes.
template <class Policy>
std::vector<float> victim_times(const Cache<Policy>& start, const std::vector<BlockId>& wanted,
                                std::size_t first, std::size_t requests) {
  using Clock = std::chrono::steady_clock;
  std::vector<float> least;
  for (int run = 0; run < 3; ++run) {
    Cache<Policy> cache = start;
    std::size_t call = 0;
    Clock::time_point begin;
    for (std::size_t k = 0; k < requests; ++k) {
      cache.request(
          wanted[(first + k) & (wanted.size() - 1)].value, [&] { begin = Clock::now(); },
          [&] {
            const float ns = std::chrono::duration<float, std::nano>(Clock::now() - begin).count();
            if (run == 0) {
              least.push_back(ns);
            } else {
              least[call] = std::min(least[call], ns);
            }
            ++call;
          });
    }
  }
  return least;
}

/// A cache that has seen every content once in order and then a pass over the pattern. The library calls a
/// benchmark again and again until it knows how often to repeat it: up to a million blocks, which take
/// a second to fill, the cache is kept.
template <class Policy>
Cache<Policy> warm(std::int64_t blocks, const std::vector<BlockId>& wanted) {
  static std::map<std::int64_t, Cache<Policy>> made;
  if (const auto found = made.find(blocks); found != made.end()) return found->second;
  Cache<Policy> cache(blocks);
  for (std::uint32_t c = 0; c < 2 * blocks; ++c) cache.request(c);
  for (const BlockId content : wanted) cache.request(content.value);
  if (blocks <= 1'000'000) made.emplace(blocks, cache);
  return cache;
}

/// Requests of Zipf 0.9 over twice as many contents as there are blocks: hits and misses as they
/// come. Counters: hit ratio, and the times of victim() in nanoseconds, which include reading the
/// clock.
template <class Policy>
void turnover(benchmark::State& state) {
  const auto capacity = static_cast<std::size_t>(state.range(0));
  const auto& wanted = zipf_blocks(2 * state.range(0));
  const std::size_t mask = wanted.size() - 1;
  Cache<Policy> cache = warm<Policy>(state.range(0), wanted);
  const std::uint64_t warm_hits = cache.hits();
  std::size_t i = 0;
  for (auto _ : state) cache.request(wanted[i++ & mask].value);
  state.SetItemsProcessed(state.iterations());
  state.counters["hit_ratio"] =
      static_cast<double>(cache.hits() - warm_hits) / static_cast<double>(state.iterations());
  if (state.iterations() < 1000) return;  // google benchmark is looking for a repetition count
  static std::map<std::size_t, std::vector<float>> known;  // as warm()
  std::vector<float>& times = known[capacity];
  if (times.empty()) {
    times = victim_times(warm<Policy>(state.range(0), wanted), wanted, 0,
                         std::min<std::size_t>(16 * capacity, 1 << 20));
    std::sort(times.begin(), times.end());
  }
  if (times.empty()) return;
  const auto at = [&](double q) {
    return times[std::min(times.size() - 1,
                          static_cast<std::size_t>(q * static_cast<double>(times.size())))];
  };
  state.counters["victim_p50_ns"] = at(0.5);
  state.counters["victim_p9999_ns"] = at(0.9999);
  state.counters["victim_max_ns"] = times.back();
}

/// The Mooncake conversation trace (QUIRE_TRACES names its folder), one copy after another with
/// names of their own until there are half again as many contents as blocks.
const eviction::ReferenceString& conversation(std::int64_t blocks) {
  static std::map<std::int64_t, eviction::ReferenceString> made;
  eviction::ReferenceString& trace = made[blocks];
  if (trace.distinct() != 0) return trace;
  std::vector<std::vector<std::uint64_t>> rows;
  std::ifstream file(std::string(std::getenv("QUIRE_TRACES")) +
                     "/mooncake_conversation_trace.jsonl");
  for (std::string line; std::getline(file, line);) {
    rows.emplace_back();
    for (std::size_t at = line.find('['); at < line.size() && line[at] != ']';) {
      std::size_t used = 0;
      rows.back().push_back(1 + std::stoull(line.substr(at + 1, 24), &used));
      at = line.find_first_of(",]", at + 1 + used);
    }
  }
  for (std::uint64_t copy = 0; static_cast<std::int64_t>(trace.distinct()) * 2 < blocks * 3;
       ++copy) {
    for (auto row : rows) {
      for (auto& content : row) content += copy << 32;
      trace.add(row);
    }
  }
  return trace;
}

/// A whole replay of that: items are block references.
template <class Policy>
void conversation_replay(benchmark::State& state) {
  const auto& trace = conversation(state.range(0));
  eviction::ReplayCounts counts;
  for (auto _ : state) {
    state.PauseTiming();
    Policy policy{BlockCount{state.range(0)}};
    state.ResumeTiming();
    counts = eviction::replay(policy, BlockCount{state.range(0)}, trace);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(counts.references));
  state.counters["hit_ratio"] = counts.hit_ratio();
}

/// The ceiling: one dependent load an item, at random, over 4 bytes a block.
void pointer_chase(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  huge_vector<std::uint32_t> next(n);  // as the policies keep theirs
  std::iota(next.begin(), next.end(), 0u);
  Rng rng(5);
  for (std::size_t i = n; i > 1; --i) std::swap(next[i - 1], next[rng.below(i - 1)]);  // one cycle
  std::uint32_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(at = next[at]);
  state.SetItemsProcessed(state.iterations());
}

template <class Run>
void add(std::int64_t n, const char* what, std::string_view policy, Run run) {
  benchmark::RegisterBenchmark((std::string(what) + "/" + std::string(policy)).c_str(),
                               [run, n](benchmark::State& state) {
                                 run(state);
                                 quire_bench::against(state, "pointer_chase/" + std::to_string(n));
                               })
      ->Arg(n);
}

const bool registered = [] {
  const char* text = std::getenv("QUIRE_BENCH_BLOCKS");
  const std::int64_t most = text == nullptr ? 10000 : std::atoll(text);
  for (std::int64_t n = 1000; n <= most; n *= 10) {
    benchmark::RegisterBenchmark("pointer_chase", pointer_chase)->Arg(n);
    for_each_type(all_policies{}, [n]<class Policy>() {
      add(n, "access", Policy::name, access<Policy>);
      add(n, "access_in_use", Policy::name, access_in_use<Policy>);
      add(n, "evict", Policy::name, evict<Policy>);
    });
    for_each_type(all_policies{},
                  [n]<class Policy>() { add(n, "turnover", Policy::name, turnover<Policy>); });
    if (std::getenv("QUIRE_TRACES") == nullptr) continue;
    for_each_type(all_policies{}, [n]<class Policy>() {
      add(n, "conversation", Policy::name, conversation_replay<Policy>);
    });
  }
  return true;
}();

}  // namespace
