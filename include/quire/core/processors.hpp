#pragma once

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

#include <quire/core/error.hpp>

namespace quire {

/// A logical processor, with the first one of its core and the memory that is nearest to it.
struct Processor {
  int id = 0;
  int core = 0;
  int node = 0;
  friend bool operator==(const Processor&, const Processor&) = default;
};

/// Where each thread of a pool runs. \shape processors, nodes (threads); nodes count from 0 upwards
/// without a gap
struct ThreadPlaces {
  std::vector<int> processors;  // -1: wherever the system puts it
  std::vector<std::size_t> nodes;

  ThreadPlaces() = default;
  explicit ThreadPlaces(std::size_t threads) : processors(threads, -1), nodes(threads) {}
  [[nodiscard]] std::size_t node_count() const {
    return nodes.empty() ? 1 : 1 + *std::max_element(nodes.begin(), nodes.end());
  }
};

/// Numbers of a list as Linux writes them, such as "0-3,8"; empty for what is none.
[[nodiscard]] inline std::vector<int> parse_processor_list(std::string_view text) {
  std::vector<int> out;
  const auto number = [&text]() -> std::optional<int> {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || value < 0 || value > 1 << 20) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
  };
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  while (!text.empty()) {
    const std::optional<int> first = number();
    std::optional<int> last = first;
    if (first && text.starts_with('-')) {
      text.remove_prefix(1);
      last = number();
    }
    if (!first || !last || *last < *first) return {};
    for (int i = *first; i <= *last; ++i) out.push_back(i);
    if (text.empty()) break;
    if (!text.starts_with(',') || text.size() == 1) return {};
    text.remove_prefix(1);
  }
  return out;
}

/// Places so many threads: each on a core of its own while there are any, as many to each node as its
/// neighbours get, neighbours on the same node.
/// \errors usage: more threads than processors, or none of either
[[nodiscard]] inline ThreadPlaces place_threads(std::size_t threads,
                                                std::vector<Processor> processors) {
  if (threads == 0 || threads > processors.size()) {
    throw usage_error(
        "pin_threads", std::to_string(threads) + " threads cannot have a processor each",
        processors.empty()
            ? "a system that tells which there are"
            : "at most " + std::to_string(processors.size()) + ", as many as there are");
  }
  // Within a node: first one processor of each core, then the others.
  std::sort(processors.begin(), processors.end(), [](const Processor& a, const Processor& b) {
    return std::tuple(a.node, a.core, a.id) < std::tuple(b.node, b.core, b.id);
  });
  std::vector<std::vector<int>> nodes;
  for (std::size_t i = 0; i < processors.size();) {
    std::vector<std::pair<std::size_t, int>> order;  // how many of its core come before it
    const int node = processors[i].node;
    for (std::size_t of_core = 0; i < processors.size() && processors[i].node == node; ++i) {
      const bool same = !order.empty() && processors[i].core == processors[i - 1].core;
      of_core = same ? of_core + 1 : 0;
      order.emplace_back(of_core, processors[i].id);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    nodes.emplace_back();
    for (const auto& [before, id] : order) nodes.back().push_back(id);
  }
  // Round about until all have a place: a node that is full is passed over.
  std::vector<std::size_t> taken(nodes.size());
  for (std::size_t placed = 0, n = 0; placed < threads; n = (n + 1) % nodes.size()) {
    if (taken[n] < nodes[n].size()) ++taken[n], ++placed;
  }
  ThreadPlaces out;
  std::size_t used = 0;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    for (std::size_t i = 0; i < taken[n]; ++i) {
      out.processors.push_back(nodes[n][i]);
      out.nodes.push_back(used);
    }
    if (taken[n] > 0) ++used;
  }
  return out;
}

namespace detail {
#ifdef __linux__
inline std::atomic<bool> pinned_a_thread{false};
/// What the first thread to be pinned was allowed before.
[[nodiscard]] inline const cpu_set_t& processors_before_pinning() {
  static const cpu_set_t allowed = [] {
    cpu_set_t now;
    CPU_ZERO(&now);
    (void)::pthread_getaffinity_np(::pthread_self(), sizeof now, &now);
    return now;
  }();
  return allowed;
}
/// What the calling thread is pinned by, and what it was allowed before the first of them.
struct Pins {
  int held = 0;
  cpu_set_t before;
};
inline thread_local Pins pins;
#endif
}  // namespace detail

/// The processors that this process may use, whether or not the calling thread is pinned to one of them;
/// none where the system does not tell.
[[nodiscard]] inline std::vector<Processor> processors_of_machine() {
  std::vector<Processor> out;
#ifdef __linux__
  cpu_set_t allowed;
  if (detail::pinned_a_thread.load()) {
    allowed = detail::processors_before_pinning();
  } else if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return out;
  }
  const auto list = [](const std::string& path) {
    std::ifstream file(path);
    std::string text;
    std::getline(file, text);
    return parse_processor_list(text);
  };
  const std::string system = "/sys/devices/system/";
  for (int id = 0; id < CPU_SETSIZE; ++id) {
    if (!CPU_ISSET(id, &allowed)) continue;
    const std::vector<int> core =
        list(system + "cpu/cpu" + std::to_string(id) + "/topology/thread_siblings_list");
    out.push_back({id, core.empty() ? id : core.front(), 0});
  }
  for (const int node : list(system + "node/has_cpu")) {
    const std::vector<int> of_node = list(system + "node/node" + std::to_string(node) + "/cpulist");
    for (Processor& p : out) {
      if (std::find(of_node.begin(), of_node.end(), p.id) != of_node.end()) p.node = node;
    }
  }
#endif
  return out;
}

/// Keeps the thread that makes it, and that ends it, on one processor; -1: wherever it may run. Of several,
/// the newest says where, and the last to end gives the others back.
class PinnedThread {
 public:
  explicit PinnedThread([[maybe_unused]] int processor) {
#ifdef __linux__
    if (processor < 0) return;
    (void)detail::processors_before_pinning();
    detail::pinned_a_thread.store(true);
    cpu_set_t one, before;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(processor), &one);
    pinned_ = ::pthread_getaffinity_np(::pthread_self(), sizeof before, &before) == 0 &&
              ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one) == 0;
    failed_ = !pinned_;
    if (pinned_ && detail::pins.held++ == 0) detail::pins.before = before;
#endif
  }
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;
  ~PinnedThread() {
#ifdef __linux__
    auto& [held, before] = detail::pins;
    if (pinned_ && held > 0 && --held == 0) {
      (void)::pthread_setaffinity_np(::pthread_self(), sizeof before, &before);
    }
#endif
  }

  /// Whether the system did not let it.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
#ifdef __linux__
  bool pinned_ = false;
#endif
  bool failed_ = false;
};

/// For threads that are to run anywhere: they inherit their maker's processor, which has something to do.
inline void leave_pinned_processor() {
#ifdef __linux__
  if (!detail::pinned_a_thread.load()) return;
  const cpu_set_t& allowed = detail::processors_before_pinning();
  (void)::pthread_setaffinity_np(::pthread_self(), sizeof allowed, &allowed);
#endif
}

}  // namespace quire
