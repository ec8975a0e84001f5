// What storing and loading tokens costs in each KV format, one thread, slabs in the cache. Bytes are
// those of the format; the ceiling is what the cache delivers. And decoding attention through the
// format, over a cache larger than the machine's own: bytes of keys and values, counted once.
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/attention/causal.hpp>
#include <quire/attention/paged.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/kv_format.hpp>

namespace {

using namespace quire;
using namespace quire::kv_format;
using Formats = type_list<Fp32, kv_format::Bf16, kv_format::Fp16, Int8PerTokenHead>;

constexpr std::size_t head_dim = 128, block_tokens = 16, slabs = 64;

template <class Format, bool storing>
void tokens(benchmark::State& state) {
  const std::size_t bytes = Format::slab_bytes(block_tokens, head_dim);
  AlignedArray<std::byte> memory(slabs * bytes);
  std::vector<float> values(head_dim);
  Rng rng(1);
  for (float& x : values) x = static_cast<float>(rng.normal());
  auto each = [&](auto&& f) {
    for (std::size_t s = 0; s < slabs; ++s) {
      for (std::size_t t = 0; t < block_tokens; ++t) f(memory.data() + s * bytes, t);
    }
  };
  each([&](std::byte* slab, std::size_t t) {
    Format::store(slab, block_tokens, head_dim, t, values.data());
  });
  for (auto _ : state) {
    each([&](std::byte* slab, std::size_t t) {
      if constexpr (storing) {
        Format::store(slab, block_tokens, head_dim, t, values.data());
      } else {
        Format::load(slab, block_tokens, head_dim, t, values.data());
        benchmark::DoNotOptimize(values.data());
      }
    });
    benchmark::ClobberMemory();
  }
  quire_bench::count_bytes(state,
                           static_cast<std::int64_t>(static_cast<double>(slabs * block_tokens) *
                                                     Format::token_bytes(head_dim)));
  quire_bench::against(state, "read_cache");
}

/// 8 KV heads of 4 query heads each, one token against a long sequence.
template <class Format>
void decode(benchmark::State& state) {
  model::Shape shape;
  shape.layers = 1;
  shape.kv_heads = 8;
  shape.head_dim = head_dim;
  const std::int64_t length = state.range(0);
  Arena<Format> arena(shape, length / 16, 16);
  std::vector<float> values(head_dim);
  Rng rng(1);
  for (float& x : values) x = static_cast<float>(rng.normal());
  std::vector<BlockId> table;
  for (std::uint32_t b = 0; b < length / 16; ++b) {
    table.push_back({b});
    for (std::size_t h = 0; h < 8; ++h) {
      for (std::size_t t = 0; t < 16; ++t) {
        Format::store(arena.layer(0).keys({b}, h), 16, head_dim, t, values.data());
        Format::store(arena.layer(0).values({b}, h), 16, head_dim, t, values.data());
      }
    }
  }
  constexpr std::size_t heads = 32;
  std::vector<float> q(heads * head_dim, 0.1f), out(heads * head_dim);
  const attention::SequenceRows row{0, 1, length - 1, table};
  attention::Workspace workspace;
  ThreadPool one(1);
  const Arena<Format>& cache = arena;
  for (auto _ : state) {
    attention::paged<Format>(cache.layer(0),
                             {q.data(), q.size(), out.data(), out.size(), heads, 0.09f, {&row, 1}},
                             attention::Causal{}, workspace, one);
    benchmark::DoNotOptimize(out.data());
  }
  quire_bench::count_bytes(state, static_cast<std::int64_t>(static_cast<double>(length) * 16 *
                                                            Format::token_bytes(head_dim)));
  quire_bench::against(state, "read_memory");
}

const bool registered = [] {
  for_each_type(Formats{}, []<class Format>() {
    const std::string name(Format::name);
    benchmark::RegisterBenchmark(("store/" + name).c_str(), tokens<Format, true>);
    benchmark::RegisterBenchmark(("load/" + name).c_str(), tokens<Format, false>);
    benchmark::RegisterBenchmark(("decode/" + name).c_str(), decode<Format>)
        ->Arg(16384)
        ->Unit(benchmark::kMillisecond);
  });
  return true;
}();

}  // namespace
