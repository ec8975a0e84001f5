#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/bitsandbytes.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/model/linear_layers.hpp>

namespace quire::model {

/// Rounds the linear layers of a model as bitsandbytes does and gives the model back as its tensors are
/// stored: to be run, or saved. Embedding, output matrix and norms stay floats.
/// nested: of 4 bits, whether scales are quantised in their turn ("double quantisation")
/// \errors usage for a layout of another tool, and for a model that is quantised, transposed or a mixture
[[nodiscard]] inline checkpoint::Checkpoint to_bitsandbytes(const checkpoint::Checkpoint& model,
                                                            checkpoint::Quantisation::Layout layout,
                                                            bool nested = true) {
  checkpoint::Quantisation q;
  q.layout = layout;
  if (!q.is_bitsandbytes()) {
    throw usage_error("bitsandbytes", "a layout of another tool", "NF4, FP4 or 8 bits");
  }
  const bool bytes = layout == checkpoint::Quantisation::Layout::bitsandbytes_int8;
  q.bits = bytes ? 8 : 4;
  q.group = bytes ? 0 : weight_format::bitsandbytes::block;
  q.symmetric = true;
  q.nested = nested && !bytes;
  return with_linear_layers(
      model, q, "bitsandbytes",
      [&q](checkpoint::TensorList& list, const std::string& name, const checkpoint::TensorView& t,
           std::span<const float> values) {
        const std::string_view dtype = t.dtype == checkpoint::DType::bf16  ? "bfloat16"
                                       : t.dtype == checkpoint::DType::f16 ? "float16"
                                                                           : "float32";
        checkpoint::add_bitsandbytes(list, q, name, static_cast<std::size_t>(t.shape[0]),
                                     static_cast<std::size_t>(t.shape[1]), values, dtype);
      });
}

}  // namespace quire::model
