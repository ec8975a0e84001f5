#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <quire/attention/paged.hpp>
#include <quire/attention/reference.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/memory/block_table.hpp>

namespace quire::attention::testing {

/// One sequence's random queries, keys and values, dense. \shape q (tokens, heads, head_dim);
/// keys, values (kv_heads, tokens, head_dim)
struct Dense {
  std::size_t tokens, heads, kv_heads, head_dim;
  std::vector<float> q, keys, values;

  Dense(std::size_t t, std::size_t h, std::size_t k, std::size_t d, std::uint64_t seed)
      : tokens(t), heads(h), kv_heads(k), head_dim(d) {
    Rng rng(seed);
    auto fill = [&rng](std::vector<float>& v, std::size_t n) {
      v.resize(n);
      for (float& x : v) x = static_cast<float>(rng.normal());
    };
    fill(q, t * h * d);
    fill(keys, t * k * d);
    fill(values, t * k * d);
  }
};

inline float poison() { return std::numeric_limits<float>::quiet_NaN(); }

/// A pool of blocks full of NaN, into which sequences are written at scattered places.
template <class Format>
class PagedCache {
 public:
  PagedCache(std::size_t blocks, std::size_t block_tokens, std::size_t kv_heads,
             std::size_t head_dim, std::uint64_t seed) {
    const std::size_t slab = Format::slab_bytes(block_tokens, head_dim);
    view_ = {nullptr, 2 * kv_heads * slab, slab, block_tokens, kv_heads, head_dim};
    memory_ = AlignedArray<std::byte>(blocks * view_.block_bytes);
    view_.base = memory_.data();
    const std::vector<float> bad(head_dim, poison());
    for (std::uint32_t b = 0; b < blocks; ++b) {
      free_.push_back({b});
      for (std::size_t h = 0; h < kv_heads; ++h) {
        for (std::size_t t = 0; t < block_tokens; ++t) {
          Format::store(view_.keys({b}, h), block_tokens, head_dim, t, bad.data());
          Format::store(view_.values({b}, h), block_tokens, head_dim, t, bad.data());
        }
      }
    }
    Rng rng(seed);
    for (std::size_t i = free_.size(); i > 1; --i) std::swap(free_[i - 1], free_[rng.below(i)]);
  }

  /// Takes blocks for a sequence and writes tokens [0, tokens) of it.
  std::vector<BlockId> place(const Dense& d, std::size_t tokens) {
    std::vector<BlockId> table;
    for (std::size_t t = 0; t < tokens; t += view_.block_tokens) {
      table.push_back(free_.back());
      free_.pop_back();
    }
    ThreadPool one(1);
    const std::size_t width = d.kv_heads * d.head_dim;
    std::vector<float> k(tokens * width), v(tokens * width);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t h = 0; h < d.kv_heads; ++h) {
        const std::size_t from = (h * d.tokens + t) * d.head_dim;
        std::copy_n(&d.keys[from], d.head_dim, &k[t * width + h * d.head_dim]);
        std::copy_n(&d.values[from], d.head_dim, &v[t * width + h * d.head_dim]);
      }
    }
    const SequenceRows rows{0, tokens, 0, table};
    write_kv<Format>(view_, {&rows, 1}, k.data(), v.data(), width, one);
    return table;
  }
  [[nodiscard]] KvView<const std::byte> view() const {
    return {view_.base,         view_.block_bytes, view_.slab_bytes,
            view_.block_tokens, view_.kv_heads,    view_.head_dim};
  }

 private:
  KvView<std::byte> view_;
  AlignedArray<std::byte> memory_;
  std::vector<BlockId> free_;
};

/// Attention of the last `rows` tokens of `d`, computed in chunks of `chunk` rows through blocks of
/// `block_tokens`. \shape result (rows, heads, head_dim)
template <class Format, class Variant>
std::vector<float> run_paged(const Dense& d, const Variant& variant, std::size_t rows,
                             std::size_t chunk, std::size_t block_tokens, std::size_t threads,
                             float scale = 0.125f) {
  ThreadPool pool(threads);
  Workspace workspace;
  PagedCache<Format> cache(d.tokens / block_tokens + 3, block_tokens, d.kv_heads, d.head_dim, 7);
  const auto table = cache.place(d, d.tokens);
  const std::size_t width = d.heads * d.head_dim;
  std::vector<float> out(rows * width, poison());
  for (std::size_t first = 0; first < rows; first += chunk) {
    const std::size_t position = d.tokens - rows + first;
    const SequenceRows s{first, std::min(chunk, rows - first), static_cast<std::int64_t>(position),
                         table};
    paged<Format>(
        cache.view(),
        {d.q.data() + (d.tokens - rows) * width, width, out.data(), width, d.heads, scale, {&s, 1}},
        variant, workspace, pool);
  }
  return out;
}

/// The same in double. \shape (rows, heads, head_dim)
template <class Variant>
std::vector<double> run_reference(const Dense& d, const Variant& variant, std::size_t rows,
                                  double scale = 0.125) {
  std::vector<double> out;
  for (std::size_t t = d.tokens - rows; t < d.tokens; ++t) {
    for (std::size_t h = 0; h < d.heads; ++h) {
      const std::size_t kv = h / (d.heads / d.kv_heads) * d.tokens * d.head_dim;
      const auto one = reference(variant, h, static_cast<std::int64_t>(t), scale, d.head_dim,
                                 &d.q[(t * d.heads + h) * d.head_dim], &d.keys[kv], &d.values[kv]);
      out.insert(out.end(), one.begin(), one.end());
    }
  }
  return out;
}

inline double largest_error(const std::vector<float>& a, const std::vector<double>& b) {
  double error = a.size() == b.size() ? 0 : 1e30;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double e = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(e <= error)) error = e;  // a NaN counts
  }
  return error;
}

}  // namespace quire::attention::testing
