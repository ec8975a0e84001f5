#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <quire/checkpoint/model_config.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json_field.hpp>
#include <quire/core/text.hpp>

/// What config.json says of a checkpoint that is quantised, as the tools write it.
namespace quire::checkpoint {

namespace detail {

/// quantization_config as transformers writes it for bitsandbytes.
[[nodiscard]] inline Quantisation read_bitsandbytes(const json::Field& field) {
  using Layout = Quantisation::Layout;
  const auto says = [&](std::string_view key) {
    const auto set = field.find_set(key);
    return set && set->boolean();
  };
  Quantisation q;
  q.symmetric = true;
  if (says("load_in_8bit")) {
    q.layout = Layout::bitsandbytes_int8;
    q.bits = 8;
    q.group = 0;
    return q;
  }
  if (!says("load_in_4bit")) {
    throw field.error("neither load_in_4bit nor load_in_8bit", "one of them to be true");
  }
  const auto kind = field.find_set("bnb_4bit_quant_type");
  const std::string name = kind ? kind->string() : "fp4";
  if (name != "nf4" && name != "fp4") {
    throw kind->error("4-bit type " + in_quotes(name), "nf4 or fp4");
  }
  const auto storage = field.find_set("bnb_4bit_quant_storage");
  if (storage && storage->string() != "uint8") {
    throw storage->error("codes stored as " + in_quotes(storage->string()), "uint8");
  }
  q.layout = name == "nf4" ? Layout::bitsandbytes_nf4 : Layout::bitsandbytes_fp4;
  q.group = 64;
  q.nested = says("bnb_4bit_use_double_quant");
  return q;
}
[[nodiscard]] inline std::string bitsandbytes_text(const Quantisation& q) {
  std::string out = "{\"quant_method\":\"bitsandbytes\"";
  if (q.layout == Quantisation::Layout::bitsandbytes_int8) {
    return out + ",\"load_in_4bit\":false,\"load_in_8bit\":true,\"llm_int8_threshold\":6.0}";
  }
  const bool nf4 = q.layout == Quantisation::Layout::bitsandbytes_nf4;
  out += ",\"load_in_4bit\":true,\"load_in_8bit\":false,\"bnb_4bit_quant_type\":\"";
  out += std::string(nf4 ? "nf4" : "fp4") + "\",\"bnb_4bit_use_double_quant\":";
  out += std::string(q.nested ? "true" : "false") + ",\"bnb_4bit_compute_dtype\":\"float32\"";
  return out + ",\"bnb_4bit_quant_storage\":\"uint8\"}";
}

/// quantization_config of compressed-tensors: one group of layers, rounded in one way.
[[nodiscard]] inline Quantisation read_compressed_tensors(const json::Field& field) {
  using Layout = Quantisation::Layout;
  const json::Field format = field.at("format"), groups = field.at("config_groups");
  const std::string& name = format.string();
  if (name != "pack-quantized" && name != "int-quantized" && name != "float-quantized") {
    throw format.error("compressed-tensors' format " + in_quotes(name),
                       "pack-quantized, int-quantized or float-quantized");
  }
  const auto& members = groups.object().members();
  if (members.size() != 1) {
    throw groups.error(std::to_string(members.size()) + " groups of layers", "one");
  }
  const json::Field weights = groups.at(members.front()).at("weights");
  const json::Field bits = weights.at("num_bits"), type = weights.at("type");
  const json::Field strategy = weights.at("strategy");
  const bool packed = name == "pack-quantized", floats = name == "float-quantized";
  Quantisation q;
  q.layout = packed   ? Layout::compressed_packed
             : floats ? Layout::compressed_fp8
                      : Layout::compressed_int8;
  q.bits = static_cast<unsigned>(bits.integer(1, 8));
  const bool known =
      packed ? q.bits == 2 || q.bits == 3 || q.bits == 4 || q.bits == 8 : q.bits == 8;
  if (!known) throw bits.error(std::to_string(q.bits) + " bits", packed ? "2, 3, 4 or 8" : "8");
  if (type.string() != (floats ? "float" : "int")) {
    throw type.error("weights of type " + in_quotes(type.string()), floats ? "float" : "int");
  }
  const auto symmetric = weights.find_set("symmetric");
  q.symmetric = !symmetric || symmetric->boolean();
  if (!packed && !q.symmetric) throw symmetric->error("zero points in " + name, "true");
  q.group = 0;
  if (strategy.string() == "group" && packed) {
    q.group = static_cast<std::size_t>(weights.at("group_size").integer(1, 1 << 20));
  } else if (strategy.string() != "channel" && (strategy.string() != "tensor" || packed)) {
    throw strategy.error("scales by " + in_quotes(strategy.string()),
                         packed ? "group or channel" : "channel or tensor");
  }
  return q;
}
[[nodiscard]] inline std::string compressed_tensors_text(const Quantisation& q) {
  using Layout = Quantisation::Layout;
  const bool packed = q.layout == Layout::compressed_packed;
  const std::string type =
      q.layout == Layout::compressed_fp8 ? "\"type\":\"float\"" : "\"type\":\"int\"";
  std::string out = "{\"quant_method\":\"compressed-tensors\",\"format\":\"";
  out += packed                               ? "pack-quantized"
         : q.layout == Layout::compressed_fp8 ? "float-quantized"
                                              : "int-quantized";
  out += "\",\"quantization_status\":\"compressed\",\"ignore\":[\"lm_head\"],";
  out += "\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":";
  out += std::to_string(q.bits) + "," + type + ",\"symmetric\":";
  out += std::string(q.symmetric ? "true" : "false") + ",\"strategy\":\"";
  out += q.group == 0 ? "channel\"" : "group\",\"group_size\":" + std::to_string(q.group);
  out += "}";
  if (!packed) {  // inputs are rounded as they come, token by token
    out += ",\"input_activations\":{\"num_bits\":8," + type +
           ",\"symmetric\":true,\"strategy\":\"token\",\"dynamic\":true}";
  }
  return out + "}}}";
}

}  // namespace detail

/// Reads quantization_config of a config.json. \errors data for what the models here cannot compute
[[nodiscard]] inline Quantisation read_quantisation(const json::Field& field) {
  Quantisation q;
  const json::Field method = field.at("quant_method");
  if (method.string() == "bitsandbytes") return detail::read_bitsandbytes(field);
  if (method.string() == "compressed-tensors") return detail::read_compressed_tensors(field);
  if (method.string() == "awq") {
    q.layout = Quantisation::Layout::awq;
    const auto version = field.find_set("version");
    if (version && version->string() != "gemm" && version->string() != "GEMM") {
      throw version->error("AWQ's layout " + in_quotes(version->string()), "gemm");
    }
  } else if (method.string() == "gptq") {
    const auto format = field.find_set("checkpoint_format");
    const std::string name = format ? format->string() : "gptq";
    if (name != "gptq" && name != "gptq_v2") {
      throw format->error("GPTQ's layout " + in_quotes(name), "gptq or gptq_v2");
    }
    q.layout = name == "gptq" ? Quantisation::Layout::gptq : Quantisation::Layout::gptq_v2;
  } else {
    throw method.error("quantisation " + in_quotes(method.string()) + " is not supported",
                       "gptq, awq, bitsandbytes or compressed-tensors");
  }
  const json::Field bits = field.at("bits");
  q.bits = static_cast<unsigned>(bits.integer(2, 8));
  const bool known = q.layout == Quantisation::Layout::awq
                         ? q.bits == 4
                         : q.bits == 2 || q.bits == 3 || q.bits == 4 || q.bits == 8;
  if (!known) {
    throw bits.error(std::to_string(q.bits) + " bits",
                     q.layout == Quantisation::Layout::awq ? "4" : "2, 3, 4 or 8");
  }
  const json::Field group = field.at("group_size");
  const std::int64_t size = group.integer(-1, 1 << 20);
  if (size == 0) throw group.error("groups of 0 inputs", "-1 for whole rows, or more than 0");
  q.group = size < 0 ? 0 : static_cast<std::size_t>(size);
  if (const auto symmetric = field.find_set("sym")) q.symmetric = symmetric->boolean();
  return q;
}

/// The same, written: the value of quantization_config.
[[nodiscard]] inline std::string quantisation_text(const Quantisation& q) {
  if (q.is_bitsandbytes()) return detail::bitsandbytes_text(q);
  if (q.is_compressed()) return detail::compressed_tensors_text(q);
  const bool awq = q.layout == Quantisation::Layout::awq;
  std::string out = std::string("{\"quant_method\":\"") + (awq ? "awq" : "gptq") + "\"";
  out += ",\"bits\":" + std::to_string(q.bits);
  out += ",\"group_size\":" + (q.group == 0 ? "-1" : std::to_string(q.group));
  if (awq) return out + ",\"version\":\"gemm\",\"zero_point\":true}";
  out += std::string(",\"desc_act\":false,\"sym\":") + (q.symmetric ? "true" : "false");
  const bool second = q.layout == Quantisation::Layout::gptq_v2;
  return out + ",\"checkpoint_format\":\"" + (second ? "gptq_v2" : "gptq") + "\"}";
}

}  // namespace quire::checkpoint
