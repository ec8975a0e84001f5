#pragma once

#include <cstdint>

#include <quire/core/units.hpp>

namespace quire {

/// What a prefix index did for the requests that were admitted, by tokens and by whole blocks, since
/// the memory was made. A request that was preempted and recomputed asks again.
struct PrefixStatistics {
  std::int64_t requests = 0;
  Tokens asked_tokens = 0;      // of prompts, and of what was generated before a preemption
  Tokens found_tokens = 0;      // of those, computed already
  Tokens found_in_parts = 0;    // of those, in blocks of which a part was copied
  BlockCount asked_blocks = 0;  // whole blocks of those texts
  BlockCount found_blocks = 0;
  BlockCount inserted_blocks = 0;  // entered the index
  BlockCount part_blocks = 0;      // of those that a text filled in part
  BlockCount known_blocks = 0;     // not entered: the same text was there already
  BlockCount refused_blocks = 0;   // not entered: not admitted, or behind one that was not
  BlockCount evicted_blocks = 0;
  std::int64_t texts_kept = 0;      // pinned at their request's end (Request::keep_for)
  std::int64_t texts_not_kept = 0;  // not pinned: pins would have taken too much of the pool

  [[nodiscard]] double token_hit_ratio() const {
    return ratio(found_tokens.value, asked_tokens.value);
  }
  [[nodiscard]] double block_hit_ratio() const {
    return ratio(found_blocks.value, asked_blocks.value);
  }
  friend bool operator==(const PrefixStatistics&, const PrefixStatistics&) = default;

 private:
  static double ratio(std::int64_t part, std::int64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

}  // namespace quire
