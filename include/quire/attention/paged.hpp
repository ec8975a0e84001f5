#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <quire/attention/concepts.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/shared_prefix.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/codec.hpp>

namespace quire::attention {

namespace detail {
/// Cuts a batch into tasks.
inline void find_tasks(const Queries& queries, std::size_t kv_heads, Shares& shares) {
  const std::size_t group = queries.heads / kv_heads;
  std::vector<Task>& tasks = shares.tasks;
  tasks.clear();
  shares.first_task.clear();
  for (std::size_t s = 0; s < queries.sequences.size(); ++s) {
    shares.first_task.push_back(tasks.size());
    const std::size_t vectors = queries.sequences[s].rows * group;
    for (std::size_t first = 0; first < vectors; first += tile_queries) {
      for (std::size_t h = 0; h < kv_heads; ++h) {
        tasks.push_back({s, h, first, std::min(tile_queries, vectors - first)});
      }
    }
  }
}

/// Heads whose tasks take turns, tile by tile, and the most query vectors that such a task may have.
inline constexpr std::size_t most_together = 8, few_queries = 8;
/// Bytes that they may fetch ahead: a part of a second-level cache.
inline constexpr std::size_t bytes_together = std::size_t{192} << 10;
/// Heads of a sequence that one thread should take together, `most` or fewer.
[[nodiscard]] inline std::size_t together(const KvView<const std::byte>& cache, std::size_t most) {
  const std::size_t values =
      cache.value_slab_bytes == 0 ? cache.slab_bytes : cache.value_slab_bytes;
  const std::size_t tile = (cache.slab_bytes + values) / cache.block_tokens * tile_tokens;
  most = std::min({most, most_together, cache.kv_heads, bytes_together / tile});
  if (most < 2) return 1;
  const std::size_t parts = (cache.kv_heads + most - 1) / most;  // of about the same size
  return (cache.kv_heads + parts - 1) / parts;
}

/// Neighbouring tasks with the same few queries, `few` at a time.
inline void find_turns(const std::vector<Task>& tasks, std::size_t few, std::vector<Turn>& turns) {
  turns.clear();
  for (std::size_t i = 0; i < tasks.size();) {
    const std::size_t begin = i;
    const Task& first = tasks[i++];
    while (i < tasks.size() && i - begin < few && tasks[i].sequence == first.sequence &&
           tasks[i].first == first.first && first.count <= few_queries) {
      ++i;
    }
    turns.push_back({begin, i});
  }
}

/// Tasks of keys that several sequences share, as far as all their queries see them, in whole tiles. Tokens
/// that lie beside their blocks are not shared.
template <AttentionVariant Variant>
void find_shared_tasks(const KvView<const std::byte>& cache, const Queries& queries,
                       const Variant& variant, Shares& shares) {
  const std::size_t group = queries.heads / cache.kv_heads;
  shares.shared_tasks.clear();
  shares.members.clear();
  shares.shared_keys.assign(queries.sequences.size(), 0);
  if (queries.shared == nullptr || cache.open != nullptr) return;
  shares.members.reserve(queries.sequences.size());  // tasks point into it
  for (const SharedPrefixes::Group& g : queries.shared->groups()) {
    std::size_t keys = g.blocks * cache.block_tokens;
    const std::size_t begin = shares.members.size();
    for (const std::uint32_t m : queries.shared->members(g)) {
      const SequenceRows& s = queries.sequences[m];
      // More queries than that fill tiles of their own; a window may begin behind shared keys.
      const std::int64_t last = s.position + static_cast<std::int64_t>(s.rows) - 1;
      if (2 * s.rows * group > tile_queries || variant.first_visible(last) > 0) continue;
      if (static_cast<std::size_t>(s.position) + 1 < tile_tokens) continue;
      shares.members.push_back(m);
      keys = std::min(keys, static_cast<std::size_t>(s.position) + 1);
    }
    keys -= keys % tile_tokens;
    const std::size_t end = shares.members.size();
    if (end - begin < 2 || keys == 0) {
      shares.members.resize(begin);
      continue;
    }
    for (std::size_t i = begin; i < end;) {
      std::size_t stop = i, vectors = 0;
      for (; stop < end; ++stop) {
        const std::size_t more = queries.sequences[shares.members[stop]].rows * group;
        if (vectors + more > tile_queries) break;
        vectors += more;
        shares.shared_keys[shares.members[stop]] = keys;
      }
      const std::span members(shares.members.data() + i, stop - i);
      for (std::size_t h = 0; h < cache.kv_heads; ++h) {
        shares.shared_tasks.push_back({members.front(), h, 0, vectors, members});
      }
      i = stop;
    }
  }
}

/// Calls body(i, worker) for i in [0, count); whoever is free takes the next.
template <class Body>
void share_out(std::size_t count, ThreadPool& threads, const Body& body) {
  std::atomic<std::size_t> next{0};
  threads.parallel_for(std::min(threads.size(), count), [&](std::size_t worker) {
    for (std::size_t i = next++; i < count; i = next++) body(i, worker);
  });
}

/// One call of paged(): its parts share what they were given.
template <kv_format::KvStorage Format, AttentionVariant Variant>
class PagedCall {
  using Kernel = TaskKernel<kv_format::storage_of<Format>, Variant>;

 public:
  PagedCall(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
            Workspace& workspace, ThreadPool& threads)
      : view_(cache.template with_codec<Format>()),
        queries_(queries),
        variant_(variant),
        workspace_(workspace),
        shares_(workspace.shares()),
        threads_(threads),
        state_(Workspace::state_floats(cache.head_dim, few_queries)),
        most_(together(view_, most_together)) {
    workspace.reserve(threads.size(), cache.head_dim, most_ * state_);
  }

  void run() {
    find_tasks(queries_, view_.kv_heads, shares_);
    find_turns(shares_.tasks, most_, shares_.turns);
    find_shared_tasks(view_, queries_, variant_, shares_);
    if (!shares_.shared_tasks.empty()) return run_spans();
    if (shares_.turns.size() < 4 * threads_.size() && threads_.size() > 1) {
      std::size_t all = 0;
      for (const Task& task : shares_.tasks) all += spans(task).second - spans(task).first;
      if (all > shares_.tasks.size()) return run_spans();
      const std::size_t each = std::max<std::size_t>(1, shares_.tasks.size() / threads_.size());
      find_turns(shares_.tasks, together(view_, each), shares_.turns);
    }
    // Longest first would balance better; in order keeps neighbours in the cache.
    share_out(shares_.turns.size(), threads_, [&](std::size_t i, std::size_t worker) {
      take_turns(
          shares_.turns[i], worker, [](std::size_t, Kernel& head) { head.begin(); },
          [](std::size_t, Kernel& head) { head.finish(); });
    });
  }

 private:
  [[nodiscard]] Kernel kernel(const Task& task, std::size_t worker) const {
    return Kernel(view_, queries_, variant_, task, TableKeys{}, workspace_.part(worker));
  }
  /// Lets tasks take turns: begin(task, kernel), then step by step, then end(task, kernel).
  template <class Begin, class End>
  void take_turns(const Turn& turn, std::size_t worker, const Begin& begin, const End& end) {
    std::array<std::optional<Kernel>, most_together> heads;
    const std::size_t count = turn.end - turn.begin;
    for (std::size_t h = 0; h < count; ++h) {
      const Task& task = shares_.tasks[turn.begin + h];
      if (count == 1) {
        heads[h].emplace(view_, queries_, variant_, task, TableKeys{}, workspace_.part(worker));
      } else {
        heads[h].emplace(view_, queries_, variant_, task, TableKeys{}, workspace_.part(worker),
                         workspace_.extra(worker) + h * state_);
      }
      begin(turn.begin + h, *heads[h]);
    }
    for (bool more = true; more;) {
      for (std::size_t h = 0; h < count; ++h) more = heads[h]->step();
    }
    for (std::size_t h = 0; h < count; ++h) end(turn.begin + h, *heads[h]);
  }

  /// Spans that a task's queries see, [first, second): they are merged in this order.
  [[nodiscard]] std::pair<std::size_t, std::size_t> spans(const Task& task) const {
    const std::int64_t position = queries_.sequences[task.sequence].position;
    const std::size_t group = queries_.heads / view_.kv_heads;
    const auto of = [&](std::size_t vector) {
      return position + static_cast<std::int64_t>((task.first + vector) / group);
    };
    return {static_cast<std::size_t>(variant_.first_visible(of(0))) / span_tokens,
            static_cast<std::size_t>(of(task.count - 1)) / span_tokens + 1};
  }
  [[nodiscard]] std::size_t shared_keys(const Task& task) const {
    return shares_.shared_keys[task.sequence];
  }
  /// Where a span's result lies. \pre run_spans() laid them out
  [[nodiscard]] float* result(std::size_t task, std::size_t span) const {
    const Task& t = shares_.tasks[task];
    return results_ + shares_.results[task] +
           (span - spans(t).first) * Kernel::span_floats(t.count, view_.head_dim);
  }

  /// Few turns, or shared keys: spans are computed one by one, by whoever is free, and merged in order.
  void run_spans() {
    std::size_t floats = 0;
    shares_.results.clear();
    for (const Task& task : shares_.tasks) {
      const auto [first, last] = spans(task);
      shares_.results.push_back(floats);
      floats += (last - first) * Kernel::span_floats(task.count, view_.head_dim);
    }
    results_ = workspace_.spans(floats);
    add_shared_keys();
    add_own_keys();
    share_out(shares_.tasks.size(), threads_, [&](std::size_t i, std::size_t worker) {
      const auto [first, last] = spans(shares_.tasks[i]);
      kernel(shares_.tasks[i], worker).merge(result(i, first), last - first);
    });
  }
  /// Of all that have them at once. A span that goes on behind them is begun: its result is where its own
  /// keys are added to.
  void add_shared_keys() {
    std::vector<Turn>& parts = shares_.parts;
    parts.clear();
    for (std::size_t t = 0; t < shares_.shared_tasks.size(); ++t) {
      const std::size_t keys = shared_keys(shares_.shared_tasks[t]);
      for (std::size_t s = 0; s * span_tokens < keys; ++s) parts.push_back({t, t + 1, s});
    }
    share_out(parts.size(), threads_, [&](std::size_t i, std::size_t worker) {
      const Task& task = shares_.shared_tasks[parts[i].begin];
      Kernel all = kernel(task, worker);
      all.begin_shared(parts[i].span, shared_keys(task));
      while (all.step()) {
      }
      all.finish_shared([&](std::size_t sequence) {
        return result(shares_.first_task[sequence] + task.kv_head, parts[i].span);
      });
    });
  }
  void add_own_keys() {
    std::vector<Turn>& parts = shares_.parts;
    for (std::size_t few = most_;; few = (few + 1) / 2) {
      parts.clear();
      find_turns(shares_.tasks, few, shares_.turns);
      for (const Turn& turn : shares_.turns) {
        const Task& task = shares_.tasks[turn.begin];
        const auto [first, last] = spans(task);
        for (std::size_t s = std::max(first, shared_keys(task) / span_tokens); s < last; ++s) {
          parts.push_back({turn.begin, turn.end, s});
        }
      }
      if (few == 1 || parts.size() >= 2 * threads_.size()) break;
    }
    share_out(parts.size(), threads_, [&](std::size_t i, std::size_t worker) {
      const std::size_t span = parts[i].span, before = shared_keys(shares_.tasks[parts[i].begin]);
      const bool begun = before > span * span_tokens;
      take_turns(
          parts[i], worker,
          [&](std::size_t task, Kernel& head) {
            head.begin_span(span, before, begun ? result(task, span) : nullptr);
          },
          [&](std::size_t task, Kernel& head) { head.finish_span(result(task, span)); });
    });
  }

  const KvView<const std::byte> view_;
  const Queries& queries_;
  const Variant& variant_;
  Workspace& workspace_;
  Shares& shares_;
  ThreadPool& threads_;
  const std::size_t state_, most_;
  float* results_ = nullptr;
};
}  // namespace detail

/// Attention of a ragged batch straight from the block tables: decoding, chunks of prompts and
/// whole prompts in one pass. Query heads that share a KV head are computed together, so that each
/// key and value is read once for all of them, and so are those that sequences share (queries.shared). A
/// few long sequences are shared out along their context.
/// A row's bits depend on its query, its position and the keys and values before it: not on the
/// block size, on where a chunk begins, on the rest of the batch or on the number of threads.
/// \pre keys and values of all rows are written; heads % kv_heads == 0
template <kv_format::KvStorage Format, AttentionVariant Variant>
void paged(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
           Workspace& workspace, ThreadPool& threads) {
  detail::PagedCall<Format, Variant>(cache, queries, variant, workspace, threads).run();
}

}  // namespace quire::attention
