#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <string_view>
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

/// Bytes that begin on a line of 64 and end where they end, so that AddressSanitizer sees a read
/// behind the last of them.
class ExactBytes {
 public:
  /// \pre size: a multiple of 64, more than 0
  explicit ExactBytes(std::size_t size = 64)
      : size_(size), data_(static_cast<std::byte*>(std::aligned_alloc(64, size)), &std::free) {}
  [[nodiscard]] std::byte* data() { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::byte& operator[](std::size_t i) { return data_.get()[i]; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

/// A pool whose every byte is 0xff (a NaN wherever nobody wrote), and sequences written into
/// scattered blocks of it; the first sequence begins in the last block, with which the pool ends.
template <class Format, unsigned block_tokens, unsigned head_dim>
struct PagedPool {
  static constexpr std::size_t slab = Format::slab_bytes(block_tokens, head_dim);
  std::size_t kv_heads;
  ExactBytes memory;
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
    memory = ExactBytes(blocks * view.block_bytes);
    std::memset(memory.data(), 0xff, memory.size());
    view.base = memory.data() + 4 * kv_heads * slab;
    free.resize(blocks);
    std::iota(free.begin(), free.end(), 0u);
    for (std::size_t i = blocks; i > 1; --i) std::swap(free[i - 1], free[rng.below(i)]);
    std::swap(free.back(), *std::max_element(free.begin(), free.end()));
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
      : grown(attention::Alibi::slopes_for(heads)), slopes(grown), variant(slopes) {}
  std::vector<float> grown, slopes;  // the copy ends where its last slope does
  attention::Alibi variant;
};
template <>
struct MadeVariant<attention::Sinks> {
  explicit MadeVariant(std::size_t heads) : logits(heads) {
    for (std::size_t h = 0; h < heads; ++h) {
      logits[h] = 0.25f * static_cast<float>(h % 9) - 0.5f;
    }
    variant = attention::Sinks(logits);
  }
  std::vector<float> logits;
  attention::Sinks variant;
};

/// Distances and a sink: a distance that is off by one for every token shows against the sink.
/// (attention::Combined keeps a tuple, which kernels cannot take.)
struct AlibiAndSinks {
  static constexpr std::string_view name = "alibi_and_sinks";
  static constexpr bool transforms_logits = true, has_sink = true;
  attention::Alibi alibi;
  attention::Sinks sinks;
  [[nodiscard]] constexpr std::int64_t first_visible(std::int64_t position) const {
    return sinks.first_visible(position);
  }
  template <class Math>
  [[nodiscard]] typename Math::Value logit(Math math, typename Math::Value s, std::size_t head,
                                           typename Math::Value distance) const {
    return alibi.logit(math, s, head, distance);
  }
  [[nodiscard]] constexpr float sink_logit(std::size_t head) const {
    return sinks.sink_logit(head);
  }
};
static_assert(AttentionVariant<AlibiAndSinks>);
template <>
struct MadeVariant<AlibiAndSinks> {
  explicit MadeVariant(std::size_t heads)
      : alibi(heads), sinks(heads), variant{alibi.variant, sinks.variant} {}
  MadeVariant<attention::Alibi> alibi;
  MadeVariant<attention::Sinks> sinks;
  AlibiAndSinks variant;
};

/// How far a result may lie from the oracle's `expected`: weights and the result itself are rounded
/// to the queries' type where that has 16 bits. Values are standard normal.
template <class Query>
double tolerance(double expected) {
  const double unit = sizeof(Query) == 4 ? 0x1p-19 : std::is_same_v<Query, Bf16> ? 0x1p-9 : 0x1p-12;
  return unit * (4 + 2 * std::abs(expected));
}

}  // namespace quire::kernels::testing
