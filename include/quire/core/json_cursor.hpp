#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <quire/core/error.hpp>

namespace quire {

/// Reads JSON front to back without building a tree: the caller asks for what it expects next.
/// Nothing is allocated but the strings asked for, nesting costs no stack, and every refusal names
/// the source, the byte and the member it stands in.
/// \pre text outlives the cursor.  \errors quire::Error of kind data on anything but strict JSON.
/// \source RFC 8259.
class JsonCursor {
 public:
  /// text: one JSON value; source: what errors call it (`trace.jsonl: line 7`).
  JsonCursor(std::string_view text, std::string source) : text_(text), source_(std::move(source)) {}

  /// Next character that is not white space, or 0 at the end; consumes the space before it.
  [[nodiscard]] char peek() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  /// Calls member(key) for each member of the object that comes next; member must consume exactly
  /// the value. The key is valid until the next call of the cursor.
  template <class Member>
  void object(Member&& member) {
    expect('{', "an object");
    if (consume('}')) return;
    std::string key;
    const std::string outer = field_;
    do {
      if (peek() != '"') fail("a member has no name", "a string");
      read_string(key);
      expect(':', "a colon");
      field_ = outer.empty() ? key : outer + "." + key;
      member(std::string_view(key));
      field_ = outer;
    } while (consume(','));
    expect('}', "a comma or the end of the object");
  }

  /// Calls element() for each element of the array that comes next; element must consume it.
  template <class Element>
  void array(Element&& element) {
    expect('[', "an array");
    if (consume(']')) return;
    do {
      element();
    } while (consume(','));
    expect(']', "a comma or the end of the array");
  }

  [[nodiscard]] std::string string() {
    if (peek() != '"') fail("the value is not a string", "a string");
    std::string out;
    read_string(out);
    return out;
  }

  [[nodiscard]] double number() {
    const std::string_view token = number_token();
    double value = 0;
    const auto [end, status] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (status != std::errc{} || end != token.data() + token.size() || !std::isfinite(value)) {
      fail("the number does not fit", "a finite number");
    }
    return value;
  }

  /// A number without a fraction or an exponent.
  [[nodiscard]] std::int64_t integer() {
    const std::string_view token = number_token();
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (status == std::errc::result_out_of_range) fail("the number does not fit", "64 bits");
    if (end != token.data() + token.size()) fail("the number is not whole", "an integer");
    return value;
  }

  /// A number of any type that std::from_chars reads, rounded to nearest where it is a float.
  template <class T>
  [[nodiscard]] T number_as() {
    const std::string_view token = number_token();
    T value{};
    const auto [end, status] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (status != std::errc{} || end != token.data() + token.size()) {
      fail("the number does not fit its type", "one of " + std::to_string(sizeof(T)) + " bytes");
    }
    return value;
  }

  [[nodiscard]] bool boolean() {
    const char next = peek();
    literal(next == 't' ? "true" : "false");
    return next == 't';
  }

  /// Consumes `null` if it comes next.
  bool null() {
    if (peek() != 'n') return false;
    literal("null");
    return true;
  }

  /// Consumes any value, checking its grammar. \complexity O(bytes), at most 512 levels deep.
  void skip() {
    std::string open;  // one closing bracket a level, so that depth is heap, not call stack
    for (;;) {
      const char next = peek();
      if (next == '{' || next == '[') {
        if (open.size() == max_depth) fail("the value is nested too deeply", "512 levels");
        open.push_back(next == '{' ? '}' : ']');
        ++at_;
        if (!consume(open.back())) {
          if (next == '{') skip_key();
          continue;
        }
        open.pop_back();
      } else {
        skip_scalar(next);
      }
      for (;;) {  // a value has ended: close what ends with it
        if (open.empty()) return;
        if (consume(',')) break;
        expect(open.back(), "a comma or a closing bracket");
        open.pop_back();
      }
      if (open.back() == '}') skip_key();
    }
  }

  /// Refuses anything but white space after the value.
  void end() {
    if (peek() != '\0' || at_ < text_.size()) fail("text follows the value", "the end");
  }

  [[nodiscard]] std::size_t offset() const { return at_; }

  /// Throws a data error at the current byte and member.
  [[noreturn]] void fail(std::string_view what, std::string_view expected) const {
    std::string where = source_;
    where += ", byte " + std::to_string(at_);
    if (!field_.empty()) where += ", field '" + field_ + "'";
    throw data_error(where, what, expected);
  }

 private:
  static constexpr std::size_t max_depth = 512;

  static constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  static constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

  bool consume(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c, std::string_view name) {
    if (!consume(c)) fail(at_ < text_.size() ? "unexpected text" : "the text ends early", name);
  }
  void literal(std::string_view word) {
    static_cast<void>(peek());
    if (text_.substr(at_, word.size()) != word) fail("unknown word", word);
    at_ += word.size();
  }
  void skip_scalar(char next) {
    switch (next) {
      case '"':
        read_string(scratch_);
        break;
      case 't':
        literal("true");
        break;
      case 'f':
        literal("false");
        break;
      case 'n':
        literal("null");
        break;
      default:
        static_cast<void>(number_token());
    }
  }
  void skip_key() {
    if (peek() != '"') fail("a member has no name", "a string");
    read_string(scratch_);
    expect(':', "a colon");
  }

  [[nodiscard]] std::string_view number_token() {
    static_cast<void>(peek());
    std::size_t i = at_;
    const auto digits = [&] {
      const std::size_t first = i;
      while (i < text_.size() && is_digit(text_[i])) ++i;
      return i - first;
    };
    if (i < text_.size() && text_[i] == '-') ++i;
    const bool zero = i < text_.size() && text_[i] == '0';
    const std::size_t whole = digits();
    bool good = whole == 1 || (whole > 1 && !zero);
    if (good && i < text_.size() && text_[i] == '.') {
      ++i;
      good = digits() > 0;
    }
    if (good && i < text_.size() && (text_[i] == 'e' || text_[i] == 'E')) {
      ++i;
      if (i < text_.size() && (text_[i] == '-' || text_[i] == '+')) ++i;
      good = digits() > 0;
    }
    if (!good) {
      fail(at_ < text_.size() ? "the value is not a number" : "the text ends early", "a number");
    }
    const std::string_view token = text_.substr(at_, i - at_);
    at_ = i;
    return token;
  }

  std::uint32_t hex4() {
    std::uint32_t value = 0;
    const char* first = text_.data() + at_;
    const std::size_t left = text_.size() - at_;
    const auto [end, status] = std::from_chars(first, first + (left < 4 ? left : 4), value, 16);
    if (status != std::errc{} || end != first + 4) fail("bad escape", "four hexadecimal digits");
    at_ += 4;
    return value;
  }

  static void append_utf8(std::string& out, std::uint32_t c) {
    const auto byte = [&out](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
    if (c < 0x80) {
      byte(c);
    } else if (c < 0x800) {
      byte(0xc0 | (c >> 6));
      byte(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
      byte(0xe0 | (c >> 12));
      byte(0x80 | ((c >> 6) & 0x3f));
      byte(0x80 | (c & 0x3f));
    } else {
      byte(0xf0 | (c >> 18));
      byte(0x80 | ((c >> 12) & 0x3f));
      byte(0x80 | ((c >> 6) & 0x3f));
      byte(0x80 | (c & 0x3f));
    }
  }

  void read_escape(std::string& out) {
    if (at_ >= text_.size()) fail("the string does not end", "a closing quote");
    switch (const char c = text_[at_++]) {
      case '"':
      case '\\':
      case '/':
        out.push_back(c);
        return;
      case 'b':
        out.push_back('\b');
        return;
      case 'f':
        out.push_back('\f');
        return;
      case 'n':
        out.push_back('\n');
        return;
      case 'r':
        out.push_back('\r');
        return;
      case 't':
        out.push_back('\t');
        return;
      case 'u':
        break;
      default:
        --at_;
        fail("unknown escape", "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    }
    std::uint32_t c = hex4();
    if (c >= 0xd800 && c < 0xdc00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const std::uint32_t low = hex4();
      if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair", "its low half");
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xd800 && c < 0xe000) {
      fail("half a surrogate pair", "both halves");
    }
    append_utf8(out, c);
  }

  /// \pre the cursor stands on a quote.
  void read_string(std::string& out) {
    out.clear();
    ++at_;
    for (;;) {
      const std::size_t first = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      out.append(text_.substr(first, at_ - first));
      if (at_ >= text_.size()) fail("the string does not end", "a closing quote");
      if (text_[at_] == '"') break;
      if (text_[at_] != '\\') fail("a control character stands in a string", "an escape");
      ++at_;
      read_escape(out);
    }
    ++at_;
  }

  std::string_view text_;
  std::string source_;
  std::string field_;
  std::string scratch_;
  std::size_t at_ = 0;
};

}  // namespace quire
