#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_writer.hpp>
#include <quire/checkpoint/tensor_file/concepts.hpp>
#include <quire/checkpoint/tensor_file/entries.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_cursor.hpp>

namespace quire::checkpoint::tensor_file {

/// All of a model as text: {"tensors": [{"name": ..., "dtype": "F32", "shape": [2, 3], "data": [0.5, ...]}]}.
/// Each element is a number, floats with as few digits as give them back bit for bit, 8-bit floats as
/// their codes. Reading parses every element into memory of its own, front to back; "data" comes last in a
/// tensor. It is what other formats are measured against, not one to keep models in.
/// \errors usage for an element that is NaN or infinite, which JSON has no number for
struct JsonText {
  static constexpr std::string_view name = "json_text";
  static constexpr std::string_view file = "model.json";

  static void write(const std::string& path, std::span<const Declared> tensors,
                    const BytesOf& bytes_of) {
    FileWriter out(path);
    std::string text = "{\"tensors\": [";
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const Declared& t = tensors[i];
      text += std::string(i == 0 ? "" : ",") + "\n{\"name\": " + json::quote(t.name) +
              ", \"dtype\": \"" + std::string(name_of(t.dtype)) +
              "\", \"shape\": " + shape_text(t.shape) + ", \"data\": [";
      const std::span<const std::byte> bytes = bytes_of(i);
      const auto size = static_cast<std::size_t>(size_of(t.dtype));
      for (std::size_t at = 0; at < bytes.size(); at += size) {
        if (at > 0) text.push_back(',');
        put(text, t, bytes.data() + at, at / size, path);
        if (text.size() < std::size_t{1} << 20) continue;
        out.write(text);
        text.clear();
      }
      text += "]}";
    }
    out.write(text + "\n]}\n");
    out.finish();
  }

  [[nodiscard]] static TensorSet open(const std::string& path, const FileLoader& loader) {
    const FileBytes loaded = loader.load(path);
    const std::string_view text(reinterpret_cast<const char*>(loaded.bytes.data()),
                                loaded.bytes.size());
    Gathered tensors;
    JsonCursor cursor(text, path);
    bool any = false;
    cursor.object([&](std::string_view key) {
      if (key != "tensors" || any) cursor.fail("an unknown member", "\"tensors\", once");
      any = true;
      cursor.array([&] { read_tensor(cursor, text.size(), path, tensors); });
    });
    cursor.end();
    if (!any) cursor.fail("there are no tensors", "a member \"tensors\"");
    return tensors.set(path);
  }

 private:
  template <class T>
  static T at(const std::byte* from) {
    return checkpoint::detail::load_unaligned<T>(from);
  }
  template <class T>
  static void put_number(std::string& text, T value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    text.append(digits, end);
  }
  static void put(std::string& text, const Declared& t, const std::byte* from, std::size_t index,
                  const std::string& path) {
    const auto finite = [&](auto value) {
      if (std::isfinite(value)) return put_number(text, value);
      throw usage_error(path,
                        named(t.name) + ": element " + std::to_string(index) + " is " +
                            (std::isnan(value) ? "NaN" : "infinite"),
                        "numbers that JSON can say");
    };
    switch (t.dtype) {
      case DType::f32:
        return finite(at<float>(from));
      case DType::f16:
        return finite(to_float(at<Fp16>(from)));
      case DType::bf16:
        return finite(to_float(at<Bf16>(from)));
      case DType::f64:
        return finite(at<double>(from));
      case DType::i8:
        return put_number(text, static_cast<int>(at<std::int8_t>(from)));
      case DType::i16:
        return put_number(text, at<std::int16_t>(from));
      case DType::u16:
        return put_number(text, at<std::uint16_t>(from));
      case DType::i32:
        return put_number(text, at<std::int32_t>(from));
      case DType::u32:
        return put_number(text, at<std::uint32_t>(from));
      case DType::i64:
        return put_number(text, at<std::int64_t>(from));
      case DType::u64:
        return put_number(text, at<std::uint64_t>(from));
      default:  // of a byte: as its code
        return put_number(text, static_cast<unsigned>(at<std::uint8_t>(from)));
    }
  }

  static void read_tensor(JsonCursor& cursor, std::size_t file_bytes, const std::string& path,
                          Gathered& tensors) {
    constexpr std::string_view keys[] = {"name", "dtype", "shape", "data"};
    std::size_t next = 0;
    TensorSet::Entry entry;
    cursor.object([&](std::string_view key) {
      if (next == 4 || key != keys[next]) {
        cursor.fail("the member does not belong here",
                    "name, dtype, shape and data, in this order");
      }
      const std::string where = path + ": byte " + std::to_string(cursor.offset());
      switch (next++) {
        case 0:
          entry.name = cursor.string();
          return;
        case 1:
          entry.dtype = dtype_of(cursor.string(), entry.name, where);
          return;
        case 2:
          cursor.array([&] {
            if (entry.shape.size() > most_dimensions) cursor.fail("too many dimensions", "16");
            entry.shape.push_back(cursor.integer());
          });
          return;
        default:
          break;
      }
      const std::uint64_t bytes = bytes_of(entry, where);
      const std::uint64_t elements = bytes / static_cast<std::uint64_t>(size_of(entry.dtype));
      // a digit and a comma each: a short file cannot ask for much memory
      if (elements > (file_bytes - cursor.offset()) / 2) {
        cursor.fail(named(entry.name) + " has " + std::to_string(elements) + " elements",
                    "no more than the file has room for");
      }
      std::byte* const to = tensors.add(std::move(entry), bytes);
      read_elements(cursor, tensors.last(), to, elements);
    });
    if (next != 4) cursor.fail("a tensor ends early", "name, dtype, shape and data");
  }

  static void read_elements(JsonCursor& cursor, const TensorSet::Entry& t, std::byte* to,
                            std::uint64_t elements) {
    const std::string name = t.name;
    switch (t.dtype) {
      case DType::f32:
        return read<float>(cursor, name, to, elements, [](float x) { return x; });
      case DType::f16:
        return read<float>(cursor, name, to, elements, [](float x) { return to_fp16(x); });
      case DType::bf16:
        return read<float>(cursor, name, to, elements, [](float x) { return to_bf16(x); });
      case DType::f64:
        return read<double>(cursor, name, to, elements, [](double x) { return x; });
      case DType::i8:
        return read_whole<std::int8_t>(cursor, name, to, elements);
      case DType::i16:
        return read_whole<std::int16_t>(cursor, name, to, elements);
      case DType::u16:
        return read_whole<std::uint16_t>(cursor, name, to, elements);
      case DType::i32:
        return read_whole<std::int32_t>(cursor, name, to, elements);
      case DType::u32:
        return read_whole<std::uint32_t>(cursor, name, to, elements);
      case DType::i64:
        return read_whole<std::int64_t>(cursor, name, to, elements);
      case DType::u64:
        return read_whole<std::uint64_t>(cursor, name, to, elements);
      default:
        return read_whole<std::uint8_t>(cursor, name, to, elements);
    }
  }
  template <class T>
  static void read_whole(JsonCursor& cursor, const std::string& name, std::byte* to,
                         std::uint64_t elements) {
    read<T>(cursor, name, to, elements, [](T x) { return x; });
  }
  /// Number: what is parsed; convert: to what is stored
  template <class Number, class Convert>
  static void read(JsonCursor& cursor, const std::string& name, std::byte* to,
                   std::uint64_t elements, Convert convert) {
    std::uint64_t got = 0;
    cursor.array([&] {
      const auto value = convert(cursor.number_as<Number>());
      if (got++ == elements) {
        cursor.fail(named(name) + " has more elements than its shape",
                    std::to_string(elements) + " of them");
      }
      std::memcpy(to, &value, sizeof value);
      to += sizeof value;
    });
    if (got == elements) return;
    cursor.fail(named(name) + " has " + std::to_string(got) + " elements",
                std::to_string(elements) + " as its shape says");
  }
};
static_assert(TensorFileFormat<JsonText>);

}  // namespace quire::checkpoint::tensor_file
