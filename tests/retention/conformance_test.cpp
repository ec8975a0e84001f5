#include "tests/retention/conformance.hpp"

namespace quire::retention_test {
namespace {

template <class P>
inline constexpr bool holds_budget = !std::is_base_of_v<retention::SnapKv, P>;

TEST(RetentionConformance, EveryPolicyIsNamed) {
  for_each_type(concat_t<dropping_policies, keeping_policies>{}, []<class Policy>() {
    static_assert(RetentionPolicy<Policy>);
    EXPECT_FALSE(Policy::name.empty());
  });
}

TEST(RetentionConformance, KeepingPoliciesSaySo) {
  for_each_type(keeping_policies{}, []<class Policy>() { EXPECT_TRUE(Policy::keeps_all); });
}

template <class Policy>
class Dropping : public ::testing::Test {};
template <class List>
struct AsTypes;
template <class... Ps>
struct AsTypes<type_list<Ps...>> {
  using type = ::testing::Types<Ps...>;
};
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Policies = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Policies = AsTypes<dropping_policies>::type;
#endif
TYPED_TEST_SUITE(Dropping, Policies);

TYPED_TEST(Dropping, KeepsItsBudgetAndNamesEntriesInOrder) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Scenario s(seed);
    OneLane<TypeParam> lane(s.limits, s.layers), again(s.limits, s.layers),
        blind(s.limits, s.layers);
    for (const Naive::Step& step : s.steps) {
      lane.step(step, true);
      again.step(step, true);
      blind.step(step, false);
      ASSERT_EQ(lane.kept(), again.kept());
      // how many stay never depends on what was voted: simulated time relies on it
      ASSERT_EQ(lane.kept().size(), blind.kept().size());
      if (holds_budget<TypeParam>) {
        ASSERT_LE(std::ssize(lane.kept()), s.limits.budget.value);
      }
    }
  }
}

TYPED_TEST(Dropping, DropsNothingWhileTheBudgetHoldsEverything) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Scenario s(seed);
    s.limits.budget = s.steps.back().computed;
    OneLane<TypeParam> lane(s.limits, s.layers);
    for (const Naive::Step& step : s.steps) {
      lane.step(step, true);
      ASSERT_EQ(std::ssize(lane.kept()), step.computed);
    }
  }
}

TYPED_TEST(Dropping, IsBuiltFromLimitsAlone) {
  const RetentionLimits limits;
  const TypeParam policy(limits, 4);
  retention::Lane lane;
  std::vector<std::uint32_t> drop;
  policy.after_step(lane, {}, {}, drop);
  EXPECT_TRUE(drop.empty());
}

}  // namespace
}  // namespace quire::retention_test
