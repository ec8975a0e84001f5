#pragma once

#include <cstddef>
#include <string_view>

#include <quire/checkpoint/tokenizer/unicode.hpp>
#include <quire/core/utf8.hpp>

/// The word patterns of byte-level tokenizers, matched by hand: their look-ahead and Unicode
/// classes are beyond std::regex, and the patterns that exist are few.
namespace quire::checkpoint::tokenizer {

enum class WordPattern {
  gpt2,    // words with one space before them, runs of digits, runs of signs, runs of space
  llama3,  // any sign may start a word; digits in threes; newlines end a run of signs
  qwen2,   // as llama3, but each digit alone
};

inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt2_pattern_short =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Cuts text into the consecutive matches of a pattern; together they are the whole text.
class WordSplitter {
 public:
  /// \pre text is valid UTF-8 and outlives the splitter
  WordSplitter(std::string_view text, WordPattern pattern) : text_(text), pattern_(pattern) {
    next_ = read(0);
  }

  /// Calls `emit` with each word in order.
  /// \complexity O(|text|): each character is looked at a bounded number of times
  template <class Emit>
  void each(Emit emit) {
    while (next_.size > 0) {
      const std::size_t start = at_;
      if (pattern_ == WordPattern::gpt2) {
        take_gpt2();
      } else {
        take_llama3();
      }
      emit(text_.substr(start, at_ - start));
    }
  }

 private:
  enum class Class { letter, number, space, other };
  struct Character {
    char32_t point = 0;
    std::size_t size = 0;  // 0: the end
    Class kind = Class::other;
  };

  [[nodiscard]] Character read(std::size_t at) const {
    if (at >= text_.size()) return {};
    const utf8::Step step = utf8::decode(text_.substr(at));
    Class kind = Class::other;
    if (is_letter(step.point)) {
      kind = Class::letter;
    } else if (is_number(step.point)) {
      kind = Class::number;
    } else if (is_space(step.point)) {
      kind = Class::space;
    }
    return {step.point, step.size, kind};
  }
  void advance() {
    at_ += next_.size;
    next_ = read(at_);
  }
  [[nodiscard]] bool next_is(Class kind) const { return next_.size > 0 && next_.kind == kind; }
  [[nodiscard]] static bool newline(const Character& c) {
    return c.size > 0 && (c.point == '\n' || c.point == '\r');
  }
  void take_run(Class kind) {
    while (next_is(kind)) advance();
  }

  /// Takes 's 't 're 've 'm 'll 'd if one stands here.
  bool take_contraction(bool any_case) {
    if (next_.point != '\'' || next_.size == 0) return false;
    const auto fold = [&](const Character& c) -> char32_t {
      if (!any_case) return c.point;
      if (c.point == 0x17F) return 's';  // the long s folds to s
      return c.point >= 'A' && c.point <= 'Z' ? c.point + 32 : c.point;
    };
    const Character first = read(at_ + next_.size);
    if (first.size == 0) return false;
    const char32_t a = fold(first);
    std::size_t length = next_.size + first.size;
    if (a != 's' && a != 't' && a != 'm' && a != 'd') {
      const Character second = read(at_ + length);
      if (second.size == 0) return false;
      const char32_t b = fold(second);
      const bool pair = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
      if (!pair) return false;
      length += second.size;
    }
    at_ += length;
    next_ = read(at_);
    return true;
  }

  /// A run of space. One that ends at a word leaves its last character to the word, if that is
  /// not all of it; `newlines`: a run with a newline in it ends after its last newline.
  void take_space(bool newlines) {
    const std::size_t start = at_;
    std::size_t last = at_;      // where the run's last character starts
    std::size_t after_line = 0;  // where the text after the run's last newline starts
    while (next_is(Class::space)) {
      last = at_;
      const bool line = newline(next_);
      advance();
      if (line) after_line = at_;
    }
    if (newlines && after_line > 0) {
      at_ = after_line;
    } else if (next_.size > 0 && last > start) {
      at_ = last;
    } else {
      return;
    }
    next_ = read(at_);
  }

  void take_gpt2() {
    if (take_contraction(false)) return;
    if (next_is(Class::space)) {
      const Character second = read(at_ + next_.size);
      const bool leads = next_.point == ' ' && second.size > 0 && second.kind != Class::space;
      if (!leads) return take_space(false);
      advance();
    }
    take_run(next_.kind);
  }

  void take_llama3() {
    if (take_contraction(true)) return;
    if (next_is(Class::letter)) return take_run(Class::letter);
    if (next_is(Class::number)) {
      const int most = pattern_ == WordPattern::llama3 ? 3 : 1;
      for (int i = 0; i < most && next_is(Class::number); ++i) advance();
      return;
    }
    const Character second = read(at_ + next_.size);
    const bool second_is_letter = second.size > 0 && second.kind == Class::letter;
    if (!newline(next_) && second_is_letter) {  // any one sign or space before letters
      advance();
      return take_run(Class::letter);
    }
    if (next_is(Class::space)) {
      const bool leads = next_.point == ' ' && second.size > 0 && second.kind == Class::other;
      if (!leads) return take_space(true);
      advance();
    }
    take_run(Class::other);
    while (newline(next_)) advance();
  }

  std::string_view text_;
  WordPattern pattern_;
  std::size_t at_ = 0;
  Character next_;
};

}  // namespace quire::checkpoint::tokenizer
