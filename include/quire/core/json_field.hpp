#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <quire/core/error.hpp>
#include <quire/core/json.hpp>
#include <quire/core/text.hpp>

namespace quire::json {

/// A value with the path that led to it: reads it with checks, and names its place when they fail.
class Field {
 public:
  Field(const Value& root, std::string file)
      : value_(&root), file_(std::make_shared<const std::string>(std::move(file))) {}

  [[nodiscard]] const Value& value() const { return *value_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The file, the path of keys and the byte, for an error line.
  [[nodiscard]] std::string where() const {
    return *file_ + ": " + (path_.empty() ? "" : path_ + " ") + "(byte " +
           std::to_string(value_->offset()) + ")";
  }
  [[nodiscard]] Error error(std::string_view what, std::string_view expected) const {
    return data_error(where(), what, expected);
  }

  [[nodiscard]] const Object& object() const {
    if (const Object* o = value_->object()) return *o;
    throw wrong_kind("an object");
  }
  [[nodiscard]] const Array& array() const {
    if (const Array* a = value_->array()) return *a;
    throw wrong_kind("an array");
  }
  [[nodiscard]] const std::string& string() const {
    if (const std::string* s = value_->string()) return *s;
    throw wrong_kind("a string");
  }
  [[nodiscard]] bool boolean() const {
    if (const bool* b = value_->boolean()) return *b;
    throw wrong_kind("true or false");
  }
  [[nodiscard]] std::int64_t integer(
      std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max()) const {
    const std::string range =
        "an integer from " + std::to_string(low) + " to " + std::to_string(high);
    const std::int64_t* i = value_->integer();
    if (i == nullptr) throw wrong_kind(range);
    if (*i < low || *i > high) throw error("value " + std::to_string(*i) + " out of range", range);
    return *i;
  }
  /// A number in [low, high].
  [[nodiscard]] double number(double low, double high) const {
    const std::string range = "a number from " + plain(low) + " to " + plain(high);
    const auto n = value_->number();
    if (!n) throw wrong_kind(range);
    if (!(*n >= low && *n <= high)) throw error("value " + plain(*n) + " out of range", range);
    return *n;
  }

  /// The member `key` of this object, unless it is absent.
  [[nodiscard]] std::optional<Field> find(std::string_view key) const {
    const Value* found = object().find(key);
    if (found == nullptr) return std::nullopt;
    return child(*found, key);
  }
  /// The member `key`, unless it is absent or null.
  [[nodiscard]] std::optional<Field> find_set(std::string_view key) const {
    auto found = find(key);
    if (found && found->value().is_null()) return std::nullopt;
    return found;
  }
  [[nodiscard]] Field at(std::string_view key) const {
    if (auto found = find(key)) return *found;
    throw error("key " + in_quotes(key) + " is missing", "it to be set");
  }
  [[nodiscard]] Field at(std::size_t index) const {
    return child(array()[index], "[" + std::to_string(index) + "]", false);
  }
  /// The member as a field of this object.
  [[nodiscard]] Field at(const Object::Member& member) const {
    return child(member.value, member.key);
  }

 private:
  [[nodiscard]] Field child(const Value& value, std::string_view key, bool dotted = true) const {
    Field out = *this;
    out.value_ = &value;
    if (dotted && !path_.empty()) out.path_ += '.';
    const std::string name = in_quotes(key, 80);
    out.path_ += name.substr(1, name.size() - 2);
    return out;
  }
  [[nodiscard]] Error wrong_kind(std::string_view expected) const {
    return error("value is " + std::string(value_->kind()), expected);
  }
  [[nodiscard]] static std::string plain(double number) {
    char buffer[32];
    const auto result = std::to_chars(buffer, buffer + sizeof(buffer), number);
    return {buffer, result.ptr};
  }

  const Value* value_;
  std::shared_ptr<const std::string> file_;
  std::string path_;
};

}  // namespace quire::json
