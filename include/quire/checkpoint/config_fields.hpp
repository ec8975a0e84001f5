#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/model_config.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

/// Pieces of config.json and generation_config.json, in their old and new spellings.
namespace quire::checkpoint::detail {

/// The value of the first key that is set; two spellings of one thing must agree.
[[nodiscard]] inline json::Field one_of(const json::Field& root,
                                        std::initializer_list<std::string_view> keys) {
  std::optional<json::Field> found;
  for (const std::string_view key : keys) {
    const auto field = root.find_set(key);
    if (!field) continue;
    if (found && found->integer(0) != field->integer(0)) {
      throw field->error("it contradicts " + found->path(), std::to_string(found->integer(0)));
    }
    if (!found) found = field;
  }
  return found ? *found : root.at(*keys.begin());
}

/// A token id; null, absent and -1 (written by old converters) mean none.
[[nodiscard]] inline std::optional<TokenId> read_token_id(const json::Field& root,
                                                          std::string_view key) {
  const auto field = root.find_set(key);
  if (!field) return std::nullopt;
  const std::int64_t id = field->integer(-1, 0x7fffffff);
  if (id < 0) return std::nullopt;
  return static_cast<TokenId>(id);
}

/// A token id or a list of them.
[[nodiscard]] inline std::vector<TokenId> read_token_ids(const json::Field& root,
                                                         std::string_view key) {
  const auto field = root.find_set(key);
  if (!field) return {};
  std::vector<TokenId> out;
  if (field->value().array() == nullptr) {
    if (const auto id = read_token_id(root, key)) out.push_back(*id);
    return out;
  }
  for (std::size_t i = 0; i < field->array().size(); ++i) {
    out.push_back(static_cast<TokenId>(field->at(i).integer(0, 0x7fffffff)));
  }
  return out;
}

[[nodiscard]] inline std::optional<DType> read_dtype(const json::Field& root) {
  std::optional<DType> out;
  for (const std::string_view key : {"torch_dtype", "dtype"}) {
    const auto field = root.find_set(key);
    if (!field) continue;
    std::string_view name = field->string();
    if (name.starts_with("torch.")) name.remove_prefix(6);
    DType dtype = DType::f32;
    if (name == "bfloat16") {
      dtype = DType::bf16;
    } else if (name == "float16") {
      dtype = DType::f16;
    } else if (name != "float32") {
      throw field->error("dtype " + in_quotes(name) + " is not supported",
                         "float32, float16 or bfloat16");
    }
    if (out && *out != dtype) throw field->error("dtype contradicts torch_dtype", "the same");
    out = dtype;
  }
  return out;
}

[[nodiscard]] inline Activation read_activation(const json::Field& root, std::string_view key,
                                                Activation otherwise) {
  const auto field = root.find_set(key);
  if (!field) return otherwise;
  const std::string& name = field->string();
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
    return Activation::gelu_tanh;
  }
  throw field->error("activation " + in_quotes(name) + " is not supported",
                     "silu, relu, gelu, gelu_new, gelu_pytorch_tanh or gelu_fast");
}

struct RopeNumbers {
  double theta = 10000.0;
  std::optional<Llama3RopeScaling> scaling;
};

/// The scaling in one object (`rope_scaling`, or `rope_parameters` of transformers 5).
[[nodiscard]] inline std::optional<Llama3RopeScaling> read_rope_object(const json::Field& rope) {
  const auto new_key = rope.find_set("rope_type");
  const auto old_key = rope.find_set("type");
  if (new_key && old_key && new_key->string() != old_key->string()) {
    throw old_key->error("type contradicts rope_type", in_quotes(new_key->string()));
  }
  const auto type_field = new_key ? new_key : old_key;
  const std::string type = type_field ? type_field->string() : "default";
  if (type != "default" && type != "llama3") {
    throw type_field->error("rope type " + in_quotes(type) + " is not supported",
                            "default or llama3");
  }
  if (type == "default" && !type_field && !rope.find_set("rope_theta")) {
    throw rope.error("there is neither a rope_type nor a rope_theta in it", "one of them");
  }
  const bool llama3 = type == "llama3";
  for (const auto& member : rope.object().members()) {
    const std::string& key = member.key;
    if (member.value.is_null() || key == "rope_type" || key == "type" || key == "rope_theta") {
      continue;
    }
    if (key == "partial_rotary_factor") {
      if (rope.at(member).number(0, 1) == 1) continue;
      throw rope.at(member).error("only part of each head is rotated", "1");
    }
    if (llama3 && (key == "factor" || key == "low_freq_factor" || key == "high_freq_factor" ||
                   key == "original_max_position_embeddings")) {
      continue;
    }
    throw rope.at(member).error("not a parameter of rope type " + in_quotes(type),
                                llama3 ? "factor, low_freq_factor, high_freq_factor, "
                                         "original_max_position_embeddings and rope_theta"
                                       : "rope_theta alone");
  }
  if (!llama3) return std::nullopt;
  Llama3RopeScaling out;
  out.factor = rope.at("factor").number(1, 1e6);
  out.low_freq_factor = rope.at("low_freq_factor").number(1e-6, 1e6);
  out.high_freq_factor = rope.at("high_freq_factor").number(1e-6, 1e6);
  out.original_max_positions =
      rope.at("original_max_position_embeddings").integer(1, std::int64_t{1} << 30);
  if (!(out.high_freq_factor > out.low_freq_factor)) {
    throw rope.at("high_freq_factor").error("not above low_freq_factor", "a greater number");
  }
  return out;
}

/// Base and scaling of the rotary frequencies, wherever the file keeps them.
[[nodiscard]] inline RopeNumbers read_rope(const json::Field& root, double default_theta) {
  RopeNumbers out;
  const auto old_theta = root.find_set("rope_theta");
  const auto parameters = root.find_set("rope_parameters");
  const auto new_theta = parameters ? parameters->find_set("rope_theta") : std::nullopt;
  const auto theta = old_theta ? old_theta : new_theta;
  out.theta = theta ? theta->number(1, 1e15) : default_theta;
  if (new_theta && new_theta->number(1, 1e15) != out.theta) {
    throw new_theta->error("it contradicts the rope_theta outside", "the same number");
  }
  if (const auto old_scaling = root.find_set("rope_scaling")) {
    out.scaling = read_rope_object(*old_scaling);
    if (parameters) {
      throw old_scaling->error("there are both rope_scaling and rope_parameters", "one of them");
    }
  } else if (parameters) {
    out.scaling = read_rope_object(*parameters);
  }
  return out;
}

/// One window a layer from a list of "full_attention" and "sliding_attention".
[[nodiscard]] inline std::vector<std::int64_t> read_layer_types(const json::Field& types,
                                                                std::size_t layers,
                                                                std::int64_t window) {
  if (types.array().size() != layers) {
    throw types.error(std::to_string(types.array().size()) + " layer types",
                      std::to_string(layers) + ", one a layer");
  }
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < layers; ++i) {
    const json::Field type = types.at(i);
    if (type.string() == "full_attention") {
      out.push_back(0);
    } else if (type.string() == "sliding_attention") {
      if (window == 0) throw type.error("a sliding layer, but no window is set", "full_attention");
      out.push_back(window);
    } else {
      throw type.error("layer type " + in_quotes(type.string()) + " is not supported",
                       "full_attention or sliding_attention");
    }
  }
  return out;
}

}  // namespace quire::checkpoint::detail
