#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_map.hpp>
#include <quire/checkpoint/tokenizer/model.hpp>
#include <quire/checkpoint/tokenizer/stages_json.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

namespace quire::checkpoint::tokenizer {

namespace detail {

class ModelReader {
 public:
  ModelReader(const json::Field& root, Model& model) : root_(root), model_(model) {}

  void read() {
    allow_keys(root_, {"version", "truncation", "padding", "added_tokens", "normalizer",
                       "pre_tokenizer", "post_processor", "decoder", "model"});
    if (const auto version = root_.find_set("version"); version && version->string() != "1.0") {
      throw version->error("version " + in_quotes(version->string()), "\"1.0\"");
    }
    for (const std::string_view key : {"truncation", "padding"}) {
      if (const auto field = root_.find_set(key)) {
        throw field->error(std::string(key) + " is not supported", "null");
      }
    }
    read_bpe(root_.at("model"));
    if (const auto field = root_.find_set("normalizer")) read_normalizer(*field, model_.normalizer);
    if (const auto field = root_.find_set("pre_tokenizer")) {
      read_pre_tokenizer(*field, model_.pre_tokenizer);
    }
    check_total();
    if (const auto field = root_.find_set("added_tokens")) read_added(*field);
    if (const auto field = root_.find_set("post_processor")) read_post_processor(*field);
    if (const auto field = root_.find_set("decoder")) read_decoder(*field, model_.decoder);
  }

 private:
  void read_bpe(const json::Field& field) {
    allow_keys(field,
               {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
    if (const auto type = field.find_set("type"); type && type->string() != "BPE") {
      throw unsupported(*type, "BPE");  // files of before 2021 have no type
    }
    if (const auto dropout = field.find_set("dropout"); dropout && dropout->number(0, 1) != 0) {
      throw dropout->error("dropout makes ids random", "null");
    }
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const auto affix = field.find_set(key);
      if (affix && !affix->string().empty()) {
        throw affix->error(std::string(key) + " is not supported", "null or \"\"");
      }
    }
    read_vocab(field.at("vocab"));
    Bpe::Options options;
    options.byte_fallback = boolean_or(field, "byte_fallback", false);
    options.fuse_unknown = boolean_or(field, "fuse_unk", false);
    options.ignore_merges = boolean_or(field, "ignore_merges", false);
    if (const auto unknown = field.find_set("unk_token")) {
      options.unknown = model_.bpe.find(unknown->string());
      if (!options.unknown) throw unknown->error("not in the vocabulary", "a piece in it");
    }
    model_.bpe.set_options(options);
    read_merges(field.at("merges"));
  }

  void read_vocab(const json::Field& field) {
    const auto& members = field.object().members();
    // Ids may have gaps, but the table of ids must stay in proportion to the file.
    const std::size_t bound = 4 * members.size() + 65536;
    std::vector<std::pair<std::string, TokenId>> pieces;
    pieces.reserve(members.size());
    std::vector<bool> taken(bound);
    std::size_t beyond = 0;
    for (const auto& member : members) {
      const std::int64_t* id = member.value.integer();
      if (id == nullptr || *id < 0 || static_cast<std::size_t>(*id) >= bound) {
        throw field.at(member).error("not an id for this vocabulary",
                                     "an integer from 0 to " + std::to_string(bound - 1));
      }
      const auto at = static_cast<std::size_t>(*id);
      if (taken[at])
        throw field.at(member).error("id " + std::to_string(at) + " is taken", "another");
      taken[at] = true;
      beyond = std::max(beyond, at + 1);
      pieces.emplace_back(member.key, static_cast<TokenId>(at));
    }
    model_.bpe.set_pieces(std::move(pieces), beyond);
  }

  void read_merges(const json::Field& field) {
    const json::Array& merges = field.array();
    model_.bpe.reserve_merges(merges.size());
    std::string both;
    for (std::size_t i = 0; i < merges.size(); ++i) {
      std::string_view left, right;
      if (const std::string* line = merges[i].string()) {
        if (line->starts_with("#version")) continue;
        const std::size_t space = line->find(' ');
        if (space == std::string::npos || line->find(' ', space + 1) != std::string::npos) {
          throw field.at(i).error("merge " + in_quotes(*line), "two pieces with one space between");
        }
        left = std::string_view(*line).substr(0, space);
        right = std::string_view(*line).substr(space + 1);
      } else {
        const json::Field pair = field.at(i);
        if (pair.array().size() != 2) throw pair.error("not a pair", "two pieces");
        left = pair.at(std::size_t{0}).string();
        right = pair.at(1).string();
      }
      const auto left_id = model_.bpe.find(left);
      const auto right_id = model_.bpe.find(right);
      const auto result = model_.bpe.find((both = left).append(right));
      if (!left_id || !right_id || !result) {
        const std::string_view missing = !left_id ? left : !right_id ? right : both;
        throw field.at(i).error("piece " + in_quotes(missing) + " is not in the vocabulary",
                                "merges of pieces that are");
      }
      if (!model_.bpe.add_merge(*left_id, *right_id, *result)) {
        throw field.at(i).error("this pair occurs twice", "each pair once");
      }
    }
  }

  /// Refuses a vocabulary that leaves some text without ids: the reference drops it silently.
  void check_total() const {
    const Bpe& bpe = model_.bpe;
    if (bpe.options().unknown) return;
    const json::Field vocab = root_.at("model").at("vocab");
    if (model_.pre_tokenizer.kind == PreTokenizer::Kind::byte_level) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text;
        utf8::append(text, byte_level::character(static_cast<unsigned char>(byte)));
        if (bpe.find(text)) continue;
        throw vocab.error("there is no piece " + in_quotes(text) + " for byte " +
                              std::to_string(byte) + " and no unk_token",
                          "all 256 characters of the byte-level alphabet");
      }
    } else if (!bpe.options().byte_fallback || !bpe.has_byte_pieces()) {
      throw vocab.error("some texts would have no ids",
                        "an unk_token, or byte_fallback with all pieces <0x00> to <0xFF>");
    }
  }

  void read_added(const json::Field& field) {
    auto next = static_cast<std::int64_t>(model_.bpe.size());
    for (std::size_t i = 0; i < field.array().size(); ++i) {
      const json::Field item = field.at(i);
      allow_keys(item,
                 {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
      AddedToken token;
      const json::Field text = item.at("content");
      token.content = text.string();
      if (token.content.empty() || token.content.size() > 512) {
        throw text.error("a token of " + std::to_string(token.content.size()) + " bytes",
                         "1 to 512");
      }
      const auto piece = model_.bpe.find(token.content);
      const std::int64_t expected = piece ? static_cast<std::int64_t>(*piece) : next++;
      const std::int64_t id = item.at("id").integer(0, std::numeric_limits<std::int32_t>::max());
      if (id != expected || (!piece && model_.bpe.piece(static_cast<TokenId>(id)))) {
        throw item.at("id").error(
            "id " + std::to_string(id) + " of " + in_quotes(token.content),
            std::to_string(expected) + ", as the reference library numbers it");
      }
      token.id = static_cast<TokenId>(id);
      token.single_word = item.at("single_word").boolean();
      token.lstrip = item.at("lstrip").boolean();
      token.rstrip = item.at("rstrip").boolean();
      token.normalized = item.at("normalized").boolean();
      token.special = item.at("special").boolean();
      add(std::move(token), text);
    }
  }
  void add(AddedToken token, const json::Field& place) {
    model_.added.push_back(std::move(token));
    const AddedToken& kept = model_.added.back();
    bool fresh = model_.added_by_content.emplace(kept.content, &kept).second;
    fresh = model_.added_by_id.emplace(kept.id, &kept).second && fresh;
    if (kept.normalized) {
      std::string text = kept.content;
      for (const auto& step : model_.normalizer) step.apply(text);
      if (text.empty()) throw place.error("the token is empty once normalised", "some text");
      fresh = model_.in_normalized_text.add(text, kept) && fresh;
      if (text != kept.content) model_.decoded.emplace(kept.id, std::move(text));
    } else {
      fresh = model_.in_raw_text.add(kept.content, kept) && fresh;
    }
    if (!fresh) throw place.error("token " + in_quotes(kept.content) + " is there twice", "once");
  }

  void read_post_processor(const json::Field& field) {
    const json::Field type = field.at("type");
    if (type.string() == "Sequence") {
      allow_keys(field, {"type", "processors"});
      const json::Field list = field.at("processors");
      for (std::size_t i = 0; i < list.array().size(); ++i) read_post_processor(list.at(i));
    } else if (type.string() == "TemplateProcessing") {
      allow_keys(field, {"type", "single", "pair", "special_tokens"});
      if (std::exchange(has_template_, true)) throw field.error("a second template", "one");
      read_template(field);
    } else if (type.string() == "ByteLevel") {  // moves offsets, not ids
      allow_keys(field, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    } else {
      throw unsupported(type, "TemplateProcessing, ByteLevel or a Sequence of them");
    }
  }
  void read_template(const json::Field& field) {
    const json::Field single = field.at("single");
    const json::Field tokens = field.at("special_tokens");
    bool text_seen = false;
    for (std::size_t i = 0; i < single.array().size(); ++i) {
      const json::Field item = single.at(i);
      allow_keys(item, {"SpecialToken", "Sequence"});
      if (item.object().members().size() != 1) throw item.error("not one thing", "one key");
      if (const auto sequence = item.find("Sequence")) {
        allow_keys(*sequence, {"id", "type_id"});
        const json::Field id = sequence->at("id");
        if (id.string() != "A") throw id.error("sequence " + in_quotes(id.string()), "\"A\"");
        if (std::exchange(text_seen, true)) throw item.error("the text comes twice", "once");
        continue;
      }
      const json::Field special = item.at("SpecialToken");
      allow_keys(special, {"id", "type_id"});
      const json::Field ids = tokens.at(special.at("id").string()).at("ids");
      for (std::size_t k = 0; k < ids.array().size(); ++k) {
        const auto id = static_cast<TokenId>(ids.at(k).integer(0, 0x7fffffff));
        if (!model_.bpe.piece(id) && !model_.added_by_id.contains(id)) {
          throw ids.at(k).error("id " + std::to_string(id) + " is not in the vocabulary",
                                "the id of a token");
        }
        (text_seen ? model_.around.after : model_.around.before).push_back(id);
      }
    }
    if (!text_seen) throw single.error("the text has no place in it", "a Sequence \"A\"");
  }

  const json::Field& root_;
  Model& model_;
  bool has_template_ = false;
};

}  // namespace detail

inline constexpr std::size_t longest_tokenizer_file = 256'000'000;

/// Reads the text of a tokenizer.json; `where` names it in errors.
/// \errors data, with the field, for whatever the reference library would do and this would not
[[nodiscard]] inline std::shared_ptr<const Model> read_model(std::string_view text,
                                                             const std::string& where) {
  const json::Value value = json::parse(text, where, {.depth = 32, .values = 16'000'000});
  const json::Field root(value, where);
  auto model = std::make_shared<Model>();
  detail::ModelReader(root, *model).read();
  return model;
}

/// Reads a tokenizer.json.
[[nodiscard]] inline std::shared_ptr<const Model> read_model_file(const std::string& path) {
  return read_model(read_file(path, longest_tokenizer_file), path);
}

}  // namespace quire::checkpoint::tokenizer
