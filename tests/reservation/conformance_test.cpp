#include "tests/reservation/conformance.hpp"

#include <gtest/gtest.h>

namespace quire::reservation_test {
namespace {

template <class Policy>
class ReservationConformance : public ::testing::Test {};
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Policies = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Policies = as_gtest_types<all_policies>::type;
#endif
TYPED_TEST_SUITE(ReservationConformance, Policies);

TYPED_TEST(ReservationConformance, HoldsWhatTheSequenceWritesAndNoMoreThanTheModel) {
  Rng rng(1);
  for (int i = 0; i < 20000; ++i) {
    const LengthHint hint = random_hint(rng);
    const Tokens reserved = TypeParam::reserve(hint);
    ASSERT_LE(reserved, hint.max_length) << hint.prompt.value << " " << hint.limit.value;
    ASSERT_GE(reserved, hint.prompt);
#ifndef QUIRE_OWN_TYPE  // one that may turn out too short is a policy too: what outgrows it fails
    if (TypeParam::contiguous) {
      ASSERT_GE(reserved, final_length(hint));
    }
#endif
    ASSERT_EQ(reserved, TypeParam::reserve(hint));
  }
}

TYPED_TEST(ReservationConformance, GrowsWithThePromptAndTheLimit) {
  Rng rng(2);
  for (int i = 0; i < 20000; ++i) {
    const LengthHint hint = random_hint(rng);
    LengthHint more = hint;
    more.limit += static_cast<std::int64_t>(rng.below(100));
    if (more.prompt + 1 < more.max_length) more.prompt += 1;
    ASSERT_GE(TypeParam::reserve(more), TypeParam::reserve(hint));
  }
}

}  // namespace
}  // namespace quire::reservation_test
