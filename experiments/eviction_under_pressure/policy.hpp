#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/replay.hpp>

namespace quire::eviction_lab {

/// What calls of a policy cost, in nanoseconds.
struct Cost {
  double hit = 0;   // on_access of a cached block
  double miss = 0;  // victim, on_remove, on_insert, set_evictable
};

/// An eviction policy by value: all that the laboratory asks of it. Made by policy().
struct Policy {
  /// The concept's members as functions, so that one engine serves every policy.
  struct Calls {
    void* (*make)(BlockCount);
    void (*destroy)(void*);
    void (*on_insert)(void*, BlockId, const BlockContext&);
    void (*on_access)(void*, BlockId, const BlockContext&);
    void (*set_evictable)(void*, BlockId, bool);
    void (*on_remove)(void*, BlockId);
    std::optional<BlockId> (*victim)(void*);
  };
  std::string_view name;
  const Calls* calls = nullptr;
  eviction::ReplayCounts (*replay)(BlockCount, const eviction::ReferenceString&,
                                   const eviction::ReplayOptions&) = nullptr;
  /// Of a full cache of so many blocks; hits: block ids. \shape hits (any number but 0)
  Cost (*cost)(BlockCount, std::span<const BlockId> hits) = nullptr;
};

namespace detail {

template <class P>
inline constexpr Policy::Calls calls_of{
    [](BlockCount capacity) -> void* { return new P(capacity); },
    [](void* p) { delete static_cast<P*>(p); },
    [](void* p, BlockId b, const BlockContext& c) { static_cast<P*>(p)->on_insert(b, c); },
    [](void* p, BlockId b, const BlockContext& c) { static_cast<P*>(p)->on_access(b, c); },
    [](void* p, BlockId b, bool yes) { static_cast<P*>(p)->set_evictable(b, yes); },
    [](void* p, BlockId b) { static_cast<P*>(p)->on_remove(b); },
    [](void* p) { return static_cast<P*>(p)->victim(); }};

/// The least of five rounds: what is above it is another program's.
template <class Round>
double least_nanoseconds(std::size_t operations, Round round) {
  using Clock = std::chrono::steady_clock;
  double least = std::numeric_limits<double>::infinity();
  for (int r = 0; r < 5; ++r) {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < operations; ++i) round();
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    least = std::min(least, took.count() / static_cast<double>(operations));
  }
  return least;
}

template <EvictionPolicy P>
Cost cost_of(BlockCount blocks, std::span<const BlockId> hits) {
  P policy(blocks);
  std::uint64_t now = 0;
  const auto context = [&now](std::uint64_t content) {
    ++now;
    return BlockContext{.position = static_cast<std::int64_t>(content % 64 * 16),
                        .length = 1024,
                        .recompute = 1e9 * static_cast<double>(1 + content % 64),
                        .size = 2097152,
                        .content = content,
                        .next_use = now + mix64(content) % 1000000};
  };
  std::uint64_t content = 0;
  for (std::int64_t b = 0; b < blocks.value; ++b) {
    const BlockId block{static_cast<std::uint32_t>(b)};
    policy.on_insert(block, context(++content));
    policy.set_evictable(block, true);
  }
  std::size_t i = 0;
  const double hit = least_nanoseconds(200000, [&] {
    const BlockId block = hits[i++ % hits.size()];
    policy.on_access(block, context(1 + block.value));
  });
  const double miss = least_nanoseconds(100000, [&] {
    const std::optional<BlockId> block = policy.victim();
    policy.on_remove(*block);
    policy.on_insert(*block, context(++content));
    policy.set_evictable(*block, true);
  });
  return {hit, miss};
}

}  // namespace detail

template <EvictionPolicy P>
[[nodiscard]] Policy policy() {
  return {P::name, &detail::calls_of<P>,
          [](BlockCount blocks, const eviction::ReferenceString& references,
             const eviction::ReplayOptions& options) {
            P order(blocks);
            return eviction::replay(order, blocks, references, options);
          },
          &detail::cost_of<P>};
}

/// The eviction slot of the laboratory's engines: the policy that its thread has chosen.
class Chosen {
 public:
  static constexpr std::string_view name = "chosen";

  explicit Chosen(BlockCount capacity)
      : calls_(choice()), object_(calls_->make(capacity), calls_->destroy) {}
  void on_insert(BlockId b, const BlockContext& c) { calls_->on_insert(object_.get(), b, c); }
  void on_access(BlockId b, const BlockContext& c) { calls_->on_access(object_.get(), b, c); }
  void set_evictable(BlockId b, bool yes) { calls_->set_evictable(object_.get(), b, yes); }
  void on_remove(BlockId b) { calls_->on_remove(object_.get(), b); }
  [[nodiscard]] std::optional<BlockId> victim() const { return calls_->victim(object_.get()); }

  /// Engines that this thread makes from here on get `policy`. An engine makes its policies from
  /// capacities alone, so there is no other way in.
  static void choose(const Policy& policy) { choice() = policy.calls; }

 private:
  static const Policy::Calls*& choice() {
    thread_local const Policy::Calls* calls = nullptr;
    return calls;
  }
  const Policy::Calls* calls_;
  std::unique_ptr<void, void (*)(void*)> object_;
};
static_assert(EvictionPolicy<Chosen>);

/// Quire's own policies, in the order of axes.hpp.
[[nodiscard]] std::vector<Policy> house_policies();

/// The laboratory's main: hit ratios and serving, as the figure needs them.
[[nodiscard]] int run(int argc, char** argv, const std::vector<Policy>& policies);
/// One policy beside a few of the house's; also what its calls cost, and whether outputs stay.
/// A user's own program is
///   int main(int argc, char** argv) { return study(argc, argv, policy<Mine>()); }
[[nodiscard]] int study(int argc, char** argv, const Policy& mine);

}  // namespace quire::eviction_lab
