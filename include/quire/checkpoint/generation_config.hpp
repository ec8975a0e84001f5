#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/config_fields.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

namespace quire::checkpoint {

/// Defaults for sampling that come with a checkpoint; empty where the file is silent or absent.
struct GenerationConfig {
  std::optional<TokenId> bos;
  std::optional<TokenId> pad;
  std::vector<TokenId> eos;
  std::optional<bool> do_sample;             // false: the authors meant greedy decoding
  std::optional<double> temperature;         // >= 0
  std::optional<double> top_p;               // in (0, 1]
  std::optional<double> min_p;               // in [0, 1]
  std::optional<std::int32_t> top_k;         // 0: all
  std::optional<double> repetition_penalty;  // > 0
  std::optional<std::int64_t> max_new_tokens;
};

/// Reads the text of a generation_config.json; `where` names it in errors.
/// \errors data for a number out of range, and for a setting that would change the chosen tokens in
/// a way that is not offered here (beams, constrained or forced tokens, guidance)
[[nodiscard]] inline GenerationConfig parse_generation_config(std::string_view text,
                                                              const std::string& where) {
  const json::Value value = json::parse(text, where, {.depth = 32, .values = 500'000});
  const json::Field root(value, where);
  const auto number = [&](std::string_view key, double low, double high) {
    const auto field = root.find_set(key);
    return field ? std::optional<double>(field->number(low, high)) : std::nullopt;
  };
  (void)root.object();

  struct Neutral {
    std::string_view key;
    double value;
  };
  for (const Neutral& only :
       {Neutral{"num_beams", 1}, Neutral{"num_beam_groups", 1}, Neutral{"no_repeat_ngram_size", 0},
        Neutral{"guidance_scale", 1}, Neutral{"typical_p", 1}, Neutral{"epsilon_cutoff", 0},
        Neutral{"eta_cutoff", 0}, Neutral{"penalty_alpha", 0}, Neutral{"diversity_penalty", 0},
        Neutral{"top_h", 1}, Neutral{"num_return_sequences", 1}}) {
    const auto field = root.find_set(only.key);
    if (field && field->number(-1e18, 1e18) != only.value) {
      throw field->error(std::string(only.key) + " is not supported as a checkpoint's default",
                         std::to_string(static_cast<int>(only.value)) + ", or nothing");
    }
  }
  for (const std::string_view key :
       {"bad_words_ids", "force_words_ids", "constraints", "sequence_bias", "suppress_tokens",
        "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids",
        "exponential_decay_length_penalty", "watermarking_config", "dola_layers"}) {
    if (const auto field = root.find_set(key)) {
      throw field->error(std::string(key) + " is not supported", "it to be absent or null");
    }
  }

  GenerationConfig out;
  out.bos = detail::read_token_id(root, "bos_token_id");
  out.pad = detail::read_token_id(root, "pad_token_id");
  out.eos = detail::read_token_ids(root, "eos_token_id");
  if (const auto field = root.find_set("do_sample")) out.do_sample = field->boolean();
  out.temperature = number("temperature", 0, 1e6);
  out.top_p = number("top_p", 1e-12, 1);
  out.min_p = number("min_p", 0, 1);
  if (const auto field = root.find_set("top_k")) {
    out.top_k = static_cast<std::int32_t>(field->integer(0, 0x7fffffff));
  }
  out.repetition_penalty = number("repetition_penalty", 1e-6, 1e6);
  if (const auto field = root.find_set("max_new_tokens")) {
    out.max_new_tokens = field->integer(1, std::int64_t{1} << 40);
  }
  return out;
}

/// Reads a generation_config.json.
[[nodiscard]] inline GenerationConfig read_generation_config(const std::string& path) {
  return parse_generation_config(read_file(path, 4'000'000), path);
}

}  // namespace quire::checkpoint
