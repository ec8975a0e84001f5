// mechanism: images of weights, made when they are asked for
#pragma once

#include <string>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/packed_layout.hpp>
#include <quire/model/weights.hpp>

namespace quire::model {

/// Packs a model's weights and writes the directory of an image, which open_checkpoint opens like any other
/// and an executor of this format, on this kind of processor, uses without converting anything.
/// Format, codec: as of load_weights
/// \errors usage for a directory that is there, or a model of low rank; data and state as load_weights
/// and save_image
template <weight_format::WeightStorage Format>
void save_weight_image(const checkpoint::Checkpoint& model, const weight_format::WeightCodec& codec,
                       const std::string& directory, ThreadPool& threads) {
  std::vector<checkpoint::TensorSet::Entry> parts;
  const auto weights = load_weights<Format>(model.config, model.tensors, threads, codec, &parts);
  checkpoint::save_image(directory, model, packed_as(codec), parts);
}

}  // namespace quire::model
