#include "tests/admission/conformance.hpp"

#include <gtest/gtest.h>

#include "tests/common/count_allocations.hpp"

namespace quire::admission_test {
namespace {

template <class Policy>
class AdmissionConformance : public ::testing::Test {};
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Policies = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Policies = as_gtest_types<all_policies>::type;
#endif
TYPED_TEST_SUITE(AdmissionConformance, Policies);

TYPED_TEST(AdmissionConformance, AskingChangesNothingAndACopyGoesOn) {
  for (const std::int64_t capacity : {1, 2, 7, 100}) {
    TypeParam policy(BlockCount{capacity}), twin(BlockCount{capacity});
    Rng rng(static_cast<std::uint64_t>(capacity));
    std::optional<TypeParam> copy;
    for (int step = 0; step < 4000; ++step) {
      if (step == 2000) copy = policy;
      const BlockContext context{.content = next_content(rng)};
      const auto rival = next_rival(rng);
      policy.on_request(context);
      twin.on_request(context);
      if (copy) copy->on_request(context);
      const bool answer = policy.admit(context, rival);
      ASSERT_EQ(policy.admit(context, rival), answer);
      (void)policy.admit({.content = next_content(rng)}, std::nullopt);
      if (step % 10 == 0) {
        ASSERT_EQ(twin.admit(context, rival), answer) << "step " << step;
      }
      if (copy) {
        ASSERT_EQ(copy->admit(context, rival), answer) << "step " << step;
      }
    }
  }
}

TYPED_TEST(AdmissionConformance, SaysTheTruthAboutAdmittingAll) {
  TypeParam policy(BlockCount{100});
  Rng rng(1);
  bool all = true;
  for (int step = 0; step < 4000; ++step) {
    const BlockContext context{.content = next_content(rng)};
    policy.on_request(context);
    all = policy.admit(context, next_content(rng)) && all;
  }
  EXPECT_EQ(all, TypeParam::admits_all);
}

TYPED_TEST(AdmissionConformance, NothingHotIsLockedOut) {
  TypeParam policy(BlockCount{100});
  for (int i = 0; i < 50; ++i) policy.on_request({.content = 1});
  const BlockContext hot{.content = 2};
  bool admitted = false;
  for (int i = 0; i < 2000 && !admitted; ++i) {
    policy.on_request(hot);
    admitted = policy.admit(hot, 1);
  }
  EXPECT_TRUE(admitted);
}

TYPED_TEST(AdmissionConformance, AllocatesNothingAfterConstruction) {
  TypeParam policy(BlockCount{100});
  Rng rng(2);
  const std::size_t before = testing::allocations.load();
  bool any = false;
  for (int step = 0; step < 4000; ++step) {
    const BlockContext context{.content = next_content(rng)};
    policy.on_request(context);
    any = policy.admit(context, next_rival(rng)) || any;
  }
#ifdef QUIRE_OWN_TYPE
  if (testing::allocations.load() != before) GTEST_SKIP() << "it allocates, as the house's do not";
#endif
  EXPECT_EQ(testing::allocations.load(), before);
  EXPECT_TRUE(any);
}

}  // namespace
}  // namespace quire::admission_test
