// This machine's ceilings: what no component can pass. Each is one thread's unless its name says
// otherwise, and is written as plainly as the compiler and Highway allow.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

// One instruction set, the one that the compiler flags name; AES must not gate AVX2.
#define HWY_COMPILE_ONLY_STATIC
#define HWY_DISABLE_PCLMUL_AES
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/byte_products.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/simd.hpp>

namespace {

namespace hn = hwy::HWY_NAMESPACE;
using quire_bench::count_bytes;
using quire_bench::count_items;

constexpr std::size_t large = 256u << 20;  // bytes; beyond the caches of most machines

/// Copies between two buffers larger than the caches, on huge pages. Bytes are counted once, as memcpy's
/// own.
void memcpy_large(benchmark::State& state) {
  quire::huge_vector<char> from(large, 1), to(large, 2);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), large);
    benchmark::ClobberMemory();
  }
  count_bytes(state, large);
}
BENCHMARK(memcpy_large)->Unit(benchmark::kMillisecond);

/// Sums a buffer with full vectors and eight sums in flight.
float read_all(const float* values, std::size_t count) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (std::size_t i = 0; i + 8 * lanes <= count; i += 8 * lanes) {
    const float* p = values + i;
    s0 = hn::Add(s0, hn::Load(d, p));
    s1 = hn::Add(s1, hn::Load(d, p + lanes));
    s2 = hn::Add(s2, hn::Load(d, p + 2 * lanes));
    s3 = hn::Add(s3, hn::Load(d, p + 3 * lanes));
    s4 = hn::Add(s4, hn::Load(d, p + 4 * lanes));
    s5 = hn::Add(s5, hn::Load(d, p + 5 * lanes));
    s6 = hn::Add(s6, hn::Load(d, p + 6 * lanes));
    s7 = hn::Add(s7, hn::Load(d, p + 7 * lanes));
  }
  const auto sum =
      hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

/// On huge pages where the system gives them: with small ones, reading is slower by a fifth here.
void read_from(benchmark::State& state, std::size_t bytes, std::size_t threads) {
  const std::size_t count = bytes / sizeof(float);
  auto values = hwy::AllocateAligned<float>(count);
  quire::ask_for_huge_pages(values.get(), bytes);
  std::fill_n(values.get(), count, 1.0f);
  // A small buffer is read many times per iteration, so that starting threads is not measured.
  const std::size_t rounds = std::max<std::size_t>(1, large / bytes);
  const std::size_t share = count / threads / 1024 * 1024;
  for (auto _ : state) {
    std::vector<std::thread> helpers;
    auto read = [&](std::size_t part) {
      for (std::size_t r = 0; r < rounds; ++r) {
        float sum = read_all(values.get() + part * share, share);
        benchmark::DoNotOptimize(sum);
      }
    };
    for (std::size_t t = 1; t < threads; ++t) helpers.emplace_back(read, t);
    read(0);
    for (auto& helper : helpers) helper.join();
  }
  count_bytes(state, static_cast<std::int64_t>(rounds * threads * share * sizeof(float)));
}
void read_memory(benchmark::State& state) { read_from(state, 2 * large, 1); }
void read_memory_all_threads(benchmark::State& state) {
  read_from(state, 2 * large, std::max(1u, std::thread::hardware_concurrency()));
}
void read_cache(benchmark::State& state) { read_from(state, 512u << 10, 1); }
BENCHMARK(read_memory)->Unit(benchmark::kMillisecond);
BENCHMARK(read_memory_all_threads)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(read_cache)->Unit(benchmark::kMillisecond);

/// Runs body(rounds) on threads of its own, so many rounds that starting them is not measured.
template <class Body>
void compute(benchmark::State& state, std::size_t threads, std::int64_t items_per_round,
             const Body& body) {
  const std::size_t rounds = threads == 1 ? 1000 : 1'000'000;
  for (auto _ : state) {
    std::vector<std::thread> helpers;
    for (std::size_t t = 1; t < threads; ++t) helpers.emplace_back([&] { body(rounds); });
    body(rounds);
    for (auto& helper : helpers) helper.join();
  }
  count_items(state, items_per_round * static_cast<std::int64_t>(rounds * threads));
}
/// Registers a limit for one thread and for all of them.
void add_limit(const char* name, void (*limit)(benchmark::State&, std::size_t)) {
  benchmark::RegisterBenchmark(name, [limit](benchmark::State& state) { limit(state, 1); });
  benchmark::RegisterBenchmark((std::string(name) + "_all_threads").c_str(),
                               [limit](benchmark::State& state) {
                                 limit(state, std::max(1u, std::thread::hardware_concurrency()));
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

/// Fused multiply-adds in registers, enough chains in flight to fill the pipeline. They start from
/// different numbers: a compiler computes equal chains once. Items: flops.
void fused_multiply_add(benchmark::State& state, std::size_t threads) {
  namespace simd = quire::simd;
  constexpr std::size_t chains = 12;
  compute(state, threads, static_cast<std::int64_t>(2 * chains * simd::lanes),
          [](std::size_t rounds) {
            const simd::Vec factor = simd::set(0.999f), term = simd::set(1e-3f);
            simd::Vec chain[chains];
            simd::unrolled<chains>([&](auto i) { chain[i] = simd::set(static_cast<float>(i())); });
            for (std::size_t round = 0; round < rounds; ++round) {
              simd::unrolled<chains>([&](auto i) __attribute__((always_inline)) {
                chain[i] = hn::MulAdd(chain[i], factor, term);
              });
            }
            float sum = 0;
            simd::unrolled<chains>([&](auto i) { sum += simd::sum(chain[i]); });
            benchmark::DoNotOptimize(sum);
          });
}

/// Sums of products in whole words in registers, as fused_multiply_add(). Items: multiplications and
/// additions, `each` of both in every lane.
template <std::int64_t each, class Dot>
void products(benchmark::State& state, std::size_t threads, const Dot& dot) {
  namespace simd = quire::simd;
  constexpr std::size_t chains = 12;
  compute(state, threads, static_cast<std::int64_t>(2 * chains * simd::lanes) * each,
          [&](std::size_t rounds) {
            const auto right = hn::Set(simd::Words(), 0x04030201);
            simd::WordVec sums[chains];
            simd::unrolled<chains>(
                [&](auto i) { sums[i] = hn::Set(simd::Words(), static_cast<std::int32_t>(i())); });
            for (std::size_t round = 0; round < rounds; ++round) {
              simd::unrolled<chains>([&](auto i) __attribute__((always_inline)) {
                sums[i] = dot(sums[i], right);
              });
            }
            auto all = hn::Zero(simd::Words());
            simd::unrolled<chains>([&](auto i) { all = hn::Add(all, sums[i]); });
            std::int32_t sum = hn::GetLane(hn::SumOfLanes(simd::Words(), all));
            benchmark::DoNotOptimize(sum);
          });
}
/// A sum is one factor of its next products too. Of two that stay, the products stay, and where they take
/// several instructions a compiler leaves the additions alone in the loop.
void byte_products(benchmark::State& state, std::size_t threads) {
  products<4>(
      state, threads, [](auto sum, auto right) __attribute__((always_inline)) {
        return quire::simd::dot_bytes(sum, sum, right);
      });
}
#if defined(__AVX512BF16__) && HWY_TARGET <= HWY_AVX3
/// Pairs of bf16 summed in fp32.
void bf16_products(benchmark::State& state, std::size_t threads) {
  products<2>(
      state, threads, [](auto sum, auto right) __attribute__((always_inline)) {
        asm("vdpbf16ps %1, %1, %0" : "+v"(sum.raw) : "v"(right.raw));
        return sum;
      });
}
#endif
const bool registered = [] {
  add_limit("fused_multiply_add", fused_multiply_add);
  add_limit("byte_products", byte_products);
#if defined(__AVX512BF16__) && HWY_TARGET <= HWY_AVX3
  add_limit("bf16_products", bf16_products);
#endif
  return true;
}();

/// One load after another, each needing the last: the pace of walking a linked structure of the
/// given size in a random order. Items: loads.
void chase(benchmark::State& state, std::size_t bytes) {
  constexpr std::size_t stride = 64 / sizeof(std::uint32_t);  // one entry per cache line
  const std::size_t count = bytes / 64;
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  quire::Rng rng(1);
  for (std::size_t n = count; n > 1; --n) std::swap(order[n - 1], order[rng.below(n)]);
  std::vector<std::uint32_t> next(count * stride);
  for (std::size_t n = 0; n < count; ++n) {
    next[order[n] * stride] = static_cast<std::uint32_t>(order[(n + 1) % count] * stride);
  }
  constexpr int steps = 10'000;
  std::uint32_t at = 0;
  for (auto _ : state) {
    for (int step = 0; step < steps; ++step) at = next[at];
    benchmark::DoNotOptimize(at);
  }
  count_items(state, steps);
}
void pointer_chase_l1(benchmark::State& state) { chase(state, 16u << 10); }
void pointer_chase_l2(benchmark::State& state) { chase(state, 512u << 10); }
void pointer_chase_memory(benchmark::State& state) { chase(state, large); }
BENCHMARK(pointer_chase_l1);
BENCHMARK(pointer_chase_l2);
BENCHMARK(pointer_chase_memory);

/// One dependent addition after another: the pace of a clock cycle. Items: additions.
void dependent_add(benchmark::State& state) {
  std::uint64_t x = 1;
  for (auto _ : state) {
    for (int step = 0; step < 1000; ++step) {
      x += static_cast<std::uint64_t>(step);
      benchmark::DoNotOptimize(x);
    }
  }
  count_items(state, 1000);
}
BENCHMARK(dependent_add);

enum class Transfer { read, write, fill };
/// Transfers a file of 256 MiB past the page cache, in pieces of 1 MiB on huge pages, four at a time.
void transfer_file(benchmark::State& state, Transfer what) {
  constexpr std::size_t piece = 1u << 20, pieces = 256, threads = 4;
  const char* path = "quire_bench_limit";
  const auto open = [path] {
    ::unlink(path);
    return ::open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
  };
  int file = open();
  if (file < 0) {
    state.SkipWithError("this file system has no direct transfers");
    return;
  }
  quire::huge_vector<char> buffers(threads * piece, 'x');
  auto run = [&](bool writes) {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::vector<std::thread> helpers;
    for (std::size_t t = 0; t < threads; ++t) {
      helpers.emplace_back([&, buffer = buffers.data() + t * piece] {
        for (std::size_t i = next++; i < pieces; i = next++) {
          const auto at = static_cast<off_t>(i * piece);
          const ssize_t n =
              writes ? ::pwrite(file, buffer, piece, at) : ::pread(file, buffer, piece, at);
          failed = failed || n != static_cast<ssize_t>(piece);
        }
      });
    }
    for (auto& helper : helpers) helper.join();
    if (failed) state.SkipWithError("the file could not be transferred");
  };
  run(true);  // its space is given out once
  for (auto _ : state) {
    if (what == Transfer::fill) {
      state.PauseTiming();
      ::close(file);
      file = open();
      state.ResumeTiming();
    }
    run(what != Transfer::read);
  }
  ::close(file);
  ::unlink(path);
  count_bytes(state, static_cast<std::int64_t>(piece * pieces));
}
void disk_write(benchmark::State& state) { transfer_file(state, Transfer::write); }
void disk_fill(benchmark::State& state) { transfer_file(state, Transfer::fill); }
void disk_read(benchmark::State& state) { transfer_file(state, Transfer::read); }
BENCHMARK(disk_write)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(disk_fill)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(disk_read)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
