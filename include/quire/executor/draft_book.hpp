// mechanism: what a draft model has cached of each sequence, for executors that run one
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/engine/config.hpp>
#include <quire/model/shape.hpp>
#include <quire/speculation/concepts.hpp>

namespace quire::executor {

/// Checks a draft model against the configuration C and the model that it guesses for.
/// draft: its shape, or null; longest: tokens of a sequence at most, 0 for all the model takes
/// \errors usage: one that is missing, or not wanted, or has another vocabulary, or ends before the
/// model does
template <class C>
void check_draft_model(const model::Shape& model, const model::Shape* draft, Tokens longest) {
  constexpr bool wanted = speculation::drafts_by_model<speculation_of<C>>;
  const std::string policy = "speculation policy " + std::string(speculation_of<C>::name);
  if (draft == nullptr) {
    if (!wanted) return;
    throw usage_error("draft_model", "is not given, and " + policy + " guesses with one",
                      "a smaller model with the vocabulary of " + model.name);
  }
  if (!wanted) {
    throw usage_error("draft_model " + draft->name,
                      "is given, and " + policy + " has no use for it",
                      "speculation policy draft_model, or no draft model");
  }
  if (draft->vocab != model.vocab) {
    throw usage_error("draft_model " + draft->name,
                      "has a vocabulary of " + std::to_string(draft->vocab) + " tokens, and " +
                          model.name + " one of " + std::to_string(model.vocab),
                      "two models with one vocabulary");
  }
  const Tokens most = longest > Tokens{0} ? longest : model.max_length;
  if (draft->max_length < most) {
    throw usage_error("draft_model " + draft->name,
                      "takes " + std::to_string(draft->max_length.value) +
                          " tokens, and a sequence may have " + std::to_string(most.value),
                      "another draft model, or limits.max_length of at most " +
                          std::to_string(draft->max_length.value));
  }
}

/// The draft model's cache: a pool of blocks of its own, as many as the engine's, each sequence with
/// blocks for its text. Nothing tells it of preemptions, swaps and ends: what a sequence had is
/// still there when it comes back, and where blocks run out, those that were not used for the
/// longest time go. Prefixes are not shared: every sequence has its text to itself.
/// \complexity take() amortised O(1) while there are free blocks, else O(sequences known)
class DraftBook {
 public:
  struct Entry {
    std::vector<BlockId> blocks;
    Tokens computed = 0;  // tokens in the cache, all of them the sequence's
    std::vector<TokenId>
        text;                // what they are, and drafts behind them; of executors that have text
    std::uint64_t used = 0;  // the step
  };

  DraftBook(BlockCount blocks, Tokens block_tokens) : block_tokens_(block_tokens) {
    for (auto b = static_cast<std::uint32_t>(blocks.value); b-- > 0;) free_.push_back({b});
  }

  void begin_step() { ++step_; }

  /// What a sequence has, with room for `tokens` tokens; null where the pool has no room beside the
  /// others of this step. Valid until the sequence's next step.
  [[nodiscard]] Entry* take(SequenceId id, Tokens tokens) {
    Entry& entry = known_[id];
    entry.used = step_;
    const auto needed = static_cast<std::size_t>(blocks_for(tokens, block_tokens_).value);
    while (entry.blocks.size() < needed) {
      if (free_.empty() && !drop_oldest()) {
        drop(id);
        return nullptr;
      }
      entry.blocks.push_back(free_.back());
      free_.pop_back();
    }
    return &entry;
  }
  [[nodiscard]] std::size_t known() const { return known_.size(); }

 private:
  bool drop_oldest() {
    SequenceId oldest{};
    std::uint64_t used = step_;
    for (const auto& [id, entry] : known_) {
      if (entry.used == step_) continue;
      if (entry.used < used || (entry.used == used && id < oldest)) {
        oldest = id;
        used = entry.used;
      }
    }
    if (used == step_) return false;
    drop(oldest);
    return true;
  }
  void drop(SequenceId id) {
    const auto at = known_.find(id);
    free_.insert(free_.end(), at->second.blocks.begin(), at->second.blocks.end());
    known_.erase(at);
  }

  Tokens block_tokens_;
  std::vector<BlockId> free_;
  std::unordered_map<SequenceId, Entry> known_;  // pointers to entries stay valid
  std::uint64_t step_ = 0;
};

}  // namespace quire::executor
