#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/tensor_set.hpp>
#include <quire/model/shape.hpp>

namespace quire::model {

/// What a family calls its tensors in a Hugging Face checkpoint. Names within a layer are prefixed
/// by `layer` + number + "."; a weight is name + ".weight", a bias name + ".bias". A stacked matrix
/// may lie in several tensors; an empty name: the family has no such tensor.
struct TensorNames {
  std::vector<std::string_view> prefixes;  // tried in this order before every name
  std::string_view embedding, positions, project_in, project_out, final_norm, output;
  std::string_view layer;
  std::string_view attention_norm, mlp_norm, query_norm, key_norm;
  std::vector<std::string_view> qkv;
  std::string_view attention_output;
  std::vector<std::string_view> mlp_in;  // gate and up, or the first of two matrices
  std::string_view mlp_out;
  std::string_view router, expert;
  std::vector<std::string_view> expert_in;
  std::string_view expert_out;
};

[[nodiscard]] inline TensorNames tensor_names(Family family) {
  TensorNames n;
  switch (family) {
    case Family::opt:
      n.prefixes = {"model.decoder.", "decoder.", ""};
      n.embedding = "embed_tokens";
      n.positions = "embed_positions";
      n.project_in = "project_in";
      n.project_out = "project_out";
      n.final_norm = "final_layer_norm";
      n.layer = "layers.";
      n.attention_norm = "self_attn_layer_norm";
      n.mlp_norm = "final_layer_norm";
      n.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
      n.attention_output = "self_attn.out_proj";
      n.mlp_in = {"fc1"};
      n.mlp_out = "fc2";
      return n;
    case Family::gpt2:
      n.prefixes = {"transformer.", ""};
      n.embedding = "wte";
      n.positions = "wpe";
      n.final_norm = "ln_f";
      n.layer = "h.";
      n.attention_norm = "ln_1";
      n.mlp_norm = "ln_2";
      n.qkv = {"attn.c_attn"};
      n.attention_output = "attn.c_proj";
      n.mlp_in = {"mlp.c_fc"};
      n.mlp_out = "mlp.c_proj";
      return n;
    default:
      break;
  }
  n.prefixes = {"model.", ""};
  n.embedding = "embed_tokens";
  n.final_norm = "norm";
  n.output = "lm_head";
  n.layer = "layers.";
  n.attention_norm = "input_layernorm";
  n.mlp_norm = "post_attention_layernorm";
  n.query_norm = "self_attn.q_norm";
  n.key_norm = "self_attn.k_norm";
  n.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  n.attention_output = "self_attn.o_proj";
  n.mlp_in = {"mlp.gate_proj", "mlp.up_proj"};
  n.mlp_out = "mlp.down_proj";
  if (family == Family::mixtral) {
    n.router = "block_sparse_moe.gate";
    n.expert = "block_sparse_moe.experts.";
    n.expert_in = {"w1", "w3"};
    n.expert_out = "w2";
  } else if (family == Family::qwen3_moe) {
    n.router = "mlp.gate";
    n.expert = "mlp.experts.";
    n.expert_in = {"gate_proj", "up_proj"};
    n.expert_out = "down_proj";
  }
  return n;
}

/// What stands before every name in a set of tensors.
[[nodiscard]] inline std::string prefix_in(const checkpoint::TensorSet& tensors,
                                           const TensorNames& names) {
  for (const std::string_view prefix : names.prefixes) {
    std::string found(prefix);
    for (const char* kind : {".weight", ".panels", ".rows"}) {  // the latter of an image
      if (tensors.contains(found + std::string(names.embedding) + kind)) return found;
    }
  }
  return std::string(names.prefixes.front());
}

}  // namespace quire::model
