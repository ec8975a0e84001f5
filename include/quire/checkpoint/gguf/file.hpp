#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_load/file_load.hpp>
#include <quire/checkpoint/gguf/cursor.hpp>
#include <quire/checkpoint/gguf/metadata.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

/// Reads GGUF files: a header, metadata by key, where each tensor lies, and the tensors' bytes.
/// \source ggml, docs/gguf.md, version 3; version 2 has the same layout. Parts: llama.cpp, gguf-split.
namespace quire::checkpoint::gguf {

inline constexpr std::string_view magic = "GGUF";
inline constexpr std::size_t most_dimensions = 4;
inline constexpr std::uint64_t longest_name = 256;     // of tensors; ggml itself takes 64
inline constexpr std::uint64_t longest_key = 65535;    // the format's own bound
inline constexpr std::int64_t most_alignment = 65536;  // files in the wild have 32

/// ggml's number of an element type.
struct TensorType {
  std::uint32_t number;
  DType dtype;
};
inline constexpr TensorType tensor_types[] = {
    {0, DType::f32},   {1, DType::f16},   {2, DType::q4_0}, {8, DType::q8_0}, {12, DType::q4_k},
    {13, DType::q5_k}, {14, DType::q6_k}, {24, DType::i8},  {25, DType::i16}, {26, DType::i32},
    {27, DType::i64},  {28, DType::f64},  {30, DType::bf16}};

/// An open file, or all files of a model that is split: the metadata of the first, and all tensors under
/// their own names, dimensions outermost first.
struct File {
  std::string name;                                 // without folder, number of the part, or .gguf
  std::vector<std::shared_ptr<const void>> owners;  // of the tensors' bytes
  std::vector<std::string> paths;                   // of all parts
  Metadata metadata;
  std::vector<TensorSet::Entry> tensors;  // in the order of their names
};

namespace detail {

[[nodiscard]] inline DType tensor_type(const Cursor& cursor, std::size_t at, std::uint32_t number,
                                       std::string_view name) {
  for (const TensorType& t : tensor_types) {
    if (t.number == number) return t.dtype;
  }
  throw cursor.error(
      at,
      "tensor " + in_quotes(name, 120) + " is of ggml's type " + std::to_string(number) +
          ", which is not supported",
      "F32 (0), F16 (1), Q4_0 (2), Q8_0 (8), Q4_K (12), Q5_K (13), Q6_K (14) or BF16 (30)");
}

/// Where a tensor lies, with the offset into the data as the file has it.
struct Placed {
  TensorSet::Entry entry;
  std::size_t at = 0;  // of its description
  std::uint64_t offset = 0, bytes = 0;
};

[[nodiscard]] inline Placed read_tensor(Cursor& cursor) {
  Placed p;
  p.at = cursor.at();
  p.entry.name = cursor.text(longest_name, "a tensor's name");
  const auto rank = cursor.number<std::uint32_t>("a tensor's number of dimensions");
  if (rank == 0 || rank > most_dimensions) {
    throw cursor.error(
        p.at,
        "tensor " + in_quotes(p.entry.name, 120) + " has " + std::to_string(rank) + " dimensions",
        "1 to " + std::to_string(most_dimensions));
  }
  constexpr auto most = std::uint64_t{1} << 62;
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto dim = cursor.number<std::uint64_t>("a tensor's dimensions");
    if (dim == 0 || dim > most / elements) {
      throw cursor.error(
          p.at,
          "tensor " + in_quotes(p.entry.name, 120) + " has a dimension of " + std::to_string(dim),
          "a positive one whose product with the others fits 62 bits");
    }
    elements *= dim;
    p.entry.shape.push_back(static_cast<std::int64_t>(dim));
  }
  const std::size_t type_at = cursor.at();
  p.entry.dtype =
      tensor_type(cursor, type_at, cursor.number<std::uint32_t>("a tensor's type"), p.entry.name);
  const auto block = static_cast<std::uint64_t>(block_of(p.entry.dtype));
  const auto size = static_cast<std::uint64_t>(checkpoint::size_of(p.entry.dtype));
  const auto row = static_cast<std::uint64_t>(p.entry.shape.front());
  if (row % block != 0 || elements / block > most / size) {
    throw cursor.error(p.at,
                       "tensor " + in_quotes(p.entry.name, 120) + " has rows of " +
                           std::to_string(row) + " elements",
                       "whole blocks of " + std::to_string(block));
  }
  p.bytes = elements / block * size;
  p.offset = cursor.number<std::uint64_t>("a tensor's offset");
  std::reverse(p.entry.shape.begin(), p.entry.shape.end());
  return p;
}

[[nodiscard]] inline Metadata read_metadata(Cursor& cursor, std::uint64_t count,
                                            const std::string& path) {
  std::vector<Metadata::Entry> entries;
  entries.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string_view key = cursor.text(longest_key, "a key");
    entries.push_back({key, cursor.value()});
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].key != entries[i - 1].key) continue;
    throw data_error(path, "key " + in_quotes(entries[i].key) + " occurs twice", "each key once");
  }
  return {path, std::move(entries)};
}

/// Gives tensors their bytes. \errors data where one lies outside the file, or two share a byte
inline void place_tensors(std::vector<Placed>& placed, std::span<const std::byte> data,
                          std::uint64_t alignment, const Cursor& cursor) {
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
  std::uint64_t reached = 0;
  for (Placed& p : placed) {
    const std::string named = "tensor " + in_quotes(p.entry.name, 120);
    if (p.offset % alignment != 0) {
      throw cursor.error(p.at,
                         named + " begins at byte " + std::to_string(p.offset) + " of the data",
                         "a multiple of " + std::to_string(alignment));
    }
    if (p.offset < reached) {
      throw cursor.error(p.at, named + " shares bytes with another",
                         "byte " + std::to_string(reached) + " of the data or later");
    }
    if (p.offset > data.size() || p.bytes > data.size() - p.offset) {
      throw cursor.error(p.at,
                         named + " ends behind the file, which has " + std::to_string(data.size()) +
                             " bytes of data",
                         "less than " + std::to_string(p.bytes) + " bytes from byte " +
                             std::to_string(p.offset) + " on");
    }
    reached = p.offset + p.bytes;
    p.entry.bytes =
        data.subspan(static_cast<std::size_t>(p.offset), static_cast<std::size_t>(p.bytes));
  }
}

/// One file of a model, with its own metadata; its tensors in the order of their bytes.
struct Part {
  FileBytes file;
  Metadata metadata;
  std::vector<Placed> tensors;
};

[[nodiscard]] inline Part open_part(const std::string& path, const FileLoader& loader) {
  Part part;
  part.file = loader.load(path);
  const std::string& name = part.file.path;
  Cursor cursor(part.file.bytes, name);
  const auto begin = cursor.take(4, "the first four bytes");
  if (std::string_view(reinterpret_cast<const char*>(begin.data()), 4) != magic) {
    throw cursor.error(0, "this is no GGUF file", "the letters GGUF");
  }
  const auto version = cursor.number<std::uint32_t>("the version");
  if (version != 2 && version != 3) {
    throw cursor.error(4,
                       version == 0x02000000 || version == 0x03000000
                           ? std::string("the file is big-endian")
                           : "GGUF version " + std::to_string(version),
                       "2 or 3, little-endian");
  }
  const std::uint64_t tensors = cursor.count(32, "tensors");
  const std::uint64_t keys = cursor.count(13, "keys");
  part.metadata = read_metadata(cursor, keys, name);
  const auto alignment = static_cast<std::uint64_t>(
      part.metadata.find_integer("general.alignment", 1, most_alignment).value_or(32));
  if ((alignment & (alignment - 1)) != 0) {
    throw part.metadata.error("general.alignment", std::to_string(alignment), "a power of two");
  }
  part.tensors.reserve(
      static_cast<std::size_t>(std::min<std::uint64_t>(tensors, cursor.left() / 32)));
  for (std::uint64_t i = 0; i < tensors; ++i) part.tensors.push_back(read_tensor(cursor));
  cursor.align(static_cast<std::size_t>(alignment));
  place_tensors(part.tensors, part.file.bytes.subspan(cursor.at()), alignment, cursor);
  return part;
}

/// Which part of how many a file says that it is. Tools that write one file leave the keys out.
struct PartNumber {
  std::int64_t no = 0, count = 1;
};
[[nodiscard]] inline PartNumber part_number(const Metadata& metadata) {
  PartNumber n;
  n.count = metadata.find_integer("split.count", 0, 65535).value_or(1);
  if (n.count > 1) n.no = metadata.integer("split.no", 0, n.count - 1);
  return n;
}

}  // namespace detail

/// What gguf-split calls a part, counted from 0: prefix-00001-of-00003.gguf.
[[nodiscard]] inline std::string split_suffix(std::int64_t no, std::int64_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05lld-of-%05lld.gguf", static_cast<long long>(no) + 1,
                static_cast<long long>(count));
  return text;
}

/// Opens a GGUF file, and with the first of a model that is split all others, which lie beside it.
/// \complexity O(headers) where files are mapped: tensors' bytes then stay on disk until touched
/// \errors data, with the file and the place: not GGUF, cut off, counts that the file has no room for,
/// tensors outside it or of types that are not read here; parts that are missing, or of another model
[[nodiscard]] inline File open_file(const std::string& path,
                                    const FileLoader& loader = mapped_files()) {
  File file;
  file.name = std::filesystem::path(path).stem().string();
  std::vector<detail::Part> parts;
  parts.push_back(detail::open_part(path, loader));
  const detail::PartNumber first = detail::part_number(parts.front().metadata);
  if (first.count > 1) {
    const Metadata& m = parts.front().metadata;
    const std::string suffix = split_suffix(first.no, first.count);
    if (!std::string_view(path).ends_with(suffix)) {
      throw m.error("split.no",
                    "this is part " + std::to_string(first.no + 1) + " of a split model",
                    "a file whose name ends in " + suffix);
    }
    const std::string prefix = path.substr(0, path.size() - suffix.size());
    if (first.no != 0) {
      throw m.error("split.no",
                    "this is part " + std::to_string(first.no + 1) + " of a split model",
                    "the first, " + prefix + split_suffix(0, first.count));
    }
    file.name = std::filesystem::path(prefix).filename().string();
    for (std::int64_t i = 1; i < first.count; ++i) {
      parts.push_back(detail::open_part(prefix + split_suffix(i, first.count), loader));
      const Metadata& other = parts.back().metadata;
      const detail::PartNumber n = detail::part_number(other);
      if (n.no != i || n.count != first.count) {
        throw other.error(
            "split.no", "it is part " + std::to_string(n.no + 1) + " of " + std::to_string(n.count),
            "part " + std::to_string(i + 1) + " of " + std::to_string(first.count));
      }
    }
  }
  std::vector<detail::Placed> placed;
  for (detail::Part& part : parts) {
    file.owners.push_back(std::move(part.file.owner));
    file.paths.push_back(std::move(part.file.path));
    for (detail::Placed& p : part.tensors) placed.push_back(std::move(p));
  }
  file.metadata = std::move(parts.front().metadata);
  std::sort(placed.begin(), placed.end(), [](const detail::Placed& a, const detail::Placed& b) {
    return a.entry.name < b.entry.name;
  });
  for (std::size_t i = 1; i < placed.size(); ++i) {
    if (placed[i].entry.name != placed[i - 1].entry.name) continue;
    throw data_error(path, "tensor " + in_quotes(placed[i].entry.name, 120) + " occurs twice",
                     "each name once");
  }
  const std::int64_t all = std::ssize(placed);
  if (first.count > 1 &&
      file.metadata.find_integer("split.tensors.count", 0, std::int64_t{1} << 40).value_or(all) !=
          all) {
    throw file.metadata.error("split.tensors.count",
                              "the parts have " + std::to_string(all) + " tensors together",
                              "as many as the key says");
  }
  for (detail::Placed& p : placed) file.tensors.push_back(std::move(p.entry));
  return file;
}

}  // namespace quire::checkpoint::gguf

namespace quire::checkpoint {

/// Whether a path names a GGUF file.
[[nodiscard]] inline bool is_gguf(const std::string& path) {
  std::error_code ignored;
  return std::string_view(path).ends_with(".gguf") && !std::filesystem::is_directory(path, ignored);
}

}  // namespace quire::checkpoint
