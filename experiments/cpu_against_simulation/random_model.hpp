#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/rng.hpp>

namespace quire::experiment {

/// A small llama that exists in memory only: 4 layers of 256, four heads of 64 with two for keys and
/// values, random weights. What it says means nothing; what it costs is real.
[[nodiscard]] inline checkpoint::Checkpoint random_model() {
  constexpr std::int64_t layers = 4, hidden = 256, ffn = 768, vocab = 2048;
  checkpoint::Checkpoint c;
  checkpoint::ModelConfig& config = c.config;
  config.shape = {.name = "random_llama",
                  .layers = layers,
                  .hidden = hidden,
                  .heads = 4,
                  .kv_heads = 2,
                  .head_dim = 64,
                  .ffn = ffn,
                  .vocab = vocab,
                  .max_length = 2048,
                  .tied_embedding = true};
  config.windows.assign(layers, 0);
  config.embedding_width = hidden;
  auto numbers = std::make_shared<std::vector<float>>(static_cast<std::size_t>(vocab * hidden));
  Rng rng(1);
  for (float& x : *numbers) x = 0.05f * (static_cast<float>(rng.uniform()) - 0.5f);
  std::vector<checkpoint::TensorSet::Entry> entries;
  auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t size = 1;
    for (const std::int64_t n : shape) size *= static_cast<std::size_t>(n);
    entries.push_back({name + ".weight", checkpoint::DType::f32, std::move(shape),
                       std::as_bytes(std::span(*numbers)).first(size * sizeof(float))});
  };
  add("model.embed_tokens", {vocab, hidden});
  add("model.norm", {hidden});
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm", {hidden});
    add(layer + "post_attention_layernorm", {hidden});
    add(layer + "self_attn.q_proj", {hidden, hidden});
    add(layer + "self_attn.k_proj", {hidden / 2, hidden});
    add(layer + "self_attn.v_proj", {hidden / 2, hidden});
    add(layer + "self_attn.o_proj", {hidden, hidden});
    add(layer + "mlp.gate_proj", {ffn, hidden});
    add(layer + "mlp.up_proj", {ffn, hidden});
    add(layer + "mlp.down_proj", {hidden, ffn});
  }
  c.tensors = checkpoint::TensorSet("memory", std::move(entries), {numbers});
  return c;
}

}  // namespace quire::experiment
