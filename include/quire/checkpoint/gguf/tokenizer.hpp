#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/checkpoint/gguf/metadata.hpp>
#include <quire/checkpoint/tokenizer/word_split.hpp>
#include <quire/core/json.hpp>
#include <quire/core/text.hpp>
#include <quire/core/utf8.hpp>

/// The tokenizer in a GGUF file, as the text of a tokenizer.json.
namespace quire::checkpoint::gguf {

/// ggml's kinds of tokens.
enum class TokenKind : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };

/// Word patterns by ggml's names.
struct WordPatternName {
  std::string_view name;
  tokenizer::WordPattern pattern;
};
inline constexpr WordPatternName word_patterns[] = {
    {"gpt-2", tokenizer::WordPattern::gpt2},
    {"llama-bpe", tokenizer::WordPattern::llama3},
    {"llama3", tokenizer::WordPattern::llama3},
    {"llama-v3", tokenizer::WordPattern::llama3},
    {"qwen2", tokenizer::WordPattern::qwen2},
    {"deepseek-r1-qwen", tokenizer::WordPattern::qwen2}};

/// Two pieces that become one.
using MergePair = std::pair<std::string_view, std::string_view>;

/// Merges in the order that scores of pieces give them: every way to put a normal piece together from
/// two others, best score first. \source transformers, convert_slow_tokenizer.py, generate_merges: what
/// Hugging Face's own conversion of SentencePiece models does.
/// \pre pieces are UTF-8 and of at most 512 bytes; scores and kinds have their length
[[nodiscard]] inline std::vector<MergePair> merges_of(const std::vector<std::string_view>& pieces,
                                                      const std::vector<float>& scores,
                                                      const std::vector<std::int64_t>& kinds) {
  const auto takes_part = [&](std::size_t i) {
    const auto kind = static_cast<TokenKind>(kinds[i]);
    return kind == TokenKind::normal || kind == TokenKind::user_defined;
  };
  std::unordered_map<std::string_view, std::size_t> ids;
  ids.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (takes_part(i)) ids.emplace(pieces[i], i);
  }
  struct Merge {
    MergePair pair;
    float score;
    std::size_t left, right;                // ids
    std::size_t left_length, right_length;  // characters
  };
  std::vector<Merge> all;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!takes_part(i)) continue;
    const std::string_view piece = pieces[i];
    const auto begins_character = [&](std::size_t at) { return (piece[at] & 0xC0) != 0x80; };
    const std::size_t first = all.size();
    std::size_t characters = 1;
    for (std::size_t at = 1; at < piece.size(); ++at) {
      if (!begins_character(at)) continue;
      const std::size_t before = characters++;
      const auto left = ids.find(piece.substr(0, at)), right = ids.find(piece.substr(at));
      if (left == ids.end() || right == ids.end()) continue;
      all.push_back(
          {{left->first, right->first}, scores[i], left->second, right->second, before, 0});
    }
    for (std::size_t m = first; m < all.size(); ++m) {
      all[m].right_length = characters - all[m].left_length;
    }
    std::sort(all.begin() + static_cast<std::ptrdiff_t>(first), all.end(),
              [](const Merge& a, const Merge& b) {
                return std::tie(a.left, a.right) < std::tie(b.left, b.right);
              });
  }
  std::stable_sort(all.begin(), all.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.score, a.left_length, a.right_length) >
           std::tie(b.score, b.left_length, b.right_length);
  });
  std::vector<MergePair> out;
  out.reserve(all.size());
  for (const Merge& m : all) out.push_back(m.pair);
  return out;
}

namespace detail {

/// Puts the text of a tokenizer.json together.
class TokenizerText {
 public:
  explicit TokenizerText(const Metadata& metadata) : metadata_(metadata) {}

  [[nodiscard]] std::string text() {
    const std::string_view model = metadata_.text("tokenizer.ggml.model");
    if (model != "gpt2" && model != "llama") {
      throw metadata_.error("tokenizer.ggml.model",
                            "a tokenizer of kind " + in_quotes(model) + " is not supported",
                            "gpt2 (byte-level BPE) or llama (SentencePiece BPE)");
    }
    pieces_ = metadata_.texts("tokenizer.ggml.tokens");
    check_pieces();
    read_kinds();
    const bool byte_level = model == "gpt2";
    std::string out = R"({"version":"1.0","truncation":null,"padding":null,)";
    if (byte_level) {
      add_byte_level(out);
    } else {
      add_sentence_piece(out);
    }
    return out + '}';
  }

 private:
  static constexpr std::size_t longest_piece = 512;

  void check_pieces() const {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      if (pieces_[i].size() <= longest_piece && !utf8::first_invalid(pieces_[i])) continue;
      throw metadata_.error("tokenizer.ggml.tokens[" + std::to_string(i) + "]",
                            "token " + in_quotes(pieces_[i]),
                            "UTF-8 of at most " + std::to_string(longest_piece) + " bytes");
    }
  }
  void read_kinds() {
    kinds_.assign(pieces_.size(), static_cast<std::int64_t>(TokenKind::normal));
    if (metadata_.find("tokenizer.ggml.token_type") != nullptr) {
      kinds_ = metadata_.integers("tokenizer.ggml.token_type", "an array of integers");
    }
    check_count("tokenizer.ggml.token_type", kinds_.size());
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
      if (kinds_[i] >= 1 && kinds_[i] <= 6) continue;
      throw metadata_.error("tokenizer.ggml.token_type[" + std::to_string(i) + "]",
                            "value " + std::to_string(kinds_[i]), "1 to 6");
    }
  }
  void check_count(std::string_view key, std::size_t count) const {
    if (count == pieces_.size()) return;
    throw metadata_.error(key, std::to_string(count) + " entries",
                          std::to_string(pieces_.size()) + ", one a token");
  }
  [[nodiscard]] TokenKind kind(std::size_t i) const { return static_cast<TokenKind>(kinds_[i]); }

  void add_byte_level(std::string& out) {
    const std::string_view pre = metadata_.find("tokenizer.ggml.pre") != nullptr
                                     ? metadata_.text("tokenizer.ggml.pre")
                                     : std::string_view("default");
    const auto known = std::find_if(std::begin(word_patterns), std::end(word_patterns),
                                    [&](const WordPatternName& p) { return p.name == pre; });
    if (known == std::end(word_patterns)) {
      throw metadata_.error("tokenizer.ggml.pre",
                            "words by the pattern " + in_quotes(pre) + " are not supported",
                            "gpt-2, llama-bpe or qwen2");
    }
    using tokenizer::WordPattern;
    const WordPattern pattern = known->pattern;
    const std::string_view words = R"({"type":"ByteLevel","add_prefix_space":false,)"
                                   R"("trim_offsets":true,"use_regex":)";
    // Tokens behind the last piece are not in the vocabulary, as Hugging Face has them.
    std::size_t end = pieces_.size();
    while (end > 0 && kind(end - 1) == TokenKind::unused) --end;
    std::size_t vocabulary = end;
    while (vocabulary > 0 && is_added(vocabulary - 1)) --vocabulary;
    add_added_tokens(out, end);
    out += R"("normalizer":)";
    out += pattern == WordPattern::qwen2 ? R"({"type":"NFC"})" : "null";
    out += R"(,"pre_tokenizer":)";
    if (pattern == WordPattern::gpt2) {
      out.append(words).append("true}");
    } else {
      const std::string_view regex =
          pattern == WordPattern::llama3 ? tokenizer::llama3_pattern : tokenizer::qwen2_pattern;
      out += R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)" +
             json::quote(regex) + R"(},"behavior":"Isolated","invert":false},)";
      out.append(words).append("false}]}");
    }
    add_template(out, pattern == WordPattern::llama3);
    out.append(R"("decoder":)").append(words).append("true},");
    out += R"("model":{"type":"BPE","ignore_merges":)";
    out += pattern == WordPattern::llama3 ? "true" : "false";
    add_vocabulary(out, vocabulary);
    out += R"(,"merges":[)";
    const auto merges = metadata_.texts("tokenizer.ggml.merges");
    for (std::size_t i = 0; i < merges.size(); ++i) {
      if (utf8::first_invalid(merges[i])) {
        throw metadata_.error("tokenizer.ggml.merges[" + std::to_string(i) + "]",
                              "merge " + in_quotes(merges[i]), "UTF-8");
      }
      out += (i > 0 ? "," : "") + json::quote(merges[i]);
    }
    out += "]}";
  }

  void add_sentence_piece(std::string& out) {
    const std::vector<float> scores = metadata_.floats("tokenizer.ggml.scores");
    check_count("tokenizer.ggml.scores", scores.size());
    const bool prefix = metadata_.boolean_or("tokenizer.ggml.add_space_prefix", true);
    add_added_tokens(out, pieces_.size());
    out += R"("normalizer":{"type":"Sequence","normalizers":[)";
    if (prefix) out += R"({"type":"Prepend","prepend":"▁"},)";
    out += R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null)";
    add_template(out, true);
    out += R"("decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},)"
           R"("content":" "},{"type":"ByteFallback"},{"type":"Fuse"})";
    if (prefix) out += R"(,{"type":"Strip","content":" ","start":1,"stop":0})";
    out += R"(]},"model":{"type":"BPE","byte_fallback":true,"fuse_unk":true)";
    if (const auto unknown = token_id("tokenizer.ggml.unknown_token_id")) {
      out += R"(,"unk_token":)" + json::quote(pieces_[*unknown]);
    }
    add_vocabulary(out, pieces_.size());
    out += R"(,"merges":[)";
    bool first = true;
    for (const auto& [left, right] : merges_of(pieces_, scores, kinds_)) {
      out += (first ? "[" : ",[") + json::quote(left) + "," + json::quote(right) + "]";
      first = false;
    }
    out += "]}";
  }

  [[nodiscard]] bool is_added(std::size_t i) const {
    return kind(i) == TokenKind::control || kind(i) == TokenKind::user_defined ||
           kind(i) == TokenKind::unknown;
  }
  void add_added_tokens(std::string& out, std::size_t end) const {
    out += R"("added_tokens":[)";
    bool first = true;
    for (std::size_t i = 0; i < end; ++i) {
      if (!is_added(i)) continue;
      out += (first ? "{\"id\":" : ",{\"id\":") + std::to_string(i) + R"(,"content":)" +
             json::quote(pieces_[i]) +
             R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":)";
      out += kind(i) == TokenKind::user_defined ? "false}" : "true}";
      first = false;
    }
    out += "],";
  }
  void add_vocabulary(std::string& out, std::size_t end) const {
    out += R"(,"vocab":{)";
    for (std::size_t i = 0; i < end; ++i) {
      out += (i > 0 ? "," : "") + json::quote(pieces_[i]) + ":" + std::to_string(i);
    }
    out += "}";
  }
  [[nodiscard]] std::optional<std::size_t> token_id(std::string_view key) const {
    const auto id = metadata_.find_integer(key, -1, 0xffffffff);
    if (!id || *id < 0 || *id == 0xffffffff) return std::nullopt;  // old converters' none
    if (static_cast<std::size_t>(*id) >= pieces_.size()) {
      throw metadata_.error(key, "token " + std::to_string(*id),
                            "one of the " + std::to_string(pieces_.size()));
    }
    return static_cast<std::size_t>(*id);
  }
  void add_template(std::string& out, bool begin_by_default) const {
    std::string single, special;
    const auto add = [&](std::string_view switch_key, std::string_view id_key, bool otherwise) {
      const auto id = token_id(id_key);
      if (!metadata_.boolean_or(switch_key, otherwise && id.has_value())) return;
      if (!id) throw metadata_.error(id_key, "the token is not known", "its id");
      const std::string name = json::quote(pieces_[*id]);
      single += R"({"SpecialToken":{"id":)" + name + R"(,"type_id":0}},)";
      if (special.find(name + ":{") != std::string::npos) return;
      special += (special.empty() ? "" : ",") + name + R"(:{"id":)" + name + R"(,"ids":[)" +
                 std::to_string(*id) + R"(],"tokens":[)" + name + "]}";
    };
    add("tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", begin_by_default);
    single += R"({"Sequence":{"id":"A","type_id":0}},)";
    add("tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", false);
    single.pop_back();
    out += R"(,"post_processor":{"type":"TemplateProcessing","single":[)" + single +
           R"(],"pair":[],"special_tokens":{)" + special + "}},";
  }

  const Metadata& metadata_;
  std::vector<std::string_view> pieces_;
  std::vector<std::int64_t> kinds_;
};

}  // namespace detail

/// The text of a tokenizer.json that says the same; the file's own where it holds one. Empty where
/// the file has no tokenizer. \errors data, with the key, for kinds that are not supported
[[nodiscard]] inline std::string tokenizer_text(const Metadata& metadata) {
  if (metadata.find("tokenizer.huggingface.json") != nullptr) {
    return std::string(metadata.text("tokenizer.huggingface.json"));
  }
  if (metadata.find("tokenizer.ggml.model") == nullptr) return {};
  const std::string_view kind = metadata.text("tokenizer.ggml.model");
  if (kind == "no_vocab" || kind == "none") return {};
  return detail::TokenizerText(metadata).text();
}

}  // namespace quire::checkpoint::gguf
