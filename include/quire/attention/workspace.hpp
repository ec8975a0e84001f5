#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/simd.hpp>

namespace quire::attention {

/// Keys per pass of the kernel. Passes start at multiples of it in the sequence, whatever the block
/// size, so that sums are always formed in the same order.
inline constexpr std::size_t tile_tokens = 64;
/// Query vectors (positions times query heads of one KV head) per task: they share what is read.
inline constexpr std::size_t tile_queries = 48;
/// Keys whose weighted values are summed by themselves before the sums are merged: long sequences can
/// then be shared out among threads without changing a bit. A multiple of tile_tokens.
inline constexpr std::size_t span_tokens = 2048;

namespace detail {
/// The query vectors of one task: rows [first, first + count) of (positions, group) of one sequence
/// and KV head, or all of several sequences, `sequence` the first of them.
struct Task {
  std::size_t sequence = 0;
  std::size_t kv_head = 0;
  std::size_t first = 0;
  std::size_t count = 0;
  std::span<const std::uint32_t> members{};  // none: the sequence alone
};

/// Tasks [begin, end) take turns, in all their keys or, where there are results, in one span of them.
struct Turn {
  std::size_t begin = 0, end = 0;
  std::size_t span = 0;
};

/// How a call is cut up and shared out.
struct Shares {
  std::vector<Task> tasks;
  std::vector<Turn> turns, parts;
  std::vector<std::size_t> results;  // where a task's begin
  // Keys that several sequences share (SharedPrefixes): tasks of them, the sequences that those name, how
  // many keys each sequence has in them, and its first task.
  std::vector<Task> shared_tasks;
  std::vector<std::uint32_t> members;
  std::vector<std::size_t> shared_keys;
  std::vector<std::size_t> first_task;
};
}  // namespace detail

/// Working memory of the kernel, one part per thread; kept by the caller from call to call.
class Workspace {
 public:
  /// Floats that a kernel needs while it works on a tile.
  static std::size_t scratch_floats(std::size_t head_dim) {
    const std::size_t padded = simd::round_up(head_dim, 16);
    return 3 * tile_tokens * padded      // transposed keys, rows of keys or values
           + tile_queries * tile_tokens  // scores
           + 2 * padded;                 // zeros
  }
  /// Floats that a kernel keeps from tile to tile, for so many query vectors.
  static std::size_t state_floats(std::size_t head_dim, std::size_t queries) {
    const std::size_t padded = simd::round_up(head_dim, 16);
    const std::size_t each = 4 * padded  // query as row and as column, sums of a span, sums of all
                             + 4         // maximum and total, of a span and of all
                             + (padded + 16);  // query as whole numbers
    return simd::round_up(queries * each, 16);
  }
  /// Floats of one thread's part for the given head size.
  static std::size_t floats(std::size_t head_dim) {
    return scratch_floats(head_dim) + state_floats(head_dim, tile_queries);
  }
  /// extra: floats that a thread needs besides.
  void reserve(std::size_t threads, std::size_t head_dim, std::size_t extra = 0) {
    kernel_ = simd::round_up(floats(head_dim), 16);
    part_ = kernel_ + simd::round_up(extra, 16);
    if (memory_.size() < part_ * threads) memory_ = AlignedArray<float>(part_ * threads);
  }
  [[nodiscard]] float* part(std::size_t thread) { return memory_.data() + thread * part_; }
  [[nodiscard]] float* extra(std::size_t thread) { return part(thread) + kernel_; }

  /// What spans of long sequences give before they are merged.
  [[nodiscard]] float* spans(std::size_t floats) {
    if (spans_.size() < floats) spans_ = AlignedArray<float>(floats);
    return spans_.data();
  }
  /// Lists of the call at hand; what they held before is lost.
  [[nodiscard]] detail::Shares& shares() { return shares_; }

 private:
  AlignedArray<float> memory_, spans_;
  detail::Shares shares_;
  std::size_t part_ = 0, kernel_ = 0;
};

}  // namespace quire::attention
