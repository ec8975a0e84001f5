#pragma once

#include <cstdint>
#include <vector>

#include <quire/core/ids.hpp>

namespace quire {

/// A cached block that an earlier process left in a disk tier: its slot of that tier, and its text.
struct StoredBlock {
  BlockId slot;  // of the disk tier alone, from 0
  std::uint64_t id = 0;
  std::uint64_t parent = 0;  // 0: a first block
  std::uint64_t salt = 0;
  std::vector<TokenId> tokens;  // \shape (block_tokens)
};

}  // namespace quire
