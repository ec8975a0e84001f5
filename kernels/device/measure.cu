// Checks and times the kernels on a device: measure ROWS.jsonl COMMON-JSON [small]
// Ceilings first, then each kernel against the oracle at a few places, then its time with cold
// caches: a pool has as many layers as make it several times the second-level cache, and each call
// takes another one. Beside decode and prefill over bf16 and fp16 runs cuDNN's attention, where the
// program was built with it (QUIRE_DEVICE_HAS_CUDNN).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <kernels/device/read_all.cuh>
#include <kernels/device/timing.cuh>
#include <quire/attention/causal.hpp>
#include <quire/core/rng.hpp>
#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/cascade/cascade.cuh>
#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#if defined(QUIRE_DEVICE_HAS_CUDNN)
#include <quire/kernels/cudnn_attention/cudnn_attention.cuh>
#endif
#include <quire/kernels/dense/cublaslt.cuh>
#include <quire/kernels/grouped_product/grouped_product.cuh>
#include <quire/kernels/paged_attention/paged_attention.cuh>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/paged_decode/reference.hpp>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>
#include <quire/kernels/paged_prefill/warpgroup_prefill.cuh>
#include <quire/simt/device_array.cuh>

namespace {

using namespace quire;
using namespace quire::kernels;
using simt::DeviceArray;

/// A small run is for correctness, maybe under a sanitizer: it takes no times worth repeating.
double seconds_of(const std::function<void(int)>& call, bool small, int warm = 5, int calls = 31) {
  return device::seconds_of(call, small ? 0 : warm, small ? 1 : calls);
}

struct Ceilings {
  double copy = 0, read = 0, matmul = 0;
};

/// Fills memory with small random numbers of a 16-bit type, or bytes.
struct FillRandom {
  struct Params {
    std::uint32_t* out;
    std::size_t words;
    std::uint32_t seed;
    std::uint32_t kind;  // 0 bf16, 1 fp16, 2 bytes, 3 fp32, 4 fp8 below 2
  };
  static constexpr std::string_view name = "fill_random";
  static constexpr unsigned threads = 256;
  QUIRE_DEVICE static std::uint32_t mix(std::uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
  }
  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t step = std::size_t{simt::grid().x} * threads;
    for (std::size_t i = std::size_t{simt::block().x} * threads + simt::thread(); i < p.words;
         i += step) {
      const std::uint32_t r = mix(static_cast<std::uint32_t>(i) * 2654435761u + p.seed);
      const float a = static_cast<float>(r & 0xffffu) / 32768.0f - 1.0f;
      const float b = static_cast<float>(r >> 16) / 32768.0f - 1.0f;
      p.out[i] = p.kind == 0   ? simt::pack<Bf16>(a, b)
                 : p.kind == 1 ? simt::pack<Fp16>(a, b)
                 : p.kind == 2 ? r
                 : p.kind == 4 ? (r & 0xbfbfbfbfu)
                               : simt::bit_cast<std::uint32_t>(a * 0.02f + 0.02f);
    }
  }
};
/// Random bytes make no sensible scales: writes 1 / 64.
template <class Key>
struct WriteScales {
  struct Params {
    std::byte* base;
    std::size_t slabs;
  };
  static constexpr std::string_view name = "write_scales";
  static constexpr unsigned threads = 256;
  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t step = std::size_t{simt::grid().x} * threads;
    for (std::size_t i = std::size_t{simt::block().x} * threads + simt::thread();
         i < p.slabs * Key::block_tokens; i += step) {
      *reinterpret_cast<float*>(p.base + i / Key::block_tokens * Key::slab_bytes +
                                Key::Access::scale_at(Key::block_tokens, Key::head_dim,
                                                      i % Key::block_tokens)) = 1.0f / 64;
    }
  }
};
void fill(void* p, std::size_t bytes, std::uint32_t seed, std::uint32_t kind) {
  simt::launch<FillRandom>({{bytes < (std::size_t{64} << 20) ? 64u : 4096u}},
                           {static_cast<std::uint32_t*>(p), bytes / 4, seed, kind});
}

double matmul_rate(std::size_t n) {
  DeviceArray<Bf16> a(n * n), b(n * n), c(n * n);
  fill(a.data(), n * n * 2, 1, 0);
  fill(b.data(), n * n * 2, 2, 0);
  CublasLtProduct product;
  const double seconds = device::seconds_of([&](int) {
    product.multiply<Bf16, Bf16, Bf16>({a.data(), b.data(), nullptr, c.data(), n, n, n});
  });
  return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
}

Ceilings ceilings(device::Rows& rows, bool small, std::uint32_t multiprocessors) {
  Ceilings c;
  const std::size_t bytes = std::size_t{1} << (small ? 20 : 32);
  DeviceArray<std::uint32_t> a(bytes / 4), b(bytes / 4);
  fill(a.data(), bytes, 3, 2);
  double s = seconds_of(
      [&](int) {
        simt::check(cudaMemcpyAsync(b.data(), a.data(), bytes, cudaMemcpyDeviceToDevice), "copy",
                    "copy");
      },
      small);
  c.copy = 2.0 * static_cast<double>(bytes) / s;
  rows.add("ceiling", "copy", s, c.copy, "copy", c.copy, true, 0);
  s = seconds_of(
      [&](int) {
        simt::launch<device::ReadAll>({{multiprocessors * 4}}, {a.data(), b.data(), bytes / 4});
      },
      small);
  c.read = static_cast<double>(bytes) / s;
  rows.add("ceiling", "read", s, c.read, "copy", c.copy, true, 0);
  a = {};
  b = {};
  if (small) return c;  // the library's kernels are not ours to check
  c.matmul = matmul_rate(8192);
  rows.add("ceiling", "matmul bf16", 0, c.matmul, "matmul", c.matmul, c.matmul > 0, 0);
  return c;
}

/// A pool of random keys and values, several layers, scattered tables.
template <class Key>
struct Pool {
  std::size_t batch, length, kv_heads, layers, blocks_of, block_bytes;
  DeviceArray<std::byte> memory;
  std::vector<std::uint32_t> host_tables, host_begin;
  DeviceArray<std::uint32_t> tables, table_begin;

  Pool(std::size_t b, std::size_t n, std::size_t h, bool small) : batch(b), length(n), kv_heads(h) {
    blocks_of = (length + Key::block_tokens - 1) / Key::block_tokens;
    const std::size_t layer = 2 * kv_heads * Key::slab_bytes;
    const std::size_t whole = batch * blocks_of * layer,
                      wanted = small ? whole : std::size_t{300} << 20;
    layers = (wanted + whole - 1) / whole;
    block_bytes = layers * layer;
    memory = DeviceArray<std::byte>(batch * blocks_of * block_bytes);
    const std::uint32_t kind = sizeof(typename Key::Stored) == 4            ? 3
                               : Key::Access::scaled                        ? 2
                               : sizeof(typename Key::Stored) == 1          ? 4
                               : std::is_same_v<typename Key::Stored, Bf16> ? 0
                                                                            : 1;
    fill(memory.data(), memory.size(), 7, kind);
    if constexpr (Key::Access::scaled) {
      simt::launch<WriteScales<Key>>({{64}}, {memory.data(), memory.size() / Key::slab_bytes});
    }
    host_tables.resize(batch * blocks_of);
    for (std::size_t i = 0; i < host_tables.size(); ++i)
      host_tables[i] = static_cast<std::uint32_t>(i);
    Rng rng(5);
    for (std::size_t i = host_tables.size(); i > 1; --i) {
      std::swap(host_tables[i - 1], host_tables[rng.below(i)]);
    }
    for (std::size_t s = 0; s < batch; ++s) {
      host_begin.push_back(static_cast<std::uint32_t>(s * blocks_of));
    }
    tables.assign(host_tables);
    table_begin.assign(host_begin);
  }
  [[nodiscard]] KvPool layer(std::size_t i) {
    return {memory.data() + i % layers * 2 * kv_heads * Key::slab_bytes, block_bytes,
            static_cast<std::uint32_t>(kv_heads)};
  }
  /// Bytes of keys and values that one layer's decode step reads.
  [[nodiscard]] double bytes() const {
    const double scale = Key::Access::scaled ? 4 : 0;
    return static_cast<double>(batch * length * kv_heads * 2) *
           (static_cast<double>(Key::head_dim * sizeof(typename Key::Stored)) + scale);
  }
};

/// The worst error of some heads of some queries, over what is allowed of it.
template <class Key, class Variant>
double worst_error(Pool<Key>& pool, const std::vector<typename Key::Query>& q,
                   const std::vector<typename Key::Query>& out, std::size_t heads,
                   const Variant& variant, float scale,
                   const std::vector<std::pair<std::size_t, std::int64_t>>& rows_and_positions,
                   std::size_t rows_a_sequence) {
  double worst = 0;
  const std::size_t layer_bytes = 2 * pool.kv_heads * Key::slab_bytes;
  for (const auto& [row, position] : rows_and_positions) {
    const std::size_t sequence = row / rows_a_sequence;
    // this sequence's blocks of layer 0, packed
    std::vector<std::byte> blocks(pool.blocks_of * layer_bytes);
    std::vector<std::uint32_t> table(pool.blocks_of);
    for (std::size_t b = 0; b < pool.blocks_of; ++b) {
      table[b] = static_cast<std::uint32_t>(b);
      const std::size_t from = pool.host_tables[sequence * pool.blocks_of + b];
      simt::check(cudaMemcpy(&blocks[b * layer_bytes], pool.memory.data() + from * pool.block_bytes,
                             layer_bytes, cudaMemcpyDeviceToHost),
                  "cudaMemcpy", "check");
    }
    const KvPool view{blocks.data(), layer_bytes, static_cast<std::uint32_t>(pool.kv_heads)};
    for (const std::size_t h : {std::size_t{0}, heads - 1}) {
      std::vector<float> query(Key::head_dim);
      for (std::size_t d = 0; d < Key::head_dim; ++d) {
        query[d] = to_float(q[(row * heads + h) * Key::head_dim + d]);
      }
      const auto expected = attention_reference<typename Key::KvFormat>(
          view, Key::block_tokens, Key::head_dim, std::span<const std::uint32_t>(table),
          h / (heads / pool.kv_heads), variant, h, position, scale, query.data());
      for (std::size_t d = 0; d < Key::head_dim; ++d) {
        const double got = to_float(out[(row * heads + h) * Key::head_dim + d]);
        const double error = std::abs(got - expected[d]);
        worst = std::isnan(got) ? INFINITY : std::max(worst, error);
      }
    }
  }
  return worst;
}

/// Attention by cuDNN over what our kernels read, a call for each layer of the pool; none where this was
/// built without it, nor where it has no engine for the shape, which it then says. One query a sequence
/// is a decode step, more are prompts from their beginning.
template <class Key>
std::vector<std::function<void()>> cudnn_calls([[maybe_unused]] Pool<Key>& pool,
                                               [[maybe_unused]] const char* what,
                                               [[maybe_unused]] std::size_t heads,
                                               [[maybe_unused]] std::size_t queries,
                                               [[maybe_unused]] const typename Key::Query* q,
                                               [[maybe_unused]] typename Key::Query* out,
                                               [[maybe_unused]] float scale) {
  std::vector<std::function<void()>> calls;
#if defined(QUIRE_DEVICE_HAS_CUDNN)
  if constexpr (std::is_same_v<typename Key::Stored, typename Key::Query>) {
    const auto library = std::make_shared<CudnnAttention>();
    auto shape = cudnn::shape_of<Key>(pool.layer(0), pool.host_tables.size());
    shape.mask = queries == 1 ? cudnn::Mask::whole : cudnn::Mask::from_start;
    shape.sequences = static_cast<std::int64_t>(pool.batch);
    shape.queries = static_cast<std::int64_t>(queries);
    shape.tokens = static_cast<std::int64_t>(pool.length);
    shape.heads = static_cast<std::int64_t>(heads);
    shape.q_stride = shape.out_stride = static_cast<std::int64_t>(heads * Key::head_dim);
    shape.table_stride = static_cast<std::int64_t>(pool.blocks_of);
    if (const std::string& why = library->incompatible(shape); !why.empty()) {
      std::printf("%-22s %-52s not measured: %s\n", "cudnn_attention", what, why.c_str());
      return calls;
    }
    const auto numbers_of = [&](std::size_t each) {
      const std::vector<std::int32_t> all(pool.batch, static_cast<std::int32_t>(each));
      return std::make_shared<DeviceArray<std::int32_t>>(std::span<const std::int32_t>(all));
    };
    const auto queries_of = numbers_of(queries), tokens_of = numbers_of(pool.length);
    calls.reserve(pool.layers);
    for (std::size_t l = 0; l < pool.layers; ++l) {
      const auto bound = std::make_shared<CudnnAttention::Bound>(
          library->bind<Key>(shape, {q, out, pool.layer(l), pool.tables.data(), queries_of->data(),
                                     tokens_of->data(), scale}));
      calls.emplace_back([library, queries_of, tokens_of, bound] { (*bound)(); });
    }
  }
#endif
  return calls;
}

template <class Key, bool published = false, DecodeTuning tuning = DecodeTuning{}>
void measure_decode(device::Rows& rows, const Ceilings& limit, std::size_t batch,
                    std::size_t length, std::size_t kv_heads, std::size_t group, bool small,
                    std::uint32_t multiprocessors) {
  using Query = typename Key::Query;
  using attention::Causal;
  Pool<Key> pool(batch, length, kv_heads, small);
  const std::size_t heads = kv_heads * group, values = batch * heads * Key::head_dim;
  DeviceArray<Query> q(values), out(values);
  fill(q.data(), values * sizeof(Query), 11, std::is_same_v<Query, Bf16> ? 0 : 1);
  const std::vector<std::int32_t> host_lengths(batch, static_cast<std::int32_t>(length));
  const DeviceArray<std::int32_t> lengths{std::span<const std::int32_t>(host_lengths)};
  const auto plan = plan_decode(
      std::span<const std::int32_t>(host_lengths), Causal(),
      {.blocks = multiprocessors * 4,
       .blocks_per_work = static_cast<std::uint32_t>(kv_heads) *
                          decode_passes<Key, tuning>(static_cast<std::uint32_t>(group))});
  const DeviceArray<DecodeWork> work{std::span<const DecodeWork>(plan.work)};
  const DeviceArray<MergeWork> merges{std::span<const MergeWork>(plan.merges)};
  DeviceArray<float> partial(plan.partials * heads * Key::head_dim), lse(plan.partials * heads);
  PagedDecodeParams<Query, Causal> p;
  p.q = q.data();
  p.q_stride = p.out_stride = heads * Key::head_dim;
  p.out = out.data();
  p.blocks = pool.tables.data();
  p.table_begin = pool.table_begin.data();
  p.lengths = lengths.data();
  p.work = work.data();
  p.partial = partial.data();
  p.partial_lse = lse.data();
  p.heads = static_cast<std::uint32_t>(heads);
  p.scale = 1.0f / std::sqrt(static_cast<float>(Key::head_dim));
  char what[120];
  std::snprintf(what, sizeof what,
                "%s batch %zu length %zu kv_heads %zu group %zu head_dim %u block %u",
                std::string(Key::KvFormat::name).c_str(), batch, length, kv_heads, group,
                Key::head_dim, Key::block_tokens);
  std::vector<Query> host_q(values), host_out(values);
  q.download(host_q);
  const auto measure = [&](const char* kernel, const std::function<void(std::size_t)>& call) {
    const auto run = [&](int i) {
      const std::size_t layer = static_cast<std::size_t>(i) % pool.layers;
      p.cache = pool.layer(layer);
      call(layer);
    };
    run(0);
    out.download(host_out);
    const double error = worst_error<Key>(pool, host_q, host_out, heads, Causal(), p.scale,
                                          {{0, static_cast<std::int64_t>(length) - 1},
                                           {batch - 1, static_cast<std::int64_t>(length) - 1}},
                                          1);
    const double seconds = seconds_of(run, small);
    rows.add(kernel, what, seconds, pool.bytes() / seconds, "copy", limit.copy, error < 0.02,
             error);
  };
  measure("paged_decode", [&](std::size_t) {
    paged_decode<Key, Causal, tuning>(p, static_cast<std::uint32_t>(plan.work.size()),
                                      merges.data(),
                                      static_cast<std::uint32_t>(plan.merges.size()));
  });
  const auto beside = cudnn_calls<Key>(pool, what, heads, 1, q.data(), out.data(), p.scale);
  if (!beside.empty()) {
    simt::check(cudaMemset(out.data(), 0xff, values * sizeof(Query)), "cudaMemset", "check");
    measure("cudnn_attention", [&](std::size_t layer) { beside[layer](); });
  }
  if constexpr (published) {
    const auto tokens = static_cast<std::uint32_t>(length),
               sequences = static_cast<std::uint32_t>(batch);
    if (PagedAttention<Key, Causal, 0>::shared_bytes(tokens) <= simt::most_shared_bytes) {
      measure("paged_attention_v1",
              [&](std::size_t) { paged_attention_v1<Key, Causal>(p, sequences, tokens); });
    }
    const std::uint32_t most = (tokens + 511) / 512;
    partial = DeviceArray<float>(batch * most * heads * Key::head_dim);
    lse = DeviceArray<float>(batch * most * heads);
    p.partial = partial.data();
    p.partial_lse = lse.data();
    const auto host_parts = partitions_of(host_lengths, 512, most);
    const DeviceArray<MergeWork> parts{std::span<const MergeWork>(host_parts)};
    measure("paged_attention_v2", [&](std::size_t) {
      paged_attention_v2<Key, Causal>(p, sequences, most, parts.data());
    });
  }
}

/// A batch whose sequences share a prefix, through cascade and, beside it, through plain decode.
template <class Key>
void measure_cascade(device::Rows& rows, const Ceilings& limit, std::size_t batch,
                     std::size_t prefix, std::size_t own, std::size_t group, bool small,
                     std::uint32_t multiprocessors) {
  using Query = typename Key::Query;
  using attention::Causal;
  constexpr std::size_t kv_heads = 8;
  const std::size_t length = prefix + own;
  Pool<Key> pool(batch, length, kv_heads, small);
  for (std::size_t s = 1; s < batch; ++s) {
    std::copy_n(pool.host_tables.begin(), prefix / Key::block_tokens,
                &pool.host_tables[s * pool.blocks_of]);
  }
  pool.tables.assign(pool.host_tables);
  const std::size_t heads = kv_heads * group, values = batch * heads * Key::head_dim;
  DeviceArray<Query> q(values), out(values);
  fill(q.data(), values * sizeof(Query), 11, std::is_same_v<Query, Bf16> ? 0 : 1);
  const std::vector<std::int32_t> host_lengths(batch, static_cast<std::int32_t>(length));
  const DeviceArray<std::int32_t> lengths{std::span<const std::int32_t>(host_lengths)};
  SharedPrefix shared;
  shared.tokens = static_cast<std::int32_t>(prefix);
  for (std::uint32_t s = 0; s < batch; ++s) shared.sequences.push_back(s);
  const DecodeSlots slots{.blocks = multiprocessors * 4,
                          .blocks_per_work = static_cast<std::uint32_t>(kv_heads) *
                                             decode_passes<Key>(static_cast<std::uint32_t>(group))};
  const auto plan = plan_cascade(
      std::span<const std::int32_t>(host_lengths), std::span<const std::uint32_t>(pool.host_begin),
      std::span<const SharedPrefix>(&shared, 1), Causal(), slots, kv_heads,
      static_cast<std::uint32_t>(group), PagedPrefill<Key, Causal, prefix_tuning, true>::tile);
  const auto alone = plan_decode(std::span<const std::int32_t>(host_lengths), Causal(), slots);
  const DeviceArray<DecodeWork> work{std::span<const DecodeWork>(plan.own.work)},
      alone_work{std::span<const DecodeWork>(alone.work)};
  const DeviceArray<MergeWork> merges{std::span<const MergeWork>(plan.own.merges)},
      alone_merges{std::span<const MergeWork>(alone.merges)};
  const DeviceArray<PrefixGroup> groups{std::span<const PrefixGroup>(plan.groups)};
  const DeviceArray<PrefixWork> prefix_work{std::span<const PrefixWork>(plan.work)};
  const DeviceArray<std::uint32_t> members{std::span<const std::uint32_t>(plan.members)},
      first{std::span<const std::uint32_t>(plan.first_partial)};
  const std::size_t partials = std::max(plan.own.partials, alone.partials);
  DeviceArray<float> partial(partials * heads * Key::head_dim), lse(partials * heads);
  PagedDecodeParams<Query, Causal> p;
  SharedPrefixParams<Query, Causal> c;
  c.q = p.q = q.data();
  c.q_stride = p.q_stride = p.out_stride = heads * Key::head_dim;
  p.out = out.data();
  c.blocks = p.blocks = pool.tables.data();
  p.table_begin = pool.table_begin.data();
  c.lengths = p.lengths = lengths.data();
  c.partial = p.partial = partial.data();
  c.partial_lse = p.partial_lse = lse.data();
  c.heads = p.heads = static_cast<std::uint32_t>(heads);
  c.scale = p.scale = 1.0f / std::sqrt(static_cast<float>(Key::head_dim));
  c.groups = groups.data();
  c.work = prefix_work.data();
  c.members = members.data();
  c.first_partial = first.data();
  std::vector<Query> host_q(values), host_out(values);
  q.download(host_q);
  const double bytes = pool.bytes() / static_cast<double>(batch * length) *
                       static_cast<double>(prefix + batch * own);
  const std::string what = std::string(Key::KvFormat::name) + " batch " + std::to_string(batch) +
                           " prefix " + std::to_string(prefix) + " own " + std::to_string(own) +
                           " group " + std::to_string(group);
  const auto measure = [&](const char* kernel, const std::function<void()>& call) {
    const auto run = [&](int i) {
      c.cache = p.cache = pool.layer(static_cast<std::size_t>(i));
      call();
    };
    run(0);
    out.download(host_out);
    const auto last = static_cast<std::int64_t>(length) - 1;
    const double error = worst_error<Key>(pool, host_q, host_out, heads, Causal(), p.scale,
                                          {{0, last}, {batch / 2, last}, {batch - 1, last}}, 1);
    const double seconds = seconds_of(run, small);
    rows.add(kernel, what, seconds, bytes / seconds, "copy", limit.copy, error < 0.02, error);
  };
  measure("cascade", [&] {
    p.work = work.data();
    cascade<Key, Causal>(c, static_cast<std::uint32_t>(plan.work.size()), p,
                         static_cast<std::uint32_t>(plan.own.work.size()), merges.data(),
                         static_cast<std::uint32_t>(plan.own.merges.size()));
  });
  measure("paged_decode shared", [&] {
    p.work = alone_work.data();
    paged_decode<Key, Causal>(p, static_cast<std::uint32_t>(alone.work.size()), alone_merges.data(),
                              static_cast<std::uint32_t>(alone.merges.size()));
  });
}

/// W4A16 and W8A16 beside the library's bf16 product of the same shape, weights cold.
template <class Format, unsigned warps, unsigned height>
void measure_grouped(device::Rows& rows, const Ceilings& limit, std::uint32_t batch,
                     std::uint32_t inputs, std::uint32_t outputs, bool small) {
  Rng rng(29);
  std::vector<float> weights(std::size_t{inputs} * outputs);
  for (float& w : weights) w = static_cast<float>(rng.below(2001)) / 1000.0f - 1.0f;
  std::vector<std::byte> panel(Format::panel_bytes(outputs, inputs));
  Format::pack(panel.data(), outputs, inputs, weights.data());
  const GroupedWeights ordered = order_for_device<Format>(panel, outputs, inputs);
  const std::size_t copies = small ? 1 : (std::size_t{300} << 20) / ordered.codes.size() + 1;
  std::vector<DeviceArray<std::byte>> codes;
  for (std::size_t i = 0; i < copies; ++i) {
    codes.emplace_back(std::span<const std::byte>(ordered.codes));
  }
  const DeviceArray<Fp16> scales{std::span<const Fp16>(ordered.scales)};
  DeviceArray<Bf16> x(std::size_t{batch} * inputs), y(std::size_t{batch} * outputs);
  fill(x.data(), x.size() * 2, 31, 0);
  GroupedProductParams<Bf16, Bf16> p;
  p.scales = scales.data();
  p.x = x.data();
  p.x_stride = p.inputs = inputs;
  p.y = y.data();
  p.y_stride = p.outputs = outputs;
  p.rows = batch;
  const auto run = [&](int i) {
    p.codes = codes[static_cast<std::size_t>(i) % copies].data();
    if (batch > 8) {
      grouped_product<Format, Bf16, Bf16, 16, warps, height>(p);
    } else {
      grouped_product<Format, Bf16, Bf16, 8, warps, height>(p);
    }
  };
  run(0);
  std::vector<Bf16> host_x(x.size()), host_y(y.size());
  x.download(host_x);
  y.download(host_y);
  double worst = 0;
  std::vector<float> row(inputs);
  for (std::uint32_t o = 0; o < outputs; o += outputs / 37) {
    Format::read(panel.data(), outputs, inputs, o, row.data());
    for (std::uint32_t r = 0; r < batch; ++r) {
      double sum = 0, size = 0;
      for (std::uint32_t i = 0; i < inputs; ++i) {
        const double term = static_cast<double>(row[i]) *
                            static_cast<double>(to_float(host_x[std::size_t{r} * inputs + i]));
        sum += term;
        size += std::abs(term);
      }
      const double got = to_float(host_y[std::size_t{r} * outputs + o]);
      const double error =
          std::abs(got - sum) / (0x1p-24 * inputs * size + 0x1p-8 * std::abs(sum) + 1e-30);
      worst = std::isnan(got) ? INFINITY : std::max(worst, error);
    }
  }
  const double seconds = seconds_of(run, small);
  const double bytes = static_cast<double>(ordered.codes.size() + ordered.scales.size() * 2);
  const std::string what = std::string(Format::name) + " rows " + std::to_string(batch) +
                           " inputs " + std::to_string(inputs) + " outputs " +
                           std::to_string(outputs) + " warps " + std::to_string(warps) +
                           " height " + std::to_string(height);
  rows.add("grouped_product", what, seconds, bytes / seconds, "copy", limit.copy, worst <= 1,
           worst);
  if (small) return;  // the library's kernels are not ours to check
  codes.clear();
  const std::size_t dense_copies = (std::size_t{300} << 20) / (weights.size() * 2) + 1;
  DeviceArray<Bf16> dense(dense_copies * weights.size());
  fill(dense.data(), dense.size() * 2, 37, 0);
  CublasLtProduct library;
  const double peer = device::seconds_of([&](int i) {
    library.multiply<Bf16, Bf16, Bf16>(
        {x.data(), dense.data() + static_cast<std::size_t>(i) % dense_copies * weights.size(),
         nullptr, y.data(), batch, inputs, outputs});
  });
  rows.add("cublaslt bf16", what, peer, 2.0 * static_cast<double>(weights.size()) / peer, "copy",
           limit.copy, true, 0);
}

/// One causal prompt by a prefill kernel; `how`: what is said of it beside format and length.
template <class Kernel>
void measure_prefill(device::Rows& rows, const Ceilings& limit, std::size_t length, bool small,
                     std::uint32_t multiprocessors, const std::string& how = {},
                     bool beside_cudnn = false) {
  using Key = typename Kernel::Key;
  using Query = typename Key::Query;
  using attention::Causal;
  constexpr bool by_warpgroups = requires { Kernel::consumers; };
  constexpr std::size_t kv_heads = 8, group = 4, heads = kv_heads * group;
  Pool<Key> pool(1, length, kv_heads, small);
  const std::size_t values = length * heads * Key::head_dim;
  DeviceArray<Query> q(values), out(values);
  fill(q.data(), values * sizeof(Query), 13, std::is_same_v<Query, Bf16> ? 0 : 1);
  const std::vector<PrefillSequence> sequences = {{0, static_cast<std::uint32_t>(length), 0, 0}};
  const auto plan = plan_prefill(std::span<const PrefillSequence>(sequences), group, Kernel::tile);
  const DeviceArray<PrefillSequence> device_sequences{std::span<const PrefillSequence>(sequences)};
  const DeviceArray<PrefillWork> work{std::span<const PrefillWork>(plan)};
  typename Kernel::Params p;
  p.q = q.data();
  p.q_stride = p.out_stride = heads * Key::head_dim;
  p.out = out.data();
  p.blocks = pool.tables.data();
  p.sequences = device_sequences.data();
  p.work = work.data();
  p.heads = heads;
  p.scale = 1.0f / std::sqrt(static_cast<float>(Key::head_dim));
  std::vector<simt::TensorMap> maps;
  if constexpr (by_warpgroups) {
    maps.reserve(pool.layers);
    for (std::size_t l = 0; l < pool.layers; ++l) {
      maps.push_back(Kernel::map_of(pool.layer(l), pool.host_tables.size()));
    }
  }
  const std::string what =
      std::string(Key::KvFormat::name) + " causal length " + std::to_string(length) + how;
  std::vector<Query> host_q(values), host_out(values);
  q.download(host_q);
  const auto measure = [&](const std::string& kernel, const std::function<void(int)>& run) {
    run(0);
    out.download(host_out);
    const auto last = static_cast<std::int64_t>(length) - 1;
    const double error = worst_error<Key>(pool, host_q, host_out, heads, Causal(), p.scale,
                                          {{0, 0},
                                           {static_cast<std::size_t>(last / 2), last / 2},
                                           {static_cast<std::size_t>(last), last}},
                                          length);
    const double seconds = seconds_of(run, small, 3, 11);
    const double operations =
        2.0 * static_cast<double>(length) * static_cast<double>(length) * heads * Key::head_dim;
    rows.add(kernel, what, seconds, operations / seconds, "matmul", limit.matmul, error < 0.02,
             error);
  };
  measure(std::string(Kernel::name), [&](int i) {
    p.cache = pool.layer(static_cast<std::size_t>(i));
    const auto works = static_cast<unsigned>(plan.size());
    if constexpr (by_warpgroups) {
      p.cache_map = maps[static_cast<std::size_t>(i) % maps.size()];
      p.works = works;
      simt::launch<Kernel>(Kernel::shape(works, kv_heads, multiprocessors), p);
    } else {
      simt::launch<Kernel>({{works, kv_heads}, Kernel::shared_bytes}, p);
    }
  });
  if (!beside_cudnn) return;
  const auto beside =
      cudnn_calls<Key>(pool, what.c_str(), heads, length, q.data(), out.data(), p.scale);
  if (beside.empty()) return;
  simt::check(cudaMemset(out.data(), 0xff, values * sizeof(Query)), "cudaMemset", "check");
  measure("cudnn_attention", [&](int i) { beside[static_cast<std::size_t>(i) % beside.size()](); });
}
/// The same prompts by products of a warp, and by those of warpgroups where the device has them, as tuned
/// and with one number changed.
void measure_prefills(device::Rows& rows, const Ceilings& limit, std::size_t length, bool small,
                      std::uint32_t multiprocessors) {
  using attention::Causal;
  using Wide = KernelKey<kv_format::Bf16, 16, 128, Bf16>;
  using Narrow = KernelKey<kv_format::Bf16, 16, 64, Bf16>;
  measure_prefill<PagedPrefill<Wide, Causal>>(rows, limit, length, small, multiprocessors, {},
                                              true);
  measure_prefill<PagedPrefill<Narrow, Causal>>(rows, limit, length, small, multiprocessors,
                                                " head_dim 64", true);
  using Widest = KernelKey<kv_format::Bf16, 16, 256, Bf16>;
  using Blocks = KernelKey<kv_format::Bf16, 64, 128, Bf16>;
  using Halves = KernelKey<kv_format::Fp16, 16, 128, Fp16>;
  measure_prefill<PagedPrefill<Widest, Causal>>(rows, limit, length, small, multiprocessors,
                                                " head_dim 256", true);
  measure_prefill<PagedPrefill<Blocks, Causal>>(rows, limit, length, small, multiprocessors,
                                                " blocks of 64", true);
  measure_prefill<PagedPrefill<Halves, Causal>>(rows, limit, length, small, multiprocessors, {},
                                                true);
  if (!simt::has_warpgroups()) {
    std::printf("no products of warpgroups here: prefill by them is not measured\n");
    return;
  }
  measure_prefill<WarpgroupPrefill<Wide, Causal>>(rows, limit, length, small, multiprocessors);
  measure_prefill<WarpgroupPrefill<Narrow, Causal>>(rows, limit, length, small, multiprocessors,
                                                    " head_dim 64");
  measure_prefill<WarpgroupPrefill<Widest, Causal>>(rows, limit, length, small, multiprocessors,
                                                    " head_dim 256");
  measure_prefill<WarpgroupPrefill<Blocks, Causal>>(rows, limit, length, small, multiprocessors,
                                                    " blocks of 64");
  measure_prefill<WarpgroupPrefill<Halves, Causal>>(rows, limit, length, small, multiprocessors);
  measure_prefill<WarpgroupPrefill<Wide, Causal, WarpgroupTuning{.turns = false}>>(
      rows, limit, length, small, multiprocessors, " without turns");
  measure_prefill<WarpgroupPrefill<Wide, Causal, WarpgroupTuning{.stages = 3}>>(
      rows, limit, length, small, multiprocessors, " 3 stages");
  measure_prefill<WarpgroupPrefill<Wide, Causal, WarpgroupTuning{.tokens = 64, .stages = 4}>>(
      rows, limit, length, small, multiprocessors, " tiles of 64, 4 stages");
  measure_prefill<WarpgroupPrefill<Narrow, Causal, WarpgroupTuning{.consumers = 3}>>(
      rows, limit, length, small, multiprocessors, " head_dim 64, 3 consumers");
}

void measure_moves(device::Rows& rows, const Ceilings& limit, bool small) {
  const std::size_t bytes = std::size_t{1} << (small ? 14 : 20), count = small ? 16 : 512;
  DeviceArray<std::byte> pool(2 * count * bytes);
  fill(pool.data(), pool.size(), 17, 2);
  std::vector<BlockMove> host;
  for (std::uint32_t i = 0; i < count; ++i) host.push_back({2 * i, 2 * i + 1});
  const DeviceArray<BlockMove> moves{std::span<const BlockMove>(host)};
  const auto run = [&](int) {
    copy_blocks({pool.data(), pool.data(), bytes, moves.data()}, static_cast<std::uint32_t>(count));
  };
  run(0);
  std::vector<std::byte> all(pool.size());
  pool.download(all);
  bool same = true;
  for (const BlockMove& m : host) {
    same = same && std::memcmp(&all[m.from * bytes], &all[m.to * bytes], bytes) == 0;
  }
  const double s = seconds_of(run, small);
  rows.add("copy_blocks",
           std::to_string(count) + (small ? " blocks of 16 KiB" : " blocks of 1 MiB"), s,
           2.0 * static_cast<double>(count * bytes) / s, "copy", limit.copy, same, 0);
}

template <class Key>
void measure_cache_write(device::Rows& rows, const Ceilings& limit, std::size_t tokens,
                         bool small) {
  using Kernel = CacheWrite<Key, Bf16>;
  constexpr std::size_t heads = 32, kv_heads = 8, width = (heads + 2 * kv_heads) * Key::head_dim;
  Pool<Key> pool(1, tokens, kv_heads, small);
  DeviceArray<Bf16> qkv(tokens * width), q(tokens * heads * Key::head_dim);
  fill(qkv.data(), tokens * width * 2, 19, 0);
  DeviceArray<float> angles(tokens * Key::head_dim);
  fill(angles.data(), tokens * Key::head_dim * 4, 23, 3);
  std::vector<std::int32_t> host_position(tokens);
  for (std::size_t t = 0; t < tokens; ++t) host_position[t] = static_cast<std::int32_t>(t);
  const DeviceArray<std::int32_t> position{std::span<const std::int32_t>(host_position)};
  const std::vector<std::uint32_t> zeros(tokens);
  const DeviceArray<std::uint32_t> sequence{std::span<const std::uint32_t>(zeros)};
  CacheWriteParams<Bf16, typename Key::Query> p;
  p.qkv = qkv.data();
  p.stride = width;
  p.q = q.data();
  p.blocks = pool.tables.data();
  p.table_begin = pool.table_begin.data();
  p.sequence = sequence.data();
  p.position = position.data();
  p.angles = angles.data();
  p.heads = heads;
  const auto run = [&](int i) {
    p.cache = pool.layer(static_cast<std::size_t>(i));
    simt::launch<Kernel>(
        {{static_cast<unsigned>(tokens),
          static_cast<unsigned>((heads + 2 * kv_heads + Kernel::heads_a_block - 1) /
                                Kernel::heads_a_block)}},
        p);
  };
  const double s = seconds_of(run, small);
  const double bytes =
      static_cast<double>(tokens) * (2.0 * width + 2.0 * heads * Key::head_dim) + pool.bytes();
  rows.add("cache_write",
           std::string(Key::KvFormat::name) + " " + std::to_string(tokens) + " tokens", s,
           bytes / s, "copy", limit.copy, true, 0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: measure ROWS.jsonl COMMON-JSON [small]\n");
    return 2;
  }
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    std::printf("skipped: no device\n");
    return 77;
  }
  try {
    const bool small = argc > 3 && std::strcmp(argv[3], "small") == 0;
    cudaDeviceProp device{};
    simt::check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties", "device");
    const auto sm = static_cast<std::uint32_t>(device.multiProcessorCount);
    std::string common = argv[2];
#if defined(QUIRE_DEVICE_HAS_CUDNN)
    common += ",\"cudnn\":\"" + std::to_string(cudnnGetVersion()) + "\"";
#endif
    device::Rows rows(argv[1], common);
    const Ceilings limit = ceilings(rows, small, sm);
    using Bf16Key = KernelKey<kv_format::Bf16, 16, 128, Bf16>;
    using Int8Key = KernelKey<kv_format::Int8PerTokenHead, 16, 128, Bf16>;
    using E4m3Key = KernelKey<kv_format::Fp8E4m3, 16, 128, Bf16>;
    const std::vector<std::size_t> batches =
        small ? std::vector<std::size_t>{2} : std::vector<std::size_t>{1, 16, 64, 256};
    const std::vector<std::size_t> lengths =
        small ? std::vector<std::size_t>{100, 500}
              : std::vector<std::size_t>{1024, 2048, 4096, 8192, 16384, 65536};
    measure_decode<KernelKey<kv_format::Bf16, 1, 128, Bf16>>(rows, limit, 2, small ? 300 : 4096, 8,
                                                             4, small, sm);
    measure_decode<KernelKey<kv_format::Bf16, 256, 128, Bf16>>(rows, limit, 2, small ? 300 : 4096,
                                                               8, 4, small, sm);
    for (const std::size_t length :
         small ? std::vector<std::size_t>{300} : std::vector<std::size_t>{4096, 8192, 16384}) {
      measure_prefills(rows, limit, length, small, sm);
    }
    measure_moves(rows, limit, small);
    measure_cache_write<Bf16Key>(rows, limit, small ? 64 : 8192, small);
    measure_cache_write<Int8Key>(rows, limit, small ? 64 : 8192, small);
    measure_cache_write<E4m3Key>(rows, limit, small ? 64 : 8192, small);
    for (const std::uint32_t batch : {1u, 16u}) {
      const std::uint32_t size = small ? 256 : 8192;
      measure_grouped<weight_format::Int4Grouped<128>, 8, 1>(rows, limit, batch, size, size, small);
      measure_grouped<weight_format::Int4Grouped<128>, 8, 2>(rows, limit, batch, size, size, small);
      measure_grouped<weight_format::Int4Grouped<128>, 16, 2>(rows, limit, batch, size, size,
                                                              small);
      measure_grouped<weight_format::Int4Grouped<128>, 8, 4>(rows, limit, batch, size, size, small);
      measure_grouped<weight_format::Int8Grouped<128>, 16, 1>(rows, limit, batch, size, size,
                                                              small);
      measure_grouped<weight_format::Int8Grouped<128>, 8, 2>(rows, limit, batch, size, size, small);
    }
    if (small) {
      measure_cascade<Bf16Key>(rows, limit, 3, 64, 40, 4, small, sm);
      measure_cascade<Int8Key>(rows, limit, 3, 64, 40, 4, small, sm);
    } else {
      for (const std::size_t prefix : {std::size_t{1024}, std::size_t{8192}, std::size_t{32768}}) {
        measure_cascade<Bf16Key>(rows, limit, 64, prefix, 256, 4, small, sm);
      }
      measure_cascade<Int8Key>(rows, limit, 64, 8192, 256, 4, small, sm);
      measure_cascade<E4m3Key>(rows, limit, 64, 8192, 256, 8, small, sm);
    }
    for (const std::size_t group : {std::size_t{1}, std::size_t{4}, std::size_t{8}}) {
      for (const std::size_t batch : batches) {
        for (const std::size_t length : lengths) {
          // 40 GB of keys and values are enough
          if (batch * length * 8 * 128 * 4 > std::size_t{40} << 30) continue;
          measure_decode<Bf16Key, true>(rows, limit, batch, length, 8, group, small, sm);
          if (length >= 500) {
            measure_decode<Int8Key>(rows, limit, batch, length, 8, group, small, sm);
            measure_decode<E4m3Key>(rows, limit, batch, length, 8, group, small, sm);
          }
        }
      }
    }
    std::printf("%d wrong\n", rows.wrong());
    return rows.wrong() == 0 ? 0 : 1;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
