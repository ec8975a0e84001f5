// Calibration and the decoder that it needs. See calibrated.hpp.
#include <experiments/quality/calibrated.hpp>

#include <quire/core/thread_pool.hpp>
#include <quire/model/calibration.hpp>

namespace quire::quality {

checkpoint::Checkpoint calibrate(const checkpoint::Checkpoint& model,
                                 const std::vector<std::vector<TokenId>>& texts,
                                 const model::CalibrationOptions& options,
                                 std::vector<model::LayerError>* errors) {
  ThreadPool threads(1);
  return model::calibrate(model, texts, options, threads, errors);
}

checkpoint::Checkpoint smooth(const checkpoint::Checkpoint& model,
                              const std::vector<std::vector<TokenId>>& texts) {
  ThreadPool threads(1);
  return model::smooth(model, texts, threads);
}

checkpoint::Checkpoint prune(const checkpoint::Checkpoint& model,
                             const std::vector<std::vector<TokenId>>& texts,
                             const weight_format::PruningOptions& options,
                             std::vector<model::LayerError>* errors) {
  ThreadPool threads(1);
  return model::prune(model, texts, options, threads, errors);
}

checkpoint::Checkpoint factor(const checkpoint::Checkpoint& model,
                              const std::vector<std::vector<TokenId>>& texts,
                              const weight_format::LowRankOptions& options,
                              std::vector<model::LayerError>* errors) {
  ThreadPool threads(1);
  return model::factor(model, texts, options, threads, errors);
}

std::vector<float> logits(const checkpoint::Checkpoint& model, std::span<const TokenId> text,
                          const weight_format::WeightCodec& format) {
  ThreadPool threads(1);
  // The one that calibration runs: another would have to be compiled.
  const model::Decoder<weight_format::Packed, model::RecordingGemm> decoder(
      model.config, model.tensors, threads, format);
  for (const auto& layer : decoder.weights().layers) {
    for (const auto* m : {&layer.qkv, &layer.attention_output, &layer.mlp.in, &layer.mlp.out}) {
      m->ignore();
    }
  }
  decoder.weights().output.ignore();
  return full_logits(decoder, text, threads);
}

}  // namespace quire::quality
