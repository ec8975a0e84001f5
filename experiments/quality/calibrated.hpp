#pragma once

#include <span>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/ids.hpp>
#include <quire/model/calibration_options.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/low_rank.hpp>
#include <quire/weight_format/pruning.hpp>

/// quire/model/calibration.hpp on one thread, compiled once for the laboratory and the tests.
namespace quire::quality {

[[nodiscard]] checkpoint::Checkpoint calibrate(const checkpoint::Checkpoint& model,
                                               const std::vector<std::vector<TokenId>>& texts,
                                               const model::CalibrationOptions& options,
                                               std::vector<model::LayerError>* errors = nullptr);
[[nodiscard]] checkpoint::Checkpoint smooth(const checkpoint::Checkpoint& model,
                                            const std::vector<std::vector<TokenId>>& texts);

[[nodiscard]] checkpoint::Checkpoint prune(const checkpoint::Checkpoint& model,
                                           const std::vector<std::vector<TokenId>>& texts,
                                           const weight_format::PruningOptions& options,
                                           std::vector<model::LayerError>* errors = nullptr);

[[nodiscard]] checkpoint::Checkpoint factor(const checkpoint::Checkpoint& model,
                                            const std::vector<std::vector<TokenId>>& texts,
                                            const weight_format::LowRankOptions& options,
                                            std::vector<model::LayerError>* errors = nullptr);

/// Logits after every token of one text. \shape result (tokens, vocab)
[[nodiscard]] std::vector<float> logits(const checkpoint::Checkpoint& model,
                                        std::span<const TokenId> text,
                                        const weight_format::WeightCodec& format);

}  // namespace quire::quality
