#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/stored_block.hpp>
#include <quire/memory/tier_slots.hpp>
#include <quire/prefix_index/concepts.hpp>

namespace quire {

/// What the tiers below the device have done, in blocks, since an engine was made.
struct TierCounters {
  std::int64_t demoted = 0;       // evicted from the device and kept below
  std::int64_t still_below = 0;   // evicted from the device, with a copy below already
  std::int64_t dropped = 0;       // evicted from the device or a tier, and gone
  std::int64_t spilled = 0;       // from the host on to disk
  std::int64_t prefetched = 0;    // from disk to the host, ahead of use
  std::int64_t host_fetched = 0;  // cached blocks brought back to the device
  std::int64_t disk_fetched = 0;
  std::int64_t lost = 0;      // cached blocks whose content turned out not to be what was written
  std::int64_t restored = 0;  // found on disk when the engine was made
};

/// The host and disk tiers as the control plane sees them: slots of swapped sequences, and a cache of
/// the prefix blocks that the device evicts, which go down tier by tier and are found by their text.
///
/// Every text that a tier holds is a node of one prefix index, of the device's own type, over all
/// tiers; so are the texts before it, wherever they are: a chain of blocks may be spread over the
/// device, the host and the disk. A block that is fetched stays below too, and then goes down again
/// for nothing. Slots are numbered through: host first, then disk.
///
/// Within one plan a slot that is written or read stays as it is until the next plan begins, so that
/// the plan's moves can be done in their stated order.
/// \complexity each operation O(1) plus the policies' own, but match: O(blocks of the text).
template <EvictionPolicy Eviction, PrefixIndexPolicy PrefixIndex>
class TieredCache {
 public:
  /// A cached block below the device that continues what the device holds.
  struct Hit {
    std::uint32_t node;
    BlockId slot;  // numbered through
    bool on_disk;
  };

  explicit TieredCache(const KvGeometry& g)
      : rules_(g.tiers),
        host_(g.host_blocks),
        disk_(g.tiers.uses_disk ? g.disk_blocks : BlockCount{0}),
        keeps_(PrefixIndex::enabled && g.tiers.keeps_evicted &&
               host_.capacity() + disk_.capacity() > BlockCount{0}),
        block_tokens_(static_cast<std::size_t>(g.block_tokens.value)),
        // as many texts that are only passed through as texts that are held
        texts_(keeps_ ? 2 * (g.device_blocks + host_.capacity() + disk_.capacity()) : BlockCount{1},
               g.block_tokens) {
    if (!keeps_) return;
    const auto size = [](BlockCount n) { return static_cast<std::size_t>(n.value); };
    nodes_.resize(2 * size(g.device_blocks + host_.capacity() + disk_.capacity()));
    tokens_.resize(nodes_.size() * block_tokens_);
    for (std::size_t n = nodes_.size(); n-- > 0;) {
      free_nodes_.push_back(static_cast<std::uint32_t>(n));
    }
    on_device_.assign(size(g.device_blocks), none);
    fetched_.assign(size(g.device_blocks), none);
    on_host_.assign(size(host_.capacity()), none);
    on_disk_.assign(size(disk_.capacity()), none);
  }

  /// Whether evicted prefix blocks go down a tier.
  [[nodiscard]] bool keeps_evicted() const { return keeps_; }
  [[nodiscard]] const TierSlots<Eviction>& host() const { return host_; }
  [[nodiscard]] const TierSlots<Eviction>& disk() const { return disk_; }
  [[nodiscard]] const TierCounters& counters() const { return counters_; }
  /// Texts known, whether held or passed through.
  [[nodiscard]] std::size_t texts() const { return nodes_.size() - free_nodes_.size(); }

  void begin_step(StepPlan& plan) {
    plan_ = &plan;
    for (const BlockId slot : pinned_) drop_reference(slot);
    pinned_.clear();
  }
  void end_step() { plan_ = nullptr; }

  // ---- slots of swapped sequences -----------------------------------------------------------------

  /// Slots that are free or hold nothing but cached text: at most so many can be had.
  [[nodiscard]] BlockCount room() const {
    return host_.free() + host_.idle() + disk_.free() + disk_.idle();
  }
  /// A slot for a block of a swapped sequence, with one reference; cached text gives way.
  [[nodiscard]] std::optional<BlockId> reserve() {
    if (const auto slot = host_slot()) return slot;
    if (const auto slot = disk_slot()) return below(*slot);
    return std::nullopt;
  }
  [[nodiscard]] std::uint32_t references(BlockId slot) const {
    return is_host(slot) ? host_.references(slot) : disk_.references(disk_of(slot));
  }
  void acquire(BlockId slot) { is_host(slot) ? host_.acquire(slot) : disk_.acquire(disk_of(slot)); }
  /// Drops a reference; a plan that reads the slot is carried out before it is used again.
  void release(BlockId slot) {
    if (keeps_ && plan_ != nullptr) {
      pinned_.push_back(slot);
    } else {
      drop_reference(slot);
    }
  }

  // ---- cached text --------------------------------------------------------------------------------

  /// The device has a new block whose content is not known. \pre take() saw what it evicted before
  void on_allocate(BlockId device) {
    if (keeps_) fetched_[device.value] = none;
  }
  /// A block of the device has entered its prefix index. `text`: all tokens up to its end.
  void on_publish(BlockId device, std::optional<BlockId> parent, std::span<const TokenId> text,
                  std::uint64_t salt, const BlockContext& context) {
    if (!keeps_) return;
    const std::uint32_t before = parent ? on_device_[parent->value] : none;
    if (parent && before == none) return;  // what precedes it was not noted, for lack of room
    const std::span<const TokenId> own = text.last(block_tokens_);
    std::uint32_t n = std::exchange(fetched_[device.value], none);
    if (n == none || !is_text(n, before, own, salt)) n = note(before, own, text, salt, 0);
    if (n == none) return;
    nodes_[n].device = device.value;
    nodes_[n].context = context;
    nodes_[n].context.content = texts_.content(BlockId{n});
    on_device_[device.value] = n;
  }
  /// A block of the device lost its content to make room: it goes down a tier, where it is not there
  /// already.
  void on_evict(BlockId device) {
    if (!keeps_) return;
    const std::uint32_t n = std::exchange(on_device_[device.value], none);
    if (n == none) return;
    if (nodes_[n].host != none || nodes_[n].disk != none) {
      counters_.still_below += 1;
      touch(n);
    } else if (plan_ != nullptr && demote(n, device)) {
      counters_.demoted += 1;
    } else {
      counters_.dropped += 1;
    }
    nodes_[n].device = none;  // last, lest making room for it forgets it
    prune(n);
  }

  /// The blocks of `tokens` from number `from` up to `most` that lie below the device, as far as
  /// they continue one another. Appends to `out`.
  void match(std::span<const TokenId> tokens, std::uint64_t salt, std::size_t from,
             std::size_t most, std::vector<Hit>& out) {
    if (!keeps_ || from >= most) return;
    path_.clear();
    texts_.match(tokens.first(std::min(tokens.size(), most * block_tokens_)), salt, path_);
    for (std::size_t b = from; b < path_.size(); ++b) {
      const Node& node = nodes_[path_[b].value];
      if (node.host != none) {
        out.push_back({path_[b].value, BlockId{node.host}, false});
      } else if (node.disk != none) {
        out.push_back({path_[b].value, below(BlockId{node.disk}), true});
      } else {
        return;
      }
    }
  }
  /// Keeps a hit where it is until the next plan.
  void pin(const Hit& hit) { pin(hit.slot); }
  /// Plans the copy of a hit into a block of the device. \pre pinned
  void fetch(const Hit& hit, BlockId device) {
    plan_->swap_in.push_back({device, hit.slot});
    fetched_[device.value] = hit.node;
    touch(hit.node);
    (hit.on_disk ? counters_.disk_fetched : counters_.host_fetched) += 1;
  }
  /// Plans the copy of a hit on disk to the host, and marks one on the host as used.
  /// False when the host has no room for it. \pre pinned
  bool prefetch(const Hit& hit) {
    if (hit.on_disk) {
      const auto slot = host_slot();
      if (!slot) return false;
      plan_->prefetches.push_back({hit.slot, *slot});
      put_on_host(hit.node, *slot);
      counters_.prefetched += 1;
    }
    touch(hit.node);
    return true;
  }

  /// The content of a slot was not what had been written: a cached text is forgotten.
  void on_lost(BlockId slot) {
    if (!keeps_) return;
    const std::uint32_t n = is_host(slot) ? on_host_[slot.value] : on_disk_[disk_of(slot).value];
    if (n == none) return;
    counters_.lost += 1;
    is_host(slot) ? take_off_host(n) : take_off_disk(n);
    prune(n);
  }

  /// Plans the copy of every cached text that is not on disk to disk, beginnings first, as far as
  /// there is room.
  void persist() {
    if (!keeps_ || disk_.capacity() == BlockCount{0}) return;
    std::vector<std::pair<std::size_t, std::uint32_t>> order;  // (blocks before it, node)
    for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
      const Node& node = nodes_[n];
      if (node.id == 0 || node.disk != none || (node.device == none && node.host == none)) continue;
      std::size_t depth = 0;
      for (std::uint32_t p = node.parent; p != none; p = nodes_[p].parent) ++depth;
      order.emplace_back(depth, n);
    }
    std::sort(order.begin(), order.end());
    for (const auto& [depth, n] : order) {
      const auto slot = disk_slot();
      if (!slot) return;
      const Node& node = nodes_[n];
      if (node.host != none) {
        pin(BlockId{node.host});
        plan_->spills.push_back({BlockId{node.host}, below(*slot)});
      } else {
        plan_->swap_out.push_back({BlockId{node.device}, below(*slot)});
      }
      put_on_disk(n, *slot);
    }
  }

  /// Takes in what an earlier process left on disk. Texts whose beginning is missing are no use and
  /// are left out. Returns how many were taken in. \pre nothing is cached yet
  BlockCount restore(std::span<const StoredBlock> stored) {
    if (!keeps_) return 0;
    std::unordered_map<std::uint64_t, std::vector<std::size_t>> continuations;
    for (std::size_t i = 0; i < stored.size(); ++i) {
      next_id_ = std::max(next_id_, stored[i].id + 1);
      continuations[stored[i].parent].push_back(i);
    }
    std::vector<std::pair<std::size_t, std::uint32_t>> todo;  // (stored, node before)
    std::vector<std::pair<std::uint32_t, BlockId>> found;
    std::vector<BlockId> slots;
    std::vector<bool> taken(on_disk_.size(), false);
    const auto add = [&](std::uint64_t parent, std::uint32_t node) {
      const auto at = continuations.find(parent);
      if (at == continuations.end()) return;
      for (const std::size_t i : at->second) todo.emplace_back(i, node);
      continuations.erase(at);
    };
    add(0, none);
    while (!todo.empty()) {
      const auto [i, before] = todo.back();
      todo.pop_back();
      const StoredBlock& block = stored[i];
      if (block.slot.value >= taken.size() || taken[block.slot.value] || block.id == 0 ||
          block.tokens.size() != block_tokens_) {
        continue;
      }
      const std::uint32_t n = note(before, block.tokens, {}, block.salt, block.id);
      if (n == none) continue;
      taken[block.slot.value] = true;
      slots.push_back(block.slot);
      found.emplace_back(n, block.slot);
      add(block.id, n);
    }
    disk_.claim(slots);
    for (const auto& [n, slot] : found) put(n, slot, disk_, &Node::disk, &Node::disk_children);
    for (const auto& [n, slot] : found) {
      on_disk_[slot.value] = n;
      disk_.release(slot);
    }
    counters_.restored += static_cast<std::int64_t>(found.size());
    return static_cast<std::int64_t>(found.size());
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  /// A text, by its last block. Free nodes have id 0.
  struct Node {
    std::uint64_t id = 0;
    std::uint64_t salt = 0;
    std::uint32_t parent = none;
    std::uint32_t children = 0;
    std::uint32_t host_children = 0, disk_children = 0;  // of them, on that tier
    std::uint32_t device = none, host = none, disk = none;
    BlockContext context{};
  };
  using Place = std::uint32_t Node::*;

  [[nodiscard]] bool is_host(BlockId slot) const {
    return static_cast<std::int64_t>(slot.value) < host_.capacity().value;
  }
  [[nodiscard]] BlockId below(BlockId disk_slot) const {
    return BlockId{disk_slot.value + static_cast<std::uint32_t>(host_.capacity().value)};
  }
  [[nodiscard]] BlockId disk_of(BlockId slot) const {
    return BlockId{slot.value - static_cast<std::uint32_t>(host_.capacity().value)};
  }
  void drop_reference(BlockId slot) {
    is_host(slot) ? host_.release(slot) : disk_.release(disk_of(slot));
  }
  void pin(BlockId slot) {
    acquire(slot);
    pinned_.push_back(slot);
  }

  [[nodiscard]] std::span<TokenId> tokens_of(std::uint32_t n) {
    return std::span(tokens_).subspan(n * block_tokens_, block_tokens_);
  }
  [[nodiscard]] bool is_text(std::uint32_t n, std::uint32_t before, std::span<const TokenId> own,
                             std::uint64_t salt) {
    const Node& node = nodes_[n];
    const auto tokens = tokens_of(n);
    return node.id != 0 && node.parent == before && node.salt == salt &&
           std::equal(own.begin(), own.end(), tokens.begin(), tokens.end());
  }
  /// The node of a text, made where there is none; none when there is no room for one.
  /// text: all tokens up to its end, to find it by, or empty when it cannot be known yet
  std::uint32_t note(std::uint32_t before, std::span<const TokenId> own,
                     std::span<const TokenId> text, std::uint64_t salt, std::uint64_t id) {
    if (free_nodes_.empty()) return none;
    const std::uint32_t n = free_nodes_.back();
    std::optional<BlockId> parent;
    if (before != none) parent = BlockId{before};
    if (!texts_.insert(parent, own, salt, BlockId{n})) {
      path_.clear();
      texts_.match(text, salt, path_);
      const std::size_t blocks = text.size() / block_tokens_;
      return blocks > 0 && path_.size() == blocks ? path_.back().value : none;
    }
    free_nodes_.pop_back();
    nodes_[n] = {};
    nodes_[n].id = id != 0 ? id : next_id_++;
    nodes_[n].salt = salt;
    nodes_[n].parent = before;
    nodes_[n].context.content = texts_.content(BlockId{n});
    std::copy(own.begin(), own.end(), tokens_of(n).begin());
    if (before != none) nodes_[before].children += 1;
    return n;
  }
  /// Forgets a text that is held nowhere and passed through by none, and those before it likewise.
  void prune(std::uint32_t n) {
    while (n != none) {
      Node& node = nodes_[n];
      if (node.device != none || node.host != none || node.disk != none || node.children > 0)
        return;
      const std::uint32_t before = node.parent;
      texts_.erase(BlockId{n});
      node = {};
      free_nodes_.push_back(n);
      if (before != none) nodes_[before].children -= 1;
      n = before;
    }
  }

  void put(std::uint32_t n, BlockId slot, TierSlots<Eviction>& tier, Place place, Place children) {
    Node& node = nodes_[n];
    node.*place = slot.value;
    tier.keep(slot, node.*children, node.context);
    if (node.parent == none) return;
    Node& before = nodes_[node.parent];
    before.*children += 1;
    if (before.*place != none) tier.add_child(BlockId{before.*place});
  }
  void take_off(std::uint32_t n, TierSlots<Eviction>& tier, Place place, Place children) {
    Node& node = nodes_[n];
    tier.forget(BlockId{node.*place});
    node.*place = none;
    if (node.parent == none) return;
    Node& before = nodes_[node.parent];
    before.*children -= 1;
    if (before.*place != none) tier.remove_child(BlockId{before.*place});
  }
  /// \pre slot comes from host_slot(); its reference becomes the plan's
  void put_on_host(std::uint32_t n, BlockId slot) {
    put(n, slot, host_, &Node::host, &Node::host_children);
    on_host_[slot.value] = n;
    pinned_.push_back(slot);
  }
  void take_off_host(std::uint32_t n) {
    on_host_[nodes_[n].host] = none;
    take_off(n, host_, &Node::host, &Node::host_children);
  }
  /// \pre slot comes from disk_slot(); its reference becomes the plan's
  void put_on_disk(std::uint32_t n, BlockId slot) {
    put(n, slot, disk_, &Node::disk, &Node::disk_children);
    on_disk_[slot.value] = n;
    pinned_.push_back(below(slot));
    const Node& node = nodes_[n];
    const std::uint64_t parent = node.parent == none ? 0 : nodes_[node.parent].id;
    plan_->records.push_back({below(slot), node.id, parent, node.salt, tokens_of(n)});
  }
  void take_off_disk(std::uint32_t n) {
    on_disk_[nodes_[n].disk] = none;
    take_off(n, disk_, &Node::disk, &Node::disk_children);
  }
  void touch(std::uint32_t n) {
    const Node& node = nodes_[n];
    if (node.host != none) host_.touch(BlockId{node.host}, node.context);
    if (node.disk != none) disk_.touch(BlockId{node.disk}, node.context);
  }

  bool demote(std::uint32_t n, BlockId device) {
    if (const auto slot = host_slot()) {
      plan_->swap_out.push_back({device, *slot});
      put_on_host(n, *slot);
      return true;
    }
    if (const auto slot = disk_slot()) {
      plan_->swap_out.push_back({device, below(*slot)});
      put_on_disk(n, *slot);
      return true;
    }
    return false;
  }
  /// A slot of the host with one reference; the eviction policy's victim goes on to disk.
  [[nodiscard]] std::optional<BlockId> host_slot() {
    if (host_.free() == BlockCount{0}) {
      const auto victim = host_.victim();
      if (!victim) return std::nullopt;
      const std::uint32_t n = on_host_[victim->value];
      const Node& node = nodes_[n];
      if (node.device == none && node.disk == none) {
        const auto slot = plan_ == nullptr ? std::nullopt : disk_slot();
        if (slot) {
          plan_->spills.push_back({*victim, below(*slot)});
          put_on_disk(n, *slot);
          counters_.spilled += 1;
        } else {
          counters_.dropped += 1;
        }
      }
      take_off_host(n);
      prune(n);
    }
    return host_.allocate();
  }
  /// A slot of the disk with one reference; the eviction policy's victim is dropped.
  [[nodiscard]] std::optional<BlockId> disk_slot() {
    if (disk_.free() == BlockCount{0}) {
      const auto victim = disk_.victim();
      if (!victim) return std::nullopt;
      const std::uint32_t n = on_disk_[victim->value];
      if (nodes_[n].device == none && nodes_[n].host == none) counters_.dropped += 1;
      take_off_disk(n);
      prune(n);
    }
    return disk_.allocate();
  }

  TierRules rules_;
  TierSlots<Eviction> host_, disk_;
  bool keeps_;
  std::size_t block_tokens_;
  PrefixIndex texts_;            // over nodes, by their number
  std::vector<Node> nodes_;      // \shape (texts)
  std::vector<TokenId> tokens_;  // \shape (texts, block_tokens)
  std::vector<std::uint32_t> free_nodes_;
  std::vector<std::uint32_t> on_device_, on_host_, on_disk_;  // nodes, by block or slot
  std::vector<std::uint32_t>
      fetched_;                  // device blocks that were filled from below, not indexed yet
  std::vector<BlockId> pinned_;  // references to drop when the next plan begins
  std::vector<BlockId> path_;
  StepPlan* plan_ = nullptr;
  TierCounters counters_;
  std::uint64_t next_id_ = 1;
};

}  // namespace quire
