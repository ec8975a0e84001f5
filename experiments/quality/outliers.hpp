#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/load.hpp>

namespace quire::quality {

/// The same function with larger keys: in each KV head, channels i and i + head_dim / 2 of the first
/// `pairs` pairs are multiplied by `factor`, and those of the queries that meet them divided by it. It
/// commutes with rotary embedding. This is how large models look, and is an emulation wherever it is
/// used. \pre a model with q_proj and k_proj of its own in each layer
[[nodiscard]] inline checkpoint::Checkpoint with_key_outliers(const checkpoint::Checkpoint& model,
                                                              std::int64_t pairs, float factor) {
  const model::Shape& s = model.config.shape;
  checkpoint::TensorList list;
  list.keep(model.tensors);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    const bool queries = t.name.ends_with("q_proj.weight");
    if (!queries && !t.name.ends_with("k_proj.weight")) {
      list.add(t);
      continue;
    }
    std::vector<float> w(static_cast<std::size_t>(t.elements()));
    checkpoint::read_floats(t, 0, w);
    const std::int64_t heads = queries ? s.heads : s.kv_heads, half = s.head_dim / 2;
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < pairs; ++i) {
        for (const std::int64_t channel : {7 * i + 3, 7 * i + 3 + half}) {
          float* row = w.data() + (h * s.head_dim + channel) * s.hidden;
          for (std::int64_t k = 0; k < s.hidden; ++k) {
            row[k] = queries ? row[k] / factor : row[k] * factor;
          }
        }
      }
    }
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape.begin(), t.shape.end()}, w);
  }
  checkpoint::Checkpoint out = model;
  out.tensors = list.set(model.tensors.where() + ", outliers emulated");
  return out;
}

/// The same function with larger inputs of attention and MLP: two channels of each norm are multiplied by
/// `factor`, and the weights that meet them divided by it. The inputs that large models have, emulated.
/// \pre a model of the llama family
[[nodiscard]] inline checkpoint::Checkpoint with_input_outliers(const checkpoint::Checkpoint& model,
                                                                float factor) {
  checkpoint::TensorList list;
  list.keep(model.tensors);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    const bool norm = t.name.ends_with("layernorm.weight");
    bool matrix = false;
    for (const std::string_view n : {"q_proj.", "k_proj.", "v_proj.", "gate_proj.", "up_proj."}) {
      matrix = matrix || t.name.find(n) != std::string_view::npos;
    }
    if (!norm && !matrix) {
      list.add(t);
      continue;
    }
    std::vector<float> w(static_cast<std::size_t>(t.elements()));
    checkpoint::read_floats(t, 0, w);
    const auto width = static_cast<std::size_t>(model.config.shape.hidden);
    for (std::size_t i = 0; i < w.size(); ++i) {
      if (i % width == 11 || i % width == 70) w[i] *= norm ? factor : 1 / factor;
    }
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape.begin(), t.shape.end()}, w);
  }
  checkpoint::Checkpoint out = model;
  out.tensors = list.set(model.tensors.where() + ", outliers emulated");
  return out;
}

}  // namespace quire::quality
