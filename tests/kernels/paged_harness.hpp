#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include <quire/attention/alibi.hpp>
#include <quire/attention/causal.hpp>
#include <quire/attention/sinks.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/attention/soft_cap.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/kernels/kv_access.hpp>
#include <quire/kernels/paged_decode/reference.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels::testing {

/// A pool whose every byte is 0xff (a NaN wherever nobody wrote), and sequences written into
/// scattered blocks of it.
template <class Format, unsigned block_tokens, unsigned head_dim>
struct PagedPool {
  static constexpr std::size_t slab = Format::slab_bytes(block_tokens, head_dim);
  std::size_t kv_heads;
  AlignedArray<std::byte> memory;
  KvPool view;
  std::vector<std::uint32_t> free, tables, table_begin;
  std::vector<std::int32_t> lengths;
  Rng rng;

  PagedPool(std::size_t heads, const std::vector<std::int32_t>& tokens, std::uint64_t seed)
      : kv_heads(heads), lengths(tokens), rng(seed) {
    std::size_t blocks = 3;
    for (const std::int32_t n : tokens) blocks += blocks_of(n);
    // another layer's slabs lie between the blocks
    view.block_bytes = 3 * 2 * kv_heads * slab;
    view.kv_heads = static_cast<std::uint32_t>(kv_heads);
    memory = AlignedArray<std::byte>(blocks * view.block_bytes);
    std::memset(memory.data(), 0xff, memory.size());
    view.base = memory.data() + 2 * kv_heads * slab;
    free.resize(blocks);
    std::iota(free.begin(), free.end(), 0u);
    for (std::size_t i = blocks; i > 1; --i) std::swap(free[i - 1], free[rng.below(i)]);
    for (const std::int32_t n : tokens) {
      table_begin.push_back(static_cast<std::uint32_t>(tables.size()));
      for (std::size_t b = 0; b < blocks_of(n); ++b) {
        tables.push_back(free.back());
        free.pop_back();
      }
    }
    // a table's end: an index that no pool has
    tables.push_back(0x7fffffffu);
  }
  static std::size_t blocks_of(std::int32_t n) {
    return (static_cast<std::size_t>(n) + block_tokens - 1) / block_tokens;
  }
  [[nodiscard]] std::span<const std::uint32_t> table(std::size_t s) const {
    return std::span(tables).subspan(table_begin[s], blocks_of(lengths[s]));
  }
  std::byte* slab_of(std::size_t s, std::size_t token, std::size_t head, bool values) {
    return view.base + table(s)[token / block_tokens] * view.block_bytes +
           ((values ? kv_heads : 0) + head) * slab;
  }
  /// Writes random tokens [begin, end) of a sequence.
  void fill(std::size_t s, std::size_t begin, std::size_t end) {
    std::vector<float> row(head_dim);
    for (std::size_t t = begin; t < end; ++t) {
      for (std::size_t h = 0; h < kv_heads; ++h) {
        for (const bool values : {false, true}) {
          for (float& x : row) x = static_cast<float>(rng.normal());
          Format::store(slab_of(s, t, h, values), block_tokens, head_dim, t % block_tokens,
                        row.data());
        }
      }
    }
  }
  void fill_visible(const auto& variant) {
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const std::int32_t n = lengths[s];
      if (n > 0) {
        fill(s, static_cast<std::size_t>(variant.first_visible(n - 1)),
             static_cast<std::size_t>(n));
      }
    }
  }
};

/// Arrays end where their last element does, so that AddressSanitizer sees a read beyond it.
template <class T>
std::vector<T> random_array(std::size_t n, Rng& rng) {
  std::vector<T> v(n);
  for (T& x : v) x = from_float<T>(static_cast<float>(rng.normal()));
  return v;
}
template <class T>
std::vector<T> poisoned(std::size_t n) {
  std::vector<T> v(n);
  if (n > 0) std::memset(static_cast<void*>(v.data()), 0xff, n * sizeof(T));
  return v;
}

/// A variant of each kind for a number of heads.
template <class Variant>
struct MadeVariant {
  explicit MadeVariant(std::size_t) {}
  Variant variant;
};
template <>
struct MadeVariant<attention::SlidingWindow> {
  explicit MadeVariant(std::size_t) {}
  attention::SlidingWindow variant{13};
};
template <>
struct MadeVariant<attention::SoftCap> {
  explicit MadeVariant(std::size_t) {}
  attention::SoftCap variant{2.5f};
};
template <>
struct MadeVariant<attention::Alibi> {
  explicit MadeVariant(std::size_t heads)
      : slopes(attention::Alibi::slopes_for(heads)), variant(slopes) {}
  std::vector<float> slopes;
  attention::Alibi variant;
};
template <>
struct MadeVariant<attention::Sinks> {
  explicit MadeVariant(std::size_t heads) {
    for (std::size_t h = 0; h < heads; ++h) {
      logits.push_back(0.25f * static_cast<float>(h % 9) - 0.5f);
    }
    variant = attention::Sinks(logits);
  }
  std::vector<float> logits;
  attention::Sinks variant;
};

/// How far a result may lie from the oracle's `expected`: weights and the result itself are rounded
/// to the queries' type where that has 16 bits. Values are standard normal.
template <class Query>
double tolerance(double expected) {
  const double unit = sizeof(Query) == 4 ? 0x1p-19 : std::is_same_v<Query, Bf16> ? 0x1p-9 : 0x1p-12;
  return unit * (4 + 2 * std::abs(expected));
}

}  // namespace quire::kernels::testing
