#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_load/file_load.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

/// Reads safetensors files: u64 length N, N bytes of JSON, then the tensors' bytes without a gap.
/// \source The format's README, huggingface/safetensors; the checks are those of its Rust reader.
namespace quire::checkpoint::safetensors {

inline constexpr std::uint64_t longest_header = 100'000'000;
inline constexpr std::size_t longest_index = 64'000'000;
inline constexpr std::size_t most_shards = 4096;
inline constexpr std::size_t most_dimensions = 16;

namespace detail {

/// Bytes of a tensor, or an error when the product does not fit.
[[nodiscard]] inline std::int64_t byte_size(const json::Field& shape, DType dtype,
                                            std::vector<std::int64_t>& dims) {
  const std::size_t rank = shape.array().size();
  if (rank > most_dimensions) {
    throw shape.error("too many dimensions", "at most " + std::to_string(most_dimensions));
  }
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  std::int64_t bytes = size_of(dtype);
  bool empty = false;  // [0, 2^40] is empty, but [2^40, 2^40, 0] must not overflow on the way
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t dim = shape.at(i).integer(0);
    dims.push_back(dim);
    if (dim == 0) {
      empty = true;
    } else if (bytes > most / dim) {
      throw shape.error("the shape's byte count overflows 64 bits", "a smaller shape");
    } else {
      bytes *= dim;
    }
  }
  return empty ? 0 : bytes;
}

struct Placed {
  TensorSet::Entry entry;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

[[nodiscard]] inline Placed read_tensor(const json::Field& field, std::string_view name,
                                        std::int64_t data_bytes) {
  for (const auto& member : field.object().members()) {
    if (member.key != "dtype" && member.key != "shape" && member.key != "data_offsets") {
      throw field.error("unknown key " + in_quotes(member.key), "dtype, shape and data_offsets");
    }
  }
  Placed out;
  out.entry.name = name;
  const auto dtype = dtype_named(field.at("dtype").string());
  if (!dtype) {
    throw field.at("dtype").error("unknown dtype " + in_quotes(field.at("dtype").string()),
                                  "BOOL, U8 to U64, I8 to I64, F8_E5M2, F8_E4M3, F16, BF16, F32 "
                                  "or F64");
  }
  out.entry.dtype = *dtype;
  const json::Field offsets = field.at("data_offsets");
  if (offsets.array().size() != 2) throw offsets.error("not two offsets", "[begin, end]");
  out.begin = offsets.at(std::size_t{0}).integer(0);
  out.end = offsets.at(std::size_t{1}).integer(out.begin);
  if (out.end > data_bytes) {
    throw offsets.at(std::size_t{1})
        .error("the tensor ends at byte " + std::to_string(out.end) +
                   " of the data, of which the file has " + std::to_string(data_bytes),
               "a whole copy of the file");
  }
  const std::int64_t bytes = byte_size(field.at("shape"), *dtype, out.entry.shape);
  if (out.end - out.begin != bytes) {
    throw offsets.error("the offsets span " + std::to_string(out.end - out.begin) + " bytes",
                        std::to_string(bytes) + " as dtype and shape say");
  }
  return out;
}

/// Reads and checks one file's header; the entries' bytes point into the file's.
/// metadata: is given what the file says beside its tensors, where it is asked for
[[nodiscard]] inline std::vector<TensorSet::Entry> read_entries(
    const FileBytes& file, std::map<std::string, std::string>* metadata = nullptr) {
  const auto bytes = file.bytes;
  const std::string& path = file.path;
  if (bytes.size() < 8) {
    throw data_error(path + ": byte 0", "the file ends inside the header's length", "8 bytes");
  }
  const auto header_bytes = checkpoint::detail::load_unaligned<std::uint64_t>(bytes.data());
  if (header_bytes > longest_header) {
    throw data_error(path + ": byte 0", "the header's length is " + std::to_string(header_bytes),
                     "at most " + std::to_string(longest_header));
  }
  if (header_bytes > bytes.size() - 8) {
    throw data_error(path + ": byte " + std::to_string(bytes.size()),
                     "the file ends inside the header, of which it has " +
                         std::to_string(bytes.size() - 8) + " bytes",
                     std::to_string(header_bytes) + " bytes: a whole copy of the file");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8,
                              static_cast<std::size_t>(header_bytes));
  const std::string where = path + ": header";
  if (text.empty() || text.front() != '{') {
    throw data_error(where + ": byte 0", "the header is not a JSON object", "'{'");
  }
  const json::Value root = json::parse(text, where, {.depth = 4, .values = 8'000'000});
  const json::Field header(root, where);
  const auto data = bytes.subspan(8 + text.size());

  std::vector<Placed> placed;
  for (const auto& member : header.object().members()) {
    const json::Field field = header.at(member);
    if (member.key == "__metadata__") {
      for (const auto& note : field.object().members()) {
        const std::string& text = field.at(note).string();
        if (metadata != nullptr) metadata->insert_or_assign(std::string(note.key), text);
      }
      continue;
    }
    placed.push_back(read_tensor(field, member.key, static_cast<std::int64_t>(data.size())));
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::int64_t reached = 0;
  std::vector<TensorSet::Entry> entries;
  for (Placed& p : placed) {
    if (p.begin != reached) {
      throw data_error(where + ": " + in_quotes(p.entry.name, 120),
                       "the tensor begins at byte " + std::to_string(p.begin) + " of the data",
                       "byte " + std::to_string(reached) + ", where the one before it ends");
    }
    reached = p.end;
    p.entry.bytes =
        data.subspan(static_cast<std::size_t>(p.begin), static_cast<std::size_t>(p.end - p.begin));
    entries.push_back(std::move(p.entry));
  }
  if (reached != static_cast<std::int64_t>(data.size())) {
    throw data_error(where,
                     "the tensors cover " + std::to_string(reached) + " bytes of data, but the " +
                         "file has " + std::to_string(data.size()),
                     "the two to be equal");
  }
  return entries;
}

/// Checks that a shard's name is a plain file name beside the index.
inline void check_shard_name(const json::Field& field) {
  const std::string& name = field.string();
  const bool plain = !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
                     name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
                     name.find('\0') == std::string::npos;
  if (!plain) {
    throw field.error("shard " + in_quotes(name) + " is not a plain file name",
                      "a file in the directory of the index");
  }
}

}  // namespace detail

/// Opens one safetensors file.
/// \complexity O(header) where the file is mapped: tensors' bytes then stay on disk until touched
/// \errors data, with the file and the place, unless every byte of the file is accounted for
[[nodiscard]] inline TensorSet open_file(const std::string& path,
                                         const FileLoader& loader = mapped_files()) {
  FileBytes file = loader.load(path);
  auto entries = detail::read_entries(file);
  return TensorSet(path, std::move(entries), {std::move(file.owner)}, {path});
}

/// Opens the shards that an index file (`model.safetensors.index.json`) names, as one set.
/// A tensor that two shards hold is taken from the one that the index names.
/// \errors data when a shard or a tensor is missing, or a shard holds a tensor unknown to the index
[[nodiscard]] inline TensorSet open_sharded(const std::string& index_path,
                                            const FileLoader& loader = mapped_files()) {
  const std::string text = read_file(index_path, longest_index);
  const json::Value root = json::parse(text, index_path, {.depth = 8, .values = 4'000'000});
  const json::Field index(root, index_path);
  const json::Field weight_map = index.at("weight_map");

  std::map<std::string, std::size_t> wanted;  // tensors a shard is to give
  for (const auto& member : weight_map.object().members()) {
    const json::Field shard = weight_map.at(member);
    detail::check_shard_name(shard);
    ++wanted[shard.string()];
  }
  if (wanted.size() > most_shards) {
    throw weight_map.error(std::to_string(wanted.size()) + " shards",
                           "at most " + std::to_string(most_shards));
  }

  const std::filesystem::path folder = std::filesystem::path(index_path).parent_path();
  std::vector<TensorSet::Entry> all;
  std::vector<std::shared_ptr<const void>> owners;
  std::vector<std::string> files{index_path};
  for (const auto& [shard, count] : wanted) {
    FileBytes file = loader.load((folder / shard).string());
    std::size_t found = 0;
    for (TensorSet::Entry& entry : detail::read_entries(file)) {
      const json::Value* mapped = weight_map.object().find(entry.name);
      if (mapped == nullptr) {
        throw weight_map.error("shard " + in_quotes(shard) + " holds " +
                                   in_quotes(entry.name, 120) + ", unknown to the index",
                               "every tensor of every shard in the index");
      }
      if (*mapped->string() != shard) continue;
      ++found;
      all.push_back(std::move(entry));
    }
    if (found != count) {
      throw weight_map.error("shard " + in_quotes(shard) + " lacks " +
                                 std::to_string(count - found) + " of the " +
                                 std::to_string(count) + " tensors it is named for",
                             "them all");
    }
    owners.push_back(std::move(file.owner));
    files.push_back(std::move(file.path));
  }
  return TensorSet(index_path, std::move(all), std::move(owners), std::move(files));
}

/// Opens `model.safetensors`, or else the shards of `model.safetensors.index.json`, in a directory.
/// \errors data when neither is there, or a file is not sound
[[nodiscard]] inline TensorSet open_directory(const std::string& directory,
                                              const FileLoader& loader = mapped_files()) {
  const std::filesystem::path folder(directory);
  const std::string single = (folder / "model.safetensors").string();
  const std::string index = (folder / "model.safetensors.index.json").string();
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) return open_file(single, loader);
  if (std::filesystem::exists(index, ignored)) return open_sharded(index, loader);
  throw data_error(directory, "no weights here",
                   "model.safetensors or model.safetensors.index.json");
}

}  // namespace quire::checkpoint::safetensors
