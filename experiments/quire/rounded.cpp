// Weight formats that Hugging Face directories are written in. See rounded.hpp.
#include <experiments/quire/rounded.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include <experiments/common/suggest.hpp>
#include <experiments/quality/calibrated.hpp>
#include <experiments/quality/calibration_texts.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/model/bitsandbytes.hpp>
#include <quire/model/compressed_tensors.hpp>
#include <quire/weight_format/low_rank.hpp>
#include <quire/weight_format/pruning.hpp>

namespace quire::experiment {
namespace {

using Layout = checkpoint::Quantisation::Layout;
using Method = model::CalibrationOptions::Method;

constexpr std::string_view where = "--weight-format";

/// Takes a word off the front of a name.
bool take(std::string_view& name, std::string_view word) {
  if (!name.starts_with(word)) return false;
  name.remove_prefix(word.size());
  return true;
}
std::optional<unsigned> take_number(std::string_view& name) {
  unsigned value = 0;
  const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (status != std::errc{}) return std::nullopt;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  return value;
}

/// Reads [rtn_|gptq_|gptq_act_order_|awq_]int<bits>[_zero_point](_g<group>|_per_channel).
std::optional<model::CalibrationOptions> integers_named(std::string_view name) {
  model::CalibrationOptions o;
  o.method = Method::round_to_nearest;
  if (take(name, "gptq_")) {
    o.method = Method::gptq;
    o.act_order = take(name, "act_order_");
  } else if (take(name, "awq_")) {
    o.method = Method::awq;
  } else {
    (void)take(name, "rtn_");
  }
  if (!take(name, "int")) return std::nullopt;
  const auto bits = take_number(name);
  if (!bits || (*bits != 2 && *bits != 3 && *bits != 4 && *bits != 8)) return std::nullopt;
  o.bits = *bits;
  o.symmetric = !take(name, "_zero_point");
  if (take(name, "_g")) {
    const auto group = take_number(name);
    if (!group || *group == 0) return std::nullopt;
    o.group = *group;
  } else if (take(name, "_per_channel")) {
    o.group = 0;
  } else {
    return std::nullopt;
  }
  if (!name.empty()) return std::nullopt;
  // Zero points of 0 have no place in GPTQ's first layout, AWQ's has 4 bits alone.
  o.layout = o.method == Method::gptq ? (o.symmetric ? Layout::gptq : Layout::gptq_v2)
             : o.method == Method::awq && o.bits == 4 ? Layout::awq
                                                      : Layout::compressed_packed;
  return o;
}

Error unknown_format(const std::string& format) {
  const std::vector<std::string_view> names = {"nf4",
                                               "fp4",
                                               "llm_int8",
                                               "w8a8",
                                               "fp8_w8a8",
                                               "int4_g128",
                                               "int8_per_channel",
                                               "int4_zero_point_g128",
                                               "gptq_int4_g128",
                                               "gptq_int3_zero_point_g128",
                                               "awq_int4_zero_point_g128",
                                               "magnitude_50_percent",
                                               "wanda_2_of_4",
                                               "sparse_gpt_2_of_4",
                                               "svd_20_percent",
                                               "asvd_20_percent",
                                               "svd_llm_20_percent"};
  return unknown_name(where, "format of a directory", format, names);
}

/// Reads (magnitude|wanda|sparse_gpt)_(<share>_percent|2_of_4).
std::optional<weight_format::PruningOptions> pruning_named(std::string_view name) {
  using Drop = weight_format::PruningOptions::Method;
  weight_format::PruningOptions o;
  if (take(name, "magnitude_")) {
    o.method = Drop::magnitude;
  } else if (take(name, "sparse_gpt_")) {
    o.method = Drop::sparse_gpt;
  } else if (!take(name, "wanda_")) {
    return std::nullopt;
  }
  o.two_of_four = name == "2_of_4";
  if (o.two_of_four) return o;
  const auto percent = take_number(name);
  if (!percent || *percent > 100 || name != "_percent") return std::nullopt;
  o.share = *percent / 100.0;
  return o;
}

/// Reads (svd|asvd|svd_llm)_<share>_percent.
std::optional<weight_format::LowRankOptions> low_rank_named(std::string_view name) {
  using Factor = weight_format::LowRankOptions::Method;
  weight_format::LowRankOptions o;
  if (take(name, "svd_llm_")) {
    o.method = Factor::svd_llm;
  } else if (take(name, "asvd_")) {
    o.method = Factor::asvd;
  } else if (take(name, "svd_")) {
    o.method = Factor::svd;
  } else {
    return std::nullopt;
  }
  const auto percent = take_number(name);
  if (!percent || *percent == 0 || *percent >= 100 || name != "_percent") return std::nullopt;
  o.share = *percent / 100.0;
  return o;
}

/// What a format is fitted to. format: for errors \errors usage without a file, data without a tokenizer
std::vector<std::vector<TokenId>> texts_for(const checkpoint::Checkpoint& model,
                                            const std::string& format, const std::string& texts) {
  if (texts.empty()) {
    throw usage_error(std::string(where),
                      in_quotes(format) + " is fitted to texts, and none are given",
                      "--calibration-text FILE");
  }
  if (!model.tokenizer) {
    throw data_error(model.directory, "it has no tokenizer to read the texts with",
                     "a checkpoint with tokenizer.json");
  }
  const std::int64_t longest = model.config.shape.max_length.value;
  return quality::calibration_texts(texts, *model.tokenizer, 64,
                                    static_cast<std::size_t>(std::min<std::int64_t>(512, longest)));
}

}  // namespace

checkpoint::Checkpoint rounded(const checkpoint::Checkpoint& model, const std::string& format,
                               const std::string& texts) {
  const std::optional<model::CalibrationOptions> integers = integers_named(format);
  const std::optional<weight_format::PruningOptions> pruning = pruning_named(format);
  const std::optional<weight_format::LowRankOptions> low_rank = low_rank_named(format);
  const bool fitted =
      (low_rank && low_rank->method != weight_format::LowRankOptions::Method::svd) ||
      (integers && integers->method != Method::round_to_nearest) ||
      (pruning && pruning->method != weight_format::PruningOptions::Method::magnitude);
  if (!texts.empty() && !fitted) {
    for (const std::string_view method :
         {"gptq_", "awq_", "wanda_", "sparse_gpt_", "asvd_", "svd_llm_"}) {
      if (format.starts_with(method)) throw unknown_format(format);
    }
    throw usage_error("--calibration-text", "nothing is fitted to texts in " + in_quotes(format),
                      "a format of gptq_, awq_, wanda_, sparse_gpt_, asvd_ or svd_llm_");
  }
  const auto read = [&]() -> std::vector<std::vector<TokenId>> {
    if (!fitted) return {{0}};
    return texts_for(model, format, texts);
  };
  if (integers) return quality::calibrate(model, read(), *integers);
  if (pruning) return quality::prune(model, read(), *pruning);
  if (low_rank) return quality::factor(model, read(), *low_rank);
  if (format == "nf4") return model::to_bitsandbytes(model, Layout::bitsandbytes_nf4);
  if (format == "fp4") return model::to_bitsandbytes(model, Layout::bitsandbytes_fp4);
  if (format == "llm_int8") return model::to_bitsandbytes(model, Layout::bitsandbytes_int8);
  if (format == "w8a8") return model::to_compressed_bytes(model, Layout::compressed_int8);
  if (format == "fp8_w8a8") return model::to_compressed_bytes(model, Layout::compressed_fp8);
  for (const std::string_view ggml : {"q4_0", "q8_0", "q4_k", "q5_k", "q6_k"}) {
    if (format != ggml) continue;
    throw usage_error(std::string(where), in_quotes(format) + " lies in GGUF files alone",
                      "an output that ends in .gguf");
  }
  throw unknown_format(format);
}

}  // namespace quire::experiment
