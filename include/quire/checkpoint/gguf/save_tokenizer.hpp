#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/checkpoint/gguf/tokenizer.hpp>
#include <quire/checkpoint/gguf/writer.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/tokenizer/model.hpp>
#include <quire/checkpoint/tokenizer/tokenizer_json.hpp>
#include <quire/core/error.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

/// A tokenizer.json as ggml's keys.
namespace quire::checkpoint::gguf {

namespace detail {

/// Takes a tokenizer apart; what ggml's keys cannot say is refused.
class TokenizerSaver {
 public:
  TokenizerSaver(std::string text, const std::string& where, const ModelConfig& config)
      : text_(std::move(text)),
        where_(where),
        config_(config),
        root_(json::parse(text_, where, {.depth = 32, .values = 16'000'000})),
        model_(tokenizer::read_model(text_, where)) {}

  void add(MetadataText& m) {
    read_merges();
    read_tokens();
    using Kind = tokenizer::PreTokenizer::Kind;
    if (model_->pre_tokenizer.kind == Kind::byte_level) {
      add_byte_level(m);
    } else {
      add_sentence_piece(m);
    }
    m.add_texts("tokenizer.ggml.tokens", tokens_);
    m.add_array("tokenizer.ggml.token_type", kinds_);
    add_template(m);
    m.add_text("tokenizer.huggingface.json", text_);
  }

 private:
  [[nodiscard]] Error refusal(std::string_view what, std::string_view expected) const {
    return data_error(where_, what, expected);
  }

  void read_merges() {
    const json::Field root(root_, where_);
    const json::Field list = root.at("model").at("merges");
    for (std::size_t i = 0; i < list.array().size(); ++i) {
      if (const std::string* line = list.array()[i].string()) {
        if (line->starts_with("#version")) continue;
        const std::size_t space = line->find(' ');
        merges_.emplace_back(line->substr(0, space), line->substr(space + 1));
      } else {
        merges_.emplace_back(list.at(i).at(std::size_t{0}).string(), list.at(i).at(1).string());
      }
    }
  }
  void read_tokens() {
    const auto vocab = static_cast<std::size_t>(config_.shape.vocab);
    for (std::size_t id = 0; id < vocab; ++id) {
      const auto at = static_cast<TokenId>(id);
      auto kind = TokenKind::normal;
      std::string text;
      const auto added = model_->added_by_id.find(at);
      if (added != model_->added_by_id.end()) {
        text = added->second->content;
        kind = added->second->special ? TokenKind::control : TokenKind::user_defined;
        if (added->second->lstrip || added->second->rstrip || added->second->single_word) {
          throw refusal("token " + in_quotes(text) + " takes space with it, or is a whole word",
                        "tokens that are found anywhere, alone");
        }
      } else if (const auto piece = model_->bpe.piece(at)) {
        text = *piece;
        if (model_->bpe.options().byte_fallback && is_byte(text)) kind = TokenKind::byte;
      } else {
        text = "[PAD" + std::to_string(id) + "]";
        kind = TokenKind::unused;
      }
      if (model_->bpe.options().unknown == at) kind = TokenKind::unknown;
      tokens_.push_back(std::move(text));
      kinds_.push_back(static_cast<std::int32_t>(kind));
    }
    if (const auto beyond = model_->bpe.piece(static_cast<TokenId>(vocab))) {
      throw refusal("token " + std::to_string(vocab) + " is behind the model's vocabulary",
                    "at most " + std::to_string(vocab) + " tokens");
    }
  }
  [[nodiscard]] static bool is_byte(std::string_view piece) {
    return piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>');
  }

  void add_byte_level(MetadataText& m) const {
    const tokenizer::PreTokenizer& words = model_->pre_tokenizer;
    using tokenizer::WordPattern;
    if (!words.pattern || words.prefix_space) {
      throw refusal("a byte-level tokenizer without words, or with a space put first",
                    "add_prefix_space false, and a pattern");
    }
    const bool nfc = model_->normalizer.size() == 1 &&
                     model_->normalizer[0].kind == tokenizer::NormalizerStep::Kind::nfc;
    if (!model_->normalizer.empty() && !(nfc && *words.pattern == WordPattern::qwen2)) {
      throw refusal("this normalizer has no place in ggml's keys",
                    "none, or NFC with the pattern of Qwen 2");
    }
    const bool whole_words = model_->bpe.options().ignore_merges;
    if (whole_words != (*words.pattern == WordPattern::llama3)) {
      throw refusal("ignore_merges has no place in ggml's keys",
                    "true with the pattern of Llama 3, else false");
    }
    m.add_text("tokenizer.ggml.model", "gpt2");
    for (const WordPatternName& p : word_patterns) {
      if (p.pattern != *words.pattern) continue;
      m.add_text("tokenizer.ggml.pre", p.name);
      break;
    }
    std::vector<std::string> lines;
    for (const auto& [left, right] : merges_) {
      lines.emplace_back(left).append(" ").append(right);
    }
    m.add_texts("tokenizer.ggml.merges", lines);
  }

  /// Scores take the place of merges: a piece's is the later, the lower, and other readers find the
  /// merges again by them. \errors data where they would find others
  void add_sentence_piece(MetadataText& m) {
    const auto& normalizer = model_->normalizer;
    using Step = tokenizer::NormalizerStep::Kind;
    const bool prefix = normalizer.size() == 2 && normalizer[0].kind == Step::prepend &&
                        normalizer[0].content == "▁";
    const bool known = model_->pre_tokenizer.kind == tokenizer::PreTokenizer::Kind::none &&
                       model_->bpe.options().byte_fallback && (prefix || normalizer.size() == 1) &&
                       normalizer.back().kind == Step::replace &&
                       normalizer.back().pattern == " " && normalizer.back().content == "▁";
    if (!known) {
      throw refusal("a tokenizer of this kind has no place in ggml's keys",
                    "byte-level BPE, or SentencePiece BPE with byte fallback as Llama 2 has it");
    }
    std::map<std::string, float, std::less<>> score;
    for (std::size_t i = 0; i < merges_.size(); ++i) {
      score.emplace(merges_[i].first + merges_[i].second, -static_cast<float>(score.size()));
    }
    std::vector<float> scores;
    std::vector<std::string_view> pieces(tokens_.begin(), tokens_.end());
    for (const std::string& token : tokens_) {
      const auto found = score.find(token);
      scores.push_back(found != score.end() ? found->second : -1e6f);
    }
    const std::vector<std::int64_t> kinds(kinds_.begin(), kinds_.end());
    const auto again = merges_of(pieces, scores, kinds);
    for (std::size_t i = 0; i < std::max(again.size(), merges_.size()); ++i) {
      if (i < again.size() && i < merges_.size() && again[i].first == merges_[i].first &&
          again[i].second == merges_[i].second) {
        continue;
      }
      throw refusal("its merges do not follow from scores of pieces (number " + std::to_string(i) +
                        "), and GGUF has no other place for them",
                    "a vocabulary that came from SentencePiece");
    }
    m.add_text("tokenizer.ggml.model", "llama");
    m.add_text("tokenizer.ggml.pre", "default");
    m.add_array("tokenizer.ggml.scores", scores);
    m.add("tokenizer.ggml.add_space_prefix", prefix);
    if (const auto unknown = model_->bpe.options().unknown) {
      m.add("tokenizer.ggml.unknown_token_id", static_cast<std::uint32_t>(*unknown));
    }
  }

  void add_template(MetadataText& m) const {
    const tokenizer::Template& around = model_->around;
    const bool fits = around.before.size() <= 1 && around.after.size() <= 1 &&
                      (around.before.empty() || around.before.front() == config_.bos) &&
                      (around.after.empty() ||
                       (!config_.eos.empty() && around.after.front() == config_.eos.front()));
    if (!fits) {
      throw refusal("the tokens around a text have no place in ggml's keys",
                    "at most the model's first token before it and its end token behind it");
    }
    m.add("tokenizer.ggml.add_bos_token", !around.before.empty());
    m.add("tokenizer.ggml.add_eos_token", !around.after.empty());
  }

  std::string text_;
  std::string where_;
  const ModelConfig& config_;
  json::Value root_;
  std::shared_ptr<const tokenizer::Model> model_;
  std::vector<std::pair<std::string, std::string>> merges_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> kinds_;
};

}  // namespace detail

/// Adds the special tokens and, where the directory has one, its tokenizer.
/// \errors data for a tokenizer that ggml's keys cannot say
inline void add_tokenizer(MetadataText& m, const std::string& directory,
                          const ModelConfig& config) {
  const std::vector<TokenId>& eos = config.eos;
  const auto id = [&m](std::string_view name, TokenId token) {
    m.add("tokenizer.ggml." + std::string(name), static_cast<std::uint32_t>(token));
  };
  if (config.bos) id("bos_token_id", *config.bos);
  if (!eos.empty()) id("eos_token_id", eos.front());
  if (eos.size() > 1) id("eot_token_id", eos[1]);
  if (eos.size() > 2) {
    throw data_error(directory, std::to_string(eos.size()) + " tokens end a text",
                     "at most two, for which GGUF has places");
  }
  if (config.pad) id("padding_token_id", *config.pad);
  const std::filesystem::path file = std::filesystem::path(directory) / "tokenizer.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    m.add_text("tokenizer.ggml.model", "no_vocab");  // ggml's word; it reads no file without one
    return;
  }
  detail::TokenizerSaver(read_file(file.string(), tokenizer::longest_tokenizer_file), file.string(),
                         config)
      .add(m);
}

}  // namespace quire::checkpoint::gguf
