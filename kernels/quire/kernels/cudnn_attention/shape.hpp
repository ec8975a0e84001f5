#pragma once

#include <cudnn.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <quire/core/float16.hpp>
#include <quire/kernels/kv_access.hpp>

namespace quire::kernels::cudnn {

/// Which tokens a query sees, of those that its sequence has.
enum class Mask {
  whole,       // all: the one query of a decode step is the last token
  from_start,  // query r sees tokens 0 to r: prompts that begin with their sequence
  from_end,    // the last query sees all, each before it one less: chunks of prompts
};

/// What a plan is made for. Numbers of tokens, queries and blocks are those that memory has room for;
/// how many of them a sequence has lies in the device's memory.
/// \unit strides: elements
struct AttentionShape {
  cudnnDataType_t type =
      CUDNN_DATA_BFLOAT16;  // of queries, keys, values and results; or CUDNN_DATA_HALF
  Mask mask = Mask::whole;
  std::int64_t sequences = 0, queries = 0,
               tokens = 0;  // queries and tokens: of a sequence, at most
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t q_stride = 0, out_stride = 0;       // from one query's row to the next
  std::int64_t block_tokens = 0, blocks = 0;       // blocks: of the pool
  std::int64_t block_stride = 0, slab_stride = 0;  // from block to block, and from head to head
  std::int64_t table_stride = 0;                   // from a sequence's block table to the next's

  auto operator<=>(const AttentionShape&) const = default;
  [[nodiscard]] std::int64_t table() const { return (tokens + block_tokens - 1) / block_tokens; }
  [[nodiscard]] std::string name() const {
    const auto n = [](std::int64_t x) { return std::to_string(x); };
    return std::string("cudnn attention ") + (type == CUDNN_DATA_HALF ? "fp16" : "bf16") +
           (mask == Mask::whole        ? " "
            : mask == Mask::from_start ? " causal "
                                       : " causal from the end ") +
           n(sequences) + " x " + n(queries) + " queries, " + n(tokens) + " tokens, heads " +
           n(heads) + " over " + n(kv_heads) + ", head_dim " + n(head_dim) + ", blocks of " +
           n(block_tokens);
  }
};

/// Why cuDNN is not asked for a shape; empty when it is asked.
[[nodiscard]] inline std::string incompatible_because(const AttentionShape& s) {
  if (s.type != CUDNN_DATA_BFLOAT16 && s.type != CUDNN_DATA_HALF) {
    return "cuDNN's paged attention takes bf16 and fp16 alone";
  }
  if (s.kv_heads < 1 || s.heads % s.kv_heads != 0) {
    return "the heads of queries are a multiple of those of keys and values";
  }
  if (s.sequences < 1 || s.queries < 1 || s.tokens < 1 || s.block_tokens < 1 || s.blocks < 1) {
    return "a plan has at least one sequence, query, token and block";
  }
  if (s.head_dim % 8 != 0) return "cuDNN's attention wants head_dim to be a multiple of 8";
  return {};
}

/// The part of a shape that keys and values and their pool give: its strides skip other layers, and the
/// other of keys and values.
template <class Key>
[[nodiscard]] AttentionShape shape_of(const KvPool& pool, std::size_t blocks) {
  static_assert(
      std::is_same_v<typename Key::Stored, typename Key::Query> &&
          (std::is_same_v<typename Key::Query, Bf16> || std::is_same_v<typename Key::Query, Fp16>),
      "quire: kernels: cuDNN's attention takes queries, keys and values of one 16-bit "
      "type; smallest model: kv_format::Bf16 and Bf16 queries");
  const auto elements = [](std::size_t bytes) {
    return static_cast<std::int64_t>(bytes / sizeof(typename Key::Stored));
  };
  AttentionShape s;
  s.type = std::is_same_v<typename Key::Query, Bf16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
  s.kv_heads = pool.kv_heads;
  s.head_dim = Key::head_dim;
  s.block_tokens = Key::block_tokens;
  s.blocks = static_cast<std::int64_t>(blocks);
  s.block_stride = elements(pool.block_bytes);
  s.slab_stride = elements(Key::slab_bytes);
  return s;
}

}  // namespace quire::kernels::cudnn
