#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer/bpe.hpp>
#include <quire/checkpoint/tokenizer/decoder.hpp>
#include <quire/checkpoint/tokenizer/model.hpp>
#include <quire/checkpoint/tokenizer/stages.hpp>
#include <quire/checkpoint/tokenizer/tokenizer_json.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/utf8.hpp>

namespace quire::checkpoint {

/// A Hugging Face tokenizer.json: byte-level BPE (GPT-2, Llama 3, Qwen 2 and 3) and
/// SentencePiece-style BPE with byte fallback (Llama 2, Mistral), with the same ids as the
/// `tokenizers` library. Copies are cheap; all members may be called from many threads.
class Tokenizer {
 public:
  /// Reads a tokenizer.json.
  /// \errors data, with the field, for anything that this class would do differently from the
  /// reference: other models, normalizers, patterns, truncation, padding
  [[nodiscard]] static Tokenizer from_file(const std::string& path) {
    return Tokenizer(tokenizer::read_model_file(path));
  }
  /// Reads the text of a tokenizer.json; `where` names it in errors.
  [[nodiscard]] static Tokenizer from_text(std::string_view text, const std::string& where) {
    return Tokenizer(tokenizer::read_model(text, where));
  }

  /// Ids of a text. Bytes that are not UTF-8 count as U+FFFD, one for each maximal subpart of a
  /// character, as when Python decodes the same bytes with errors="replace".
  /// `add_special_tokens`: with the ids that the file's template puts around a text;
  /// `special_in_text`: special tokens written out in the text become their ids (as the reference
  /// does), or false: stay text, for prompts that are not trusted.
  /// \complexity O(n log n) in the text's length
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text, bool add_special_tokens = true,
                                            bool special_in_text = true) const {
    if (utf8::first_invalid(text)) {
      return encode(utf8::sanitized(text), add_special_tokens, special_in_text);
    }
    std::vector<TokenId> ids;
    if (add_special_tokens) ids = model_->around.before;
    tokenizer::Bpe::Scratch scratch;
    const bool skip_special = !special_in_text;
    for (const auto& part : model_->in_raw_text.parts(text, skip_special)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
        continue;
      }
      const std::string_view raw = text.substr(part.begin, part.end - part.begin);
      std::string changed;
      if (!model_->normalizer.empty()) changed = normalized(raw);
      const std::string_view clean = model_->normalizer.empty() ? raw : std::string_view(changed);
      for (const auto& inner : model_->in_normalized_text.parts(clean, skip_special)) {
        if (inner.token != nullptr) {
          ids.push_back(inner.token->id);
          continue;
        }
        model_->pre_tokenizer.each_word(
            clean.substr(inner.begin, inner.end - inner.begin), part.begin + inner.begin == 0,
            [&](std::string_view word) { model_->bpe.encode(word, scratch, ids); });
      }
    }
    if (add_special_tokens) {
      ids.insert(ids.end(), model_->around.after.begin(), model_->around.after.end());
    }
    return ids;
  }

  /// Text of ids; always valid UTF-8. Ids that the vocabulary lacks give no text.
  [[nodiscard]] std::string decode(std::span<const TokenId> ids,
                                   bool skip_special_tokens = true) const {
    std::string out;
    tokenizer::DecoderState state(model_->decoder, false);
    for (const TokenId id : ids) push(state, id, skip_special_tokens, out);
    state.finish(out);
    return out;
  }

  class Stream;
  /// Begins a text whose ids arrive one by one.
  [[nodiscard]] Stream stream(bool skip_special_tokens = true) const;

  /// Number of pieces and added tokens. Ids may have gaps, so the greatest id can be beyond it.
  [[nodiscard]] std::size_t vocab_size() const {
    std::size_t size = model_->bpe.size();
    for (const auto& token : model_->added) size += model_->bpe.piece(token.id) ? 0 : 1;
    return size;
  }
  [[nodiscard]] std::optional<TokenId> token_to_id(std::string_view piece) const {
    const auto added = model_->added_by_content.find(piece);
    if (added != model_->added_by_content.end()) return added->second->id;
    return model_->bpe.find(piece);
  }
  /// The piece as the file writes it (byte-level pieces in their own alphabet).
  [[nodiscard]] std::optional<std::string_view> id_to_piece(TokenId id) const {
    const auto added = model_->added_by_id.find(id);
    if (added != model_->added_by_id.end()) return added->second->content;
    return model_->bpe.piece(id);
  }
  [[nodiscard]] bool is_special(TokenId id) const {
    const auto added = model_->added_by_id.find(id);
    return added != model_->added_by_id.end() && added->second->special;
  }
  /// The ids that `encode` puts before and after a text.
  [[nodiscard]] const tokenizer::Template& around() const { return model_->around; }

 private:
  explicit Tokenizer(std::shared_ptr<const tokenizer::Model> model) : model_(std::move(model)) {}

  [[nodiscard]] std::string normalized(std::string_view text) const {
    std::string out(text);
    for (const auto& step : model_->normalizer) step.apply(out);
    return out;
  }
  void push(tokenizer::DecoderState& state, TokenId id, bool skip_special, std::string& out) const {
    std::optional<std::string_view> piece = id_to_piece(id);
    if (!piece || (skip_special && is_special(id))) return;
    const auto decoded = model_->decoded.find(id);
    state.push(decoded == model_->decoded.end() ? *piece : std::string_view(decoded->second), out);
  }

  std::shared_ptr<const tokenizer::Model> model_;
};

/// Text of ids that arrive one by one: each `push` gives the whole characters that are certain.
/// Pushed and finished texts together are what `decode` gives, but where byte pieces are not UTF-8:
/// `decode` then replaces all of their run, as the reference does, and a stream cannot take back
/// what it has given.
class Tokenizer::Stream {
 public:
  explicit Stream(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : tokenizer_(tokenizer),
        skip_special_(skip_special_tokens),
        state_(tokenizer_.model_->decoder, true) {}

  [[nodiscard]] std::string push(TokenId id) {
    std::string out;
    tokenizer_.push(state_, id, skip_special_, out);
    return out;
  }
  /// Ends the text: an unfinished character becomes U+FFFD.
  [[nodiscard]] std::string finish() {
    std::string out;
    state_.finish(out);
    return out;
  }

 private:
  Tokenizer tokenizer_;  // shares the model, which the state points to
  bool skip_special_;
  tokenizer::DecoderState state_;
};

inline Tokenizer::Stream Tokenizer::stream(bool skip_special_tokens) const {
  return Stream(*this, skip_special_tokens);
}

}  // namespace quire::checkpoint
