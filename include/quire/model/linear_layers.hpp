#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/model/tensor_names.hpp>

namespace quire::model {

/// A model whose linear layers are stored in another way. Embedding, output matrix and norms stay as they
/// are. add(list, name, view, values): adds what the layer `name` (without ".weight") is stored as.
/// \shape values (outputs, inputs), as view.shape says
/// \errors usage for a model that is quantised, transposed or a mixture; `where`: who asks
template <class Add>
[[nodiscard]] checkpoint::Checkpoint with_linear_layers(const checkpoint::Checkpoint& model,
                                                        const checkpoint::Quantisation& stored,
                                                        std::string_view where, Add&& add) {
  checkpoint::check_roundable(model.config, model.tensors,
                              model.directory + ": " + std::string(where));
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
    add(list, std::string(t.name.substr(0, t.name.rfind('.'))), t, std::span<const float>(values));
  }
  checkpoint::Checkpoint out = model;
  out.tensors = list.set(model.tensors.where() + ", rounded");
  out.config.quantisation = stored;
  return out;
}

}  // namespace quire::model
