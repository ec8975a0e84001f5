#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
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
  auto floats = std::make_shared<std::vector<std::vector<float>>>();
  floats->reserve(model.tensors.size());  // spans point into it
  std::vector<checkpoint::TensorSet::Entry> entries;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    checkpoint::TensorSet::Entry e{
        std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}, t.bytes};
    const bool queries = t.name.ends_with("q_proj.weight");
    if (queries || t.name.ends_with("k_proj.weight")) {
      std::vector<float>& w = floats->emplace_back(static_cast<std::size_t>(t.elements()));
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
      e.dtype = checkpoint::DType::f32;
      e.bytes = std::as_bytes(std::span<const float>(w));
    }
    entries.push_back(std::move(e));
  }
  checkpoint::Checkpoint out = model;
  const auto before = std::make_shared<checkpoint::TensorSet>(model.tensors);
  out.tensors = checkpoint::TensorSet(model.tensors.where(), std::move(entries), {floats, before});
  return out;
}

}  // namespace quire::quality
