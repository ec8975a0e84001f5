#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <quire/checkpoint/compressed_tensors.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/model/linear_layers.hpp>

namespace quire::model {

/// Rounds the linear layers of a model to bytes with a scale an output, named as compressed-tensors names
/// them: INT8 or FP8 W8A8, inputs rounded token by token when they come. To be run, or saved.
/// \errors usage for another layout, and for a model that is quantised, transposed or a mixture
[[nodiscard]] inline checkpoint::Checkpoint to_compressed_bytes(
    const checkpoint::Checkpoint& model, checkpoint::Quantisation::Layout layout) {
  using Layout = checkpoint::Quantisation::Layout;
  if (layout != Layout::compressed_int8 && layout != Layout::compressed_fp8) {
    throw usage_error("compressed-tensors", "a layout without bytes", "INT8 or FP8");
  }
  checkpoint::Quantisation q;
  q.layout = layout;
  q.bits = 8;
  q.group = 0;
  q.symmetric = true;
  return with_linear_layers(model, q, "compressed-tensors",
                            [&q](checkpoint::TensorList& list, const std::string& name,
                                 const checkpoint::TensorView& t, std::span<const float> values) {
                              checkpoint::add_compressed_bytes(
                                  list, q, name, static_cast<std::size_t>(t.shape[0]),
                                  static_cast<std::size_t>(t.shape[1]), values);
                            });
}

}  // namespace quire::model
