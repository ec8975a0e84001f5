#include <quire/executor/step.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/executor/plan_words.hpp"

namespace quire::executor_test {
namespace {

constexpr Tokens block = 4;

/// A plan with two entries in every list, and the tables that its rows show.
struct Example {
  std::vector<BlockTable> tables{2};
  StepPlan plan;

  Example() {
    for (std::uint32_t b : {3u, 4u, 5u}) tables[0].append(BlockId{b});
    for (std::uint32_t b : {6u, 7u}) tables[1].append(BlockId{b});
    plan.step = 9;
    plan.sequences.resize(2);
    for (std::uint32_t i : {0u, 1u}) {
      SequencePlan& s = plan.sequences[i];
      s.sequence = SequenceId{20 + i};
      s.request = RequestId{30 + i};
      s.computed = 5;
      s.tokens = 2;
      s.draws = 1;
      s.tables = std::span(tables).subspan(i, 1);
      s.admitted = i == 1;
    }
    plan.batched_tokens = 4;
    for (std::uint32_t i : {0u, 1u}) {
      plan.swap_out.push_back({BlockId{40 + i}, BlockId{50 + i}});
      plan.swap_in.push_back({BlockId{60 + i}, BlockId{70 + i}});
      plan.copies.push_back({BlockId{80 + i}, BlockId{90 + i}});
      plan.spills.push_back({BlockId{120 + i}, BlockId{130 + i}});
      plan.prefetches.push_back({BlockId{140 + i}, BlockId{150 + i}});
      plan.evicted.push_back(BlockId{100 + i});
      plan.preempted.push_back(RequestId{110 + i});
    }
  }
  Example(const Example&) = delete;
};

using Change = std::function<void(Example&)>;

/// Adds to `changes` what can differ in one list: an entry more, one less, another order, and each
/// member of each entry.
template <class List, class... Members>
void of_list(std::map<std::string, Change>& changes, const std::string& name, List StepPlan::*list,
             Members... members) {
  changes[name + ": one more"] = [list](Example& e) {
    (e.plan.*list).push_back((e.plan.*list).back());
  };
  changes[name + ": one less"] = [list](Example& e) { (e.plan.*list).pop_back(); };
  changes[name + ": none"] = [list](Example& e) { (e.plan.*list).clear(); };
  changes[name + ": in another order"] = [list](Example& e) {
    std::swap((e.plan.*list)[0], (e.plan.*list)[1]);
  };
  for (const std::size_t i : {0u, 1u}) {
    int member = 0;
    auto change = [&](auto m) {
      changes[name + ": member " + std::to_string(member++) + " of " + std::to_string(i)] =
          [list, m, i](Example& e) { m((e.plan.*list)[i]).value += 1000; };
    };
    (change(members), ...);
  }
}

// What the decision log says follows from its hashes alone, so nothing may change behind their back.
TEST(StepPlanHash, ChangesWithEveryDecision) {
  std::map<std::string, Change> changes;
  changes["nothing"] = [](Example&) {};
  changes["step"] = [](Example& e) { e.plan.step = 10; };
  changes["rows: one less"] = [](Example& e) { e.plan.sequences.pop_back(); };
  changes["rows: in another order"] = [](Example& e) {
    std::swap(e.plan.sequences[0], e.plan.sequences[1]);
  };
  for (const std::size_t i : {0u, 1u}) {
    const std::string row = "row " + std::to_string(i);
    changes[row + ": sequence"] = [i](Example& e) { e.plan.sequences[i].sequence.value += 5; };
    changes[row + ": computed"] = [i](Example& e) { e.plan.sequences[i].computed -= 1; };
    changes[row + ": tokens"] = [i](Example& e) { e.plan.sequences[i].tokens += 1; };
    changes[row + ": draws"] = [i](Example& e) { e.plan.sequences[i].draws = 0; };
    changes[row + ": a block more"] = [i](Example& e) { e.tables[i].append(BlockId{8}); };
    changes[row + ": the block written to"] = [i](Example& e) {
      e.tables[i].replace(1, BlockId{8});
    };
  }
  changes["row 1, new in the batch: a block before it"] = [](Example& e) {
    e.tables[1].replace(0, BlockId{8});
  };
  auto device = [](auto& s) -> auto& { return s.device; };
  auto host = [](auto& s) -> auto& { return s.host; };
  auto from = [](auto& c) -> auto& { return c.from; };
  auto to = [](auto& c) -> auto& { return c.to; };
  auto itself = [](auto& id) -> auto& { return id; };
  of_list(changes, "swap_out", &StepPlan::swap_out, device, host);
  of_list(changes, "swap_in", &StepPlan::swap_in, device, host);
  of_list(changes, "copies", &StepPlan::copies, from, to);
  of_list(changes, "spills", &StepPlan::spills, from, to);
  of_list(changes, "prefetches", &StepPlan::prefetches, from, to);
  of_list(changes, "evicted", &StepPlan::evicted, itself);
  of_list(changes, "preempted", &StepPlan::preempted, itself);
  changes["swapped in, not out"] = [](Example& e) { std::swap(e.plan.swap_in, e.plan.swap_out); };
  changes["an entry of one list at the end of another"] = [](Example& e) {
    e.plan.swap_in.push_back(e.plan.swap_out.back());
    e.plan.swap_out.pop_back();
  };
  changes["spilled, not prefetched"] = [](Example& e) {
    std::swap(e.plan.spills, e.plan.prefetches);
  };
  changes["copies for swaps"] = [](Example& e) {
    for (const BlockSwap& s : e.plan.swap_in) e.plan.copies.push_back({s.device, s.host});
    e.plan.swap_in.clear();
  };

  std::map<std::uint64_t, std::string> hashes;
  std::map<std::vector<std::uint64_t>, std::string> texts;
  for (const auto& [what, change] : changes) {
    Example e;
    change(e);
    const auto hash = hashes.emplace(e.plan.hash(block), what);
    EXPECT_TRUE(hash.second) << "\"" << what << "\" hashes like \"" << hash.first->second << '"';
    const auto text = texts.emplace(words(e.plan), what);
    EXPECT_TRUE(text.second) << "\"" << what << "\" reads like \"" << text.first->second << '"';
  }
  EXPECT_EQ(hashes.size(), changes.size());
  EXPECT_EQ(texts.size(), changes.size());
}

TEST(StepPlanHash, LooksAtATableOnceAndThenOnlyWhereItGrows) {
  Example seen;
  seen.tables[0].replace(0, BlockId{8});  // hashed when row 0 entered the batch
  EXPECT_EQ(seen.plan.hash(block), Example().plan.hash(block));
  Example admitted;
  admitted.plan.sequences[0].admitted = true;
  EXPECT_NE(admitted.plan.hash(block), Example().plan.hash(block));
}

TEST(StepPlan, IsEmptyOnlyWithoutWork) {
  EXPECT_TRUE(StepPlan{}.empty());
  StepPlan plan;
  plan.evicted.push_back(BlockId{1});
  plan.preempted.push_back(RequestId{1});
  EXPECT_TRUE(plan.empty());  // nothing for an executor to do
  auto has_work = [](auto fill) {
    StepPlan p;
    fill(p);
    return !p.empty();
  };
  EXPECT_TRUE(has_work([](StepPlan& p) { p.sequences.resize(1); }));
  EXPECT_TRUE(has_work([](StepPlan& p) { p.swap_out.resize(1); }));
  EXPECT_TRUE(has_work([](StepPlan& p) { p.swap_in.resize(1); }));
  EXPECT_TRUE(has_work([](StepPlan& p) { p.copies.resize(1); }));
  EXPECT_TRUE(has_work([](StepPlan& p) { p.spills.resize(1); }));
  EXPECT_TRUE(has_work([](StepPlan& p) { p.prefetches.resize(1); }));
  Example e;
  e.plan.clear();
  EXPECT_TRUE(e.plan.empty());
  StepPlan fresh;
  fresh.step = e.plan.step;
  EXPECT_EQ(words(e.plan), words(fresh));
}

}  // namespace
}  // namespace quire::executor_test
