#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/kernels/kv_access.hpp>

namespace quire::kernels {

/// One sequence's queries in a batch: rows [row, row + rows) are the positions [position,
/// position + rows); keys and values up to the last of them are in the blocks.
struct PrefillSequence {
  std::uint32_t row = 0, rows = 0;
  std::int32_t position = 0;
  std::uint32_t table_begin = 0;  // where its block table begins
};

/// One block of work: query vectors [first, first + tile) of (rows, group) of one sequence, for one
/// KV head.
struct PrefillWork {
  std::uint32_t sequence = 0, first = 0;
};

template <class Query, class Variant>
struct PagedPrefillParams {
  const Query* q = nullptr;  // \shape (rows, heads, head_dim), rows q_stride elements apart
  std::size_t q_stride = 0;
  Query* out = nullptr;  // \shape (rows, heads, head_dim), rows out_stride elements apart
  std::size_t out_stride = 0;
  KvPool cache;
  const std::uint32_t* blocks = nullptr;       // \shape (entries): all block tables
  const PrefillSequence* sequences = nullptr;  // \shape (sequences)
  const PrefillWork* work = nullptr;           // \shape (grid.x)
  std::uint32_t heads = 0;
  float scale = 1;  // of the product of query and key
  Variant variant{};
};

/// Sequences that share their first tokens: their queries attend to them together.
struct PrefixGroup {
  std::uint32_t members = 0, rows = 0;  // its rows are members[members, members + rows)
  std::uint32_t table_begin = 0;        // a block table that begins with the shared tokens
};

/// One block of work: query vectors [first, first + tile) of (rows, group) of one group, over
/// tokens [begin, end) of its prefix, for one KV head.
struct PrefixWork {
  std::uint32_t group = 0, first = 0;
  std::int32_t begin = 0, end = 0;
  std::uint32_t part = 0;  // which of the prefix's parts that is
};

template <class Query, class Variant>
struct SharedPrefixParams {
  const Query* q = nullptr;  // \shape (sequences, heads, head_dim), rows q_stride elements apart
  std::size_t q_stride = 0;
  KvPool cache;
  const std::uint32_t* blocks = nullptr;         // \shape (entries): all block tables
  const PrefixGroup* groups = nullptr;           // \shape (groups)
  const PrefixWork* work = nullptr;              // \shape (grid.x)
  const std::uint32_t* members = nullptr;        // \shape (rows of all groups): sequences
  const std::uint32_t* first_partial = nullptr;  // \shape (rows of all groups)
  const std::int32_t* lengths = nullptr;         // \shape (sequences): the query's own included
  float* partial = nullptr;                      // \shape (partials, heads, head_dim)
  float* partial_lse = nullptr;                  // \shape (partials, heads), base 2
  std::uint32_t heads = 0;
  float scale = 1;  // of the product of query and key
  Variant variant{};
};

/// Tiles of all sequences, those that see the most tokens first. \complexity O(tiles log tiles)
[[nodiscard]] inline std::vector<PrefillWork> plan_prefill(
    std::span<const PrefillSequence> sequences, std::uint32_t group, std::uint32_t tile) {
  std::vector<PrefillWork> work;
  for (std::uint32_t s = 0; s < sequences.size(); ++s) {
    for (std::uint32_t first = 0; first < sequences[s].rows * group; first += tile) {
      work.push_back({s, first});
    }
  }
  const auto sees = [&](const PrefillWork& w) {
    const PrefillSequence& s = sequences[w.sequence];
    return static_cast<std::int64_t>(s.position) +
           std::min(s.rows - 1, (w.first + tile - 1) / group);
  };
  std::stable_sort(work.begin(), work.end(),
                   [&](const PrefillWork& a, const PrefillWork& b) { return sees(a) > sees(b); });
  return work;
}

}  // namespace quire::kernels
