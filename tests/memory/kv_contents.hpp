#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/step.hpp>

namespace quire::memory_test {

/// What the KV slots of both tiers hold, as one number a token that stands for the token and all
/// before it. Does to them what a StepPlan says, in the order in which an executor does.
class KvContents {
 public:
  static constexpr std::uint64_t garbage = 0xdead;

  /// below: slots of all tiers below the device.
  KvContents(BlockCount device, BlockCount below, Tokens block_tokens)
      : block_tokens_(static_cast<std::size_t>(block_tokens.value)),
        device_(static_cast<std::size_t>(device.value) * block_tokens_, garbage),
        host_(static_cast<std::size_t>(below.value) * block_tokens_, garbage) {}

  /// The number of the text's last token, given that of the text before it.
  static std::uint64_t extend(std::uint64_t before, TokenId token) {
    return hash_combine(before, token);
  }

  void move(const StepPlan& plan) {
    for (const TierMove& m : plan.spills) copy(host_, m.from, host_, m.to);
    for (const BlockSwap& s : plan.swap_out) copy(device_, s.device, host_, s.host);
    for (const TierMove& m : plan.prefetches) copy(host_, m.from, host_, m.to);
    for (const BlockSwap& s : plan.swap_in) copy(host_, s.host, device_, s.device);
    for (const BlockCopy& c : plan.copies) copy(device_, c.from, device_, c.to);
  }
  /// A block of the device as a failed fetch leaves it.
  void spoil(BlockId device) {
    for (std::size_t i = 0; i < block_tokens_; ++i)
      device_.at(device.value * block_tokens_ + i) = 0;
  }
  std::uint64_t& at(const BlockTable& table, std::int64_t token) {
    const auto t = static_cast<std::size_t>(token);
    return device_.at(table.blocks()[t / block_tokens_].value * block_tokens_ + t % block_tokens_);
  }

  /// The number of the last token of a device block.
  [[nodiscard]] std::uint64_t last_of(BlockId b) const {
    return device_.at(b.value * block_tokens_ + block_tokens_ - 1);
  }

 private:
  void copy(const std::vector<std::uint64_t>& from, BlockId a, std::vector<std::uint64_t>& to,
            BlockId b) {
    for (std::size_t i = 0; i < block_tokens_; ++i) {
      to.at(b.value * block_tokens_ + i) = from.at(a.value * block_tokens_ + i);
    }
  }
  std::size_t block_tokens_;
  std::vector<std::uint64_t> device_, host_;
};

}  // namespace quire::memory_test
