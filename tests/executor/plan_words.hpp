#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <quire/executor/concepts.hpp>
#include <quire/executor/step.hpp>

namespace quire::executor_test {

/// Everything that a plan decides, in full: two plans with the same words are the same plan. The
/// decision log's hash stands for this.
[[nodiscard]] inline std::vector<std::uint64_t> words(const StepPlan& plan) {
  // a member that is added to the plan does not compile here until it is written below; only `freed` is
  // left out, which follows from the others and is told to those executors alone that ask for it
  const auto& [step, sequences, slot_moves, swap_out, swap_in, copies, spills, prefetches, records,
               evicted, preempted, freed, batched, padding] = plan;
  (void)freed;
  std::vector<std::uint64_t> out{step, static_cast<std::uint64_t>(batched.value),
                                 static_cast<std::uint64_t>(padding.value), sequences.size()};
  for (const SequencePlan& s : sequences) {
    out.insert(
        out.end(),
        {s.sequence.value, s.request.value, static_cast<std::uint64_t>(s.computed.value),
         static_cast<std::uint64_t>(s.tokens.value),
         static_cast<std::uint64_t>(s.prompt_tokens.value), static_cast<std::uint64_t>(s.draws),
         static_cast<std::uint64_t>(s.sample_index), s.admitted ? 1u : 0u, s.tables.size()});
    for (const BlockTable& table : s.tables) {
      out.push_back(table.size());
      for (const BlockId b : table.blocks()) out.push_back(b.value);
    }
  }
  auto pairs = [&out](const auto& list, auto first, auto second) {
    out.push_back(list.size());
    for (const auto& entry : list) {
      out.push_back((entry.*first).value);
      out.push_back((entry.*second).value);
    }
  };
  out.push_back(slot_moves.size());
  for (const retention::SlotMove& m : slot_moves) {
    out.insert(out.end(), {m.lane, m.from_block, m.from_slot, m.to_block, m.to_slot});
  }
  pairs(swap_out, &BlockSwap::device, &BlockSwap::host);
  pairs(swap_in, &BlockSwap::device, &BlockSwap::host);
  pairs(copies, &BlockCopy::from, &BlockCopy::to);
  pairs(spills, &TierMove::from, &TierMove::to);
  pairs(prefetches, &TierMove::from, &TierMove::to);
  out.push_back(records.size());
  for (const TierRecord& r : records) {
    out.insert(out.end(), {r.slot.value, r.id, r.parent, r.salt});
    out.insert(out.end(), r.tokens.begin(), r.tokens.end());
  }
  out.push_back(evicted.size());
  for (const BlockId b : evicted) out.push_back(b.value);
  out.push_back(preempted.size());
  for (const RequestId r : preempted) out.push_back(r.value);
  return out;
}

/// Another executor that writes down the plans it is given.
template <class Inner>
struct Recording {
  using Plans = std::vector<std::vector<std::uint64_t>>;
  struct Options : Inner::Options {
    std::shared_ptr<Plans> plans = std::make_shared<Plans>();
  };
  [[nodiscard]] static model::Shape shape(const Options& options) { return Inner::shape(options); }
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    return Inner::template geometry<C>(options);
  }

  template <class C>
  class Bound : public Inner::template Bound<C> {
    using Base = typename Inner::template Bound<C>;

   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Base(options, geometry), plans_(options.plans) {}
    void execute(const StepPlan& plan, StepResult& result) {
      plans_->push_back(words(plan));
      Base::execute(plan, result);
    }

   private:
    std::shared_ptr<Plans> plans_;
  };
};

}  // namespace quire::executor_test
