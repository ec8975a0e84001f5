#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <quire/core/ids.hpp>

namespace quire::checkpoint {

/// Defaults for sampling that come with a checkpoint; empty where the file is silent or absent.
struct GenerationConfig {
  std::optional<TokenId> bos;
  std::optional<TokenId> pad;
  std::vector<TokenId> eos;
  std::optional<bool> do_sample;             // false: the authors meant greedy decoding
  std::optional<double> temperature;         // >= 0
  std::optional<double> top_p;               // in (0, 1]
  std::optional<double> min_p;               // in [0, 1]
  std::optional<std::int32_t> top_k;         // 0: all
  std::optional<double> repetition_penalty;  // > 0
  std::optional<std::int64_t> max_new_tokens;
};

}  // namespace quire::checkpoint
