#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/paged.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/model/rope.hpp>
#include <quire/retention/lane.hpp>
#include <quire/retention/votes.hpp>

namespace quire::attention {

/// One sequence whose cache holds some of its tokens: what SequenceRows does not say.
struct RetainedRows {
  std::span<const retention::Lane> lanes;  // the last `rows` entries of each are the step's own
  std::int64_t position = 0;               // of the first row, in the text
  std::int64_t prompt = 0;                 // tokens of the prompt
  std::span<const std::size_t> votes_at;   // \shape (lanes): where a lane's votes begin
  std::int64_t* votes = nullptr;
};

/// The sequences of a batch and the layer at hand. \shape sequences (queries.sequences)
struct RetainedLayer {
  std::span<const RetainedRows> sequences;
  retention::Scope scope = retention::Scope::sequence;
  std::size_t layer = 0;
  const model::Rope* rope = nullptr;  // where positions are re-assigned

  [[nodiscard]] std::size_t lane(std::size_t kv_heads, std::size_t head) const {
    return retention::lane_index(scope, layer, kv_heads, head);
  }
};

namespace detail {

/// The keys of one lane, in the order of the text.
template <class VotesType, bool reassigns>
class LaneKeys {
 public:
  static constexpr bool listed = true, shifts = reassigns, votes = VotesType::enabled;

  /// \shape logits (tile_queries, logits_stride), angles (head_dim); unused ones may be null
  LaneKeys(const RetainedRows& sequence, std::size_t lane, std::size_t rows, const VotesType& cast,
           const model::Rope* rope, float* logits, std::size_t logits_stride, float* angles)
      : sequence_(sequence),
        entries_(sequence.lanes[lane].entries),
        before_(static_cast<std::int64_t>(entries_.size() - rows)),
        rows_(static_cast<std::int64_t>(rows)),
        votes_(votes ? sequence.votes + sequence.votes_at[lane] : nullptr),
        cast_(cast),
        rope_(rope),
        logits_(logits),
        logits_stride_(logits_stride),
        angles_(angles) {}

  [[nodiscard]] std::int64_t before() const { return before_; }
  [[nodiscard]] std::size_t slot(std::size_t p) const { return entries_[p].slot; }

  /// Tokens dropped between key p and the queries.
  [[nodiscard]] std::int64_t shift(std::size_t p) const {
    return (sequence_.position - entries_[p].position) - (before_ - static_cast<std::int64_t>(p));
  }
  /// Turns a key so that its distance to a query is that in the cache.
  void turn(std::size_t p, float* key) const {
    const std::int64_t by = shift(p);
    if (by == 0) return;
    rope_->angles(by, angles_);
    rope_->rotate(angles_, key);
  }

  [[nodiscard]] float* logits(std::size_t r) const { return logits_ + r * logits_stride_; }
  [[nodiscard]] bool counts(std::int64_t row) const { return cast_.counts(voter(row, 0)); }
  /// \shape weights: one a visible key
  void vote(std::int64_t row, std::span<const float> weights) const {
    const retention::VoteRow by = voter(row, static_cast<std::int64_t>(weights.size()));
    for (std::size_t p = 0; p < weights.size(); ++p) {
      const auto whole = static_cast<float>(retention::whole_vote);
      const std::int64_t vote = cast_.vote(std::lrint(weights[p] * whole), by);
      // Heads and chunks of one lane run on several threads; a sum of whole numbers has no order.
      if (vote != 0) std::atomic_ref(votes_[p]).fetch_add(vote, std::memory_order_relaxed);
    }
  }

 private:
  [[nodiscard]] retention::VoteRow voter(std::int64_t row, std::int64_t visible) const {
    return {sequence_.position + row, sequence_.prompt, rows_ - 1 - row, visible};
  }

  const RetainedRows& sequence_;
  std::span<const retention::Entry> entries_;
  std::int64_t before_, rows_;
  std::int64_t* votes_;
  const VotesType& cast_;
  const model::Rope* rope_;
  float* logits_;
  std::size_t logits_stride_;
  float* angles_;
};

}  // namespace detail

/// Copies one token's keys or values between slabs, bit for bit.
template <PlainKvFormat Format>
void copy_slot(const std::byte* from, std::size_t from_slot, std::byte* to, std::size_t to_slot,
               std::size_t head_dim) {
  const std::size_t bytes = head_dim * sizeof(typename Format::Element);
  std::memcpy(to + to_slot * bytes, from + from_slot * bytes, bytes);
}

/// The same through a codec. \errors state for a format that cannot copy single tokens
inline void copy_slot(const kv_format::SideCodec& side, const std::byte* from,
                      std::size_t from_slot, std::byte* to, std::size_t to_slot,
                      std::size_t block_tokens, std::size_t head_dim) {
  if (side.copy == nullptr) {
    throw state_error("kv_format",
                      "it cannot copy single tokens, and a retention policy moves them",
                      "a format that offers copy()");
  }
  side.copy(from, from_slot, to, to_slot, block_tokens, head_dim);
}

/// Writes keys and values of new tokens into the slots of their lanes.
/// \shape keys, values (rows, kv_heads, head_dim), rows `stride` floats apart
template <kv_format::KvStorage Format>
void write_retained(const KvView<std::byte>& cache, std::span<const SequenceRows> sequences,
                    const RetainedLayer& retained, const float* keys, const float* values,
                    std::size_t stride, ThreadPool& threads) {
  threads.parallel_for(sequences.size(), [&](std::size_t s) {
    const SequenceRows& sequence = sequences[s];
    TokenWriter<kv_format::storage_of<Format>> writer(cache.template with_codec<Format>());
    for (std::size_t h = 0; h < cache.kv_heads; ++h) {
      const auto& entries = retained.sequences[s].lanes[retained.lane(cache.kv_heads, h)].entries;
      for (std::size_t i = 0; i < sequence.rows; ++i) {
        const std::size_t place = entries[entries.size() - sequence.rows + i].slot;
        const BlockId block = sequence.blocks[place / cache.block_tokens];
        const std::size_t slot = place % cache.block_tokens;
        const std::size_t row = (sequence.row + i) * stride + h * cache.head_dim;
        writer.write(block, h, slot, 0, keys + row, values + row);
      }
    }
  });
}

/// Attention to the tokens that a retention policy kept, and to the step's own: causal, in the order
/// of the text, so that it gives the bits of paged() where nothing was dropped. With votes, the
/// weights of every query are counted for the policy, in whole numbers.
/// A row's bits depend on its query and the entries of its lanes: not on slots, blocks, the rest of
/// the batch or the number of threads.
/// \pre keys and values of all rows are written; heads % kv_heads == 0; votes are zero where nobody
/// voted yet
template <kv_format::KvStorage Format, class Votes, bool reassigns>
void retained(const KvView<const std::byte>& cache, const Queries& queries,
              const RetainedLayer& kept, const Votes& votes, Workspace& workspace,
              ThreadPool& threads) {
  using Keys = detail::LaneKeys<Votes, reassigns>;
  const std::vector<detail::Task>& tasks = workspace.shares().tasks;
  detail::find_tasks(queries, cache.kv_heads, workspace.shares());
  const std::size_t workers = std::min(threads.size(), tasks.size());
  std::size_t stride = 0;
  if constexpr (Votes::enabled) {
    for (const RetainedRows& s : kept.sequences) {
      for (const retention::Lane& lane : s.lanes) stride = std::max(stride, lane.entries.size());
    }
    stride = simd::round_up(stride, tile_tokens);
  }
  workspace.reserve(workers, cache.head_dim, tile_queries * stride + cache.head_dim);
  const KvView<const std::byte> view = cache.template with_codec<Format>();
  std::atomic<std::size_t> next{0};
  threads.parallel_for(workers, [&](std::size_t worker) {
    float* extra = workspace.extra(worker);
    for (std::size_t i = next++; i < tasks.size(); i = next++) {
      const detail::Task& task = tasks[i];
      const Keys keys(kept.sequences[task.sequence], kept.lane(cache.kv_heads, task.kv_head),
                      queries.sequences[task.sequence].rows, votes, kept.rope, extra, stride,
                      extra + tile_queries * stride);
      detail::TaskKernel<kv_format::storage_of<Format>, Causal, Keys>(view, queries, Causal{}, task,
                                                                      keys, workspace.part(worker))
          .run();
    }
  });
}

}  // namespace quire::attention
