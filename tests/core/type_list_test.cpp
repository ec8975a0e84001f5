#include <quire/core/type_list.hpp>

#include <string>
#include <type_traits>

#include <gtest/gtest.h>

namespace quire {
namespace {

static_assert(type_list<>::size == 0 && type_list<int, int>::size == 2);
static_assert(std::is_same_v<concat_t<>, type_list<>>);
static_assert(std::is_same_v<concat_t<type_list<int>>, type_list<int>>);
static_assert(std::is_same_v<concat_t<type_list<int>, type_list<>, type_list<char, long>>,
                             type_list<int, char, long>>);

TEST(TypeList, VisitsEachTypeInOrder) {
  std::string sizes;
  for_each_type(type_list<char, std::int32_t, std::int64_t>{},
                [&]<class T>() { sizes += std::to_string(sizeof(T)); });
  EXPECT_EQ(sizes, "148");
}

}  // namespace
}  // namespace quire
