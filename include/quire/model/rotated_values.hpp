#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hadamard.hpp>

namespace quire::model {

/// Whether a Hadamard matrix fits the heads.
[[nodiscard]] inline bool can_rotate_values(const checkpoint::Checkpoint& model) {
  const auto dim = static_cast<std::uint64_t>(model.config.shape.head_dim);
  return std::has_single_bit(dim);
}

/// The same function with values that come out of their projection turned by a Hadamard matrix, head by head:
/// what kv_format::Rotated does to values and undoes after attention, folded into v_proj and o_proj once. A
/// format that rotates keys alone then stores keys and values both rotated, and nothing is undone.
/// \source Ashkboos et al., "QuaRot", NeurIPS '24: the values' rotation is fused into the weights
/// \errors usage for heads that no Hadamard matrix fits, for a model that is quantised, transposed or a mixture,
/// and for one without v_proj and o_proj
[[nodiscard]] inline checkpoint::Checkpoint with_rotated_values(
    const checkpoint::Checkpoint& model) {
  const Shape& s = model.config.shape;
  const auto dim = static_cast<std::size_t>(s.head_dim);
  checkpoint::check_roundable(model.config, model.tensors, model.directory + ": rotated values");
  if (!can_rotate_values(model)) {
    throw usage_error("rotated values", "heads of " + std::to_string(dim), "a power of two");
  }
  checkpoint::TensorList list;
  list.keep(model.tensors);
  std::int64_t turned = 0;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    const bool out = t.name.ends_with(".o_proj.weight"), bias = t.name.ends_with(".v_proj.bias");
    if (!out && !bias && !t.name.ends_with(".v_proj.weight")) {
      list.add(t);
      continue;
    }
    std::vector<float> w(static_cast<std::size_t>(t.elements())), head(dim);
    checkpoint::read_floats(t, 0, w);
    // Heads lie along a row of o_proj, down a column of v_proj.
    const std::size_t width = out || bias ? 1 : static_cast<std::size_t>(t.shape[1]);
    for (std::size_t first = 0; first + dim * width <= w.size(); first += dim * width) {
      for (std::size_t k = 0; k < width; ++k) {
        for (std::size_t i = 0; i < dim; ++i) head[i] = w[first + i * width + k];
        hadamard(head.data(), dim);
        for (std::size_t i = 0; i < dim; ++i) w[first + i * width + k] = head[i];
      }
    }
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape.begin(), t.shape.end()}, w);
    turned += bias ? 0 : 1;
  }
  if (turned != 2 * s.layers) {
    throw usage_error("rotated values", "the model's values have no v_proj and o_proj of their own",
                      "a model of the llama family");
  }
  checkpoint::Checkpoint folded = model;
  folded.tensors = list.set(model.tensors.where() + ", values rotated");
  return folded;
}

}  // namespace quire::model
