#include <experiments/quire/cpu_steps.hpp>

#include <quire/core/thread_pool.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/kv_calibration.hpp>

namespace quire::executor {

template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;
template class Cpu::Steps<kv_format::Packed, weight_format::Fp32>;
template class Cpu::Steps<kv_format::Packed, weight_format::Packed>;

}  // namespace quire::executor

namespace quire::experiment {

std::shared_ptr<const kv_format::Calibration> calibrate_kv(
    const checkpoint::Checkpoint& model, std::span<const std::vector<TokenId>> texts,
    const kv_format::KvCodec& codec, const weight_format::WeightCodec& weights,
    std::size_t threads) {
  ThreadPool pool(threads);
  const model::Decoder<weight_format::Packed> decoder(model.config, model.tensors, pool, weights);
  return model::calibrate_kv(decoder, texts, codec, pool);
}

}  // namespace quire::experiment
