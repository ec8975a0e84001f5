#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/replay.hpp>

/// What the eviction tests share: naive models, and random traces that drive a policy and a model.
namespace quire::eviction_test {

/// A block as a naive model keeps it.
struct NaiveBlock {
  BlockId id;
  bool evictable = false;
  std::int64_t count = 0;         // frequency, visited bit: what the model makes of it
  std::uint64_t last_access = 0;  // of the model's own count of events
  BlockContext context{};
};

/// Blocks in some order, searched from end to end.
struct NaiveList {
  std::vector<NaiveBlock> blocks;

  [[nodiscard]] auto find(BlockId b) {
    return std::find_if(blocks.begin(), blocks.end(), [b](auto& x) { return x.id == b; });
  }
  [[nodiscard]] bool contains(BlockId b) { return find(b) != blocks.end(); }
  [[nodiscard]] NaiveBlock& at(BlockId b) { return *find(b); }
  NaiveBlock take(BlockId b) {
    NaiveBlock block = at(b);
    blocks.erase(find(b));
    return block;
  }
  void move_to_back(BlockId b) { blocks.push_back(take(b)); }
  [[nodiscard]] std::optional<BlockId> oldest_evictable() {
    for (auto& x : blocks)
      if (x.evictable) return x.id;
    return std::nullopt;
  }
  /// The evictable block for which `less` holds against all others; the first of equals.
  template <class Less>
  [[nodiscard]] std::optional<BlockId> least(Less less) {
    const NaiveBlock* best = nullptr;
    for (auto& x : blocks)
      if (x.evictable && (best == nullptr || less(x, *best))) best = &x;
    return best == nullptr ? std::nullopt : std::optional(best->id);
  }
};

/// Inserts a block of that content and lets it go at once, for examples worked by hand.
template <class Policy>
void enter(Policy& policy, std::uint32_t b, BlockContext context = {}) {
  if (context.content == 0) context.content = 1000 + b;
  policy.on_insert(BlockId{b}, context);
  policy.set_evictable(BlockId{b}, true);
}
template <class Policy>
void hit(Policy& policy, std::uint32_t b, const BlockContext& context = {}) {
  policy.on_access(BlockId{b}, context);
}
/// Removes the victim and says which it was; -1 when there is none.
template <class Policy>
int evict(Policy& policy) {
  const auto b = policy.victim();
  if (!b) return -1;
  policy.on_remove(*b);
  return static_cast<int>(b->value);
}

/// A model that is a literal algorithm: evict() does what the paper says and returns the block.
/// The victim is what a copy would evict; removing it is evicting it.
template <class Literal>
struct Lazily : Literal {
  static constexpr std::string_view name = "model";
  using Literal::Literal;
  std::optional<BlockId> victim() {
    Literal copy = *this;
    return copy.evict();
  }
  void on_remove(BlockId b) {
    if (victim() == b) {
      this->evict();
    } else {
      this->lose(b);
    }
  }
};

/// How many random traces a comparison runs; QUIRE_FUZZ_SCALE multiplies it.
inline int trace_count(int base = 1000) {
  const char* scale = std::getenv("QUIRE_FUZZ_SCALE");
  return scale == nullptr ? base : std::max(1, static_cast<int>(base * std::atof(scale)));
}

/// A pool that does random legal things: inserts, hits, pins, releases, evictions, outright losses.
/// \errors none; what the policies answer is the caller's to compare.
class RandomPool {
 public:
  explicit RandomPool(std::uint64_t seed) : rng_(seed) {
    // Most pools are tiny, where every corner is near; some are big enough for several words.
    capacity_ =
        static_cast<std::uint32_t>(rng_.below(4) == 0 ? 1 + rng_.below(200) : 1 + rng_.below(16));
    steps_ = rng_.below(25) == 0 ? 5000 : 300;
    contents_ = 1 + capacity_ * (1 + rng_.below(3)) + rng_.below(4);
    pin_share_ = rng_.below(3) == 0 ? 0.0 : rng_.uniform();
    hit_share_ = rng_.uniform();
    for (std::uint32_t i = capacity_; i-- > 0;) free_.push_back(BlockId{i});
    blocks_.resize(capacity_);
  }

  [[nodiscard]] BlockCount capacity() const { return static_cast<std::int64_t>(capacity_); }
  [[nodiscard]] int steps() const { return steps_; }

  /// One random operation, told to every policy; victims come from the first.
  template <class First, class... Others>
  void step(First& first, Others&... others) {
    const double what = rng_.uniform();
    if (what < 0.1) {  // pin or release
      if (const auto b = any_resident()) toggle(*b, first, others...);
    } else if (what < 0.12) {  // content lost for another reason than eviction
      if (const auto b = any_resident()) remove(*b, first, others...);
    } else if (what < 0.17) {  // eviction without an insertion at once
      if (const auto b = victim_of(first)) remove(*b, first, others...);
    } else if (what < 0.17 + 0.6 * hit_share_) {
      if (const auto b = any_resident()) access(*b, first, others...);
    } else {
      const std::uint64_t content = 1 + rng_.below(contents_);
      for (const BlockId b : resident_)
        if (at(b).context.content == content) return access(b, first, others...);
      if (free_.empty() || rng_.below(8) == 0) {
        const auto victim = victim_of(first);
        if (victim) {
          remove(*victim, first, others...);
        } else if (free_.empty()) {
          return toggle(*any_resident(), first, others...);
        }
      }
      insert(content, first, others...);
    }
  }

  [[nodiscard]] const std::vector<BlockId>& resident() const { return resident_; }
  [[nodiscard]] bool resident(BlockId b) const { return at(b).resident; }
  [[nodiscard]] bool evictable(BlockId b) const { return at(b).evictable; }
  [[nodiscard]] bool any_evictable() const {
    return std::any_of(resident_.begin(), resident_.end(), [&](BlockId b) { return evictable(b); });
  }

 private:
  struct Block {
    bool resident = false;
    bool evictable = false;
    BlockContext context;
  };
  Block& at(BlockId b) { return blocks_[b.value]; }
  const Block& at(BlockId b) const { return blocks_[b.value]; }

  /// Nothing where a policy of somebody's own answers with no block that could go: that it does, the
  /// conformance tests say, each of them.
  template <class Policy>
  std::optional<BlockId> victim_of(Policy& policy) const {
    const auto b = policy.victim();
    return b && b->value < capacity_ && resident(*b) ? b : std::nullopt;
  }
  std::optional<BlockId> any_resident() {
    if (resident_.empty()) return std::nullopt;
    // Skewed to the front of the list, so that some blocks are hit much more than others.
    const double u = rng_.uniform();
    return resident_[static_cast<std::size_t>(u * u * static_cast<double>(resident_.size()))];
  }
  void set_next_use(BlockContext& context) {
    ++clock_;
    context.next_use.reset();
    if (rng_.below(3) != 0) context.next_use = clock_ + rng_.below(60);
  }
  template <class... Policies>
  void insert(std::uint64_t content, Policies&... policies) {
    const std::size_t i = rng_.below(free_.size());
    const BlockId b = free_[i];
    free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
    resident_.push_back(b);
    BlockContext context{.position = static_cast<std::int64_t>(16 * rng_.below(40)),
                         .length = static_cast<std::int64_t>(16 * rng_.below(60)),
                         .recompute = 1e9 * static_cast<double>(1 + rng_.below(50)),
                         .size = static_cast<std::int64_t>(4096 << rng_.below(2)),
                         .tenant = {static_cast<std::uint32_t>(rng_.below(3))},
                         .priority = static_cast<std::int32_t>(rng_.below(4)),
                         .duration = rng_.below(3) == 0 ? 1 + rng_.below(50) : 0,
                         .category = static_cast<std::int32_t>(rng_.below(3)),
                         .content = content,
                         .next_use = {}};
    set_next_use(context);
    at(b) = {true, false, context};
    (policies.on_insert(b, context), ...);
    if (rng_.uniform() >= pin_share_) toggle(b, policies...);
  }
  template <class... Policies>
  void access(BlockId b, Policies&... policies) {
    BlockContext& context = at(b).context;
    set_next_use(context);
    if (rng_.below(3) == 0) {  // another request finds it than the one that left it
      context.length = static_cast<std::int64_t>(16 * rng_.below(60));
      context.tenant = {static_cast<std::uint32_t>(rng_.below(3))};
      context.priority = static_cast<std::int32_t>(rng_.below(4));
      context.duration = rng_.below(3) == 0 ? 1 + rng_.below(50) : 0;
      context.category = static_cast<std::int32_t>(rng_.below(3));
    }
    (policies.on_access(b, at(b).context), ...);
  }
  template <class... Policies>
  void toggle(BlockId b, Policies&... policies) {
    at(b).evictable = !at(b).evictable;
    (policies.set_evictable(b, at(b).evictable), ...);
  }
  template <class... Policies>
  void remove(BlockId b, Policies&... policies) {
    (policies.on_remove(b), ...);
    at(b) = {};
    free_.push_back(b);
    std::erase(resident_, b);
  }

  Rng rng_;
  std::uint32_t capacity_ = 0;
  int steps_ = 0;
  std::uint64_t contents_ = 0;
  double pin_share_ = 0;
  double hit_share_ = 0;
  std::uint64_t clock_ = 0;
  std::vector<BlockId> free_;
  std::vector<BlockId> resident_;
  std::vector<Block> blocks_;
};

/// Compares a policy with its naive model after each step of many random traces.
/// `make_policy` and `make_model` build one of each from a BlockCount.
template <class MakePolicy, class MakeModel>
void agree_with_model(MakePolicy make_policy, MakeModel make_model, int traces = trace_count()) {
  for (int seed = 0; seed < traces; ++seed) {
    RandomPool pool(static_cast<std::uint64_t>(seed));
    auto policy = make_policy(pool.capacity());
    auto model = make_model(pool.capacity());
    for (int step = 0; step < pool.steps(); ++step) {
      pool.step(policy, model);
      const auto expected = model.victim();
      const auto got = policy.victim();
      ASSERT_EQ(got.has_value(), expected.has_value()) << "seed " << seed << ", step " << step;
      if (got) {
        ASSERT_EQ(got->value, expected->value)
            << "seed " << seed << ", step " << step << ", capacity " << pool.capacity().value;
      }
    }
  }
}

/// The same for a policy and a model that are built from the capacity alone.
template <class Policy, class Model>
void agree_with_model(int traces = trace_count()) {
  agree_with_model([](BlockCount n) { return Policy(n); }, [](BlockCount n) { return Model(n); },
                   traces);
}

/// The evictable blocks in the order that swap-removal leaves them in, and draws from it.
struct NaiveSample {
  std::vector<BlockId> blocks;
  std::uint64_t draw = 0;

  void set(BlockId b, bool evictable) {
    if (evictable) return blocks.push_back(b);
    const auto at = std::find(blocks.begin(), blocks.end(), b);
    if (at == blocks.end()) return;
    *at = blocks.back();
    blocks.pop_back();
  }
  [[nodiscard]] BlockId pick(std::uint64_t index) const {
    const std::uint64_t bits = counter_bits(0, draw, index) >> 32;
    return blocks[static_cast<std::size_t>(bits * blocks.size() >> 32)];
  }
  /// The first of least score among 64 draws, or among all.
  template <class Score>
  [[nodiscard]] std::optional<BlockId> least(Score score) const {
    if (blocks.empty()) return std::nullopt;
    std::vector<BlockId> drawn = blocks;
    if (blocks.size() > 64) {
      for (std::uint64_t i = 0; i < 64; ++i) drawn.push_back(pick(i));
      drawn.erase(drawn.begin(), drawn.end() - 64);
    }
    return *std::min_element(drawn.begin(), drawn.end(),
                             [&](BlockId a, BlockId b) { return score(a) < score(b); });
  }
};

/// A generated reference string: Zipf 0.9 over 2,000 blocks, with a scan of new blocks in between.
inline const eviction::ReferenceString& zipf_with_scans() {
  static const eviction::ReferenceString trace = [] {
    std::vector<double> cumulative;
    double sum = 0;
    for (int rank = 1; rank <= 2000; ++rank) cumulative.push_back(sum += std::pow(rank, -0.9));
    Rng rng(9);
    std::vector<std::uint64_t> contents;
    std::uint64_t scanned = 100000;
    while (contents.size() < 20000) {
      const double u = rng.uniform() * sum;
      contents.push_back(static_cast<std::uint64_t>(
          1 + std::distance(cumulative.begin(),
                            std::upper_bound(cumulative.begin(), cumulative.end(), u))));
      if (rng.below(500) == 0) {
        for (int i = 0; i < 100; ++i) contents.push_back(++scanned);
      }
    }
    eviction::ReferenceString made;
    made.add(contents);
    return made;
  }();
  return trace;
}

/// Hits on that string with 200 blocks: of the policy, after checking that the model has as many.
template <class Policy, class Model>
std::uint64_t golden_hits() {
  Policy policy(BlockCount{200});
  Model model(BlockCount{200});
  const auto counts = eviction::replay(policy, BlockCount{200}, zipf_with_scans());
  EXPECT_EQ(counts, eviction::replay(model, BlockCount{200}, zipf_with_scans()));
  return counts.hits;
}

}  // namespace quire::eviction_test
