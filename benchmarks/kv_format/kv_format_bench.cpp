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
using Formats =
    type_list<Fp32, kv_format::Bf16, kv_format::Fp16, Int8PerTokenHead, Fp8E4m3, Fp8E5m2,
              Fp8PerTokenHead, Q80, Mxfp8, Int4Grouped<32>, Int4PerTokenHead, Q40, Nf4, Nvfp4,
              Nvfp44over6, Mxfp4, Int2, Rotated<Int4PerTokenHead>, Turboquant<3>,
              ChannelGroups<2, 32>, Kivi<2, 32, 32>, BeforeRotation<ChannelGroups<2, 32>>,
              KeysValues<Int8PerTokenHead, Int4PerTokenHead>,
              SkipLayers<Int4PerTokenHead, kv_format::Fp16, 1, 0>, Fp8PerHead<ScaleFrom::mse>,
              Fp8PerTensor<ScaleFrom::mse>, QserveKv4, Kvquant<3>, Gear<2>>;

constexpr std::size_t head_dim = 128, block_tokens = 32, slabs = 32;

/// Tokens of the keys' side of a format; those that pack a block at once do so.
void tokens(benchmark::State& state, const KvCodec& codec, bool storing, double token_bytes) {
  const SideCodec& side = codec.keys;
  const std::size_t bytes = side.slab_bytes(block_tokens, head_dim);
  AlignedArray<std::byte> memory(slabs * bytes);
  std::vector<float> rows(block_tokens * head_dim), values(head_dim);
  Rng rng(1);
  for (float& x : rows) x = static_cast<float>(rng.normal());
  const auto store = [&] {
    for (std::size_t s = 0; s < slabs; ++s) {
      std::byte* slab = memory.data() + s * bytes;
      if (side.seal != nullptr) {
        side.seal(slab, block_tokens, head_dim, rows.data());
        continue;
      }
      for (std::size_t t = 0; t < block_tokens; ++t) {
        side.store(slab, block_tokens, head_dim, t, rows.data() + t * head_dim);
      }
    }
  };
  store();
  for (auto _ : state) {
    if (storing) {
      store();
    } else {
      for (std::size_t s = 0; s < slabs; ++s) {
        for (std::size_t t = 0; t < block_tokens; ++t) {
          side.load(memory.data() + s * bytes, block_tokens, head_dim, t, values.data());
          benchmark::DoNotOptimize(values.data());
        }
      }
    }
    benchmark::ClobberMemory();
  }
  quire_bench::count_bytes(
      state, static_cast<std::int64_t>(static_cast<double>(slabs * block_tokens) * token_bytes));
  quire_bench::against(state, "read_cache");
}

/// 8 KV heads of 4 query heads each, one token against a long sequence. Storage: a plain format, or
/// Packed with its codec.
template <class Storage>
void decode(benchmark::State& state, const KvCodec& codec, double token_bytes) {
  model::Shape shape;
  shape.layers = 1;
  shape.kv_heads = 8;
  shape.head_dim = head_dim;
  const std::int64_t length = state.range(0);
  constexpr std::int64_t block = block_tokens;
  Arena<Storage> arena(shape, length / block, block_tokens, codec);
  std::vector<float> values(8 * head_dim);
  Rng rng(1);
  for (float& x : values) x = static_cast<float>(rng.normal());
  std::vector<BlockId> table;
  for (std::uint32_t b = 0; b < length / block; ++b) table.push_back({b});
  ThreadPool one(1);
  for (std::int64_t p = 0; p < length; ++p) {
    const attention::SequenceRows row{0, 1, p, table};
    arena.begin({&row, 1});
    attention::write_kv<Storage>(arena.layer(0), {&row, 1}, values.data(), values.data(),
                                 values.size(), one);
    arena.end({&row, 1});
  }
  constexpr std::size_t heads = 32;
  std::vector<float> q(heads * head_dim, 0.1f), out(heads * head_dim);
  const attention::SequenceRows row{0, 1, length - 1, table};
  attention::Workspace workspace;
  const auto cache = arena.layer(0).readable();
  for (auto _ : state) {
    attention::paged<Storage>(cache,
                              {q.data(), q.size(), out.data(), out.size(), heads, 0.09f, {&row, 1}},
                              attention::Causal{}, workspace, one);
    benchmark::DoNotOptimize(out.data());
  }
  quire_bench::count_bytes(
      state, static_cast<std::int64_t>(static_cast<double>(length) * 8 * token_bytes));
  quire_bench::against(state, "read_memory");
}

const bool registered = [] {
  for_each_type(Formats{}, []<class Format>() {
    const std::string name(Format::name);
    const KvCodec& codec = codec_of<Format>();
    const double key = keys_of<Format>::token_bytes(head_dim);
    const double both = kv_format::token_bytes<Format>(1, 1, head_dim);
    benchmark::RegisterBenchmark(("store/" + name).c_str(),
                                 [&codec, key](auto& s) { tokens(s, codec, true, key); });
    benchmark::RegisterBenchmark(("load/" + name).c_str(),
                                 [&codec, key](auto& s) { tokens(s, codec, false, key); });
    benchmark::RegisterBenchmark(
        ("decode/" + name).c_str(),
        [&codec, both](auto& s) { decode<storage_of<Format>>(s, codec, both); })
        ->Arg(16384)
        ->Unit(benchmark::kMillisecond);
  });
  return true;
}();

}  // namespace
