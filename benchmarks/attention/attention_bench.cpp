// Paged attention, on one thread or, where the name says decode_all_threads, on every core. Decoding is
// bound by the bytes of keys and values, each counted once; prefill by multiply-adds, 4 x head_dim flops
// per query head and visible key.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/common/ceiling.hpp"

#include <quire/attention/attention.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/fp8_e4m3.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/q4_0.hpp>
#include <quire/kv_format/q8_0.hpp>

namespace {

using namespace quire;

constexpr std::size_t head_dim = 128, kv_heads = 8;

/// Format: what kernels are compiled for. As many layers of keys and values as fill `memory` bytes take
/// turns, so that none is still in a cache from the last time.
template <class Format>
struct Setup {
  model::Shape shape;
  kv_format::Arena<Format> arena;
  std::vector<BlockId> table;
  std::vector<float> q, out;
  std::size_t heads, layer = 0;
  attention::Workspace workspace;
  ThreadPool threads;

  Setup(const kv_format::KvCodec& codec, std::int64_t length, std::int64_t block_tokens,
        std::size_t rows, std::size_t query_heads, double memory = 0, std::size_t thread_count = 1)
      : heads(query_heads), threads(thread_count) {
    shape.kv_heads = kv_heads;
    shape.head_dim = head_dim;
    shape.layers = 1 + static_cast<std::int64_t>(memory / bytes_read(codec, length));
    const std::int64_t blocks = ceil_div(length, block_tokens);
    arena = kv_format::Arena<Format>(shape, blocks, block_tokens, codec);
    Rng rng(1);
    for (std::uint32_t b = 0; b < blocks; ++b) table.push_back({b});
    for (std::size_t i = table.size(); i > 1; --i) std::swap(table[i - 1], table[rng.below(i)]);
    std::vector<float> values(head_dim * 17);
    for (float& x : values) x = static_cast<float>(rng.uniform());
    const auto view = arena.layer(0);
    const BlockId first = table.front();
    for (std::size_t h = 0; h < kv_heads; ++h) {
      for (std::size_t t = 0; t < view.block_tokens; ++t) {
        const float* token = values.data() + t % 17 * head_dim;
        codec.keys.store(view.keys(first, h), view.block_tokens, head_dim, t, token);
        codec.values.store(view.values(first, h), view.block_tokens, head_dim, t, token);
      }
    }
    const std::size_t layer_bytes = arena.block_bytes() / static_cast<std::size_t>(shape.layers);
    for (const BlockId b : table) {
      for (std::size_t l = b.value == first.value ? 1 : 0;
           l < static_cast<std::size_t>(shape.layers); ++l) {
        std::memcpy(arena.block(b) + l * layer_bytes, arena.block(first), layer_bytes);
      }
    }
    q.assign(rows * heads * head_dim, 0.1f);
    out.resize(q.size());
  }
  template <class Variant>
  void run(std::int64_t position, std::size_t rows, const Variant& variant) {
    const attention::SequenceRows row{0, rows, position, table};
    const kv_format::Arena<Format>& cache = arena;
    const std::size_t width = heads * head_dim;
    attention::paged<Format>(cache.layer(layer),
                             {q.data(), width, out.data(), width, heads, 0.09f, {&row, 1}}, variant,
                             workspace, threads);
    benchmark::DoNotOptimize(out.data());
    layer = (layer + 1) % static_cast<std::size_t>(shape.layers);
  }
  static double bytes_read(const kv_format::KvCodec& codec, std::int64_t length) {
    return static_cast<double>(length) * kv_heads *
           (codec.keys.token_bytes(head_dim) + codec.values.token_bytes(head_dim));
  }
};

constexpr double cold = 512.0 * (1 << 20);  // bytes; as the ceiling's buffer

/// Bytes read, and the two bounds of a decoded token: reading them, and a multiply-add a query head and
/// element, in whole numbers of 8 bits where the format has them.
void count_decoded(benchmark::State& state, const kv_format::KvCodec& codec, std::int64_t length,
                   std::size_t heads, std::string_view threads = "") {
  const auto limit = [&](const char* name) { return name + std::string(threads); };
  const double bytes = Setup<kv_format::Packed>::bytes_read(codec, length);
  quire_bench::count_bytes(state, static_cast<std::int64_t>(bytes));
  quire_bench::against(state, limit("read_memory"));
  quire_bench::bound(state, limit("read_memory"), bytes);
  const bool whole_numbers = codec.keys.code_layout != nullptr;
  quire_bench::bound(state, limit(whole_numbers ? "byte_products" : "fused_multiply_add"),
                     4.0 * head_dim * static_cast<double>(heads) * static_cast<double>(length));
}

/// Args: length, block size, query heads per KV head. Caches are cold.
template <class Format>
void decode(benchmark::State& state, const kv_format::KvCodec& codec, bool all_threads) {
  const std::int64_t length = state.range(0);
  const auto heads = kv_heads * static_cast<std::size_t>(state.range(2));
  Setup<Format> setup(codec, length, state.range(1), 1, heads, cold,
                      all_threads ? std::thread::hardware_concurrency() : 1);
  for (auto _ : state) setup.run(length - 1, 1, attention::Causal{});
  count_decoded(state, codec, length, heads, all_threads ? "_all_threads" : "");
}

/// A layer's keys and values as decoding reads them: 64 tokens of a head's keys, the same of its values,
/// then those of the next of the heads that take turns.
template <class Format>
std::vector<std::span<const std::byte>> pieces(const Setup<Format>& setup, std::int64_t length) {
  const auto view = setup.arena.layer(setup.layer);
  const std::size_t together = attention::detail::together(view, attention::detail::most_together);
  const auto tokens = static_cast<std::size_t>(length), in_block = view.block_tokens;
  std::vector<std::span<const std::byte>> out;
  const auto add = [&](const std::byte* slab, std::size_t bytes, std::size_t begin,
                       std::size_t end) {
    const std::size_t from = bytes * begin / in_block / 64 * 64;
    out.emplace_back(slab + from, bytes * end / in_block / 64 * 64 - from);
  };
  for (std::size_t first = 0; first < kv_heads; first += together) {
    for (std::size_t t = 0; t < tokens; t += attention::tile_tokens) {
      const std::size_t step = std::min(in_block, attention::tile_tokens);
      for (std::size_t h = first; h < std::min(kv_heads, first + together); ++h) {
        for (const bool values : {false, true}) {
          for (std::size_t at = t; at < std::min(tokens, t + attention::tile_tokens); at += step) {
            const BlockId b = setup.table[at / in_block];
            const std::size_t slab =
                values && view.value_slab_bytes != 0 ? view.value_slab_bytes : view.slab_bytes;
            add(values ? view.values(b, h) : view.keys(b, h), slab, at % in_block,
                at % in_block + step);
          }
        }
      }
    }
  }
  return out;
}
/// Sums the pieces and does nothing else, fetching 4 KiB ahead in their order, which is the best that
/// was found for pieces that lie anywhere. \pre they are whole lines
float read_pieces(std::span<const std::span<const std::byte>> pieces) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const std::size_t step = hn::Lanes(d) * sizeof(float);
  auto s0 = hn::Zero(d), s1 = s0;
  std::size_t ahead = 0, into = 0;  // piece and byte of it that is fetched next
  const auto fetch = [&] {
    if (ahead == pieces.size()) return;
    attention::detail::fetch_line(pieces[ahead].data() + into);
    if ((into += 64) < pieces[ahead].size()) return;
    into = 0;
    ++ahead;
  };
  for (int line = 0; line < 4096 / 64; ++line) fetch();
  for (const auto piece : pieces) {
    for (std::size_t at = 0; at < piece.size(); at += 64) {
      fetch();
      for (std::size_t i = 0; i < 64; i += 2 * step) {
        const auto* const p = reinterpret_cast<const float*>(piece.data() + at + i);
        s0 = hn::Add(s0, hn::Load(d, p));
        if (step < 64) s1 = hn::Add(s1, hn::Load(d, p + hn::Lanes(d)));
      }
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
}

/// What block tables cost: one token decoded over keys and values in blocks that lie anywhere, and over
/// the same in one run. The two take turns, so that whatever else the machine does falls on both alike,
/// and with one thread it is the time that it ran; cost_percent is the median over pairs of what the blocks take
/// longer. Beside it, what this memory itself takes for that: read_cost_percent is the same of a plain
/// read of the same bytes in the same order, and read_share is how much of decoding's time over the
/// blocks their plain read takes. Args: as decode().
template <class Format>
void paging(benchmark::State& state, const kv_format::KvCodec& codec, bool all_threads) {
  const std::int64_t length = state.range(0);
  const auto heads = kv_heads * static_cast<std::size_t>(state.range(2));
  const std::size_t threads = all_threads ? std::thread::hardware_concurrency() : 1;
  Setup<Format> paged(codec, length, state.range(1), 1, heads, cold, threads),
      whole(codec, length, length, 1, heads, cold, threads);
  const auto seconds_now = [all_threads] {
    timespec now{};
    clock_gettime(all_threads ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  const auto decoding = [&](Setup<Format>& setup) {
    const double start = seconds_now();
    setup.run(length - 1, 1, attention::Causal{});
    return seconds_now() - start;
  };
  const auto reading = [&](Setup<Format>& setup) {
    const auto order = pieces(setup, length);
    const std::span<const std::span<const std::byte>> all(order);
    const double start = seconds_now();
    setup.threads.parallel_for(threads, [&](std::size_t part) {
      const std::size_t begin = all.size() * part / threads,
                        end = all.size() * (part + 1) / threads;
      benchmark::DoNotOptimize(read_pieces(all.subspan(begin, end - begin)));
    });
    const double seconds = seconds_now() - start;
    setup.layer = (setup.layer + 1) % static_cast<std::size_t>(setup.shape.layers);
    return seconds;
  };
  std::vector<double> ratios, read_ratios, shares;
  bool paged_first = true;
  for (auto _ : state) {
    double in_blocks = 0, in_one = 0, read_blocks = 0, read_one = 0;
    for (const bool blocks : {paged_first, !paged_first}) {
      (blocks ? in_blocks : in_one) = decoding(blocks ? paged : whole);
      (blocks ? read_blocks : read_one) = reading(blocks ? paged : whole);
    }
    paged_first = !paged_first;
    ratios.push_back(in_blocks / in_one);
    read_ratios.push_back(read_blocks / read_one);
    shares.push_back(read_blocks / in_blocks);
    state.SetIterationTime(in_blocks);
  }
  const auto median = [](std::vector<double>& of) {
    std::sort(of.begin(), of.end());
    return of[of.size() / 2];
  };
  state.counters["cost_percent"] = 100 * (median(ratios) - 1);
  state.counters["read_cost_percent"] = 100 * (median(read_ratios) - 1);
  state.counters["read_share"] = median(shares);
  count_decoded(state, codec, length, heads, all_threads ? "_all_threads" : "");
}

/// Args: sequences, tokens that they share, whether those are read for all of them at once. All threads;
/// 4 query heads a KV head. Bytes are those of one sequence: what has to be read.
template <class Format>
void decode_shared(benchmark::State& state, const kv_format::KvCodec& codec) {
  const auto sequences = static_cast<std::size_t>(state.range(0));
  const std::int64_t length = state.range(1);
  constexpr std::size_t heads = 4 * kv_heads, width = heads * head_dim;
  Setup<Format> setup(codec, length, 16, sequences, heads, cold,
                      std::thread::hardware_concurrency());
  std::vector<attention::SequenceRows> rows;
  for (std::size_t i = 0; i < sequences; ++i) rows.push_back({i, 1, length - 1, setup.table});
  attention::SharedPrefixes shared;
  if (state.range(2) != 0) shared.find(rows);
  const kv_format::Arena<Format>& cache = setup.arena;
  for (auto _ : state) {
    attention::paged<Format>(
        cache.layer(setup.layer),
        {setup.q.data(), width, setup.out.data(), width, heads, 0.09f, rows, &shared},
        attention::Causal{}, setup.workspace, setup.threads);
    benchmark::DoNotOptimize(setup.out.data());
    setup.layer = (setup.layer + 1) % static_cast<std::size_t>(setup.shape.layers);
  }
  count_decoded(state, codec, length, heads * sequences, "_all_threads");
}

/// Args: prompt length. A whole prompt with 4 query heads a KV head.
template <class Format, class Variant>
void prefill(benchmark::State& state, const Variant& variant) {
  const std::int64_t length = state.range(0);
  const auto rows = static_cast<std::size_t>(length);
  Setup<Format> setup(kv_format::codec_of<Format>(), length, 16, rows, 4 * kv_heads);
  for (auto _ : state) setup.run(0, rows, variant);
  std::int64_t pairs = 0;
  for (std::int64_t p = 0; p < length; ++p) pairs += p - variant.first_visible(p) + 1;
  quire_bench::count_items(state, pairs * 4 * std::int64_t{head_dim} * 4 * std::int64_t{kv_heads});
  quire_bench::against(state, "fused_multiply_add");
}

/// Args: length. Decoding over lists of kept tokens, with and without counting their weights.
template <class Votes>
void retained(benchmark::State& state) {
  const std::int64_t length = state.range(0);
  Setup<kv_format::Fp32> setup(kv_format::codec_of<kv_format::Fp32>(), length, 16, 1, 4 * kv_heads);
  std::vector<retention::Lane> lanes(kv_heads);
  std::vector<std::size_t> at;
  for (retention::Lane& lane : lanes) {
    at.push_back(at.size() * static_cast<std::size_t>(length));
    for (std::int64_t p = 0; p < length; ++p) {
      lane.entries.push_back({p, static_cast<std::uint32_t>(p), 0});
    }
  }
  std::vector<std::int64_t> votes(at.size() * static_cast<std::size_t>(length));
  const attention::SequenceRows row{0, 1, length - 1, setup.table};
  const attention::RetainedRows kept{lanes, length - 1, 1, at, votes.data()};
  const Votes cast = [] {
    if constexpr (Votes::enabled) {
      return Votes(RetentionLimits{});
    } else {
      return Votes{};
    }
  }();
  const kv_format::Arena<kv_format::Fp32>& cache = setup.arena;
  const std::size_t width = setup.heads * head_dim;
  for (auto _ : state) {
    attention::retained<kv_format::Fp32, Votes, false>(
        cache.layer(0),
        {setup.q.data(), width, setup.out.data(), width, setup.heads, 0.09f, {&row, 1}},
        {{&kept, 1}, retention::Scope::head, 0, nullptr}, cast, setup.workspace, setup.threads);
    benchmark::DoNotOptimize(setup.out.data());
  }
  quire_bench::count_bytes(state,
                           static_cast<std::int64_t>(static_cast<double>(length) * 2 * kv_heads *
                                                     kv_format::Fp32::token_bytes(head_dim)));
  quire_bench::against(state, "read_memory");
}
BENCHMARK(retained<retention::NoVotes>)
    ->Name("decode_retained/fp32")
    ->Arg(16384)
    ->ArgName("length")
    ->Unit(benchmark::kMillisecond);
BENCHMARK(retained<retention::AllVotes>)
    ->Name("decode_retained_votes/fp32")
    ->Arg(16384)
    ->ArgName("length")
    ->Unit(benchmark::kMillisecond);

template <class Format>
void register_decoding(std::string_view what, const kv_format::KvCodec& codec,
                       std::initializer_list<std::vector<std::int64_t>> shapes) {
  const std::string name = std::string(what) + "/" + std::string(codec.name);
  const bool pairs = what.starts_with("paging"), all_threads = what.ends_with("_all_threads");
  auto* b = benchmark::RegisterBenchmark(name.c_str(), [&codec, pairs,
                                                        all_threads](benchmark::State& state) {
    pairs ? paging<Format>(state, codec, all_threads) : decode<Format>(state, codec, all_threads);
  });
  for (const std::vector<std::int64_t>& shape : shapes) b->Args(shape);
  b->ArgNames({"length", "block", "group"})->Unit(benchmark::kMillisecond);
  if (pairs) {
    b->UseManualTime();
  } else if (all_threads) {
    b->UseRealTime();
  }
}

template <class Format>
void register_plain() {
  const kv_format::KvCodec& codec = kv_format::codec_of<Format>();
  register_decoding<Format>("decode", codec,
                            {{4096, 16, 4},
                             {16384, 16, 4},
                             {16384, 1, 4},
                             {16384, 256, 4},
                             {16384, 16, 1},
                             {16384, 16, 8}});
  register_decoding<Format>("paging", codec, {{1024, 16, 4}, {16384, 16, 1}, {16384, 16, 4}});
  register_decoding<Format>("paging_all_threads", codec, {{4096, 16, 4}, {16384, 16, 4}});
}

const bool registered = [] {
  register_plain<kv_format::Fp32>();
  register_plain<kv_format::Bf16>();
  for (const char* what : {"decode", "decode_all_threads"}) {
    register_decoding<kv_format::Fp16>(what, kv_format::codec_of<kv_format::Fp16>(),
                                       {{4096, 16, 4}, {16384, 16, 4}});
  }
  register_decoding<kv_format::Bf16>("decode_all_threads", kv_format::codec_of<kv_format::Bf16>(),
                                     {{4096, 16, 4}, {16384, 16, 4}});
  for (const kv_format::KvCodec* codec :
       {&kv_format::codec_of<kv_format::Int8PerTokenHead>(), &kv_format::codec_of<kv_format::Q80>(),
        &kv_format::codec_of<kv_format::Fp8E4m3>(),
        &kv_format::codec_of<kv_format::Int4PerTokenHead>(),
        &kv_format::codec_of<kv_format::Int4Grouped<32>>(),
        &kv_format::codec_of<kv_format::Q40>()}) {
    for (const char* what : {"decode", "decode_all_threads"}) {
      register_decoding<kv_format::Packed>(what, *codec, {{4096, 16, 4}, {16384, 16, 4}});
    }
  }
  register_decoding<kv_format::Packed>("paging", kv_format::codec_of<kv_format::Int8PerTokenHead>(),
                                       {{16384, 16, 4}});
  const auto add_shared = []<class Format>(const kv_format::KvCodec& codec, Format) {
    benchmark::RegisterBenchmark(
        ("decode_shared/" + std::string(codec.name)).c_str(),
        [&codec](benchmark::State& state) { decode_shared<Format>(state, codec); })
        ->ArgNames({"sequences", "length", "together"})
        ->ArgsProduct({{4, 32}, {1024, 4096}, {0, 1}})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  add_shared(kv_format::codec_of<kv_format::Bf16>(), kv_format::Bf16{});
  add_shared(kv_format::codec_of<kv_format::Int8PerTokenHead>(), kv_format::Packed{});
  auto add = [](const char* name, auto variant) {
    benchmark::RegisterBenchmark(
        (std::string("prefill/") + name).c_str(),
        [variant](benchmark::State& state) { prefill<kv_format::Fp32>(state, variant); })
        ->Arg(1024)
        ->Unit(benchmark::kMillisecond);
  };
  add("causal", attention::Causal{});
  add("sliding_window_256", attention::SlidingWindow(256));
  add("soft_cap", attention::SoftCap(30));
  return true;
}();

}  // namespace
