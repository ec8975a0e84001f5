// mechanism: how GGUF files are read, value by value
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <quire/checkpoint/gguf/metadata.hpp>
#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>

namespace quire::checkpoint::gguf {

namespace detail {

/// Takes the file from front to back; nothing is read that is not there.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }
  [[nodiscard]] Error error(std::size_t at, std::string_view what,
                            std::string_view expected) const {
    return data_error(path_ + ": byte " + std::to_string(at), what, expected);
  }
  [[nodiscard]] std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    if (count > left()) {
      throw error(at_, "the file ends inside " + std::string(what),
                  std::to_string(count) + " bytes, not " + std::to_string(left()));
    }
    const auto taken = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }
  template <class T>
  [[nodiscard]] T number(std::string_view what) {
    return checkpoint::detail::load_unaligned<T>(take(sizeof(T), what).data());
  }
  [[nodiscard]] std::string_view text(std::uint64_t longest, std::string_view what) {
    const std::size_t begin = at_;
    const auto length = number<std::uint64_t>(what);
    if (length > longest) {
      throw error(begin, std::string(what) + " of " + std::to_string(length) + " bytes",
                  "at most " + std::to_string(longest));
    }
    const auto taken = take(length, what);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// How many of something follow, each of which takes at least `least` bytes.
  [[nodiscard]] std::uint64_t count(std::size_t least, std::string_view what) {
    const std::size_t begin = at_;
    const auto n = number<std::uint64_t>(what);
    if (n > left() / least) {
      throw error(begin, std::to_string(n) + " " + std::string(what),
                  "at most " + std::to_string(left() / least) + ": the file is too short for more");
    }
    return n;
  }
  [[nodiscard]] Type type() {
    const std::size_t begin = at_;
    const auto number_read = number<std::uint32_t>("a value's type");
    if (number_read > static_cast<std::uint32_t>(Type::f64)) {
      throw error(begin, "a value of type " + std::to_string(number_read), "0 to 12");
    }
    return static_cast<Type>(number_read);
  }
  [[nodiscard]] Value value() {
    Value v;
    v.type = type();
    if (v.type == Type::string) {
      const std::string_view s = text(std::numeric_limits<std::uint64_t>::max(), "a string");
      v.bytes = std::as_bytes(std::span(s));
      return v;
    }
    if (v.type != Type::array) {
      v.bytes = take(size_of(v.type), "a value");
      return v;
    }
    const std::size_t begin = at_;
    v.element = type();
    if (v.element == Type::array) {
      throw error(begin, "an array of arrays is not supported", "an array of plain values");
    }
    v.count = count(std::max<std::size_t>(size_of(v.element), v.element == Type::string ? 8 : 1),
                    "elements of an array");
    if (v.element != Type::string) {
      v.bytes = take(v.count * size_of(v.element), "an array");
      return v;
    }
    const std::size_t first = at_;
    for (std::uint64_t i = 0; i < v.count; ++i) {
      (void)text(std::numeric_limits<std::uint64_t>::max(), "a string");
    }
    v.bytes = bytes_.subspan(first, at_ - first);
    return v;
  }
  void align(std::size_t to) { at_ = std::min(bytes_.size(), (at_ + to - 1) / to * to); }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  std::size_t at_ = 0;
};

}  // namespace detail

}  // namespace quire::checkpoint::gguf
