#include "tests/offload/conformance.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quire::offload_test {
namespace {

template <class Policy>
class OffloadConformance : public ::testing::Test {};
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Policies = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Policies = as_gtest_types<all_policies>::type;
#endif
TYPED_TEST_SUITE(OffloadConformance, Policies);

TYPED_TEST(OffloadConformance, SwapsOnlyWithAHostTier) {
  const TypeParam policy{};
  Rng rng(3);
  bool swaps = false;
  for (int i = 0; i < 10000; ++i) {
    const PreemptionContext context = random_context(rng);
    const Preemption answer = policy.on_preempt(context);
    ASSERT_EQ(answer, policy.on_preempt(context));
    swaps = swaps || answer == Preemption::swap;
  }
  EXPECT_EQ(swaps, TypeParam::uses_host);
}

TYPED_TEST(OffloadConformance, UsesTheTiersFromTheTopDown) {
  constexpr TierRules rules = tier_rules<TypeParam>();
  if (!TypeParam::uses_host) {
    EXPECT_FALSE(rules.uses_disk || rules.keeps_evicted);
  }
  if (!rules.uses_disk) {
    EXPECT_EQ(rules.look_ahead, 0) << "there is no disk to look ahead from";
  }
  EXPECT_FALSE(rules.swaps_ahead && (rules.uses_disk || !TypeParam::uses_host));
}

TYPED_TEST(OffloadConformance, FetchesNoMoreThanItIsOffered) {
  const TypeParam policy{};
  Rng rng(4);
  for (int i = 0; i < 1000; ++i) {
    std::vector<FetchCandidate> candidates(rng.below(30));
    for (FetchCandidate& c : candidates) {
      c = {rng.below(2) == 0, static_cast<double>(rng.below(9)), static_cast<double>(rng.below(9))};
    }
    const std::size_t fetched = blocks_to_fetch(policy, candidates);
    ASSERT_LE(fetched, candidates.size());
    ASSERT_EQ(fetched, blocks_to_fetch(policy, candidates));
  }
}

struct OneTooMany {
  static constexpr std::string_view name = "one_too_many";
  static constexpr bool uses_host = true;
  [[nodiscard]] Preemption on_preempt(const PreemptionContext&) const { return Preemption::swap; }
  [[nodiscard]] std::size_t blocks_to_fetch(std::span<const FetchCandidate> c) const {
    return c.size() + 1;
  }
};

TEST(OffloadPolicy, IsNamedWhereItFetchesMoreThanItIsOffered) {
  const std::vector<FetchCandidate> candidates(3);
  try {
    static_cast<void>(blocks_to_fetch(OneTooMany{}, candidates));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "offload policy one_too_many: blocks_to_fetch() asks for 4 blocks; expected 0 to the "
              "3 that were offered");
  }
}

}  // namespace
}  // namespace quire::offload_test
