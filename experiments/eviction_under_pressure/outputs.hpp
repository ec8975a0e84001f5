#pragma once

#include <cstdint>

#include <experiments/eviction_under_pressure/policy.hpp>

namespace quire::eviction_lab {

/// What became of texts generated on this machine's processor while a policy emptied the cache.
struct Outputs {
  std::int64_t tokens = 0;     // generated
  std::int64_t different = 0;  // of those, not what the same requests get without a prefix index
  std::int64_t hit_tokens = 0;
  std::int64_t evicted_blocks = 0;
};

/// Greedy continuations of beginnings of stories, asked for again and again up to different places, in
/// a pool that cannot keep them all. \errors data: the story model cannot be read
[[nodiscard]] Outputs outputs_under(const Policy& policy);

}  // namespace quire::eviction_lab
