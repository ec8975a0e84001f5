// How long an offload policy takes to decide, and how fast blocks move between the tiers.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/huge_vector.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/memory/disk_tier.hpp>
#include <quire/memory/host_tier.hpp>
#include <quire/offload/offload.hpp>

namespace {

using namespace quire::offload;
using Policies = quire::type_list<Recompute, RecomputeSingleSwapGroup, SwapToHost, OverlappedSwap,
                                  ProactiveSwap, HostCache, Tiered, TieredLookAhead,
                                  TieredOverlapped, AttentionStore, CostBased>;

template <class Policy>
void on_preempt(benchmark::State& state) {
  quire::Rng rng(1);
  std::vector<quire::PreemptionContext> groups(1024);
  for (auto& group : groups) {
    group.sequences = static_cast<std::int64_t>(1 + rng.below(4));
    group.computed = static_cast<std::int64_t>(rng.below(2048));
    group.blocks = static_cast<std::int64_t>(rng.below(128));
    group.host_free = static_cast<std::int64_t>(rng.below(256));
    group.recompute = rng.uniform();
    group.swap = rng.uniform();
  }
  const Policy policy{};
  for (auto _ : state) {
    for (const auto& group : groups) {
      auto choice = policy.on_preempt(group);
      benchmark::DoNotOptimize(choice);
    }
  }
  quire_bench::count_items(state, static_cast<std::int64_t>(groups.size()));
  quire_bench::against(state, "dependent_add");
}

/// How much of a prefix of 250 blocks to fetch.
template <class Policy>
void choose_fetch(benchmark::State& state) {
  quire::Rng rng(2);
  std::vector<quire::FetchCandidate> candidates(250);
  for (auto& c : candidates) c = {rng.below(2) == 0, rng.uniform(), rng.uniform()};
  const Policy policy{};
  for (auto _ : state) {
    auto count = quire::blocks_to_fetch(policy, std::span<const quire::FetchCandidate>(candidates));
    benchmark::DoNotOptimize(count);
  }
  quire_bench::count_items(state, static_cast<std::int64_t>(candidates.size()));
  quire_bench::against(state, "dependent_add");
}

constexpr std::size_t block_bytes = 1u << 20;
/// Blocks of a pass; QUIRE_BENCH_QUICK, which tests set, asks for a small one.
std::int64_t pass() { return std::getenv("QUIRE_BENCH_QUICK") != nullptr ? 8 : 256; }

/// A device's memory with as many blocks, larger than the caches, on huge pages as an executor's is.
using Device = quire::huge_vector<std::byte>;
Device device() { return Device(static_cast<std::size_t>(pass()) * block_bytes, std::byte{1}); }
std::span<std::byte> block(Device& memory, std::int64_t b) {
  return std::span(memory).subspan(static_cast<std::size_t>(b) * block_bytes, block_bytes);
}
quire::BlockId slot(std::int64_t b) { return quire::BlockId{static_cast<std::uint32_t>(b)}; }

void host_write(benchmark::State& state) {
  auto memory = device();
  quire::HostTier tier(pass(), block_bytes);
  const auto write = [&] {
    for (std::int64_t b = 0; b < pass(); ++b) tier.write(slot(b), block(memory, b));
  };
  write();  // its pages are given out once
  for (auto _ : state) {
    write();
    benchmark::ClobberMemory();
  }
  quire_bench::count_bytes(state, pass() * static_cast<std::int64_t>(block_bytes));
  quire_bench::against(state, "memcpy_large");
}
void host_read(benchmark::State& state) {
  auto memory = device();
  quire::HostTier tier(pass(), block_bytes);
  for (std::int64_t b = 0; b < pass(); ++b) tier.write(slot(b), block(memory, b));
  for (auto _ : state) {
    for (std::int64_t b = 0; b < pass(); ++b) {
      if (!tier.read(slot(b), block(memory, b))) state.SkipWithError("a block is gone");
    }
    benchmark::ClobberMemory();
  }
  quire_bench::count_bytes(state, pass() * static_cast<std::int64_t>(block_bytes));
  quire_bench::against(state, "memcpy_large");
}
BENCHMARK(host_write)->Unit(benchmark::kMillisecond);
BENCHMARK(host_read)->Unit(benchmark::kMillisecond);

/// A disk tier in the working directory's file system; removed afterwards.
struct Disk {
  explicit Disk(bool ring) : path(std::filesystem::current_path() / "quire_bench_tier") {
    std::filesystem::remove_all(path);
    quire::DiskTierOptions options;
    options.directory = path;
    options.io_uring = ring;
    tier.emplace(options, pass(), block_bytes, quire::Tokens{16}, 1);
  }
  ~Disk() {
    tier.reset();
    std::filesystem::remove_all(path);
  }
  std::filesystem::path path;
  std::optional<quire::DiskTier> tier;
};

void write_all(Disk& disk, Device& memory) {
  for (std::int64_t b = 0; b < pass(); ++b) disk.tier->write(slot(b), block(memory, b));
  disk.tier->flush();
}
void disk_write(benchmark::State& state, bool ring) {
  auto memory = device();
  Disk disk(ring);
  write_all(disk, memory);  // the file's space is given out once
  for (auto _ : state) write_all(disk, memory);
  quire_bench::count_bytes(state, pass() * static_cast<std::int64_t>(block_bytes));
  quire_bench::against(state, "disk_write");
}
/// As disk_write, into a new file.
void disk_fill(benchmark::State& state, bool ring) {
  auto memory = device();
  for (auto _ : state) {
    state.PauseTiming();
    auto disk = std::make_unique<Disk>(ring);
    state.ResumeTiming();
    write_all(*disk, memory);
    state.PauseTiming();
    disk.reset();
    state.ResumeTiming();
  }
  quire_bench::count_bytes(state, pass() * static_cast<std::int64_t>(block_bytes));
  quire_bench::against(state, "disk_fill");
}
void disk_read(benchmark::State& state, bool ring) {
  auto memory = device();
  Disk disk(ring);
  write_all(disk, memory);
  std::vector<quire::DiskTier::Ticket> tickets;
  for (auto _ : state) {
    tickets.clear();
    for (std::int64_t b = 0; b < pass(); ++b) {
      tickets.push_back(disk.tier->start_read(slot(b), block(memory, b)));
    }
    for (const auto ticket : tickets) {
      if (!disk.tier->wait(ticket)) state.SkipWithError("a block is gone");
    }
  }
  quire_bench::count_bytes(state, pass() * static_cast<std::int64_t>(block_bytes));
  quire_bench::against(state, "disk_read");
}
BENCHMARK_CAPTURE(disk_write, ring, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(disk_write, calls, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(disk_fill, ring, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(disk_fill, calls, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(disk_read, ring, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(disk_read, calls, false)->Unit(benchmark::kMillisecond)->UseRealTime();

const bool registered = [] {
  quire::for_each_type(Policies{}, []<class Policy>() {
    benchmark::RegisterBenchmark(("on_preempt/" + std::string(Policy::name)).c_str(),
                                 on_preempt<Policy>);
    benchmark::RegisterBenchmark(("choose_fetch/" + std::string(Policy::name)).c_str(),
                                 choose_fetch<Policy>);
  });
  return true;
}();

}  // namespace
