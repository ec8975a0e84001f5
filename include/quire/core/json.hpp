#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/core/utf8.hpp>

/// A strict JSON reader (RFC 8259) for files that are not trusted.
/// Beyond the grammar it refuses duplicate keys, invalid UTF-8, lone surrogates, numbers that a
/// double cannot hold, deep nesting and more values than a limit, each with the byte where it is.
namespace quire::json {

struct Limits {
  std::size_t depth = 64;
  std::size_t values = 16'000'000;
};

class Value;
using Array = std::vector<Value>;

/// Members in the order of the file, found by key in O(log size).
class Object {
 public:
  struct Member;
  Object();
  Object(const Object&);
  Object(Object&&) noexcept;
  Object& operator=(const Object&);
  Object& operator=(Object&&) noexcept;
  ~Object();
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }
  [[nodiscard]] const Value* find(std::string_view key) const;

 private:
  friend class Parser;
  std::vector<Member> members_;
  std::vector<std::uint32_t> by_key_;
};

/// One value of a document and the byte at which it starts.
class Value {
 public:
  using Data = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object>;
  Value() = default;
  Value(Data data, std::size_t offset) : data_(std::move(data)), offset_(offset) {}

  [[nodiscard]] std::size_t offset() const { return offset_; }
  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(data_); }
  [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&data_); }
  /// An integer that fits 64 bits and was written without fraction or exponent.
  [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data_); }
  /// Any number; an integer is rounded to the nearest double.
  [[nodiscard]] std::optional<double> number() const {
    if (const auto* i = integer()) return static_cast<double>(*i);
    if (const auto* d = std::get_if<double>(&data_)) return *d;
    return std::nullopt;
  }
  [[nodiscard]] const std::string* string() const { return std::get_if<std::string>(&data_); }
  [[nodiscard]] const Array* array() const { return std::get_if<Array>(&data_); }
  [[nodiscard]] const Object* object() const { return std::get_if<Object>(&data_); }
  [[nodiscard]] std::string_view kind() const {
    constexpr std::string_view names[] = {"null",     "a boolean", "an integer", "a number",
                                          "a string", "an array",  "an object"};
    return names[data_.index()];
  }

 private:
  Data data_ = nullptr;
  std::size_t offset_ = 0;
};

struct Object::Member {
  std::string key;
  Value value;
};

// Members contain values, which contain objects: what needs their size comes after both.
inline Object::Object() = default;
inline Object::Object(const Object&) = default;
inline Object::Object(Object&&) noexcept = default;
inline Object& Object::operator=(const Object&) = default;
inline Object& Object::operator=(Object&&) noexcept = default;
inline Object::~Object() = default;

inline const Value* Object::find(std::string_view key) const {
  const auto at =
      std::lower_bound(by_key_.begin(), by_key_.end(), key,
                       [this](std::uint32_t i, std::string_view k) { return members_[i].key < k; });
  return at != by_key_.end() && members_[*at].key == key ? &members_[*at].value : nullptr;
}

/// Recursive descent with a depth limit; holds only the place it has reached.
class Parser {
 public:
  Parser(std::string_view text, std::string_view where, Limits limits)
      : text_(text), where_(where), limits_(limits) {}

  [[nodiscard]] Value document() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // a byte-order mark, as editors write
    Value value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("text follows the JSON value", "the end of the file");
    return value;
  }

 private:
  static constexpr std::string_view any_value =
      "an object, an array, a string, a number, true, false or null";
  [[noreturn]] void fail_at(std::size_t at, std::string_view what,
                            std::string_view expected) const {
    throw data_error(std::string(where_) + ": byte " + std::to_string(at), what, expected);
  }
  [[noreturn]] void fail(std::string_view what, std::string_view expected) const {
    if (at_ >= text_.size()) fail_at(at_, "the JSON text ends early", expected);
    fail_at(at_, what, expected);
  }
  [[nodiscard]] bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  [[nodiscard]] bool next_is_digit() const {
    return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
  }
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }
  void take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("no JSON value begins here", any_value);
    at_ += word.size();
  }

  Value parse_value(std::size_t depth) {
    skip_space();
    if (depth > limits_.depth) {
      fail("nested too deeply", "at most " + std::to_string(limits_.depth) + " levels");
    }
    if (++values_ > limits_.values) {
      fail("too many values", "at most " + std::to_string(limits_.values));
    }
    const std::size_t start = at_;
    if (at_ >= text_.size()) fail("", "a JSON value");
    switch (text_[at_]) {
      case 'n':
        take_word("null");
        return {nullptr, start};
      case 't':
        take_word("true");
        return {true, start};
      case 'f':
        take_word("false");
        return {false, start};
      case '"':
        return {parse_string(), start};
      case '[':
        return {parse_array(depth), start};
      case '{':
        return {parse_object(depth), start};
      default:
        return {parse_number(), start};
    }
  }

  Array parse_array(std::size_t depth) {
    Array out;
    ++at_;
    skip_space();
    if (next_is(']')) return ++at_, out;
    for (;;) {
      out.push_back(parse_value(depth + 1));
      skip_space();
      if (next_is(']')) return ++at_, out;
      if (!next_is(',')) fail("an array goes wrong here", "',' or ']'");
      ++at_;
    }
  }

  Object parse_object(std::size_t depth) {
    Object out;
    const std::size_t start = at_++;
    skip_space();
    if (next_is('}')) return ++at_, out;
    for (;;) {
      skip_space();
      if (!next_is('"')) fail("an object goes wrong here", "a key in double quotes");
      std::string key = parse_string();
      skip_space();
      if (!next_is(':')) fail("an object goes wrong here", "':'");
      ++at_;
      Value value = parse_value(depth + 1);
      out.members_.push_back({std::move(key), std::move(value)});
      skip_space();
      if (next_is('}')) break;
      if (!next_is(',')) fail("an object goes wrong here", "',' or '}'");
      ++at_;
    }
    ++at_;
    index(out, start);
    return out;
  }

  void index(Object& object, std::size_t start) const {
    auto& order = object.by_key_;
    const auto& members = object.members_;
    order.resize(members.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return members[a].key < members[b].key; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (members[order[i - 1]].key == members[order[i]].key) {
        fail_at(start, "key " + in_quotes(members[order[i]].key) + " occurs twice in one object",
                "each key once");
      }
    }
  }

  std::variant<std::int64_t, double> scan_number() {
    const std::size_t start = at_;
    bool whole = true;
    if (next_is('-')) ++at_;
    if (next_is('0')) {
      ++at_;
    } else {
      take_digits("no JSON value begins here", any_value);
    }
    if (next_is('.')) {
      whole = false;
      ++at_;
      take_digits("a number goes wrong here", "a digit");
    }
    if (next_is('e') || next_is('E')) {
      whole = false;
      ++at_;
      if (next_is('+') || next_is('-')) ++at_;
      take_digits("a number goes wrong here", "a digit");
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + at_;
    if (whole) {
      std::int64_t integer = 0;
      if (std::from_chars(first, last, integer).ec == std::errc{}) return integer;
    }
    double number = 0;
    if (std::from_chars(first, last, number).ec != std::errc{}) {
      fail_at(start, "number out of range", "a number that a 64-bit float can hold");
    }
    return number;
  }
  Value::Data parse_number() {
    return std::visit([](auto number) -> Value::Data { return number; }, scan_number());
  }
  void take_digits(std::string_view what, std::string_view expected) {
    if (!next_is_digit()) fail(what, expected);
    while (next_is_digit()) ++at_;
  }

  std::string parse_string() {
    std::string out;
    ++at_;
    for (;;) {
      const std::size_t plain = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      const std::string_view run = text_.substr(plain, at_ - plain);
      if (const auto bad = utf8::first_invalid(run)) {
        fail_at(plain + *bad, "invalid UTF-8 in a string", "UTF-8");
      }
      out.append(run);
      if (next_is('"')) return ++at_, out;
      if (!next_is('\\')) fail("a bare control character in a string", "a closing '\"'");
      parse_escape(out);
    }
  }
  void parse_escape(std::string& out) {
    const std::size_t start = at_++;
    if (at_ >= text_.size()) fail("", "an escape");
    const char c = text_[at_++];
    constexpr std::string_view from = "\"\\/bfnrt";
    constexpr std::string_view to = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = from.find(c); i != std::string_view::npos) {
      out.push_back(to[i]);
      return;
    }
    if (c != 'u') fail_at(start, "unknown escape in a string", "one of \\\" \\\\ \\/ b f n r t u");
    char32_t point = parse_hex();
    if (point >= 0xD800 && point < 0xDC00) {  // the first half of a pair
      char32_t low = 0;
      if (text_.substr(at_, 2) == "\\u") {
        at_ += 2;
        low = parse_hex();
      }
      if (low < 0xDC00 || low > 0xDFFF) fail_at(start, "half a surrogate pair", "both halves");
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point >= 0xDC00 && point <= 0xDFFF) {
      fail_at(start, "half a surrogate pair", "both halves");
    }
    utf8::append(out, point);
  }
  char32_t parse_hex() {
    std::uint32_t point = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto end = digits.data() + digits.size();
    const auto result = std::from_chars(digits.data(), end, point, 16);
    if (digits.size() != 4 || result.ptr != end || result.ec != std::errc{}) {
      fail("a \\u escape goes wrong here", "four hexadecimal digits");
    }
    at_ += 4;
    return point;
  }

  std::string_view text_;
  std::string_view where_;
  Limits limits_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
};

/// Reads one JSON document; `where` names the file in errors.
/// \complexity O(|text| log |text|) time; O(|text|) memory, at most about 60 bytes a byte of text
/// \errors data, with the byte at which the text goes wrong
[[nodiscard]] inline Value parse(std::string_view text, std::string_view where,
                                 Limits limits = {}) {
  return Parser(text, where, limits).document();
}

/// Writes text as a JSON string, quotes included; bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] inline std::string quote(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out = "\"";
  for (char c : utf8::sanitized(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20) {
      out.append("\\u00").push_back(hex[byte >> 4]);
      out.push_back(hex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace quire::json
