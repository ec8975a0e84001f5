#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/bitsandbytes.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/core/error.hpp>
#include <quire/model/tensor_names.hpp>

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
  checkpoint::check_roundable(model.config, "bitsandbytes");
  const bool bytes = layout == checkpoint::Quantisation::Layout::bitsandbytes_int8;
  q.bits = bytes ? 8 : 4;
  q.group = bytes ? 0 : weight_format::bitsandbytes::block;
  q.symmetric = true;
  q.nested = nested && !bytes;
  const TensorNames names = tensor_names(model.config.shape.family);
  std::vector<std::string_view> linear = names.qkv;
  linear.insert(linear.end(), names.mlp_in.begin(), names.mlp_in.end());
  linear.insert(linear.end(), {names.attention_output, names.mlp_out});
  const std::string layers = prefix_in(model.tensors, names) + std::string(names.layer);
  checkpoint::TensorList list;
  list.keep(model.tensors);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    bool rounds = false;
    for (const std::string_view n : linear) {
      rounds = rounds || t.name.ends_with("." + std::string(n) + ".weight");
    }
    if (!rounds || !t.name.starts_with(layers) || t.shape.size() != 2) {
      list.add(t);
      continue;
    }
    std::vector<float> values(static_cast<std::size_t>(t.elements()));
    checkpoint::read_floats(t, 0, values);
    const std::string_view dtype = t.dtype == checkpoint::DType::bf16  ? "bfloat16"
                                   : t.dtype == checkpoint::DType::f16 ? "float16"
                                                                       : "float32";
    checkpoint::add_bitsandbytes(list, q, std::string(t.name.substr(0, t.name.rfind('.'))),
                                 static_cast<std::size_t>(t.shape[0]),
                                 static_cast<std::size_t>(t.shape[1]), values, dtype);
  }
  checkpoint::Checkpoint out = model;
  out.tensors = list.set(model.tensors.where() + ", rounded");
  out.config.quantisation = q;
  return out;
}

}  // namespace quire::model
