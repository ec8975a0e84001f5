#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/retention/retention.hpp>

/// What every retention policy promises.
///
/// A policy that drops names entries of the lane, in rising order, each once; it names none while the
/// budget holds everything; the same steps and votes give the same answers; without votes it still
/// keeps its budget; of the lane it writes scores and history alone. A policy that keeps its budget while it generates (all but snap_kv and
/// pyramid_kv) leaves no more than `budget` entries after any step.
namespace quire::retention_test {

/// Policies that drop tokens; a new one is added here.
using dropping_policies =
    type_list<retention::SlidingWindow, retention::StreamingLlm, retention::H2O, retention::Tova,
              retention::Scissorhands, retention::SnapKv, retention::PyramidKv>;
/// Every other retention policy of the library.
using keeping_policies = type_list<retention::KeepAll, retention::Quest>;

/// Votes of one step, by position in the text.
using Votes = std::map<std::int64_t, std::int64_t>;

/// A policy as its paper tells it: positions in, positions out, nothing remembered but what is said
/// here. keep(): which of `have` stay after a step.
struct Naive {
  struct Step {
    std::int64_t prompt, computed, tokens, layer;
    Votes votes;
  };
  using Keep = std::function<std::set<std::int64_t>(const std::set<std::int64_t>& have,
                                                    const std::vector<Step>& steps)>;
};

/// The `count` positions of `from` that come first in `order`, taken away one by one.
template <class Worse>
void take_away(std::set<std::int64_t>& have, std::size_t count, std::int64_t below, Worse worse) {
  for (; count > 0; --count) {
    auto victim = have.end();
    for (auto p = have.begin(); p != have.end() && *p < below; ++p) {
      if (victim == have.end() || worse(*p, *victim)) victim = p;
    }
    if (victim == have.end()) return;
    have.erase(victim);
  }
}

/// One lane under a policy, without memory behind it.
template <class Policy>
class OneLane {
 public:
  OneLane(const RetentionLimits& limits, std::int64_t layers) : policy_(limits, layers) {}

  /// Runs a step and checks the form of what the policy answers. votes: by position, or none.
  void step(const Naive::Step& step, bool voted) {
    for (std::int64_t p = step.computed - step.tokens; p < step.computed; ++p) {
      lane_.entries.push_back({p, static_cast<std::uint32_t>(p), 0});
    }
    if (!lane_.history.empty()) {
      const std::size_t before = lane_.entries.size() - static_cast<std::size_t>(step.tokens);
      if (before > 0) lane_.history.resize(lane_.history.size() / before * lane_.entries.size());
    }
    std::vector<std::int64_t> votes;
    for (const retention::Entry& e : lane_.entries) {
      if (!voted) break;
      const auto found = step.votes.find(e.position);
      votes.push_back(found == step.votes.end() ? 0 : found->second);
    }
    std::vector<std::uint32_t> drop;
    const retention::Lane before = lane_;
    policy_.after_step(lane_, votes,
                       {.prompt = step.prompt,
                        .computed = step.computed,
                        .tokens = step.tokens,
                        .layer = step.layer},
                       drop);
    ASSERT_TRUE(std::equal(lane_.entries.begin(), lane_.entries.end(), before.entries.begin(),
                           before.entries.end(),
                           [](const retention::Entry& a, const retention::Entry& b) {
                             return a.position == b.position && a.slot == b.slot;
                           }))
        << "after_step() changed places of tokens, which are the engine's";
    ASSERT_EQ(lane_.holes, before.holes);
    ASSERT_EQ(lane_.tail, before.tail);
    ASSERT_TRUE(std::is_sorted(drop.begin(), drop.end()))
        << "after_step() names entries to drop in rising order";
    ASSERT_TRUE(std::adjacent_find(drop.begin(), drop.end()) == drop.end())
        << "after_step() names each entry once";
    ASSERT_TRUE(drop.empty() || drop.back() < lane_.entries.size())
        << "after_step() names entry " << drop.back() << " of " << lane_.entries.size();
    const std::size_t parts =
        lane_.entries.empty() ? 0 : lane_.history.size() / lane_.entries.size();
    for (std::size_t i = drop.size(); i-- > 0;) {
      lane_.entries.erase(lane_.entries.begin() + drop[i]);
      const auto at = lane_.history.begin() + static_cast<std::ptrdiff_t>(drop[i] * parts);
      lane_.history.erase(at, at + static_cast<std::ptrdiff_t>(parts));
    }
  }
  [[nodiscard]] std::set<std::int64_t> kept() const {
    std::set<std::int64_t> out;
    for (const retention::Entry& e : lane_.entries) out.insert(e.position);
    return out;
  }

 private:
  Policy policy_;
  retention::Lane lane_;
};

/// Random limits, prompt and steps; the same for the same seed.
struct Scenario {
  RetentionLimits limits;
  std::int64_t layers, layer;
  std::vector<Naive::Step> steps;

  explicit Scenario(std::uint64_t seed) {
    Rng rng(seed);
    auto in = [&rng](std::int64_t low, std::int64_t high) {
      return low + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
    };
    limits.budget = in(1, 24);
    limits.sinks = in(0, 6);
    limits.recent = in(0, 8);
    limits.history = in(1, 40);
    limits.observation = in(1, 10);
    limits.pooling = 2 * in(0, 3) + 1;
    limits.pyramid_slope = in(1, 20);
    layers = in(1, 6);
    layer = in(0, layers - 1);
    const std::int64_t prompt = in(1, 60), end = prompt + in(0, 50);
    const std::int64_t chunk = in(0, 2) == 0 ? prompt : in(1, 20);
    for (std::int64_t computed = 0; computed < end;) {
      const std::int64_t tokens = computed < prompt ? std::min(chunk, prompt - computed)
                                  : in(0, 9) == 0   ? 3
                                                    : 1;
      computed += tokens;
      Naive::Step step{prompt, computed, tokens, layer, {}};
      for (std::int64_t p = 0; p < computed; ++p) {
        // few values, so that there are ties
        step.votes[p] = in(0, 3) * in(0, 2);
      }
      steps.push_back(std::move(step));
    }
  }
};

/// Compares a policy with its naive model over many random scenarios, step by step.
template <class Policy>
void expect_equals(const std::function<Naive::Keep(const Scenario&)>& model, int scenarios = 1000) {
  for (int seed = 0; seed < scenarios; ++seed) {
    const Scenario s(static_cast<std::uint64_t>(seed));
    const Naive::Keep keep = model(s);
    OneLane<Policy> lane(s.limits, s.layers);
    std::set<std::int64_t> have;
    std::vector<Naive::Step> past;
    for (const Naive::Step& step : s.steps) {
      for (std::int64_t p = step.computed - step.tokens; p < step.computed; ++p) have.insert(p);
      past.push_back(step);
      lane.step(step, true);
      have = keep(have, past);
      ASSERT_EQ(lane.kept(), have) << "scenario " << seed << ", step " << past.size();
    }
  }
}

}  // namespace quire::retention_test
