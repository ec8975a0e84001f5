#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <quire/attention/concepts.hpp>
#include <quire/core/error.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/merge_states/merge_states.cuh>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// The decode attention that PagedAttention was published with, a baseline beside PagedDecode: a
/// block of threads takes one query head, so that the heads of a group read their keys and values
/// again; all its logits lie in shared memory; a warp takes a KV block at a time, some lanes a token.
/// `partition` 0 is v1, which holds a whole context's logits; else v2, which takes that many tokens
/// and leaves partial results to be merged.
/// Grid: (heads, sequences, partitions). \cost reads each key and value once a query head
/// \source vLLM csrc/attention/attention_kernels.cuh. Deviations: Quire's layout of blocks, where
/// a row of a token is contiguous, so that lanes of the second product share a row, not a column;
/// any block size and variant; v2's parts are merged by MergeStates.
template <class KeyType, AttentionVariant Variant, unsigned partition>
struct PagedAttention {
  using Key = KeyType;
  using Query = typename Key::Query;
  using Params = PagedDecodeParams<Query, Variant>;  // its `work` is not used
  using Stored = typename Key::Stored;
  static_assert(!packs_codes<typename Key::Access>,
                "quire: kernels: PagedAttention reads one element after the other; smallest model: "
                "int8_per_token_head");
  static constexpr std::string_view name =
      partition == 0 ? "paged_attention_v1" : "paged_attention_v2";
  static constexpr unsigned warps = 4;
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;

  // Keys: `lanes` lanes share a token, as many as leave a warp one KV block at a time.
  [[nodiscard]] static constexpr unsigned lanes_of_token() {
    unsigned n = simt::warp_lanes;
    while (n > 1 && n * Key::block_tokens > simt::warp_lanes) n /= 2;
    return n;
  }
  static constexpr unsigned lanes = lanes_of_token();
  static constexpr unsigned at_once = simt::warp_lanes / lanes;  // tokens
  /// Elements of a vector: what divides a row, fewer where `sharers` lanes would run dry.
  [[nodiscard]] static constexpr unsigned elements_for(unsigned sharers) {
    unsigned n = Key::Access::alignment / sizeof(Stored);
    while (n > 1 && (head_dim % n != 0 || head_dim / n < sharers)) n /= 2;
    return n;
  }
  static constexpr unsigned key_elements = elements_for(lanes);
  static constexpr unsigned value_elements = elements_for(simt::warp_lanes);
  static constexpr unsigned value_vectors = head_dim / value_elements;
  static constexpr unsigned per_lane = (value_vectors + simt::warp_lanes - 1) / simt::warp_lanes;

  // Shared memory: a number a warp, the query, the warps' sums, then the logits.
  static constexpr std::size_t query_at = (warps * sizeof(float) + 15) / 16 * 16;
  static constexpr std::size_t sums_at = query_at + head_dim * sizeof(float);
  static constexpr std::size_t logits_at = sums_at + warps * head_dim * sizeof(float);
  /// \pre tokens: the most that one block of threads attends to
  [[nodiscard]] static constexpr std::size_t shared_bytes(std::size_t tokens) {
    return logits_at + tokens * sizeof(float);
  }

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned head = simt::block().x, sequence = simt::block().y, part = simt::block().z;
    const unsigned kv_head = head / (p.heads / p.cache.kv_heads);
    const std::int32_t length = p.lengths[sequence];
    const auto part_begin = static_cast<std::int32_t>(part * partition);
    if (part > 0 && part_begin >= length) return;
    const std::int32_t first =
        length == 0 ? 0 : static_cast<std::int32_t>(p.variant.first_visible(length - 1));
    const std::int32_t begin = first > part_begin ? first : part_begin;
    const std::int32_t part_end = part_begin + static_cast<std::int32_t>(partition);
    const std::int32_t end = partition > 0 && part_end < length ? part_end : length;
    const unsigned tokens = end > begin ? static_cast<unsigned>(end - begin) : 0;

    const simt::Shared<float> of_warp(0, warps), query(query_at, head_dim),
        sums(sums_at, warps * head_dim), logits(logits_at, tokens);
    for (unsigned d = simt::thread(); d < head_dim; d += threads) {
      query.store(d, simt::widen(p.q[sequence * p.q_stride + head * head_dim + d]) * p.scale);
    }
    simt::sync();

    const std::uint32_t* table = p.blocks + p.table_begin[sequence];
    const auto first_block = static_cast<unsigned>(begin) / Key::block_tokens;
    float largest = -simt::infinity();
    for (unsigned b = first_block + simt::warp(); at(b) < end; b += warps) {
      const std::byte* slab = Key::key_slab(p.cache, table[b], kv_head);
      for (unsigned i = 0; i < Key::block_tokens; i += at_once) {
        const unsigned slot = i + simt::lane() / lanes;
        const std::int32_t t = at(b) + static_cast<std::int32_t>(slot);
        const bool here = slot < Key::block_tokens && t >= begin && t < end;
        float s = 0;
        for (unsigned e = simt::lane() % lanes * key_elements; here && e < head_dim;
             e += lanes * key_elements) {
          const auto key = simt::load_vector<key_elements>(Key::row(slab, slot) + e);
          QUIRE_UNROLL
          for (unsigned j = 0; j < key_elements; ++j) {
            s = simt::fma(query.load(e + j), stored_value(key.v[j]), s);
          }
        }
        QUIRE_UNROLL
        for (unsigned bits = lanes / 2; bits > 0; bits /= 2) s += simt::shuffle_xor(s, bits);
        if (!here) continue;
        if constexpr (Key::Access::scaled) s *= Key::scale(slab, slot);
        if constexpr (Variant::transforms_logits) {
          s = p.variant.logit(DeviceMath{}, s, head, static_cast<float>(length - 1 - t));
        }
        s *= log2e;
        if (simt::lane() % lanes == 0) logits.store(static_cast<unsigned>(t - begin), s);
        largest = simt::max(largest, s);
      }
    }
    float sink = -simt::infinity();
    if constexpr (Variant::has_sink) {
      if (part == 0) sink = p.variant.sink_logit(head) * log2e;
    }
    largest = simt::max(
        sink, of_block(of_warp, largest, [](float a, float b) { return simt::max(a, b); }));

    float total = 0;
    for (unsigned i = simt::thread(); i < tokens; i += threads) {
      const float weight = weight_of(logits.load(i), largest);
      logits.store(i, weight);
      total += weight;
    }
    total =
        of_block(of_warp, total, [](float a, float b) { return a + b; }) + weight_of(sink, largest);

    float sum[per_lane][value_elements]{};
    for (unsigned b = first_block + simt::warp(); at(b) < end; b += warps) {
      const std::byte* slab = Key::value_slab(p.cache, table[b], kv_head);
      for (unsigned slot = 0; slot < Key::block_tokens; ++slot) {
        const std::int32_t t = at(b) + static_cast<std::int32_t>(slot);
        if (t < begin || t >= end) continue;
        const float weight = logits.load(static_cast<unsigned>(t - begin)) * Key::scale(slab, slot);
        QUIRE_UNROLL
        for (unsigned j = 0; j < per_lane; ++j) {
          const unsigned v = j * simt::warp_lanes + simt::lane();
          if (v >= value_vectors) continue;
          const auto value =
              simt::load_vector<value_elements>(Key::row(slab, slot) + v * value_elements);
          QUIRE_UNROLL
          for (unsigned e = 0; e < value_elements; ++e) {
            sum[j][e] = simt::fma(weight, stored_value(value.v[e]), sum[j][e]);
          }
        }
      }
    }
    QUIRE_UNROLL
    for (unsigned j = 0; j < per_lane; ++j) {
      const unsigned v = j * simt::warp_lanes + simt::lane();
      if (v >= value_vectors) continue;
      QUIRE_UNROLL
      for (unsigned e = 0; e < value_elements; ++e) {
        sums.store(simt::warp() * head_dim + v * value_elements + e, sum[j][e]);
      }
    }
    simt::sync();
    for (unsigned d = simt::thread(); d < head_dim; d += threads) {
      float all = 0;
      QUIRE_UNROLL
      for (unsigned w = 0; w < warps; ++w) all += sums.load(w * head_dim + d);
      const float result = total > 0 ? all / total : 0.0f;
      if constexpr (partition == 0) {
        p.out[sequence * p.out_stride + head * head_dim + d] = simt::narrow<Query>(result);
      } else {
        const std::size_t row = (std::size_t{sequence} * simt::grid().z + part) * p.heads + head;
        p.partial[row * head_dim + d] = result;
        if (d == 0) {
          p.partial_lse[row] = total > 0 ? largest + simt::log2(total) : -simt::infinity();
        }
      }
    }
  }

 private:
  /// The first token of the b-th block of a table.
  QUIRE_DEVICE static std::int32_t at(unsigned b) {
    return static_cast<std::int32_t>(b * Key::block_tokens);
  }
  /// Joins a number of each thread over the block; all get the result.
  template <class Join>
  QUIRE_DEVICE static float of_block(const simt::Shared<float>& of_warp, float x,
                                     const Join& join) {
    QUIRE_UNROLL
    for (unsigned bits = 16; bits > 0; bits /= 2) x = join(x, simt::shuffle_xor(x, bits));
    simt::sync();  // the last round's numbers have been read, and all logits are written
    if (simt::lane() == 0) of_warp.store(simt::warp(), x);
    simt::sync();
    x = of_warp.load(0);
    QUIRE_UNROLL
    for (unsigned w = 1; w < warps; ++w) x = join(x, of_warp.load(w));
    return x;
  }
};

/// PagedAttention v1 over a batch. `longest`: the most tokens that a query sees.
/// \errors usage when their logits do not fit a block's shared memory: v1's limit of the context
template <class Key, AttentionVariant Variant>
void paged_attention_v1(const PagedDecodeParams<typename Key::Query, Variant>& p,
                        std::uint32_t sequences, std::uint32_t longest, simt::Stream stream = {}) {
  using Kernel = PagedAttention<Key, Variant, 0>;
  const std::size_t bytes = Kernel::shared_bytes(longest);
  if (bytes > simt::most_shared_bytes) {
    throw usage_error("paged_attention_v1",
                      "the logits of " + std::to_string(longest) +
                          " tokens do not fit the shared memory of a block",
                      "paged_attention_v2");
  }
  if (sequences == 0) return;
  simt::launch<Kernel>({{p.heads, sequences}, bytes}, p, stream);
}

/// The parts of each sequence that PagedAttention v2 leaves, `most` places each.
/// \shape lengths, result (sequences)
[[nodiscard]] inline std::vector<MergeWork> partitions_of(std::span<const std::int32_t> lengths,
                                                          std::uint32_t partition,
                                                          std::uint32_t most) {
  std::vector<MergeWork> merges;
  for (std::uint32_t s = 0; s < lengths.size(); ++s) {
    const auto length = static_cast<std::uint32_t>(lengths[s]);
    merges.push_back({s, s * most, std::max(1u, (length + partition - 1) / partition)});
  }
  return merges;
}

/// PagedAttention v2 over a batch. `most`: partitions of the longest sequence, at least 1.
/// \shape merges (sequences): partitions_of(lengths, partition, most), on the device; p.partial
/// (sequences, most, heads, head_dim); p.partial_lse (sequences, most, heads)
template <class Key, AttentionVariant Variant, unsigned partition = 512>
void paged_attention_v2(const PagedDecodeParams<typename Key::Query, Variant>& p,
                        std::uint32_t sequences, std::uint32_t most, const MergeWork* merges,
                        simt::Stream stream = {}) {
  static_assert(partition > 0);
  if (sequences == 0) return;
  using Kernel = PagedAttention<Key, Variant, partition>;
  simt::launch<Kernel>({{p.heads, sequences, most}, Kernel::shared_bytes(partition)}, p, stream);
  using Merge = MergeStates<typename Key::Query, Key::head_dim>;
  simt::launch<Merge>({{sequences, p.heads}, Merge::shared_bytes},
                      {p.partial, p.partial_lse, merges, p.out, p.out_stride, p.heads}, stream);
}

}  // namespace quire::kernels
