#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer/byte_level.hpp>
#include <quire/checkpoint/tokenizer/stages.hpp>
#include <quire/core/utf8.hpp>

namespace quire::checkpoint::tokenizer {

/// How pieces become text again, as plain data.
struct Decoder {
  enum class Kind {
    join,        // pieces with a space between them (a file without a decoder)
    byte_level,  // pieces are bytes in the byte-level alphabet
    metaspace,   // the sign becomes a space, and goes from the first piece
    pieces,      // replacements, <0x0A> as bytes, leading characters stripped
  };
  struct Replacement {
    std::string pattern;
    std::string content;
  };
  Kind kind = Kind::join;
  std::string space{};                      // of metaspace: the sign
  bool strip_first = false;                 // of metaspace: the first piece loses its signs
  std::vector<Replacement> replacements{};  // of pieces, in this order
  bool byte_fallback = false;               // of pieces
  std::string strip{};                      // of pieces: this character ...
  std::size_t strip_count = 0;  // ... is cut from the start of the text, so often at most
};

/// Turns pieces into text one by one; what comes out is whole characters at every step.
class DecoderState {
 public:
  /// `eager`: characters made of byte pieces come out as soon as they are whole. Otherwise they
  /// wait for the end of the run of byte pieces, since the reference writes one U+FFFD for every
  /// byte of a run that is not valid as a whole.
  DecoderState(const Decoder& decoder, bool eager) : decoder_(&decoder), eager_(eager) {}

  void push(std::string_view piece, std::string& out) {
    switch (decoder_->kind) {
      case Decoder::Kind::join:
        if (!first_) out.push_back(' ');
        out.append(piece);
        break;
      case Decoder::Kind::byte_level: {
        const auto bytes = byte_level::decode(piece);
        pending_.append(bytes ? std::string_view(*bytes) : piece);
        take_lossy(out);
        break;
      }
      case Decoder::Kind::metaspace: {
        std::string text(piece);
        replace_all(text, decoder_->space, first_ && decoder_->strip_first ? "" : " ");
        out.append(text);
        break;
      }
      case Decoder::Kind::pieces:
        push_piece(piece, out);
        break;
    }
    first_ = false;
  }

  /// Writes what still waits: an unfinished character becomes U+FFFD.
  void finish(std::string& out) {
    if (decoder_->kind == Decoder::Kind::byte_level) {
      out.append(utf8::sanitized(pending_));
      pending_.clear();
    } else {
      end_run(out);
    }
  }

 private:
  /// Moves everything but an unfinished character at the end from pending to out.
  void take_lossy(std::string& out) {
    std::size_t at = 0;
    while (at < pending_.size()) {
      const utf8::Step step = utf8::decode(std::string_view(pending_).substr(at));
      if (step.cut) break;
      if (step.valid) {
        out.append(pending_, at, step.size);
      } else {
        utf8::append(out, utf8::replacement);
      }
      at += step.size;
    }
    pending_.erase(0, at);
  }

  /// The byte that a piece such as <0x0A> stands for.
  [[nodiscard]] static std::optional<char> byte_of(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
    const auto digit = [](char c) {
      if (c >= '0' && c <= '9') return c - '0';
      const char lower = static_cast<char>(c | 0x20);
      return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
    };
    const int high = piece[3] == '+' ? 0 : digit(piece[3]);  // the reference's number parser
    const int low = digit(piece[4]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<char>(high * 16 + low);
  }

  void push_piece(std::string_view piece, std::string& out) {
    std::string text(piece);
    for (const auto& r : decoder_->replacements) replace_all(text, r.pattern, r.content);
    if (decoder_->byte_fallback) {
      if (const auto byte = byte_of(text)) {
        pending_.push_back(*byte);
        if (eager_) take_whole(out);
        return;
      }
    }
    end_run(out);
    emit(text, out);
  }
  /// Moves whole characters at the start of the run to out.
  void take_whole(std::string& out) {
    std::size_t at = 0;
    while (at < pending_.size()) {
      const utf8::Step step = utf8::decode(std::string_view(pending_).substr(at));
      if (step.cut) break;
      if (step.valid) {
        emit(std::string_view(pending_).substr(at, step.size), out);
      } else {
        emit_replacements(step.size, out);
      }
      at += step.size;
    }
    pending_.erase(0, at);
  }
  void end_run(std::string& out) {
    if (utf8::first_invalid(pending_)) {
      emit_replacements(pending_.size(), out);
    } else {
      emit(pending_, out);
    }
    pending_.clear();
  }
  void emit_replacements(std::size_t count, std::string& out) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) utf8::append(text, utf8::replacement);
    emit(text, out);
  }
  /// Writes text, without the characters that are stripped from the start of everything.
  void emit(std::string_view text, std::string& out) {
    const std::string& strip = decoder_->strip;
    while (stripped_ < decoder_->strip_count && text.starts_with(strip)) {
      text.remove_prefix(strip.size());
      ++stripped_;
    }
    if (!text.empty()) stripped_ = decoder_->strip_count;
    out.append(text);
  }

  const Decoder* decoder_;
  bool eager_;
  bool first_ = true;
  std::size_t stripped_ = 0;
  std::string pending_;  // bytes of unfinished characters
};

}  // namespace quire::checkpoint::tokenizer
