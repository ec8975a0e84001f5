#include <quire/memory/block_table.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace quire::memory_test {
namespace {

TEST(BlockTable, MapsLogicalToPhysicalBlocks) {
  BlockTable table;
  table.append(BlockId{7});
  table.append(BlockId{1});
  table.append(BlockId{3});
  table.replace(1, BlockId{5});
  EXPECT_EQ(table[0], BlockId{7});
  EXPECT_EQ(table[1], BlockId{5});
  EXPECT_EQ(table.back(), BlockId{3});
  table.truncate(1);
  EXPECT_EQ(table.size(), 1u);
  table.assign(std::vector<BlockId>{BlockId{4}, BlockId{2}});
  EXPECT_EQ(table.blocks()[1], BlockId{2});
  table.clear();
  EXPECT_TRUE(table.empty());
}

}  // namespace
}  // namespace quire::memory_test
