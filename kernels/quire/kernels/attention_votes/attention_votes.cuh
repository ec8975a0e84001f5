#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/attention/concepts.hpp>
#include <quire/kernels/device_math.cuh>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/kernels/paged_decode/seen.cuh>
#include <quire/kernels/stored_element.cuh>
#include <quire/retention/votes.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

template <class Query, class Variant, class Votes = retention::AllVotes>
struct AttentionVotesParams {
  const Query* q = nullptr;  // \shape (sequences, heads, head_dim), rows q_stride elements apart
  std::size_t q_stride = 0;
  KvPool cache;
  const std::uint32_t* blocks = nullptr;       // \shape (entries): all block tables
  const std::uint32_t* table_begin = nullptr;  // \shape (sequences)
  const std::int32_t* lengths = nullptr;       // \shape (sequences): the query's own included
  const DecodeWork* work = nullptr;            // \shape (grid.x): parts of sequences
  const float* lse = nullptr;                  // \shape (sequences, heads), base 2: of all it sees
  /// \shape (sequences, kv_heads, vote_stride): what the queries so far gave each token. Of listed keys:
  /// \shape (entries), one an entry of `blocks`
  long long* votes = nullptr;
  std::size_t vote_stride = 0;
  std::uint32_t heads = 0;
  float scale = 1;  // of the product of query and key
  Variant variant{};
  const retention::VoteRow* voters = nullptr;  // \shape (sequences); null: nobody is asked
  Votes cast;                                  // what a voter makes of a weight
};

/// Adds a query's attention weights, of all heads that share a KV head, to what its tokens got so
/// far: in whole parts (retention::whole_vote), so that sums do not depend on their order. A warp takes
/// a token. Of plain keys no two blocks of threads take the same one; listed ones may be those of several
/// rows and KV heads, and votes are added atomically. Grid: (work, kv_heads). Shared memory:
/// shared_bytes(group).
/// \cost reads each key once more
/// \source accumulated scores: Zhang et al., "H2O", NeurIPS '23
template <class KeyType, AttentionVariant Variant, class Votes = retention::AllVotes>
struct AttentionVotes {
  using Key = KeyType;
  using Query = typename Key::Query;
  using Params = AttentionVotesParams<Query, Variant, Votes>;
  static constexpr std::string_view name = "attention_votes";
  static constexpr unsigned warps = 4;
  static constexpr unsigned threads = warps * simt::warp_lanes;
  static constexpr unsigned head_dim = Key::head_dim;
  static constexpr unsigned per_lane = (head_dim + simt::warp_lanes - 1) / simt::warp_lanes;
  [[nodiscard]] static constexpr std::size_t shared_bytes(std::size_t group) {
    return group * head_dim * sizeof(float);
  }

  QUIRE_DEVICE static void run(const Params& p) {
    const unsigned kv_head = simt::block().y, group = p.heads / p.cache.kv_heads;
    const Seen seen = seen_by<Key>(p, kv_head);
    const DecodeWork work = seen.work;
    if (work.begin >= work.end) return;
    const unsigned head = kv_head * group;
    const simt::Shared<float> q(0, group * head_dim);
    const Query* from = p.q + work.sequence * p.q_stride + std::size_t{head} * head_dim;
    for (unsigned i = simt::thread(); i < group * head_dim; i += threads) {
      q.store(i, simt::widen(from[i]) * p.scale);
    }
    simt::sync();
    const std::uint32_t* table = seen.table;
    const std::int32_t position = seen.position;
    const float* lse = p.lse + std::size_t{work.sequence} * p.heads + head;
    long long* votes = p.votes;
    retention::VoteRow voter;
    if constexpr (Key::listed) {
      votes += table - p.blocks;
      voter = p.voters[work.sequence];
      voter.visible = position + 1;
    } else {
      votes += (std::size_t{work.sequence} * p.cache.kv_heads + kv_head) * p.vote_stride;
    }
    for (std::int32_t t = work.begin + static_cast<std::int32_t>(simt::warp()); t < work.end;
         t += static_cast<std::int32_t>(warps)) {
      const auto token = static_cast<unsigned>(t);
      const Place place = place_of<Key>(table, token);
      const std::byte* slab = Key::key_slab(p.cache, place.block, kv_head);
      float key[per_lane];
      QUIRE_UNROLL
      for (unsigned j = 0; j < per_lane; ++j) {
        const unsigned d = j * simt::warp_lanes + simt::lane();
        key[j] = d < head_dim ? stored_element<Key>(slab, place.slot, d) : 0.0f;
      }
      long long given = 0;
      for (unsigned h = 0; h < group; ++h) {
        float s = 0;
        QUIRE_UNROLL
        for (unsigned j = 0; j < per_lane; ++j) {
          const unsigned d = j * simt::warp_lanes + simt::lane();
          if (d < head_dim) s = simt::fma(q.load(h * head_dim + d), key[j], s);
        }
        QUIRE_UNROLL
        for (unsigned bits = 16; bits > 0; bits /= 2) s += simt::shuffle_xor(s, bits);
        if constexpr (Variant::transforms_logits) {
          s = p.variant.logit(DeviceMath{}, s, head + h, static_cast<float>(position - t));
        }
        const float weight = simt::exp2(s * log2e - lse[h]);
        const auto whole = static_cast<long long>(
            simt::round_even(weight * static_cast<float>(retention::whole_vote)));
        given += p.cast.vote(whole, voter);
      }
      if (simt::lane() != 0) continue;
      if constexpr (Key::listed) {
        if (given != 0) {
          simt::atomic_add(reinterpret_cast<unsigned long long*>(votes + t),
                           static_cast<unsigned long long>(given));
        }
      } else {
        votes[t] += given;
      }
    }
  }
};

}  // namespace quire::kernels
