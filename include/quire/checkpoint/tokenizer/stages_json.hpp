#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer/decoder.hpp>
#include <quire/checkpoint/tokenizer/stages.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

/// Reads the sections of a tokenizer.json that come before and after the model.
namespace quire::checkpoint::tokenizer::detail {

/// Refuses keys that are not known: what is not understood must not be ignored.
inline void allow_keys(const json::Field& field, std::initializer_list<std::string_view> known) {
  for (const auto& member : field.object().members()) {
    if (std::find(known.begin(), known.end(), member.key) != known.end()) continue;
    std::string names;
    for (const std::string_view name : known)
      names += (names.empty() ? "" : ", ") + std::string(name);
    throw field.at(member).error("unknown key " + in_quotes(member.key), "one of " + names);
  }
}
[[nodiscard]] inline bool boolean_or(const json::Field& field, std::string_view key,
                                     bool otherwise) {
  const auto found = field.find_set(key);
  return found ? found->boolean() : otherwise;
}
[[nodiscard]] inline Error unsupported(const json::Field& type, std::string_view expected) {
  return type.error("type " + in_quotes(type.string()) + " is not supported", expected);
}
/// A text put in place of another; bounded, so that a short input cannot grow without measure.
[[nodiscard]] inline std::string content(const json::Field& field, bool may_be_empty) {
  constexpr std::size_t longest = 64;
  const std::string& text = field.string();
  if (text.size() > longest || (text.empty() && !may_be_empty)) {
    throw field.error("a text of " + std::to_string(text.size()) + " bytes",
                      std::string(may_be_empty ? "0" : "1") + " to " + std::to_string(longest));
  }
  return text;
}
[[nodiscard]] inline std::string one_character(const json::Field& field) {
  const std::string& text = field.string();
  if (text.empty() || utf8::decode(text).size != text.size()) {
    throw field.error("value " + in_quotes(text), "one character");
  }
  return text;
}
[[nodiscard]] inline std::string literal_pattern(const json::Field& field) {
  allow_keys(field, {"String"});
  return content(field.at("String"), false);
}

/// Appends the steps of a normalizer.
inline void read_normalizer(const json::Field& field, std::vector<NormalizerStep>& out) {
  const json::Field type = field.at("type");
  if (type.string() == "Sequence") {
    allow_keys(field, {"type", "normalizers"});
    const json::Field list = field.at("normalizers");
    for (std::size_t i = 0; i < list.array().size(); ++i) read_normalizer(list.at(i), out);
    return;
  }
  NormalizerStep step;
  if (type.string() == "NFC") {
    allow_keys(field, {"type"});
    step.kind = NormalizerStep::Kind::nfc;
  } else if (type.string() == "Prepend") {
    allow_keys(field, {"type", "prepend"});
    step.kind = NormalizerStep::Kind::prepend;
    step.content = content(field.at("prepend"), true);
  } else if (type.string() == "Replace") {
    allow_keys(field, {"type", "pattern", "content"});
    step.kind = NormalizerStep::Kind::replace;
    step.pattern = literal_pattern(field.at("pattern"));
    step.content = content(field.at("content"), true);
  } else {
    throw unsupported(type, "NFC, Prepend, Replace or a Sequence of them");
  }
  // Each step may lengthen the text; a few are enough for every tokenizer of the kinds here.
  if (out.size() == 4) throw field.error("too many normalizers", "at most 4");
  out.push_back(std::move(step));
}

[[nodiscard]] inline WordPattern read_split(const json::Field& field) {
  const json::Field type = field.at("type");
  if (type.string() != "Split") throw unsupported(type, "Split");
  allow_keys(field, {"type", "pattern", "behavior", "invert"});
  const json::Field pattern = field.at("pattern");
  allow_keys(pattern, {"Regex"});
  const json::Field behavior = field.at("behavior");
  // The patterns match all text, so to isolate matches and to remove what is between them agree.
  const bool inverted = field.at("invert").boolean();
  if (behavior.string() != (inverted ? "Removed" : "Isolated")) {
    throw behavior.error("behavior " + in_quotes(behavior.string()),
                         inverted ? "Removed, as invert is true" : "Isolated");
  }
  const json::Field regex = pattern.at("Regex");
  if (regex.string() == gpt2_pattern || regex.string() == gpt2_pattern_short) {
    return WordPattern::gpt2;
  }
  if (regex.string() == llama3_pattern) return WordPattern::llama3;
  if (regex.string() == qwen2_pattern) return WordPattern::qwen2;
  throw regex.error("unknown pattern " + in_quotes(regex.string()),
                    "the pattern of GPT-2, Llama 3 or Qwen 2");
}

inline void read_metaspace(const json::Field& field, std::string& space,
                           PreTokenizer::Prepend& prepend, bool* split) {
  allow_keys(field,
             {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  space = one_character(field.at("replacement"));
  prepend = PreTokenizer::Prepend::always;
  if (const auto scheme = field.find_set("prepend_scheme")) {
    if (scheme->string() == "first") {
      prepend = PreTokenizer::Prepend::first;
    } else if (scheme->string() == "never") {
      prepend = PreTokenizer::Prepend::never;
    } else if (scheme->string() != "always") {
      throw scheme->error("unknown scheme " + in_quotes(scheme->string()),
                          "first, never or always");
    }
  }
  const auto old_key = field.find_set("add_prefix_space");
  if (old_key && !old_key->boolean() && prepend != PreTokenizer::Prepend::never) {
    throw old_key->error("it contradicts prepend_scheme", "true, or the scheme never");
  }
  if (split != nullptr) *split = boolean_or(field, "split", true);
}

inline void read_pre_tokenizer(const json::Field& field, PreTokenizer& out) {
  const json::Field type = field.at("type");
  if (type.string() == "Sequence") {
    allow_keys(field, {"type", "pretokenizers"});
    const json::Field list = field.at("pretokenizers");
    const std::size_t count = list.array().size();
    if (count == 1) return read_pre_tokenizer(list.at(std::size_t{0}), out);
    if (count != 2) throw list.error("not the two steps known", "a Split, then a ByteLevel");
    const WordPattern pattern = read_split(list.at(std::size_t{0}));
    const json::Field second = list.at(1);
    read_pre_tokenizer(second, out);
    if (out.kind != PreTokenizer::Kind::byte_level || out.pattern || out.prefix_space) {
      throw second.error("not the second step known",
                         "a ByteLevel with use_regex and add_prefix_space false");
    }
    out.pattern = pattern;
  } else if (type.string() == "ByteLevel") {
    allow_keys(field, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    out.kind = PreTokenizer::Kind::byte_level;
    out.prefix_space = field.at("add_prefix_space").boolean();
    if (boolean_or(field, "use_regex", true)) out.pattern = WordPattern::gpt2;
  } else if (type.string() == "Metaspace") {
    read_metaspace(field, out.space, out.prepend, &out.split);
    out.kind = PreTokenizer::Kind::metaspace;
  } else {
    throw unsupported(type, "ByteLevel, Metaspace or a Sequence of Split and ByteLevel");
  }
}

/// Steps must come in the order Replace ..., ByteFallback, Fuse, Strip; each may be left out, but
/// Strip follows Fuse, since it would otherwise strip every piece.
inline void read_piece_step(const json::Field& field, int& reached, Decoder& out) {
  constexpr std::string_view order[] = {"Replace", "ByteFallback", "Fuse", "Strip"};
  const json::Field type = field.at("type");
  const auto at = std::find(std::begin(order), std::end(order), type.string());
  const auto step = static_cast<int>(at - std::begin(order));
  if (at == std::end(order)) {
    throw unsupported(type,
                      "ByteLevel, Metaspace or a Sequence of Replace, ByteFallback, Fuse, "
                      "Strip");
  }
  if (step < reached || (step == 3 && reached != 3)) {
    throw type.error("decoder steps in an order that is not supported",
                     "Replace, ByteFallback, Fuse, Strip");
  }
  reached = step == 0 ? 0 : step + 1;
  out.kind = Decoder::Kind::pieces;
  if (step == 0) {
    allow_keys(field, {"type", "pattern", "content"});
    if (out.replacements.size() == 4) throw field.error("too many replacements", "at most 4");
    out.replacements.push_back(
        {literal_pattern(field.at("pattern")), content(field.at("content"), true)});
  } else if (step == 1) {
    allow_keys(field, {"type"});
    out.byte_fallback = true;
  } else if (step == 2) {
    allow_keys(field, {"type"});
  } else {
    allow_keys(field, {"type", "content", "start", "stop"});
    out.strip = one_character(field.at("content"));
    out.strip_count = static_cast<std::size_t>(field.at("start").integer(0, 1 << 20));
    (void)field.at("stop").integer(0, 0);
  }
}

inline void read_decoder(const json::Field& field, Decoder& out) {
  const json::Field type = field.at("type");
  if (type.string() == "ByteLevel") {
    allow_keys(field, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    out.kind = Decoder::Kind::byte_level;
  } else if (type.string() == "Metaspace") {
    PreTokenizer::Prepend prepend{};
    read_metaspace(field, out.space, prepend, nullptr);
    out.kind = Decoder::Kind::metaspace;
    out.strip_first = prepend != PreTokenizer::Prepend::never;
  } else if (type.string() == "Sequence") {
    allow_keys(field, {"type", "decoders"});
    const json::Field list = field.at("decoders");
    if (list.array().size() == 1) return read_decoder(list.at(std::size_t{0}), out);
    int reached = 0;
    for (std::size_t i = 0; i < list.array().size(); ++i) read_piece_step(list.at(i), reached, out);
  } else {
    int reached = 0;
    read_piece_step(field, reached, out);
  }
}

}  // namespace quire::checkpoint::tokenizer::detail
