#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/rng.hpp>
#include <quire/model/shape.hpp>

namespace quire::checkpoint {

namespace detail {

/// The tensors of a llama or a mixtral by Hugging Face's names.
[[nodiscard]] inline std::vector<safetensors::Declared> llama_tensors(const model::Shape& s,
                                                                      DType dtype) {
  std::vector<safetensors::Declared> out;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    out.push_back({name + ".weight", dtype, std::move(shape)});
  };
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  add("model.embed_tokens", {s.vocab, s.hidden});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm", {s.hidden});
    add(layer + "self_attn.q_proj", {q, s.hidden});
    add(layer + "self_attn.k_proj", {kv, s.hidden});
    add(layer + "self_attn.v_proj", {kv, s.hidden});
    add(layer + "self_attn.o_proj", {s.hidden, q});
    add(layer + "post_attention_layernorm", {s.hidden});
    if (s.experts == 0) {
      add(layer + "mlp.gate_proj", {s.ffn, s.hidden});
      add(layer + "mlp.up_proj", {s.ffn, s.hidden});
      add(layer + "mlp.down_proj", {s.hidden, s.ffn});
      continue;
    }
    add(layer + "block_sparse_moe.gate", {s.experts, s.hidden});
    for (std::int64_t e = 0; e < s.experts; ++e) {
      const std::string expert = layer + "block_sparse_moe.experts." + std::to_string(e) + ".";
      add(expert + "w1", {s.ffn, s.hidden});
      add(expert + "w2", {s.hidden, s.ffn});
      add(expert + "w3", {s.ffn, s.hidden});
    }
  }
  add("model.norm", {s.hidden});
  if (!s.tied_embedding) add("lm_head", {s.vocab, s.hidden});
  return out;
}

[[nodiscard]] inline std::string llama_config(const model::Shape& s, DType dtype) {
  const auto number = [](const char* name, std::int64_t value) {
    return "  \"" + std::string(name) + "\": " + std::to_string(value) + ",\n";
  };
  const char* type = dtype == DType::f32 ? "float32" : dtype == DType::f16 ? "float16" : "bfloat16";
  const bool mixture = s.experts > 0;
  return std::string("{\n  \"architectures\": [\"") + (mixture ? "Mixtral" : "Llama") +
         "ForCausalLM\"],\n  \"model_type\": \"" + (mixture ? "mixtral" : "llama") + "\",\n" +
         (mixture ? number("num_local_experts", s.experts) +
                        number("num_experts_per_tok", s.experts_per_token)
                  : std::string()) +
         number("hidden_size", s.hidden) + number("num_hidden_layers", s.layers) +
         number("num_attention_heads", s.heads) + number("num_key_value_heads", s.kv_heads) +
         number("head_dim", s.head_dim) + number("intermediate_size", s.ffn) +
         number("vocab_size", s.vocab) + number("max_position_embeddings", s.max_length.value) +
         number("bos_token_id", 1) + number("eos_token_id", 2) +
         "  \"hidden_act\": \"silu\",\n  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n"
         "  \"attention_bias\": false,\n  \"mlp_bias\": false,\n  \"tie_word_embeddings\": " +
         (s.tied_embedding ? "true" : "false") + ",\n  \"torch_dtype\": \"" + type + "\"\n}\n";
}

}  // namespace detail

/// Writes a llama, or a mixtral, of random weights as a Hugging Face directory without a tokenizer: what it says means
/// nothing, what it costs is real. Matrices are uniform with a standard deviation of 0.02, norms are
/// one; every tensor depends on its name and the seed alone.
/// dtype: f32, f16 or bf16
/// \complexity a random number a weight, a few nanoseconds each; memory for the largest tensor
/// \errors usage, for another dtype, a shape that is neither, or fewer than three tokens; state when a
/// file cannot be written
inline void save_random_model(const model::Shape& shape, DType dtype, std::uint64_t seed,
                              const std::string& directory) {
  namespace fs = std::filesystem;
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16) {
    throw usage_error("random model", "weights of type " + std::string(name_of(dtype)),
                      "f32, f16 or bf16");
  }
  const bool mixture = shape.family == model::Family::mixtral;
  if ((shape.family != model::Family::llama && !mixture) || (shape.experts > 0) != mixture ||
      shape.vocab < 3) {
    throw usage_error("random model", shape.name + " is neither llama nor mixtral",
                      "a shape of these families");
  }
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (failed)
    throw state_error(directory, "cannot make the directory (" + failed.message() + ")",
                      "a place that can be written");
  std::vector<std::byte> bytes;
  const auto tensors = detail::llama_tensors(shape, dtype);
  const fs::path to(directory);
  safetensors::write((to / "model.safetensors").string(), tensors, [&](std::size_t i) {
    const safetensors::Declared& t = tensors[i];
    const auto size = static_cast<std::size_t>(t.bytes() / size_of(dtype));
    bytes.resize(static_cast<std::size_t>(t.bytes()));
    Rng rng(hash_combine(seed, hash_span(std::span<const char>(t.name))));
    const auto put = [&]<class Value>(Value (*round)(float)) {
      for (std::size_t k = 0; k < size; ++k) {
        constexpr double width = 0.06928203230275509;  // 0.02 times the root of 12
        const Value v =
            round(t.shape.size() == 1 ? 1.0f : static_cast<float>(width * (rng.uniform() - 0.5)));
        std::memcpy(bytes.data() + k * sizeof v, &v, sizeof v);
      }
    };
    if (dtype == DType::f32) {
      put(+[](float x) { return x; });
    } else if (dtype == DType::f16) {
      put(+[](float x) { return to_fp16(x); });
    } else {
      put(+[](float x) { return to_bf16(x); });
    }
    return std::span<const std::byte>(bytes);
  });
  // Last: a directory without it is no checkpoint, so that one that ends early leaves none.
  std::ofstream file(to / "config.json", std::ios::binary);
  file << detail::llama_config(shape, dtype) << std::flush;
  if (!file) throw state_error((to / "config.json").string(), "cannot write it");
}

}  // namespace quire::checkpoint
