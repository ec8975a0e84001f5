// mechanism: what a query's attention says about the keys it saw
#pragma once

#include <algorithm>
#include <cstdint>

#include <quire/core/hd.hpp>
#include <quire/core/units.hpp>
#include <quire/retention/limits.hpp>

namespace quire::retention {

/// Attention weights are counted in whole parts of this: equal sums on every machine, for every
/// number of threads and in every order, and rounding noise decides nothing.
inline constexpr std::int64_t whole_vote = 65536;

/// The query behind a vote.
struct VoteRow {
  std::int64_t position = 0;  // of the query, in the text
  std::int64_t prompt = 0;    // tokens of the prompt
  std::int64_t after = 0;     // queries of the same step behind it
  std::int64_t visible = 0;   // keys that it saw
};

/// No policy asks: the kernel computes nothing for it.
struct NoVotes {
  static constexpr bool enabled = false;
};

/// Every query's weight on a key counts.
struct AllVotes {
  static constexpr bool enabled = true;
  AllVotes() = default;
  explicit AllVotes(const RetentionLimits&) {}
  [[nodiscard]] bool counts(const VoteRow&) const { return true; }
  [[nodiscard]] QUIRE_HD constexpr std::int64_t vote(std::int64_t weight, const VoteRow&) const {
    return weight;
  }
};

/// The last query's weight alone.
struct LastVote {
  static constexpr bool enabled = true;
  explicit LastVote(const RetentionLimits&) {}
  [[nodiscard]] bool counts(const VoteRow& row) const { return row.after == 0; }
  [[nodiscard]] QUIRE_HD constexpr std::int64_t vote(std::int64_t weight, const VoteRow&) const {
    return weight;
  }
};

/// One where a key got less than its even share of a query, for the last `history` queries.
struct LowVotes {
  static constexpr bool enabled = true;
  std::int64_t history;
  explicit LowVotes(const RetentionLimits& limits) : history(limits.history.value) {}
  [[nodiscard]] bool counts(const VoteRow& row) const { return row.after < history; }
  [[nodiscard]] QUIRE_HD constexpr std::int64_t vote(std::int64_t weight,
                                                     const VoteRow& row) const {
    return weight * row.visible < whole_vote ? 1 : 0;
  }
};

/// The weights of the prompt's last queries.
struct PromptEndVotes {
  static constexpr bool enabled = true;
  std::int64_t observation;
  explicit PromptEndVotes(const RetentionLimits& limits)
      : observation(std::min(limits.observation, limits.budget).value) {}
  [[nodiscard]] bool counts(const VoteRow& row) const {
    return row.position < row.prompt && row.position >= row.prompt - observation;
  }
  [[nodiscard]] QUIRE_HD constexpr std::int64_t vote(std::int64_t weight, const VoteRow&) const {
    return weight;
  }
};

}  // namespace quire::retention
