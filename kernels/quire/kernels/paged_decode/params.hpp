#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/kernels/kv_access.hpp>

namespace quire::kernels {

/// One block of work of a decode step: some tokens of one sequence, for one KV head.
struct DecodeWork {
  std::uint32_t sequence = 0;
  std::int32_t begin = 0, end = 0;  // tokens attended to
  std::int32_t partial = -1;  // where the partial result goes; -1: the work is a whole sequence
  std::uint32_t first = 1;    // whether it begins the sequence's tokens: a sink counts once
};

/// A sequence whose partial results are to be merged.
struct MergeWork {
  std::uint32_t sequence = 0;
  std::uint32_t begin = 0, count = 0;  // partials [begin, begin + count)
};

template <class Query, class Variant>
struct PagedDecodeParams {
  const Query* q = nullptr;  // \shape (sequences, heads, head_dim), rows q_stride elements apart
  std::size_t q_stride = 0;
  Query* out = nullptr;  // \shape (sequences, heads, head_dim), rows out_stride elements apart
  std::size_t out_stride = 0;
  KvPool cache;
  const std::uint32_t* blocks = nullptr;  // \shape (entries): all block tables, one after another
  const std::uint32_t* table_begin = nullptr;  // \shape (sequences): where each table begins
  const std::int32_t* lengths = nullptr;  // \shape (sequences): tokens, the query's own included
  const DecodeWork* work = nullptr;       // \shape (grid.x)
  float* partial = nullptr;               // \shape (partials, heads, head_dim)
  float* partial_lse = nullptr;           // \shape (partials, heads), base 2
  std::uint32_t heads = 0;
  float scale = 1;  // of the product of query and key
  Variant variant{};
};

}  // namespace quire::kernels
