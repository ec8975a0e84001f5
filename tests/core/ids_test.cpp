#include <quire/core/ids.hpp>

#include <type_traits>
#include <unordered_set>

#include <gtest/gtest.h>

namespace quire {
namespace {

static_assert(!std::is_convertible_v<BlockId, TenantId>);
static_assert(!std::is_convertible_v<SequenceId, RequestId>);
static_assert(!std::is_convertible_v<std::uint32_t, BlockId>);
static_assert(std::is_trivially_copyable_v<BlockId>);
static_assert(sizeof(BlockId) == 4 && sizeof(SequenceId) == 8);

TEST(Ids, CompareAndHashByValue) {
  EXPECT_EQ(BlockId{3}, BlockId{3});
  EXPECT_LT(BlockId{3}, BlockId{4});
  const std::unordered_set<SequenceId> seen = {SequenceId{1}, SequenceId{2}, SequenceId{1}};
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_TRUE(seen.contains(SequenceId{2}));
}

}  // namespace
}  // namespace quire
