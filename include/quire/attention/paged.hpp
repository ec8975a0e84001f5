#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <optional>
#include <vector>

#include <quire/attention/concepts.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/task_kernel.hpp>
#include <quire/attention/workspace.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/codec.hpp>

namespace quire::attention {

namespace detail {
/// Cuts a batch into tasks.
inline void find_tasks(const Queries& queries, std::size_t kv_heads, std::vector<Task>& tasks) {
  const std::size_t group = queries.heads / kv_heads;
  tasks.clear();
  for (std::size_t s = 0; s < queries.sequences.size(); ++s) {
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

/// Calls body(i, worker) for i in [0, count); whoever is free takes the next.
template <class Body>
void share_out(std::size_t count, ThreadPool& threads, const Body& body) {
  std::atomic<std::size_t> next{0};
  threads.parallel_for(std::min(threads.size(), count), [&](std::size_t worker) {
    for (std::size_t i = next++; i < count; i = next++) body(i, worker);
  });
}
}  // namespace detail

/// Attention of a ragged batch straight from the block tables: decoding, chunks of prompts and
/// whole prompts in one pass. Query heads that share a KV head are computed together, so that each
/// key and value is read once for all of them. A few long sequences are shared out along their context.
/// A row's bits depend on its query, its position and the keys and values before it: not on the
/// block size, on where a chunk begins, on the rest of the batch or on the number of threads.
/// \pre keys and values of all rows are written; heads % kv_heads == 0
template <kv_format::KvStorage Format, AttentionVariant Variant>
void paged(const KvView<const std::byte>& cache, const Queries& queries, const Variant& variant,
           Workspace& workspace, ThreadPool& threads) {
  detail::Shares& shares = workspace.shares();
  std::vector<detail::Task>& tasks = shares.tasks;
  detail::find_tasks(queries, cache.kv_heads, tasks);
  const KvView<const std::byte> view = cache.template with_codec<Format>();
  using Kernel = detail::TaskKernel<kv_format::storage_of<Format>, Variant>;
  const std::size_t state = Workspace::state_floats(cache.head_dim, detail::few_queries);
  const std::size_t most = detail::together(view, detail::most_together);
  workspace.reserve(threads.size(), cache.head_dim, most * state);
  const auto kernel = [&](const detail::Task& task, std::size_t worker) {
    return Kernel(view, queries, variant, task, detail::TableKeys{}, workspace.part(worker));
  };
  // Lets tasks take turns: begin(kernel), then step by step, then end(task, kernel).
  const auto take_turns = [&](const detail::Turn& turn, std::size_t worker, const auto& begin,
                              const auto& end) {
    std::array<std::optional<Kernel>, detail::most_together> heads;
    const std::size_t count = turn.end - turn.begin;
    for (std::size_t h = 0; h < count; ++h) {
      const detail::Task& task = tasks[turn.begin + h];
      if (count == 1) {
        heads[h].emplace(view, queries, variant, task, detail::TableKeys{}, workspace.part(worker));
      } else {
        heads[h].emplace(view, queries, variant, task, detail::TableKeys{}, workspace.part(worker),
                         workspace.extra(worker) + h * state);
      }
      begin(*heads[h]);
    }
    for (bool more = true; more;) {
      for (std::size_t h = 0; h < count; ++h) more = heads[h]->step();
    }
    for (std::size_t h = 0; h < count; ++h) end(turn.begin + h, *heads[h]);
  };
  std::vector<detail::Turn>& turns = shares.turns;
  detail::find_turns(tasks, most, turns);
  if (turns.size() < 4 * threads.size() && threads.size() > 1) {
    // Few turns: their spans are computed one by one, by whoever is free, and merged in order.
    std::size_t floats = 0, all_spans = 0;
    std::vector<std::size_t>& at = shares.results;
    at.clear();
    for (const detail::Task& task : tasks) {
      const Kernel one = kernel(task, 0);
      const auto [first, last] = one.spans();
      at.push_back(floats);
      floats += (last - first) * one.span_floats();
      all_spans += last - first;
    }
    if (all_spans > tasks.size()) {
      std::vector<detail::Turn>& parts = shares.parts;
      for (std::size_t few = most;; few = (few + 1) / 2) {
        parts.clear();
        detail::find_turns(tasks, few, turns);
        for (const detail::Turn& turn : turns) {
          const auto [first, last] = kernel(tasks[turn.begin], 0).spans();
          for (std::size_t s = first; s < last; ++s) parts.push_back({turn.begin, turn.end, s});
        }
        if (few == 1 || parts.size() >= 2 * threads.size()) break;
      }
      float* results = workspace.spans(floats);
      detail::share_out(parts.size(), threads, [&](std::size_t i, std::size_t worker) {
        const std::size_t span = parts[i].span;
        take_turns(
            parts[i], worker, [&](Kernel& head) { head.begin_span(span); },
            [&](std::size_t task, Kernel& head) {
              const std::size_t before = span - head.spans().first;
              head.finish_span(results + at[task] + before * head.span_floats());
            });
      });
      detail::share_out(tasks.size(), threads, [&](std::size_t i, std::size_t worker) {
        Kernel task = kernel(tasks[i], worker);
        const auto [first, last] = task.spans();
        task.merge(results + at[i], last - first);
      });
      return;
    }
    detail::find_turns(
        tasks, detail::together(view, std::max<std::size_t>(1, tasks.size() / threads.size())),
        turns);
  }
  // Longest first would balance better; in order keeps neighbours in the cache.
  detail::share_out(turns.size(), threads, [&](std::size_t i, std::size_t worker) {
    take_turns(
        turns[i], worker, [](Kernel& head) { head.begin(); },
        [](std::size_t, Kernel& head) { head.finish(); });
  });
}

}  // namespace quire::attention
