// mechanism: what a draft model computes next, whichever executor runs it
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/draft_book.hpp>
#include <quire/executor/step.hpp>

namespace quire::executor {

/// The drafts that a plan leaves open, pass after pass over the draft model. A sequence's drafts depend on
/// its text, its sampling parameters and the two models alone, not on the rest of the batch: only
/// where the draft model's pool has no room for all sequences of a step do the last of them get their last
/// token for a draft.
class Drafts {
 public:
  struct Row {
    const SequencePlan* plan;
    DraftBook::Entry* entry;
    std::size_t drafted;
    [[nodiscard]] bool finished() const { return drafted == plan->to_guess.size(); }
  };
  /// Tokens [from, from + count) of a row's text; draws: whether its next token is asked for behind them
  struct Part {
    Row* row;
    std::size_t from, count;
    bool draws;
    [[nodiscard]] std::span<const TokenId> tokens() const {
      return std::span(row->entry->text).subspan(from, count);
    }
  };

  Drafts(BlockCount blocks, Tokens block_tokens) : book_(blocks, block_tokens) {}

  /// Takes up a plan.
  void begin(const StepPlan& plan) {
    book_.begin_step();
    rows_.clear();
    for (const SequencePlan& s : plan.sequences) {
      if (s.to_guess.empty()) continue;
      const auto known = s.history.first(s.history.size() - s.to_guess.size());
      DraftBook::Entry* entry = book_.take(s.sequence, static_cast<std::int64_t>(s.history.size()));
      if (entry == nullptr) {
        std::fill(s.to_guess.begin(), s.to_guess.end(), known.back());
        continue;
      }
      // of what was computed, the drafts that did not hold have to go; the last token's logits are
      // wanted in any case
      const auto computed = entry->text.begin() + entry->computed.value;
      const auto same = std::mismatch(entry->text.begin(), computed, known.begin(), known.end());
      entry->computed = std::min(same.first - entry->text.begin(), std::ssize(known) - 1);
      entry->text.assign(known.begin(), known.end());
      rows_.push_back({&s, entry, 0});
    }
  }

  /// The tokens of the next pass, which are not in the cache; none where all drafts are there. Valid until
  /// the next call.
  [[nodiscard]] std::span<const Part> next() {
    parts_.clear();
    std::size_t total = 0;
    for (Row& row : rows_) {
      if (row.finished() || total == most_rows) continue;
      DraftBook::Entry& e = *row.entry;
      const auto from = static_cast<std::size_t>(e.computed.value);
      const std::size_t count = std::min(e.text.size() - from, most_rows - total);
      parts_.push_back({&row, from, count, from + count == e.text.size()});
      total += count;
      e.computed += static_cast<std::int64_t>(count);
    }
    return parts_;
  }

  /// A row as if its sequence's step ended behind the drafts so far, with one draw.
  [[nodiscard]] static SequencePlan drawing(const Row& row) {
    SequencePlan s = *row.plan;
    s.tokens = std::ssize(row.entry->text) - s.computed.value;
    s.history = row.entry->text;
    s.draws = 1;
    return s;
  }
  /// Adds what was drawn.
  static void add(Row& row, TokenId token) {
    row.entry->text.push_back(token);
    row.plan->to_guess[row.drafted++] = token;
  }

 private:
  /// More would only take memory: weights are read once a pass.
  static constexpr std::size_t most_rows = 512;

  DraftBook book_;
  std::vector<Row> rows_;
  std::vector<Part> parts_;
};

}  // namespace quire::executor
