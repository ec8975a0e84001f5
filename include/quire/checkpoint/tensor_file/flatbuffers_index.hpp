#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_writer.hpp>
#include <quire/checkpoint/tensor_file/concepts.hpp>
#include <quire/checkpoint/tensor_file/entries.hpp>
#include <quire/core/error.hpp>

namespace quire::checkpoint::tensor_file {

/// An index in FlatBuffers, which is read where it lies, and behind it the tensors, each on a multiple of 64
/// bytes: what is mapped is used as it is. The limit of a FlatBuffer, 2 GiB, is one of the index alone.
///
///     enum DType : ubyte { BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64 }
///     table Tensor { name: string; shape: [int64]; dtype: DType; begin: uint64; bytes: uint64; }
///     table Index { tensors: [Tensor]; }
///     root_type Index;  file_identifier "QRTF";      // with its size before it
///
/// (tests/golden/formats/tensors.fbs.) `begin` counts from the data's first byte.
///
/// Written by hand, and not with the library, because its verifier says no more than "false" of a damaged
/// file, its headers take 0.4 s in each unit that opens a checkpoint (g++ 12), and two tables are little to
/// write. What flatc writes is read here, and what is written here by flatc: tests/checkpoint/tensor_file_test.cpp.
/// \complexity O(tensors) to open, without a copy of any
/// \source flatbuffers.dev, "FlatBuffer Internals"
struct FlatbuffersIndex {
  static constexpr std::string_view name = "flatbuffers";
  static constexpr std::string_view file = "model.flatbuffers";

  static void write(const std::string& path, std::span<const Declared> tensors,
                    const BytesOf& bytes_of) {
    const std::string index = index_of(path, tensors);
    FileWriter out(path);
    out.write(index);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const std::span<const std::byte> bytes = bytes_of(i);
      if (!bytes.empty()) out.align(alignment);
      out.write(bytes);
    }
    out.finish();
  }
  [[nodiscard]] static TensorSet open(const std::string& path, const FileLoader& loader) {
    FileBytes loaded = loader.load(path);
    std::vector<Placed> placed = Reader(loaded.bytes, path).read();
    std::vector<TensorSet::Entry> entries = place(placed, loaded.bytes, path);
    return set_of(path, std::move(entries), {std::move(loaded.owner)});
  }

 private:
  static constexpr std::size_t alignment = 64;
  static constexpr std::string_view identifier = "QRTF";
  static constexpr std::uint64_t longest_index = std::numeric_limits<std::int32_t>::max();
  static constexpr std::size_t most_types = static_cast<std::size_t>(DType::u64) + 1;

  static std::uint64_t aligned(std::uint64_t at) {
    return (at + alignment - 1) / alignment * alignment;
  }
  template <class T>
  static void put(std::string& out, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> 8 * i));
    }
  }

  /// The index and its size. Whatever refers to another object comes before it: offsets point forward, but
  /// those from a table to the list of its fields.
  static std::string index_of(const std::string& path, std::span<const Declared> tensors) {
    constexpr std::size_t root_fields = 12, fields = 18, root = 32;
    std::string out;
    put(out, std::uint32_t{0});  // the size, when it is known
    put(out, static_cast<std::uint32_t>(root - 4));
    out += identifier;
    // a table's list of fields: its bytes, the table's, and where in it they lie
    for (const int n : {6, 8, 4}) put(out, static_cast<std::uint16_t>(n));
    for (const int n : {14, 32, 4, 8, 12, 16, 24}) put(out, static_cast<std::uint16_t>(n));
    put(out, static_cast<std::uint32_t>(root - root_fields));
    put(out, std::uint32_t{4});
    put(out, static_cast<std::uint32_t>(tensors.size()));
    const std::size_t references = out.size();
    out.resize((references + 4 * tensors.size() + 7) / 8 * 8, '\0');
    const auto refer = [&out](std::size_t from) {
      std::string offset;
      put(offset, static_cast<std::uint32_t>(out.size() - from));
      out.replace(from, offset.size(), offset);
    };
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const Declared& t = tensors[i];
      out.resize((out.size() + 7) / 8 * 8, '\0');
      refer(references + 4 * i);
      const std::size_t table = out.size();
      put(out, static_cast<std::uint32_t>(table - fields));
      put(out, std::uint64_t{0});  // name and shape, when it is known where they lie
      put(out, static_cast<std::uint32_t>(t.dtype));
      const auto bytes = static_cast<std::uint64_t>(t.bytes());
      if (bytes > 0) begin = aligned(begin);
      put(out, begin);
      put(out, bytes);
      begin += bytes;
      refer(table + 4);
      put(out, static_cast<std::uint32_t>(t.name.size()));
      out += t.name;
      out.push_back('\0');
      out.resize((out.size() + 3) / 8 * 8 + 4, '\0');  // the numbers start on a multiple of 8
      refer(table + 8);
      put(out, static_cast<std::uint32_t>(t.shape.size()));
      for (const std::int64_t dim : t.shape) put(out, dim);
      if (out.size() <= longest_index) continue;
      throw usage_error(
          path,
          named(t.name) + " would end at byte " + std::to_string(out.size()) + " of the index",
          "at most " + std::to_string(longest_index) + ", which a FlatBuffer may have");
    }
    std::string size;
    put(size, static_cast<std::uint32_t>(out.size() - 4));
    return out.replace(0, 4, size);
  }

  struct Placed {
    TensorSet::Entry entry;
    std::size_t at = 0;  // of its table
    std::uint64_t begin = 0, bytes = 0;
  };

  /// Follows the offsets of an index; none of them leads outside.
  class Reader {
   public:
    Reader(std::span<const std::byte> file, const std::string& path) : path_(path), bytes_(file) {
      const std::uint64_t size = number<std::uint32_t>(0, "the index's size");
      if (size > file.size() - 4) {
        throw error(0, "the index has " + std::to_string(size) + " bytes",
                    "at most " + std::to_string(file.size() - 4) +
                        ", which are left: a whole copy of the file");
      }
      bytes_ = file.first(4 + static_cast<std::size_t>(size));
    }

    [[nodiscard]] std::vector<Placed> read() {
      const std::size_t root = follow(4, "the root");
      const auto letters = take(8, identifier.size(), "the identifier");
      if (std::string_view(reinterpret_cast<const char*>(letters.data()), letters.size()) !=
          identifier) {
        throw error(8, "this is no index of tensors", "the letters " + std::string(identifier));
      }
      std::vector<Placed> out;
      const std::size_t tensors = follow(field(root, 0, 4, "the tensors"), "the tensors");
      const std::uint64_t count = elements(tensors, 4, "tensors");
      out.reserve(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < count; ++i) {
        out.push_back(read_tensor(follow(tensors + 4 + 4 * i, "a tensor")));
      }
      return out;
    }
    /// Where the data begins.
    [[nodiscard]] std::size_t end() const { return bytes_.size(); }

   private:
    [[nodiscard]] Error error(std::size_t at, std::string_view what,
                              std::string_view expected) const {
      return data_error(path_ + ": byte " + std::to_string(at), what, expected);
    }
    [[nodiscard]] std::span<const std::byte> take(std::size_t at, std::uint64_t bytes,
                                                  std::string_view what) const {
      if (at <= bytes_.size() && bytes <= bytes_.size() - at) {
        return bytes_.subspan(at, static_cast<std::size_t>(bytes));
      }
      throw error(at, std::string(what) + " reaches beyond the end",
                  "at most " + std::to_string(bytes_.size()) + " bytes of index");
    }
    template <class T>
    [[nodiscard]] T number(std::size_t at, std::string_view what) const {
      return checkpoint::detail::load_unaligned<T>(take(at, sizeof(T), what).data());
    }
    /// Where the offset at a place leads. It points forward, so that no walk is endless.
    [[nodiscard]] std::size_t follow(std::size_t at, std::string_view what) const {
      const std::size_t to = at + number<std::uint32_t>(at, what);
      if (to > at && to < bytes_.size()) return to;
      throw error(
          at, "the offset of " + std::string(what) + " leads to byte " + std::to_string(to),
          "a place behind it in the index, which has " + std::to_string(bytes_.size()) + " bytes");
    }
    /// Elements of a vector, all of which are there.
    [[nodiscard]] std::uint64_t elements(std::size_t at, std::size_t each,
                                         std::string_view what) const {
      const std::uint64_t count = number<std::uint32_t>(at, what);
      (void)take(at + 4, count * each, what);
      return count;
    }
    /// Where field number i of a table lies. 0: the table says nothing of it
    [[nodiscard]] std::size_t find(std::size_t table, std::size_t i, std::size_t bytes,
                                   std::string_view what) const {
      const std::int64_t list =
          static_cast<std::int64_t>(table) - number<std::int32_t>(table, "a table");
      if (list < 0 || list >= static_cast<std::int64_t>(bytes_.size())) {
        throw error(table, "the list of a table's fields is at byte " + std::to_string(list),
                    "a place in the index");
      }
      const auto at = static_cast<std::size_t>(list);
      const std::size_t list_bytes = number<std::uint16_t>(at, "a list of fields");
      const std::size_t table_bytes = number<std::uint16_t>(at + 2, "a list of fields");
      (void)take(table, table_bytes, "a table");
      const std::size_t entry = 4 + 2 * i;
      if (entry + 2 > list_bytes) return 0;
      const std::size_t offset = number<std::uint16_t>(at + entry, "a list of fields");
      if (offset == 0) return 0;
      if (offset < 4 || offset + bytes > table_bytes) {
        throw error(at + entry,
                    std::string(what) + " lies at byte " + std::to_string(offset) + " of its table",
                    "a place in its " + std::to_string(table_bytes) + " bytes");
      }
      return table + offset;
    }
    [[nodiscard]] std::size_t field(std::size_t table, std::size_t i, std::size_t bytes,
                                    std::string_view what) const {
      if (const std::size_t at = find(table, i, bytes, what); at != 0) return at;
      throw error(table, "the table has no field for " + std::string(what), "one");
    }
    /// A number that is left out is zero.
    template <class T>
    [[nodiscard]] T number_of(std::size_t table, std::size_t i, std::string_view what) const {
      const std::size_t at = find(table, i, sizeof(T), what);
      return at == 0 ? T{} : number<T>(at, what);
    }

    [[nodiscard]] Placed read_tensor(std::size_t table) {
      Placed p;
      p.at = table;
      const std::size_t name = follow(field(table, 0, 4, "a tensor's name"), "a tensor's name");
      const auto letters = take(name + 4, elements(name, 1, "a tensor's name"), "a tensor's name");
      // names may lie where other names do, which would let a small file ask for much memory
      names_ += letters.size();
      if (names_ > bytes_.size())
        throw error(name, "tensors share their names' bytes", "their own");
      p.entry.name.assign(reinterpret_cast<const char*>(letters.data()), letters.size());
      if (const std::size_t at = find(table, 1, 4, "a shape"); at != 0) {
        const std::size_t shape = follow(at, "a shape");
        const std::uint64_t rank = elements(shape, 8, "a shape");
        if (rank > most_dimensions) {
          throw error(shape, named(p.entry.name) + " has " + std::to_string(rank) + " dimensions",
                      "at most " + std::to_string(most_dimensions));
        }
        for (std::size_t i = 0; i < rank; ++i) {
          p.entry.shape.push_back(number<std::int64_t>(shape + 4 + 8 * i, "a shape"));
        }
      }
      const auto type = number_of<std::uint8_t>(table, 2, "a type");
      if (type >= most_types) {
        throw error(table, named(p.entry.name) + " is of type " + std::to_string(type),
                    "0 to " + std::to_string(most_types - 1));
      }
      p.entry.dtype = static_cast<DType>(type);
      p.begin = number_of<std::uint64_t>(table, 3, "where a tensor begins");
      p.bytes = number_of<std::uint64_t>(table, 4, "a tensor's bytes");
      const std::uint64_t wanted =
          tensor_file::bytes_of(p.entry, path_ + ": byte " + std::to_string(table));
      if (p.bytes == wanted) return p;
      throw error(table, named(p.entry.name) + " has " + std::to_string(p.bytes) + " bytes",
                  std::to_string(wanted) + " as dtype and shape say");
    }

    const std::string& path_;
    std::span<const std::byte> bytes_;  // of the index, its size among them
    std::size_t names_ = 0;
  };

  /// Gives tensors their bytes: one behind the other, so that every byte of the file is accounted for.
  static std::vector<TensorSet::Entry> place(std::vector<Placed>& placed,
                                             std::span<const std::byte> file,
                                             const std::string& path) {
    std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
      return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
    });
    const std::size_t index = 4 + checkpoint::detail::load_unaligned<std::uint32_t>(file.data());
    const std::size_t first = static_cast<std::size_t>(aligned(index));
    const std::size_t data = file.size() < first ? 0 : file.size() - first;
    std::uint64_t reached = 0;
    std::vector<TensorSet::Entry> entries;
    entries.reserve(placed.size());
    for (Placed& p : placed) {
      const auto error = [&](const std::string& what, const std::string& expected) {
        return data_error(path + ": byte " + std::to_string(p.at), named(p.entry.name) + what,
                          expected);
      };
      if (p.bytes > 0) {
        if (p.begin != aligned(reached)) {
          throw error(" begins at byte " + std::to_string(p.begin) + " of the data",
                      std::to_string(aligned(reached)) +
                          ", the first multiple of 64 after the tensor before it");
        }
        if (p.begin > data || p.bytes > data - p.begin) {
          throw error(" ends at byte " + std::to_string(p.begin) + " + " + std::to_string(p.bytes) +
                          " of the data, of which the file has " + std::to_string(data),
                      "a whole copy of the file");
        }
        p.entry.bytes = file.subspan(first + static_cast<std::size_t>(p.begin),
                                     static_cast<std::size_t>(p.bytes));
        reached = p.begin + p.bytes;
      }
      entries.push_back(std::move(p.entry));
    }
    const std::size_t end = reached == 0 ? index : first + static_cast<std::size_t>(reached);
    if (end == file.size()) return entries;
    throw data_error(path + ": byte " + std::to_string(end),
                     "the file has " + std::to_string(file.size()) + " bytes",
                     "to end where its last tensor does");
  }
};
static_assert(TensorFileFormat<FlatbuffersIndex>);

}  // namespace quire::checkpoint::tensor_file
