#pragma once

// What a user's own list of variants looks like: a policy and a variant outside the library.
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <tests/experiments/user_kv_format.hpp>

namespace lab {

/// Gives up the block with the highest number.
class HighestBlock {
 public:
  static constexpr std::string_view name = "highest_block";
  explicit HighestBlock(quire::BlockCount) {}
  void on_insert(quire::BlockId, const quire::BlockContext&) {}
  void on_access(quire::BlockId, const quire::BlockContext&) {}
  void set_evictable(quire::BlockId b, bool evictable) {
    evictable ? void(blocks_.insert(b)) : void(blocks_.erase(b));
  }
  void on_remove(quire::BlockId b) { blocks_.erase(b); }
  std::optional<quire::BlockId> victim() const {
    return blocks_.empty() ? std::nullopt : std::optional(*blocks_.rbegin());
  }

 private:
  std::set<quire::BlockId> blocks_;
};

struct HighestBlockFirst : quire::presets::VllmPrefixCache {
  static constexpr std::string_view name = "highest_block_first";
  using Eviction = HighestBlock;
};

/// Finds a fault of its own in the midst of a run, and throws what the standard library has.
class LosesCount : public HighestBlock {
 public:
  static constexpr std::string_view name = "loses_count";
  using HighestBlock::HighestBlock;
  std::optional<quire::BlockId> victim() const {
    if (HighestBlock::victim()) throw std::runtime_error("my own table is inconsistent");
    return std::nullopt;
  }
};

struct LosingCount : quire::presets::VllmPrefixCache {
  static constexpr std::string_view name = "losing_count";
  using Eviction = LosesCount;
};

struct VllmLogBytes : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm_log_bytes";
  using KvFormat = LogBytes;
};

using Variants =
    quire::type_list<quire::presets::Vllm, HighestBlockFirst, VllmLogBytes, LosingCount>;

}  // namespace lab
