#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/config_fields.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/quantisation_config.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

namespace quire::checkpoint {

namespace detail {

/// Reads the families of config.json. Where a file is silent, the default is the one of the
/// transformers class for that model_type; sizes have no default, they must be there.
class ConfigReader {
 public:
  explicit ConfigReader(const json::Field& root) : root_(root) {}

  [[nodiscard]] ModelConfig read() {
    using model::Family;
    const json::Field type = root_.at("model_type");
    config_.model_type = type.string();
    model::Shape& shape = config_.shape;
    constexpr std::pair<std::string_view, Family> families[] = {
        {"llama", Family::llama}, {"mistral", Family::mistral}, {"qwen2", Family::qwen2},
        {"qwen3", Family::qwen3}, {"mixtral", Family::mixtral}, {"qwen3_moe", Family::qwen3_moe},
        {"opt", Family::opt},     {"gpt2", Family::gpt2}};
    const auto found =
        std::find_if(std::begin(families), std::end(families),
                     [&](const auto& family) { return family.first == config_.model_type; });
    if (found == std::end(families)) {
      throw type.error("unknown model_type " + in_quotes(config_.model_type),
                       "llama, mistral, qwen2, qwen3, mixtral, qwen3_moe, opt or gpt2");
    }
    shape.family = found->second;
    refuse_unsupported();
    shape.vocab = root_.at("vocab_size").integer(1, most_vocab);
    shape.tied_embedding = boolean("tie_word_embeddings", learned_family());
    if (shape.family == Family::opt) {
      read_opt();
    } else if (shape.family == Family::gpt2) {
      read_gpt2();
    } else {
      read_rotary();
    }
    if (config_.windows.empty()) config_.windows.assign(count(shape.layers), 0);
    if (config_.embedding_width == 0) config_.embedding_width = shape.hidden;
    check_size();
    config_.dtype = read_dtype(root_);
    config_.bos = read_token_id(root_, "bos_token_id");
    config_.pad = read_token_id(root_, "pad_token_id");
    config_.eos = read_token_ids(root_, "eos_token_id");
    if (const auto field = root_.find_set("quantization_config")) {
      if (config_.transposed_linear) {
        throw field->error("a quantised " + config_.model_type + " is not supported", "null");
      }
      config_.quantisation = read_quantisation(*field);
    }
    return std::move(config_);
  }

 private:
  static constexpr std::int64_t most_layers = 4096;
  static constexpr std::int64_t most_heads = 4096;
  static constexpr std::int64_t most_head_dim = 4096;
  static constexpr std::int64_t most_experts = 4096;
  static constexpr std::int64_t most_width = std::int64_t{1} << 22;
  static constexpr std::int64_t most_vocab = std::int64_t{1} << 24;
  static constexpr std::int64_t most_positions = std::int64_t{1} << 30;

  [[nodiscard]] static std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }
  [[nodiscard]] bool learned_family() const {
    return config_.shape.family == model::Family::opt ||
           config_.shape.family == model::Family::gpt2;
  }
  [[nodiscard]] bool boolean(std::string_view key, bool otherwise) const {
    const auto field = root_.find_set(key);
    return field ? field->boolean() : otherwise;
  }
  /// Refuses a switch that this family does not have, unless it is set to what the family does.
  void require(std::string_view key, bool value, std::string_view why) const {
    const auto field = root_.find_set(key);
    if (field && field->boolean() != value) {
      throw field->error(std::string(key) + " is " + (value ? "false" : "true"), why);
    }
  }

  void refuse_unsupported() const {
    for (const std::string_view key : {"compression_config", "attn_logit_softcapping",
                                       "final_logit_softcapping", "logits_soft_cap", "clip_qkv"}) {
      if (const auto field = root_.find_set(key)) {
        throw field->error(std::string(key) + " is not supported", "it to be absent or null");
      }
    }
    require("is_encoder_decoder", false, "false: a decoder-only model");
    require("add_cross_attention", false, "false: a decoder-only model");
    if (const auto field = root_.find_set("partial_rotary_factor")) {
      if (field->number(0, 1) != 1) throw field->error("only part of each head is rotated", "1");
    }
    const auto architectures = root_.find_set("architectures");
    if (!architectures) return;
    for (std::size_t i = 0; i < architectures->array().size(); ++i) {
      const std::string& name = architectures->at(i).string();
      if (name.ends_with("ForCausalLM") || name.ends_with("LMHeadModel")) continue;
      throw architectures->at(i).error("architecture " + in_quotes(name) + " is not supported",
                                       "a causal language model (...ForCausalLM, GPT2LMHeadModel)");
    }
  }

  void read_widths(std::initializer_list<std::string_view> hidden,
                   std::initializer_list<std::string_view> layers,
                   std::initializer_list<std::string_view> heads,
                   std::initializer_list<std::string_view> positions) {
    model::Shape& shape = config_.shape;
    shape.hidden = one_of(root_, hidden).integer(1, most_width);
    shape.layers = one_of(root_, layers).integer(1, most_layers);
    shape.heads = one_of(root_, heads).integer(1, most_heads);
    shape.max_length = one_of(root_, positions).integer(1, most_positions);
  }
  [[nodiscard]] std::int64_t split_heads() const {
    const model::Shape& shape = config_.shape;
    if (shape.hidden % shape.heads != 0) {
      throw root_.error("hidden size " + std::to_string(shape.hidden) + " does not split into " +
                            std::to_string(shape.heads) + " heads",
                        "a multiple, or an explicit head_dim");
    }
    return shape.hidden / shape.heads;
  }
  void check_size() const {
    const model::Shape& s = config_.shape;
    const auto real = [](std::int64_t n) { return static_cast<double>(n); };
    if (s.head_dim > most_head_dim) {
      throw root_.error("head_dim is " + std::to_string(s.head_dim),
                        "at most " + std::to_string(most_head_dim));
    }
    const double mlp = 3.0 * real(s.hidden) * real(std::max(s.ffn, config_.dense_ffn));
    const double attention = 2.0 * real(s.hidden) * real(s.head_dim) * real(s.heads + s.kv_heads);
    const double all =
        real(s.layers) * (attention + mlp * real(std::max<std::int64_t>(1, s.experts))) +
        2.0 * real(s.vocab + s.max_length.value) * real(s.hidden);
    if (!(all < 1e16)) throw root_.error("the sizes multiply to over 10^16 weights", "fewer");
  }

  void read_rotary() {
    using model::Family;
    model::Shape& shape = config_.shape;
    const Family family = shape.family;
    read_widths({"hidden_size"}, {"num_hidden_layers"}, {"num_attention_heads"},
                {"max_position_embeddings"});
    const auto kv_heads = root_.find("num_key_value_heads");
    if (!kv_heads && family != Family::llama) (void)root_.at("num_key_value_heads");
    shape.kv_heads =
        kv_heads && !kv_heads->value().is_null() ? kv_heads->integer(1, most_heads) : shape.heads;
    if (shape.heads % shape.kv_heads != 0) {
      throw kv_heads->error(std::to_string(shape.heads) + " heads do not split over " +
                                std::to_string(shape.kv_heads) + " key/value heads",
                            "a divisor of num_attention_heads");
    }
    const bool own_head_dim = family == Family::qwen3 || family == Family::qwen3_moe;
    if (own_head_dim) (void)root_.at("head_dim");
    const auto head_dim = root_.find_set("head_dim");
    shape.head_dim = head_dim ? head_dim->integer(1, most_head_dim) : split_heads();
    if (shape.head_dim % 2 != 0) {
      throw root_.error("head_dim " + std::to_string(shape.head_dim) + " is odd",
                        "an even number: rotary embedding turns pairs");
    }
    config_.norm_eps = root_.at("rms_norm_eps").number(1e-12, 0.1);
    config_.activation = read_activation(root_, "hidden_act", Activation::silu);
    read_biases();
    read_experts();
    const RopeNumbers rope = read_rope(root_, family == Family::mixtral ? 1e6 : 1e4);
    config_.rope_theta = rope.theta;
    config_.rope_scaling = rope.scaling;
    if (const auto divisors = root_.find_set("quire_rope_divisors")) {
      const std::size_t wanted = count(shape.head_dim / 2);
      if (divisors->array().size() != wanted || rope.scaling) {
        throw divisors->error(std::to_string(divisors->array().size()) + " divisors",
                              std::to_string(wanted) + ", and no rope_scaling");
      }
      config_.rope_divisors.reserve(wanted);
      for (std::size_t i = 0; i < wanted; ++i) {
        config_.rope_divisors.push_back(static_cast<float>(divisors->at(i).number(1e-6, 1e6)));
      }
    }
    read_windows();
  }

  void read_biases() {
    using model::Family;
    const Family family = config_.shape.family;
    if (family == Family::llama || family == Family::qwen3 || family == Family::qwen3_moe) {
      config_.qkv_bias = config_.output_bias = boolean("attention_bias", false);
    } else if (family == Family::qwen2) {
      require("attention_bias", true, "true: qwen2 has biases on q, k and v");
      config_.qkv_bias = true;
    } else {
      require("attention_bias", false, "false: this model_type has no attention biases");
    }
    if (family == Family::llama) {
      config_.mlp_bias = boolean("mlp_bias", false);
    } else {
      require("mlp_bias", false, "false: this model_type has no MLP biases");
    }
    config_.query_key_norm = family == Family::qwen3 || family == Family::qwen3_moe;
  }

  void read_experts() {
    using model::Family;
    model::Shape& shape = config_.shape;
    shape.ffn = root_.at("intermediate_size").integer(1, most_width);
    if (shape.family != Family::mixtral && shape.family != Family::qwen3_moe) return;
    shape.experts = one_of(root_, {"num_local_experts", "num_experts"}).integer(1, most_experts);
    shape.experts_per_token = root_.at("num_experts_per_tok").integer(1, shape.experts);
    if (shape.family == Family::mixtral) return;
    config_.dense_ffn =
        std::exchange(shape.ffn, root_.at("moe_intermediate_size").integer(1, most_width));
    config_.normalize_expert_weights = boolean("norm_topk_prob", false);
    const auto step_field = root_.find_set("decoder_sparse_step");
    const std::int64_t step = step_field ? step_field->integer(1, most_layers) : 1;
    std::vector<bool> dense(count(shape.layers));
    for (std::int64_t i = 0; i < shape.layers; ++i) dense[count(i)] = (i + 1) % step != 0;
    if (const auto list = root_.find_set("mlp_only_layers")) {
      for (std::size_t i = 0; i < list->array().size(); ++i) {
        dense[count(list->at(i).integer(0, shape.layers - 1))] = true;
      }
    }
    for (std::int64_t i = 0; i < shape.layers; ++i) {
      if (dense[count(i)]) config_.dense_layers.push_back(i);
    }
  }

  void read_windows() {
    using model::Family;
    const Family family = config_.shape.family;
    const std::size_t layers = count(config_.shape.layers);
    const auto declared = root_.find("sliding_window");
    std::int64_t window =
        declared && !declared->value().is_null() ? declared->integer(1, most_positions) : 0;
    if (!declared && family == Family::mistral) window = 4096;  // the class default
    const bool qwen =
        family == Family::qwen2 || family == Family::qwen3 || family == Family::qwen3_moe;
    if (qwen) {
      if (!boolean("use_sliding_window", false)) window = 0;
    } else if (family == Family::llama) {
      if (window > 0) throw declared->error("llama has no sliding window", "null");
    }
    if (family == Family::qwen3_moe && window > 0) {
      throw declared->error("sliding windows of qwen3_moe are not supported: which layers have " +
                                std::string("them depends on the library version"),
                            "use_sliding_window to be false");
    }
    const auto types = root_.find_set("layer_types");
    if (types) {
      config_.windows = read_layer_types(*types, layers, window);
      if (qwen) return;
      for (std::int64_t w : config_.windows) {
        if (w != window) throw types->error("layers differ in their window", "one for all layers");
      }
      return;
    }
    config_.windows.assign(layers, window);
    if (qwen && window > 0) {
      const auto full = root_.at("max_window_layers").integer(0, most_layers);
      for (std::size_t i = 0; i < std::min(layers, count(full)); ++i) config_.windows[i] = 0;
    }
  }

  void read_opt() {
    model::Shape& shape = config_.shape;
    read_widths({"hidden_size"}, {"num_hidden_layers"}, {"num_attention_heads"},
                {"max_position_embeddings"});
    shape.kv_heads = shape.heads;
    shape.head_dim = split_heads();
    shape.ffn = root_.at("ffn_dim").integer(1, most_width);
    const bool biased = boolean("enable_bias", true);
    require("layer_norm_elementwise_affine", true, "true: layer norms with scale and bias");
    learned_positions(biased);
    config_.position_offset = 2;
    config_.norm_eps = 1e-5;  // not in the file: the default of torch.nn.LayerNorm
    config_.norm_before = boolean("do_layer_norm_before", true);
    config_.final_norm = config_.norm_before && !boolean("_remove_final_layer_norm", false);
    config_.activation = read_activation(root_, "activation_function", Activation::relu);
    if (const auto width = root_.find_set("word_embed_proj_dim")) {
      config_.embedding_width = width->integer(1, most_width);
    }
  }

  void read_gpt2() {
    model::Shape& shape = config_.shape;
    read_widths({"n_embd", "hidden_size"}, {"n_layer", "num_hidden_layers"},
                {"n_head", "num_attention_heads"}, {"n_positions", "max_position_embeddings"});
    shape.kv_heads = shape.heads;
    shape.head_dim = split_heads();
    const auto inner = root_.find_set("n_inner");
    shape.ffn = inner ? inner->integer(1, most_width) : 4 * shape.hidden;
    require("scale_attn_weights", true, "true: scores scaled by 1 / sqrt(head_dim)");
    require("scale_attn_by_inverse_layer_idx", false, "false");
    learned_positions(true);
    config_.transposed_linear = true;
    const auto eps = root_.find_set("layer_norm_epsilon");
    config_.norm_eps = eps ? eps->number(1e-12, 0.1) : 1e-5;
    config_.activation = read_activation(root_, "activation_function", Activation::gelu_tanh);
  }

  void learned_positions(bool biased) {
    config_.shape.learned_positions = true;
    config_.shape.gated_mlp = false;
    config_.shape.biased = biased;
    config_.qkv_bias = config_.output_bias = config_.mlp_bias = biased;
    config_.rotary = false;
    config_.norm = Norm::layer;
  }

  const json::Field& root_;
  ModelConfig config_;
};

}  // namespace detail

inline constexpr std::size_t longest_config = 4'000'000;

/// Reads the text of a config.json; `where` names it in errors.
/// \errors data, with the key, for a size that is missing or out of range and for every value that
/// the models here would compute differently (other rope types, quantisation, other families)
[[nodiscard]] inline ModelConfig parse_config(std::string_view text, const std::string& where) {
  const json::Value root = json::parse(text, where, {.depth = 32, .values = 500'000});
  const json::Field field(root, where);
  return detail::ConfigReader(field).read();
}

/// Reads a config.json.
[[nodiscard]] inline ModelConfig read_config(const std::string& path) {
  return parse_config(read_file(path, longest_config), path);
}

}  // namespace quire::checkpoint
