#include <quire/checkpoint/config.hpp>

#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace {

using quire::checkpoint::Activation;
using quire::checkpoint::DType;
using quire::checkpoint::ModelConfig;
using quire::checkpoint::Norm;
using quire::checkpoint::parse_config;
using quire::model::Family;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;

// The values are those of published config.json files.
Json llama() {  // Llama 3.1 8B
  return Json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu",
    "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
    "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
    "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.0", "use_cache": true, "vocab_size": 128256})");
}
Json qwen2() {  // Qwen2.5 0.5B
  return Json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864,
    "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2",
    "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_sliding_window": false,
    "vocab_size": 151936})");
}
Json qwen3_moe() {  // Qwen3 30B A3B
  return Json::parse(R"({
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "bos_token_id": 151643,
    "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
    "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
    "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe",
    "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
    "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
    "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_scaling": null,
    "rope_theta": 1000000.0, "sliding_window": null, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936})");
}
Json opt() {  // OPT 125M
  return Json::parse(R"({
    "_remove_final_layer_norm": false, "activation_dropout": 0.0, "activation_function": "relu",
    "architectures": ["OPTForCausalLM"], "bos_token_id": 2, "do_layer_norm_before": true,
    "eos_token_id": 2, "ffn_dim": 3072, "hidden_size": 768, "layerdrop": 0.0,
    "max_position_embeddings": 2048, "model_type": "opt", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 1, "prefix": "</s>", "torch_dtype": "float16",
    "vocab_size": 50272, "word_embed_proj_dim": 768})");
}
Json gpt2() {
  return Json::parse(R"({
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
    "bos_token_id": 50256, "eos_token_id": 50256, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
    "n_positions": 1024, "vocab_size": 50257})");
}
Json mistral() {  // Mistral 7B v0.1
  return Json::parse(R"({
    "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
    "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
    "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "bfloat16",
    "vocab_size": 32000})");
}

ModelConfig parse(const Json& json) { return parse_config(json.dump(), "config.json"); }
std::string error(const Json& json) {
  try {
    (void)parse(json);
  } catch (const quire::Error& error) {
    EXPECT_EQ(error.kind(), quire::ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("config.json: "));
    return error.what();
  }
  return "no error";
}
Json with(Json json, const char* key, Json value) {
  json[key] = std::move(value);
  return json;
}
Json without(Json json, const char* key) {
  json.erase(key);
  return json;
}

TEST(Config, Llama) {
  const ModelConfig config = parse(llama());
  EXPECT_EQ(config.shape.family, Family::llama);
  EXPECT_EQ(config.shape.layers, 32);
  EXPECT_EQ(config.shape.kv_heads, 8);
  EXPECT_EQ(config.shape.head_dim, 128);
  EXPECT_EQ(config.shape.ffn, 14336);
  EXPECT_TRUE(config.shape.gated_mlp);
  EXPECT_FALSE(config.shape.tied_embedding);
  EXPECT_NEAR(static_cast<double>(config.shape.parameters()), 8.03e9, 0.01e9);
  EXPECT_EQ(config.rope_theta, 500000);
  ASSERT_TRUE(config.rope_scaling.has_value());
  EXPECT_EQ(config.rope_scaling->factor, 8);
  EXPECT_EQ(config.rope_scaling->low_freq_factor, 1);
  EXPECT_EQ(config.rope_scaling->high_freq_factor, 4);
  EXPECT_EQ(config.rope_scaling->original_max_positions, 8192);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.dtype, DType::bf16);
  EXPECT_EQ(config.bos, 128000u);
  EXPECT_THAT(config.eos, ElementsAre(128001, 128008, 128009));
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.query_key_norm);
  EXPECT_EQ(config.windows.size(), 32u);
  EXPECT_FALSE(config.any_window());
}

TEST(Config, TheNewSpellingsMeanTheSame) {
  Json json = without(without(without(llama(), "rope_theta"), "rope_scaling"), "torch_dtype");
  json["dtype"] = "bfloat16";
  json["rope_parameters"] = llama()["rope_scaling"];
  json["rope_parameters"]["rope_theta"] = 500000.0;
  const ModelConfig config = parse(json);
  EXPECT_EQ(config.rope_theta, 500000);
  EXPECT_EQ(config.rope_scaling->original_max_positions, 8192);
  EXPECT_EQ(config.dtype, DType::bf16);
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000.0}};
  EXPECT_FALSE(parse(json).rope_scaling.has_value());
}

TEST(Config, SpellingsThatContradictEachOtherAreRefused) {
  EXPECT_THAT(error(with(llama(), "dtype", "float32")), HasSubstr("contradicts torch_dtype"));
  EXPECT_THAT(error(with(llama(), "rope_parameters", {{"rope_theta", 7.0}})),
              HasSubstr("contradicts the rope_theta"));
  EXPECT_THAT(
      error(with(llama(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 500000.0}})),
      HasSubstr("both rope_scaling and rope_parameters"));
  EXPECT_THAT(error(with(gpt2(), "hidden_size", 7)), HasSubstr("contradicts n_embd"));
}

TEST(Config, MistralWindows) {
  EXPECT_THAT(parse(mistral()).windows, Each(4096));
  EXPECT_THAT(parse(with(mistral(), "sliding_window", nullptr)).windows, Each(0));
  // The library's own default, which a file without the key means.
  EXPECT_THAT(parse(without(mistral(), "sliding_window")).windows, Each(4096));
  EXPECT_EQ(parse(with(mistral(), "head_dim", 160)).shape.head_dim, 160);
}

TEST(Config, Qwen2Windows) {
  const ModelConfig config = parse(qwen2());
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.output_bias);
  EXPECT_TRUE(config.shape.tied_embedding);
  EXPECT_FALSE(config.any_window());

  Json windowed = with(with(qwen2(), "use_sliding_window", true), "max_window_layers", 22);
  const auto windows = parse(windowed).windows;
  EXPECT_EQ(windows[21], 0);
  EXPECT_EQ(windows[22], 32768);
  EXPECT_THAT(error(without(windowed, "max_window_layers")), HasSubstr("max_window_layers"));

  Json typed = with(with(qwen2(), "use_sliding_window", true), "num_hidden_layers", 2);
  typed["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_THAT(parse(typed).windows, ElementsAre(32768, 0));
  typed["use_sliding_window"] = false;
  EXPECT_THAT(error(typed), HasSubstr("layer_types[0]"));
  typed["layer_types"] = {"full_attention"};
  EXPECT_THAT(error(typed), HasSubstr("1 layer types; expected 2"));
  typed["layer_types"] = {"full_attention", "chunked_attention"};
  EXPECT_THAT(error(typed), HasSubstr("chunked_attention"));
}

TEST(Config, Qwen3HasItsOwnHeadDimAndNorms) {
  Json json = with(with(qwen2(), "model_type", "qwen3"), "head_dim", 128);
  json["architectures"] = {"Qwen3ForCausalLM"};
  const ModelConfig config = parse(json);
  EXPECT_TRUE(config.query_key_norm);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(config.shape.head_dim, 128);
  EXPECT_THAT(error(without(json, "head_dim")), HasSubstr("\"head_dim\" is missing"));
}

TEST(Config, Mixtures) {
  const ModelConfig config = parse(qwen3_moe());
  EXPECT_EQ(config.shape.experts, 128);
  EXPECT_EQ(config.shape.experts_per_token, 8);
  EXPECT_EQ(config.shape.ffn, 768);
  EXPECT_EQ(config.dense_ffn, 6144);
  EXPECT_TRUE(config.normalize_expert_weights);
  EXPECT_THAT(config.dense_layers, IsEmpty());
  EXPECT_NEAR(static_cast<double>(config.shape.parameters()), 30.5e9, 0.1e9);

  Json sparse = with(qwen3_moe(), "num_hidden_layers", 4);
  sparse["decoder_sparse_step"] = 2;
  sparse["mlp_only_layers"] = {1};
  sparse["num_local_experts"] = 128;  // the newer spelling, in agreement
  EXPECT_THAT(parse(sparse).dense_layers, ElementsAre(0, 1, 2));
  EXPECT_THAT(error(with(qwen3_moe(), "mlp_only_layers", {48})), HasSubstr("mlp_only_layers[0]"));
  EXPECT_THAT(error(with(qwen3_moe(), "num_experts_per_tok", 129)),
              HasSubstr("expected an integer from 1 to 128"));
  EXPECT_THAT(error(with(with(qwen3_moe(), "use_sliding_window", true), "sliding_window", 4096)),
              HasSubstr("sliding windows of qwen3_moe"));

  Json mixtral = with(mistral(), "model_type", "mixtral");
  mixtral["architectures"] = {"MixtralForCausalLM"};
  mixtral["num_local_experts"] = 8;
  mixtral["num_experts_per_tok"] = 2;
  mixtral.erase("sliding_window");
  mixtral.erase("rope_theta");
  const ModelConfig mixture = parse(mixtral);
  EXPECT_EQ(mixture.shape.experts, 8);
  EXPECT_TRUE(mixture.normalize_expert_weights);
  EXPECT_EQ(mixture.rope_theta, 1e6);
  EXPECT_FALSE(mixture.any_window());
}

TEST(Config, Opt) {
  const ModelConfig config = parse(opt());
  EXPECT_EQ(config.norm, Norm::layer);
  EXPECT_EQ(config.activation, Activation::relu);
  EXPECT_EQ(config.position_offset, 2);
  EXPECT_EQ(config.embedding_width, 768);
  EXPECT_TRUE(config.norm_before && config.final_norm);
  EXPECT_TRUE(config.qkv_bias && config.output_bias && config.mlp_bias && config.shape.biased);
  EXPECT_TRUE(config.shape.tied_embedding && config.shape.learned_positions);
  EXPECT_FALSE(config.rotary || config.shape.gated_mlp || config.transposed_linear);
  EXPECT_EQ(config.pad, 1u);

  Json small = with(with(opt(), "do_layer_norm_before", false), "word_embed_proj_dim", 512);
  EXPECT_FALSE(parse(small).norm_before || parse(small).final_norm);
  EXPECT_EQ(parse(small).embedding_width, 512);
  EXPECT_FALSE(parse(with(opt(), "_remove_final_layer_norm", true)).final_norm);
  EXPECT_THAT(error(with(opt(), "layer_norm_elementwise_affine", false)),
              HasSubstr("layer_norm_elementwise_affine"));
}

TEST(Config, Gpt2) {
  const ModelConfig config = parse(gpt2());
  EXPECT_EQ(config.shape.ffn, 3072);
  EXPECT_EQ(config.shape.max_length.value, 1024);
  EXPECT_EQ(config.activation, Activation::gelu_tanh);
  EXPECT_TRUE(config.transposed_linear && config.shape.tied_embedding);
  EXPECT_EQ(config.position_offset, 0);
  EXPECT_EQ(parse(with(gpt2(), "n_inner", 100)).shape.ffn, 100);
  EXPECT_THAT(error(with(gpt2(), "scale_attn_by_inverse_layer_idx", true)),
              HasSubstr("scale_attn_by_inverse_layer_idx is true"));
  EXPECT_THAT(error(with(gpt2(), "add_cross_attention", true)), HasSubstr("decoder-only"));
}

TEST(Config, UnsupportedValuesAreRefusedInASentence) {
  EXPECT_THAT(error(with(llama(), "model_type", "gemma2")),
              HasSubstr("unknown model_type \"gemma2\"; expected llama, mistral"));
  EXPECT_THAT(error(with(llama(), "quantization_config", {{"quant_method", "hqq"}})),
              HasSubstr("quantisation \"hqq\" is not supported"));
  Json awq = {{"quant_method", "awq"}, {"bits", 3}, {"group_size", 64}};
  EXPECT_THAT(error(with(llama(), "quantization_config", awq)), HasSubstr("3 bits; expected 4"));
  awq["bits"] = 4;
  EXPECT_EQ(parse(with(llama(), "quantization_config", awq)).quantisation->group, 64u);
  EXPECT_THAT(error(with(gpt2(), "quantization_config", awq)), HasSubstr("a quantised gpt2"));
  EXPECT_THAT(error(with(llama(), "architectures", {"LlamaForSequenceClassification"})),
              HasSubstr("architectures[0]"));
  for (const char* type : {"linear", "dynamic", "yarn", "longrope", "mrope"}) {
    EXPECT_THAT(error(with(llama(), "rope_scaling", {{"type", type}, {"factor", 2.0}})),
                HasSubstr("rope type \"" + std::string(type) + "\" is not supported"));
  }
  Json scaling = llama()["rope_scaling"];
  scaling["attention_factor"] = 1.0;
  EXPECT_THAT(error(with(llama(), "rope_scaling", scaling)),
              HasSubstr("rope_scaling.attention_factor"));
  scaling.erase("attention_factor");
  scaling["high_freq_factor"] = 1.0;
  EXPECT_THAT(error(with(llama(), "rope_scaling", scaling)), HasSubstr("not above"));
  EXPECT_THAT(error(with(llama(), "rope_scaling", {{"factor", 2.0}})),
              HasSubstr("neither a rope_type"));
  EXPECT_THAT(error(with(llama(), "partial_rotary_factor", 0.5)), HasSubstr("only part"));
  EXPECT_THAT(error(with(llama(), "hidden_act", "gelu_python")), HasSubstr("gelu_python"));
  EXPECT_THAT(error(with(llama(), "torch_dtype", "float8_e4m3fn")), HasSubstr("float8_e4m3fn"));
  EXPECT_THAT(error(with(llama(), "sliding_window", 4096)), HasSubstr("no sliding window"));
  EXPECT_THAT(error(with(mistral(), "attention_bias", true)), HasSubstr("attention_bias is true"));
  EXPECT_THAT(error(with(qwen2(), "attention_bias", false)), HasSubstr("biases on q, k and v"));
}

TEST(Config, NumbersOutOfRangeAreRefused) {
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    EXPECT_THAT(error(without(llama(), key)), HasSubstr("is missing")) << key;
    for (const Json& value : {Json(0), Json(-1), Json(1e300), Json(INT64_MAX), Json("8"),
                              Json(4096.5), Json(nullptr), Json({4})}) {
      EXPECT_THAT(error(with(llama(), key, value)), HasSubstr(key)) << value;
    }
  }
  EXPECT_THAT(error(with(llama(), "num_key_value_heads", 5)), HasSubstr("do not split over 5"));
  EXPECT_THAT(error(with(llama(), "num_attention_heads", 24)), HasSubstr("does not split into 24"));
  EXPECT_THAT(error(with(llama(), "head_dim", 63)), HasSubstr("is odd"));
  EXPECT_THAT(error(with(llama(), "rms_norm_eps", 0)), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(error(with(llama(), "rope_theta", 0.5)), HasSubstr("rope_theta"));
  EXPECT_THAT(error(with(llama(), "eos_token_id", {1, -2})), HasSubstr("eos_token_id[1]"));
  Json huge = with(with(llama(), "hidden_size", 1 << 22), "num_attention_heads", 1 << 12);
  huge["num_key_value_heads"] = 1 << 12;
  huge["intermediate_size"] = 1 << 22;
  huge["num_hidden_layers"] = 4096;
  EXPECT_THAT(error(huge), HasSubstr("10^16"));
}

TEST(Config, SpecialTokensMayBeAbsentNullOrMinusOne) {
  Json json = with(with(llama(), "bos_token_id", nullptr), "pad_token_id", -1);
  json.erase("eos_token_id");
  const ModelConfig config = parse(json);
  EXPECT_FALSE(config.bos.has_value() || config.pad.has_value());
  EXPECT_THAT(config.eos, IsEmpty());
}

TEST(Config, WhatIsNoObjectIsRefused) {
  EXPECT_THAT(error(Json::array()), HasSubstr("value is an array; expected an object"));
  EXPECT_THAT(error(Json::object()), HasSubstr("\"model_type\" is missing"));
}

}  // namespace
