#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/ids.hpp>
#include <quire/model/shape.hpp>

namespace quire::checkpoint {

/// The function between the matrices of an MLP.
enum class Activation {
  silu,
  relu,
  gelu,       // with the error function
  gelu_tanh,  // the tanh approximation ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
};

/// How layer inputs are normalised.
enum class Norm {
  rms,    // root mean square, scale only
  layer,  // mean and variance, scale and bias
};

/// Llama 3.1's change of the rotary frequencies, by its four numbers.
struct Llama3RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_positions = 8192;
};

/// How a checkpoint that is quantised stores the linear layers.
struct Quantisation {
  /// In integers, NAME.qweight, NAME.qzeros and NAME.scales in place of NAME.weight. gptq: codes of
  /// neighbouring inputs in a word, zero points stored less 1; gptq_v2: those as they are; awq: codes of 8
  /// neighbouring outputs in a word, in the order of its kernels. As bitsandbytes has them, codes in
  /// NAME.weight and what they need beside it: 4 bits with a table, or bytes with a scale an output. As
  /// compressed-tensors has them: integers in NAME.weight_packed ("pack-quantized"), or bytes in
  /// NAME.weight, signed integers or FP8 E4M3, with NAME.weight_scale.
  enum class Layout {
    gptq,
    gptq_v2,
    awq,
    bitsandbytes_nf4,
    bitsandbytes_fp4,
    bitsandbytes_int8,
    compressed_packed,
    compressed_int8,
    compressed_fp8
  };
  Layout layout = Layout::gptq_v2;
  unsigned bits = 4;
  std::size_t group = 128;  // inputs with one scale; 0: all of a row
  bool symmetric = false;   // all zero points are the middle code
  bool nested = false;      // of bitsandbytes' 4 bits: scales are quantised in their turn

  [[nodiscard]] bool is_bitsandbytes() const {
    return layout >= Layout::bitsandbytes_nf4 && layout <= Layout::bitsandbytes_int8;
  }
  [[nodiscard]] bool is_compressed() const { return layout >= Layout::compressed_packed; }
};

/// What the matrices of an image are packed for.
struct PackedWeights {
  std::string weight_format;
  std::string layout;  // of its panels in memory (model/weight_image.hpp)
};

/// What a model's blocks compute, beyond the numbers in its Shape; read from config.json.
/// Every field is filled for every family, so that code can follow the fields and not the family.
struct ModelConfig {
  model::Shape shape;
  std::string model_type;      // as the file spells it
  std::optional<DType> dtype;  // of the weights, where the file declares it

  // Attention.
  bool qkv_bias = false;
  bool output_bias = false;     // of the attention's output projection
  bool query_key_norm = false;  // RMS norm over head_dim on q and k, before the rotation (qwen3)
  // One entry a layer: a query at position i sees positions j with i - j < window; 0: all j <= i.
  std::vector<std::int64_t> windows;

  // Positions.
  bool rotary = true;  // rotate-half layout: pairs (i, i + head_dim / 2)
  double rope_theta = 10000.0;
  std::optional<Llama3RopeScaling> rope_scaling;
  std::vector<float> rope_divisors;  // of each frequency, in GGUF files; empty: none
  std::int64_t position_offset = 0;  // learned table: row = position + offset (2 in opt)

  // Norms.
  Norm norm = Norm::rms;
  double norm_eps = 1e-6;
  bool norm_before = true;  // before attention and MLP; false: after the residual sum (opt 350m)
  bool final_norm = true;   // a norm after the last layer

  // MLP.
  Activation activation = Activation::silu;
  bool mlp_bias = false;
  bool normalize_expert_weights = true;    // the chosen experts' weights sum to 1
  std::vector<std::int64_t> dense_layers;  // of a mixture: layers with one plain MLP, ascending
  std::int64_t dense_ffn = 0;              // width of that MLP

  // Embedding.
  std::int64_t embedding_width = 0;  // = hidden, or the width before project_in (opt 350m)
  bool transposed_linear = false;    // matrices stored [in, out], q, k and v fused (gpt2)

  std::optional<Quantisation> quantisation;
  std::optional<PackedWeights> packed;  // of an image (weight_image.hpp)

  // Special tokens as declared. Ids at or above shape.vocab occur in the wild; nothing emits them.
  std::optional<TokenId> bos;
  std::optional<TokenId> pad;
  std::vector<TokenId> eos;

  [[nodiscard]] bool any_window() const {
    for (std::int64_t window : windows) {
      if (window > 0) return true;
    }
    return false;
  }
};

}  // namespace quire::checkpoint
