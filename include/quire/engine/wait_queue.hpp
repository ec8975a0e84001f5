#pragma once

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// How the engine behind `plane` ranks groups that wait, at the moment: as plain functions, so that its
/// queues compile once for all schedulers.
struct WaitOrder {
  const void* plane = nullptr;
  Seconds now = 0.0;
  double (*rank)(const void* plane, const SequenceGroup&) = nullptr;
  /// Until when the first group, which stands before the second, will do so at the least.
  Seconds (*stands_until)(const void* plane, const SequenceGroup&, const SequenceGroup&) = nullptr;
};

/// Earlier arrival first; a total order.
struct EarlierArrival {
  bool operator()(const SequenceGroup* a, const SequenceGroup* b) const {
    if (a->timeline.arrival != b->timeline.arrival) {
      return a->timeline.arrival < b->timeline.arrival;
    }
    return a->request.id < b->request.id;
  }
};

/// The order of groups by the ranks that are noted in them, ties by arrival.
struct NotedOrder {
  bool operator()(const SequenceGroup* a, const SequenceGroup* b) const {
    return a->rank != b->rank ? a->rank < b->rank : EarlierArrival{}(a, b);
  }
};

/// Groups that wait, in an order that is sorted anew where ranks change.
class SortedQueue {
 public:
  [[nodiscard]] bool empty() const { return groups_.empty(); }
  [[nodiscard]] std::size_t size() const { return groups_.size(); }
  [[nodiscard]] SequenceGroup* front() const { return groups_.front(); }
  /// The first group, then one after the other; nullptr at the end. \pre unchanged since first()
  [[nodiscard]] SequenceGroup* first() {
    at_ = 0;
    return next();
  }
  [[nodiscard]] SequenceGroup* next() { return at_ < groups_.size() ? groups_[at_++] : nullptr; }

  [[nodiscard]] std::deque<SequenceGroup*>& groups() { return groups_; }
  /// \complexity O(1) for the first.
  void erase(const SequenceGroup& group) {
    const auto at = std::find(groups_.begin(), groups_.end(), &group);
    assert(at != groups_.end());
    groups_.erase(at);
  }

 private:
  std::deque<SequenceGroup*> groups_;
  std::size_t at_ = 0;
};

/// Groups that wait under a scheduler that says how long they keep their order: a kinetic tournament.
///
/// Each match of a binary tree of groups notes who stands first and until when that is certain; as time
/// passes, only matches whose time has come are played again. Where groups of a client share a rank that
/// changes when the client is charged, who plays are clients, each with a queue of its own by arrival, and
/// a client's rank is noted when refresh() finds that it was charged: as with sorting, ranks that change
/// while a step is planned count from the next one on.
/// \complexity insert, erase O(log groups); refresh O(log groups) a match to be played again and a client
/// charged; next() O(log groups).
/// \source Basch, Guibas, Hershberger, "Data structures for mobile data", SODA '97 (kinetic tournament).
class TournamentQueue {
 public:
  /// by_client: groups of a client share a rank.
  explicit TournamentQueue(bool by_client) : by_client_(by_client) {}

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// \pre not empty
  [[nodiscard]] SequenceGroup* front() const { return heads_[winner_[1]]; }

  /// \pre waits in no queue
  void insert(SequenceGroup& group, const WaitOrder& order) {
    ++size_;
    if (!by_client_) {
      group.slot = free_.empty() ? open(order) : free_.back();
      if (!free_.empty()) free_.pop_back();
      heads_[group.slot] = &group;
    } else {
      const auto [client, is_new] = clients_.try_emplace(group.request.tenant, std::uint32_t{});
      if (is_new) client->second = open(order);
      group.slot = client->second;
      Queue& queue = queues_[group.slot];
      queue.insert(&group);
      heads_[group.slot] = *queue.begin();
      if (queue.size() == 1) noted_[group.slot] = order.rank(order.plane, group);
    }
    replay(group.slot, order);
  }
  void erase(const SequenceGroup& group, const WaitOrder& order) {
    --size_;
    if (!by_client_) {
      heads_[group.slot] = nullptr;
      free_.push_back(group.slot);
    } else {
      Queue& queue = queues_[group.slot];
      queue.erase(const_cast<SequenceGroup*>(&group));
      heads_[group.slot] = queue.empty() ? nullptr : *queue.begin();
    }
    replay(group.slot, order);
  }
  /// The client of a group was charged.
  void charged(const SequenceGroup& group) {
    const auto client = clients_.find(group.request.tenant);
    if (client == clients_.end() || std::exchange(is_charged_[client->second], true)) return;
    charged_.push_back(client->second);
  }
  /// Who waits at a slot, nullptr for nobody; slots are below slots(). \pre not by client
  [[nodiscard]] SequenceGroup* at(std::uint32_t slot) const { return heads_[slot]; }
  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(heads_.size()); }
  /// The rank of a group that waits has changed. \pre not by client
  void changed(const SequenceGroup& group, const WaitOrder& order) { replay(group.slot, order); }
  /// Brings the order up to now.
  void refresh(const WaitOrder& order) {
    for (const std::uint32_t slot : charged_) {
      is_charged_[slot] = false;
      if (heads_[slot] == nullptr) continue;
      const double rank = order.rank(order.plane, *heads_[slot]);
      if (std::exchange(noted_[slot], rank) != rank) replay(slot, order);
    }
    charged_.clear();
    if (size_ > 1) refresh(1, order);
  }

  /// The first group, then one after the other until nullptr; ranks are noted in them.
  /// \pre refreshed at order.now; for next(), unchanged since first(), and not at the end
  [[nodiscard]] SequenceGroup* first(const WaitOrder& order) {
    next_.clear();
    if (size_ == 0) return nullptr;
    last_ = {front(), 1};
    last_.group->rank = rank(last_.group->slot, order);
    return last_.group;
  }
  [[nodiscard]] SequenceGroup* next(const WaitOrder& order) {
    std::size_t node = last_.node;
    while (node < leaves_) {  // those that the last one won against
      const std::size_t left = 2 * node, winner = winner_[node];
      const std::size_t down = winner_[left] == winner ? left : left + 1;
      if (winner_[down ^ 1] != none) push(down ^ 1, heads_[winner_[down ^ 1]], order);
      node = down;
    }
    if (by_client_) {  // the client's next
      const Queue& queue = queues_[last_.group->slot];
      const auto after = queue.upper_bound(last_.group);
      if (after != queue.end()) push(node, *after, order);
    }
    if (next_.empty()) return nullptr;
    std::pop_heap(next_.begin(), next_.end(), later);
    last_ = next_.back();
    next_.pop_back();
    return last_.group;
  }

 private:
  using Queue = std::set<SequenceGroup*, EarlierArrival>;
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  static constexpr double never = std::numeric_limits<double>::infinity();
  struct Candidate {
    SequenceGroup* group = nullptr;
    std::size_t node = 0;
  };

  /// A new slot; the tree doubles when there is none.
  [[nodiscard]] std::uint32_t open(const WaitOrder& order) {
    const std::size_t slot = heads_.size();
    heads_.push_back(nullptr);
    if (by_client_) {
      queues_.emplace_back();
      noted_.push_back(0);
      is_charged_.push_back(false);
    }
    if (slot < leaves_) return static_cast<std::uint32_t>(slot);
    leaves_ = std::bit_ceil(slot + 1);
    winner_.assign(2 * leaves_, none);
    until_.assign(2 * leaves_, never);
    for (std::size_t i = 0; i < slot; ++i) winner_[leaves_ + i] = leaf(i);
    for (std::size_t node = leaves_; node-- > 1;) play(node, order);
    return static_cast<std::uint32_t>(slot);
  }
  [[nodiscard]] std::uint32_t leaf(std::size_t slot) const {
    return heads_[slot] == nullptr ? none : static_cast<std::uint32_t>(slot);
  }
  [[nodiscard]] double rank(std::uint32_t slot, const WaitOrder& order) const {
    return by_client_ ? noted_[slot] : order.rank(order.plane, *heads_[slot]);
  }
  void push(std::size_t node, SequenceGroup* group, const WaitOrder& order) {
    group->rank = rank(group->slot, order);
    next_.push_back({group, node});
    std::push_heap(next_.begin(), next_.end(), later);
  }
  static bool later(const Candidate& a, const Candidate& b) {
    return NotedOrder{}(b.group, a.group);
  }
  void play(std::size_t node, const WaitOrder& order) {
    const std::uint32_t a = winner_[2 * node], b = winner_[2 * node + 1];
    until_[node] = std::min(until_[2 * node], until_[2 * node + 1]);
    if (a == none || b == none) {
      winner_[node] = a == none ? b : a;
      return;
    }
    const double ra = rank(a, order), rb = rank(b, order);
    const bool first = ra != rb ? ra < rb : EarlierArrival{}(heads_[a], heads_[b]);
    winner_[node] = first ? a : b;
    if (order.stands_until == nullptr) return;
    const Seconds certain =
        order.stands_until(order.plane, *heads_[first ? a : b], *heads_[first ? b : a]);
    until_[node] = std::min(until_[node], certain.value);
  }
  void replay(std::size_t slot, const WaitOrder& order) {
    std::size_t node = leaves_ + slot;
    winner_[node] = leaf(slot);
    while ((node /= 2) > 0) play(node, order);
  }
  void refresh(std::size_t node, const WaitOrder& order) {
    if (node >= leaves_ || until_[node] > order.now.value) return;
    refresh(2 * node, order);
    refresh(2 * node + 1, order);
    play(node, order);
  }

  bool by_client_;
  std::size_t size_ = 0, leaves_ = 0;
  std::vector<SequenceGroup*> heads_;  // by slot: who plays for it
  std::vector<std::uint32_t> winner_;  // by node: its subtree's first slot; leaves come last
  std::vector<double> until_;        // by node: when a match of its subtree has to be played again
  std::vector<std::uint32_t> free_;  // slots
  Candidate last_;                   // who was looked at last
  std::vector<Candidate> next_;      // heap: who may be the next one

  std::unordered_map<TenantId, std::uint32_t> clients_;  // their slots
  std::vector<Queue> queues_;                            // by slot
  std::vector<double> noted_;                            // by slot: rank
  std::vector<char> is_charged_;                         // by slot: in charged_
  std::vector<std::uint32_t> charged_;                   // slots, since the last refresh
};

}  // namespace quire
