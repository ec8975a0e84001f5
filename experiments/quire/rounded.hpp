#pragma once

#include <string>

#include <quire/checkpoint/load.hpp>

namespace quire::experiment {

/// A model's linear layers in a weight format, under the names that other tools' checkpoints have:
/// - nf4, fp4, llm_int8: as bitsandbytes stores them; scales of nf4 and fp4 are quantised in their turn;
/// - w8a8, fp8_w8a8, rtn_int4_g128, int4_zero_point_g128, int8_per_channel ...: as compressed-tensors does;
/// - gptq_int4_g128, gptq_act_order_int3_zero_point_g128, awq_int4_zero_point_g128 ...: fitted to texts, as
///   GPTQ's and AWQ's tools do.
/// texts: the file that GPTQ and AWQ read \errors usage for an unknown format, for one that only GGUF files
/// have, and where texts are missing or nobody reads them; data for a text of a few tokens
[[nodiscard]] checkpoint::Checkpoint rounded(const checkpoint::Checkpoint& model,
                                             const std::string& format, const std::string& texts);

}  // namespace quire::experiment
