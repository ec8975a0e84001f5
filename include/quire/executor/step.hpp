#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/memory/block_table.hpp>
#include <quire/retention/lane.hpp>
#include <quire/sampling/params.hpp>

namespace quire {

/// One sequence's part of a step: process tokens [computed, computed + tokens), write their keys
/// and values through the block table, attend to everything up to each of them.
struct SequencePlan {
  SequenceId sequence;
  RequestId request;
  Tokens computed;       // tokens whose keys and values are in the blocks already
  Tokens tokens;         // tokens processed in this step, >= 1
  Tokens prompt_tokens;  // length of the prompt; history beyond it was generated
  /// Prompt and generated tokens, at least computed + tokens of them. Empty when only lengths are
  /// known (simulation without a prefix index). Valid until the step is committed.
  std::span<const TokenId> history;
  /// One table per KV group of the model; block b of a table holds the tokens
  /// [b * block_tokens, (b + 1) * block_tokens). Valid until the step is committed.
  std::span<const BlockTable> tables;
  /// Where a retention policy drops tokens: what each lane still has, the step's tokens included,
  /// in slots of the tables; empty where everything is kept. Valid until the step is committed.
  std::span<const retention::Lane> lanes;
  /// What a retention policy kept of the computed tokens, in the mean over lanes; -1: all.
  Tokens kept = -1;
  const SamplingParams* sampling = nullptr;  // never null when draws > 0
  /// Draws from the distribution after the last token: 0 inside a prompt, 1 for plain decoding,
  /// `width` when a parallel group finishes its prompt, 2 * beam_width best candidates for a beam.
  std::int32_t draws = 0;
  std::int32_t sample_index = 0;  // first draw's index in the request; draw i uses seed + index + i
  /// The last `drafts` of the step's tokens are guesses of what will be drawn before them. An executor
  /// draws after the last token before them and after each of them, and keeps the draws up to the
  /// first that differs from the draft in its place, itself included.
  std::int32_t drafts = 0;
  /// Those of the drafts that a draft model is to write before the step computes them: the end of
  /// history; empty where the policy has written them. Valid until the step is committed.
  std::span<TokenId> to_guess;
  bool admitted = false;  // first step since admission, swap-in or recompute
  bool counted = false;   // nobody reads its one draw, which an executor may leave out

  /// Keys in the cache that the step's first token may attend to.
  [[nodiscard]] Tokens keys_cached() const { return kept < Tokens{0} ? computed : kept; }

  /// Hash of the row in a plan with blocks of 2^block_shift tokens; see StepPlan::hash().
  [[nodiscard]] std::uint64_t hash(int block_shift) const {
    const auto word = [](auto value) { return static_cast<std::uint64_t>(value); };
    std::uint64_t w =
        sequence.value * 0x9fb21c651e98df25ULL + word(computed.value) * 0xd6e8feb86659fd93ULL +
        word(tokens.value) * 0xa0761d6478bd642fULL + word(draws) + (word(drafts) << 32);
    const auto first =
        admitted ? std::size_t{0} : static_cast<std::size_t>(computed.value >> block_shift);
    const auto last = static_cast<std::size_t>((computed + tokens - 1).value >> block_shift);
    for (const BlockTable& table : tables) {
      const auto blocks = table.blocks();
      w += blocks.size() * 0xe7037ed1a0b428dbULL;
      if (first >= blocks.size()) continue;
      if (!admitted && last == first) {
        w = mix64(w) + blocks[first].value;
      } else {
        const std::size_t end = admitted ? blocks.size() : std::min(last + 1, blocks.size());
        w = hash_span(blocks.subspan(first, end - first), w);
      }
    }
    return mix64(w);
  }
};

/// Copies one block's keys and values of every layer, on the device (copy-on-write).
struct BlockCopy {
  BlockId from;
  BlockId to;
};

/// Moves one block's keys and values of every layer between the device and a tier below it. Slots
/// of the tiers are numbered through: those of the host, then those of the disk.
struct BlockSwap {
  BlockId device;
  BlockId host;
};

/// Copies one block between two tiers below the device.
struct TierMove {
  BlockId from;
  BlockId to;
};

/// The text of a block that is written to disk, for whoever finds it there.
/// A text is named by an id that no other ever has, and by that of the text it continues.
struct TierRecord {
  BlockId slot;
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  // 0: a first block
  std::uint64_t salt = 0;
  std::span<const TokenId> tokens;  // \shape (block_tokens). Valid until the step is committed.
};

/// All that the data plane needs to run one iteration, and all that the decision log records.
/// Order of execution: slot_moves, spills, swap_out, prefetches, swap_in, copies, then the sequences as one
/// batch. No slot is both read and overwritten in one plan but where this order makes it right.
/// Spills and prefetches may still be under way when the step ends.
struct StepPlan {
  std::uint64_t step = 0;
  std::vector<SequencePlan> sequences;
  std::vector<retention::SlotMove> slot_moves;  // tokens that change their slot (compaction)
  std::vector<BlockSwap> swap_out;
  std::vector<BlockSwap> swap_in;
  std::vector<BlockCopy> copies;
  std::vector<TierMove> spills;      // from the host to disk
  std::vector<TierMove> prefetches;  // from disk to the host
  std::vector<TierRecord> records;   // of cached blocks that go to disk; others have none
  std::vector<BlockId> evicted;      // cached blocks that lost their content, in order of eviction
  std::vector<RequestId> preempted;  // in order of preemption
  /// Blocks that lost their content since the last plan, where the executor asked for them
  /// (KvGeometry::tells_freed); some may be in use again.
  std::vector<BlockId> freed;
  Tokens batched_tokens = 0;  // sum of tokens over sequences
  /// Tokens of padding that a batch of equal lengths computes beside the real ones (static
  /// batching).
  Tokens padding = 0;

  void clear() {
    sequences.clear();
    slot_moves.clear();
    swap_out.clear();
    swap_in.clear();
    copies.clear();
    spills.clear();
    prefetches.clear();
    records.clear();
    evicted.clear();
    preempted.clear();
    freed.clear();
    batched_tokens = padding = 0;
  }
  /// Exchanges two plans, and the memory behind them.
  friend void swap(StepPlan& a, StepPlan& b) noexcept {
    std::swap(a.step, b.step);
    a.sequences.swap(b.sequences);
    a.slot_moves.swap(b.slot_moves);
    a.swap_out.swap(b.swap_out);
    a.swap_in.swap(b.swap_in);
    a.copies.swap(b.copies);
    a.spills.swap(b.spills);
    a.prefetches.swap(b.prefetches);
    a.records.swap(b.records);
    a.evicted.swap(b.evicted);
    a.preempted.swap(b.preempted);
    a.freed.swap(b.freed);
    std::swap(a.batched_tokens, b.batched_tokens);
    std::swap(a.padding, b.padding);
  }
  [[nodiscard]] bool empty() const {
    return sequences.empty() && swap_out.empty() && swap_in.empty() && copies.empty() &&
           spills.empty() && prefetches.empty() && slot_moves.empty();
  }

  /// Hash of the decisions in the plan: its rows' sequences, token ranges, draws and tables, and all
  /// its lists; the rest follows from these. The sequence of such hashes is the decision log.
  /// A table is hashed whole when its sequence enters the batch, and where it is written to
  /// afterwards: the rest was hashed before, and does not change while the sequence stays. Slot moves
  /// are left out: which tokens they move follows from attention weights, which simulated time does
  /// not have. Rows hash apart and are folded in order, so that a processor overlaps them.
  /// \pre block_tokens is a power of two
  [[nodiscard]] std::uint64_t hash(Tokens block_tokens) const {
    const int shift = std::countr_zero(static_cast<std::uint64_t>(block_tokens.value));
    std::uint64_t h = mix64(step);
    for (const SequencePlan& s : sequences) h = (h ^ s.hash(shift)) * 0xff51afd7ed558ccdULL;
    h = mix64(h);
    std::uint64_t lists = 0;  // which of them have entries; most plans have none
    const auto fold = [&]<class Entry>(int place, const std::vector<Entry>& list) {
      if (list.empty()) return;
      lists |= std::uint64_t{1} << place;
      h = hash_span(std::span<const Entry>(list), h + static_cast<std::uint64_t>(place));
    };
    fold(0, swap_out);
    fold(1, swap_in);
    fold(2, copies);
    fold(3, spills);
    fold(4, prefetches);
    fold(5, evicted);
    fold(6, preempted);
    return hash_combine(h, lists);
  }
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;  // natural log, of the distribution before temperature and truncation
};

/// One token drawn, or one beam candidate.
struct Draw {
  TokenId token = 0;
  float logprob = 0;
  std::uint32_t alternatives_begin = 0;  // into StepResult::alternatives
  std::uint32_t alternatives_count = 0;
};

/// What one step produced and cost. Reused from step to step: clear() keeps the memory.
/// Draws of row r of the plan are draws[begin[r] .. begin[r + 1]); a row that asked for d draws has
/// d of them, and one more for each draft that holds; beam candidates come best first.
struct StepResult {
  Seconds seconds = 0.0;  // duration of the step: measured, or from a cost model
  Joules joules = 0.0;    // 0 where unknown
  Bytes bytes_moved = 0;  // swaps and block copies
  /// Swaps in (indices into the plan's) whose content was not what had been written. Rows that use
  /// such a block have to be run again; what the result says of them is discarded.
  std::vector<std::uint32_t> failed;
  std::vector<BlockId>
      lost;  // slots of the tiers whose content is gone: a write or prefetch failed
  std::vector<std::uint32_t> begin;
  std::vector<Draw> draws;
  std::vector<TokenLogprob> alternatives;
  /// What retention policies asked about the attention weights: row r's votes begin at
  /// votes_begin[r], lane after lane, one an entry, in parts of retention::whole_vote. Empty where
  /// nobody asks or nothing attends.
  std::vector<std::int64_t> votes;
  std::vector<std::size_t> votes_begin;
  /// Where a policy selects pages: those read, and those there were, summed over layers and heads of
  /// the sequences that added one token.
  std::int64_t pages_read = 0, pages_held = 0;

  void clear() {
    seconds = 0.0;
    joules = 0.0;
    bytes_moved = 0;
    failed.clear();
    lost.clear();
    begin.clear();
    draws.clear();
    alternatives.clear();
    votes.clear();
    votes_begin.clear();
    pages_read = pages_held = 0;
  }
  [[nodiscard]] std::span<const std::int64_t> votes_of(std::size_t r) const {
    if (votes_begin.empty()) return {};
    return {votes.data() + votes_begin[r], votes.data() + votes_begin[r + 1]};
  }
  [[nodiscard]] std::span<const Draw> row(std::size_t r) const {
    return {draws.data() + begin[r], draws.data() + begin[r + 1]};
  }
};

}  // namespace quire
