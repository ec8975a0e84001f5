#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>

namespace quire::experiment {

/// How much slower than usual a machine is over time: one factor an interval, of the time that steps took.
/// The last one holds from there on; none: always 1.
struct Drift {
  Seconds interval = 1.0;
  std::vector<double> factors{};

  [[nodiscard]] double at(Seconds busy) const {
    if (factors.empty()) return 1;
    const auto i = static_cast<std::size_t>(busy.value / interval.value);
    return factors[std::min(i, factors.size() - 1)];
  }
};

/// Another executor on a machine whose speed changes: each step takes as many times longer as the machine is
/// slower in that moment. For simulating a run on a shared machine, whose speed at each moment other work
/// beside the run has measured.
template <class Inner>
struct Drifting {
  struct Options : Inner::Options {
    Drift drift{};
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
        : Base(options, geometry), drift_(options.drift) {}

    void execute(const StepPlan& plan, StepResult& result) {
      Base::execute(plan, result);
      result.seconds = result.seconds.value * drift_.at(busy_);
      busy_ += result.seconds;
    }

   private:
    Drift drift_;
    Seconds busy_ = 0.0;
  };
};

}  // namespace quire::experiment
