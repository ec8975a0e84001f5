#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>

namespace quire::checkpoint::gguf {

/// Types of metadata, by their numbers in the file.
enum class Type : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
inline constexpr std::string_view type_names[] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
[[nodiscard]] constexpr std::string_view name_of(Type type) {
  return type_names[static_cast<std::size_t>(type)];
}
/// Bytes of a value; 0: it says its own length.
[[nodiscard]] constexpr std::size_t size_of(Type type) {
  constexpr std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<std::size_t>(type)];
}

/// One value as it lies in the file: a number's bytes, a string's, or an array's elements.
struct Value {
  Type type = Type::u8;
  Type element = Type::u8;  // of an array
  std::uint64_t count = 1;  // elements of an array
  std::span<const std::byte> bytes{};
};

/// What a file says beside its tensors, by key. Values are read where they lie.
class Metadata {
 public:
  struct Entry {
    std::string_view key;
    Value value;
  };
  Metadata() = default;
  /// \pre entries are sorted by key, each key once
  Metadata(std::string path, std::vector<Entry> entries)
      : path_(std::move(path)), entries_(std::move(entries)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] Error error(std::string_view key, std::string_view what,
                            std::string_view expected) const {
    return data_error(path_ + ": " + std::string(key), what, expected);
  }
  [[nodiscard]] const Value* find(std::string_view key) const {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), key,
                                     [](const Entry& e, std::string_view k) { return e.key < k; });
    return at != entries_.end() && at->key == key ? &at->value : nullptr;
  }
  [[nodiscard]] const Value& at(std::string_view key) const {
    if (const Value* found = find(key)) return *found;
    throw error(key, "the key is missing", "it to be set");
  }

  /// A whole number of any type in [low, high], or an array of which all elements are the same one.
  [[nodiscard]] std::int64_t integer(std::string_view key, std::int64_t low,
                                     std::int64_t high) const {
    const std::string range =
        "an integer from " + std::to_string(low) + " to " + std::to_string(high);
    const std::vector<std::int64_t> all = integers(key, range);
    if (all.empty()) throw error(key, "an empty array", range);
    for (const std::int64_t n : all) {
      if (n != all.front()) throw error(key, "layers that differ are not supported", range);
    }
    if (all.front() < low || all.front() > high) {
      throw error(key, "value " + std::to_string(all.front()) + " out of range", range);
    }
    return all.front();
  }
  [[nodiscard]] std::optional<std::int64_t> find_integer(std::string_view key, std::int64_t low,
                                                         std::int64_t high) const {
    return find(key) != nullptr ? std::optional(integer(key, low, high)) : std::nullopt;
  }
  [[nodiscard]] double number(std::string_view key, double low, double high) const {
    const Value& v = at(key);
    const std::string range = "a number from " + plain(low) + " to " + plain(high);
    double n = 0;
    if (v.type == Type::f32) {
      n = static_cast<double>(checkpoint::detail::load_unaligned<float>(v.bytes.data()));
    } else if (v.type == Type::f64) {
      n = checkpoint::detail::load_unaligned<double>(v.bytes.data());
    } else {
      n = static_cast<double>(integer(key, -(std::int64_t{1} << 53), std::int64_t{1} << 53));
    }
    if (!(n >= low && n <= high)) throw error(key, "value " + plain(n) + " out of range", range);
    return n;
  }
  [[nodiscard]] std::optional<double> find_number(std::string_view key, double low,
                                                  double high) const {
    return find(key) != nullptr ? std::optional(number(key, low, high)) : std::nullopt;
  }
  [[nodiscard]] bool boolean_or(std::string_view key, bool otherwise) const {
    const Value* v = find(key);
    if (v == nullptr) return otherwise;
    if (v->type != Type::boolean) throw wrong_type(key, *v, "a bool");
    return v->bytes[0] != std::byte{0};
  }
  [[nodiscard]] std::string_view text(std::string_view key) const {
    const Value& v = at(key);
    if (v.type != Type::string) throw wrong_type(key, v, "a string");
    return {reinterpret_cast<const char*>(v.bytes.data()), v.bytes.size()};
  }
  [[nodiscard]] std::vector<std::string_view> texts(std::string_view key) const {
    const Value& v = at(key);
    if (v.type != Type::array || v.element != Type::string) {
      throw wrong_type(key, v, "an array of strings");
    }
    std::vector<std::string_view> out;
    out.reserve(static_cast<std::size_t>(v.count));
    for (std::size_t at = 0; out.size() < v.count;) {
      const auto length = checkpoint::detail::load_unaligned<std::uint64_t>(v.bytes.data() + at);
      out.emplace_back(reinterpret_cast<const char*>(v.bytes.data()) + at + 8,
                       static_cast<std::size_t>(length));
      at += 8 + static_cast<std::size_t>(length);
    }
    return out;
  }
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view key,
                                                   std::string_view expected) const {
    const Value& v = at(key);
    switch (v.type == Type::array ? v.element : v.type) {
      case Type::u8:
        return widened<std::uint8_t>(key, v);
      case Type::i8:
        return widened<std::int8_t>(key, v);
      case Type::u16:
        return widened<std::uint16_t>(key, v);
      case Type::i16:
        return widened<std::int16_t>(key, v);
      case Type::u32:
        return widened<std::uint32_t>(key, v);
      case Type::i32:
        return widened<std::int32_t>(key, v);
      case Type::u64:
        return widened<std::uint64_t>(key, v);
      case Type::i64:
        return widened<std::int64_t>(key, v);
      default:
        throw wrong_type(key, v, expected);
    }
  }
  [[nodiscard]] std::vector<float> floats(std::string_view key) const {
    const Value& v = at(key);
    if (v.type != Type::array || v.element != Type::f32) {
      throw wrong_type(key, v, "an array of f32");
    }
    std::vector<float> out(static_cast<std::size_t>(v.count));
    if (!out.empty()) std::memcpy(out.data(), v.bytes.data(), v.bytes.size());
    return out;
  }

 private:
  template <class T>
  [[nodiscard]] std::vector<std::int64_t> widened(std::string_view key, const Value& v) const {
    std::vector<std::int64_t> out;
    out.reserve(static_cast<std::size_t>(v.count));
    for (std::size_t i = 0; i < v.count; ++i) {
      const T n = checkpoint::detail::load_unaligned<T>(v.bytes.data() + i * sizeof(T));
      if constexpr (std::is_same_v<T, std::uint64_t>) {
        if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
          throw error(key, "value " + std::to_string(n) + " out of range", "a smaller one");
        }
      }
      out.push_back(static_cast<std::int64_t>(n));
    }
    return out;
  }
  [[nodiscard]] Error wrong_type(std::string_view key, const Value& v,
                                 std::string_view expected) const {
    return error(key,
                 v.type == Type::array ? "value is an array of " + std::string(name_of(v.element))
                                       : "value is of type " + std::string(name_of(v.type)),
                 expected);
  }
  [[nodiscard]] static std::string plain(double x) {
    std::string text = std::to_string(x);
    if (std::abs(x) < 1e-3 || std::abs(x) >= 1e9) {
      char buffer[32];
      std::snprintf(buffer, sizeof buffer, "%g", x);
      return buffer;
    }
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
    return text;
  }

  std::string path_;
  std::vector<Entry> entries_;
};

}  // namespace quire::checkpoint::gguf
