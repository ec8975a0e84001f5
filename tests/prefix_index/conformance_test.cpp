#include "tests/prefix_index/conformance.hpp"

#include <gtest/gtest.h>

namespace quire::prefix_index_test {
namespace {

template <class Index>
class PrefixIndexConformance : public ::testing::Test {};
using House = as_gtest_types<concat_t<all_policies, weakened>>::type;
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Indexes = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Indexes = House;
#endif
TYPED_TEST_SUITE(PrefixIndexConformance, Indexes);

TYPED_TEST(PrefixIndexConformance, EqualsAMapOfTexts) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    equals_a_map<TypeParam>(seed, 300);
    if (this->HasFatalFailure()) FAIL() << "seed " << seed;
  }
}

}  // namespace
}  // namespace quire::prefix_index_test
