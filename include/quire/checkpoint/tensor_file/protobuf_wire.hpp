// mechanism: tensors in the wire format of Protocol Buffers
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
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

/// The schema, tests/golden/formats/tensors.proto:
///
///     message Tensor { string name = 1; string dtype = 2; repeated int64 shape = 3; bytes data = 4; }
///     message Weights { repeated Tensor tensors = 1; optional uint64 pieces = 2; }
///
/// A Tensor without a name goes on with the data of the one before it; `pieces` counts the Tensors and
/// comes last, so that a file that is cut between two of them is not whole. Fields come in the order of
/// their numbers, as every writer puts them.
///
/// Written by hand, and not with libprotobuf, because its parser says no more than "false" of a damaged
/// file, reads a message of 2 GiB at most (so that chunks are put together by hand with it too), and makes
/// a library of headers one that needs a compiler of schemas and a shared library of the same release:
/// 0.6 s a unit to include it and 1.3 s for what it generates (g++ 12), for two messages. What protoc
/// writes is read here, and what is written here by protoc: tests/checkpoint/tensor_file_test.cpp.
/// \source protobuf.dev, "Encoding"; "Proto Limits": a message has less than 2 GiB
namespace quire::checkpoint::tensor_file::protobuf {

/// What one message may have, in any language's library.
inline constexpr std::uint64_t longest_message = std::numeric_limits<std::int32_t>::max();

inline constexpr const char* why_no_more =
    "a protobuf message has no more; larger models are written in chunks (protobuf_chunked)";

enum Tag : unsigned {  // number of the field, and how it is encoded: 0 a number, 2 bytes with their length
  weights_tensors = 1 << 3 | 2,
  weights_pieces = 2 << 3 | 0,
  tensor_name = 1 << 3 | 2,
  tensor_dtype = 2 << 3 | 2,
  tensor_shape = 3 << 3 | 2,
  tensor_data = 4 << 3 | 2,
};

inline void put_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}
inline void put_text(std::string& out, Tag tag, std::string_view text) {
  if (text.empty()) return;  // proto3 leaves out what says nothing
  put_number(out, tag);
  put_number(out, text.size());
  out += text;
}

/// What stands before the data in one element of Weights. data: of this piece
[[nodiscard]] inline std::string piece_of(const Declared& t, bool first, std::uint64_t data) {
  std::string fields;
  if (first) {
    put_text(fields, tensor_name, t.name);
    put_text(fields, tensor_dtype, name_of(t.dtype));
    std::string shape;
    for (const std::int64_t dim : t.shape) put_number(shape, static_cast<std::uint64_t>(dim));
    put_text(fields, tensor_shape, shape);
  }
  if (data > 0) {
    put_number(fields, tensor_data);
    put_number(fields, data);
  }
  std::string out;
  put_number(out, weights_tensors);
  put_number(out, fields.size() + data);
  return out + fields;
}
[[nodiscard]] inline std::string end_of(std::uint64_t pieces) {
  std::string out;
  put_number(out, weights_pieces);
  put_number(out, pieces);
  return out;
}

/// Writes tensors in pieces of at most so many bytes of data.
/// \errors usage for a tensor without a name, which marks a piece that goes on
inline void write(const std::string& path, std::span<const Declared> tensors,
                  const BytesOf& bytes_of, std::uint64_t piece) {
  for (const Declared& t : tensors) {
    if (t.name.empty()) throw usage_error(path, "a tensor has no name", "one");
  }
  FileWriter out(path);
  std::uint64_t pieces = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::span<const std::byte> bytes = bytes_of(i);
    std::uint64_t at = 0;
    do {
      const std::uint64_t some = std::min<std::uint64_t>(piece, bytes.size() - at);
      out.write(piece_of(tensors[i], at == 0, some));
      out.write(bytes.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(some)));
      at += some;
      ++pieces;
    } while (at < bytes.size());
  }
  out.write(end_of(pieces));
  out.finish();
}

/// Reads pieces from front to back. As a message's data begins at any byte and a tensor may have several
/// pieces, each tensor is put together in memory of its own.
class Reader {
 public:
  /// longest: bytes that the file may have; more are for another format
  Reader(std::span<const std::byte> bytes, const std::string& path, std::uint64_t longest)
      : bytes_(bytes), end_(bytes.size()), longest_(longest), path_(path) {}

  [[nodiscard]] TensorSet read() {
    std::uint64_t pieces = 0;
    while (at_ < bytes_.size()) {
      const std::size_t begin = at_;
      const std::uint64_t tag = number("a field");
      if (tag == weights_pieces) {
        if (const std::uint64_t said = number("the count of pieces"); said != pieces) {
          throw error(begin, "the file says that it has " + std::to_string(said) + " tensors",
                      std::to_string(pieces) + " as there are before this");
        }
        if (at_ != bytes_.size()) throw error(at_, "bytes follow the count of pieces", "the end");
        check_complete(begin);
        return tensors_.set(path_);
      }
      if (tag != weights_tensors) throw unknown(begin, tag, "a tensor (1) or their count (2)");
      const std::uint64_t length = number("a tensor's length");
      end_ = at_ + static_cast<std::size_t>(taken(length, "a tensor"));
      read_piece();
      end_ = bytes_.size();
      ++pieces;
    }
    throw error(at_, "the file ends without the count of its tensors", "a whole copy of the file");
  }

 private:
  [[nodiscard]] Error error(std::size_t at, std::string_view what,
                            std::string_view expected) const {
    return data_error(path_ + ": byte " + std::to_string(at), what, expected);
  }
  [[nodiscard]] Error unknown(std::size_t at, std::uint64_t tag, std::string_view expected) const {
    return error(at,
                 "field " + std::to_string(tag >> 3) + " of wire type " + std::to_string(tag & 7) +
                     " does not belong here",
                 expected);
  }
  /// A length that has been read, of bytes that are there.
  [[nodiscard]] std::uint64_t taken(std::uint64_t length, std::string_view what) const {
    if (length <= end_ - at_) return length;
    throw error(
        at_,
        std::string(what) + " of " + std::to_string(length) + " bytes reaches beyond what holds it",
        "at most " + std::to_string(end_ - at_) + " bytes: a whole copy of the file");
  }
  [[nodiscard]] std::uint64_t number(std::string_view what) {
    const std::size_t begin = at_;
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) {
        throw error(at_, "the file ends inside " + std::string(what), "a whole copy of the file");
      }
      const auto byte = std::to_integer<std::uint64_t>(bytes_[at_++]);
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw error(begin, std::string(what) + " is a number of more than 64 bits", "a smaller one");
  }
  [[nodiscard]] std::string_view text(std::string_view what) {
    const std::uint64_t length = taken(number(what), what);
    const std::string_view out(reinterpret_cast<const char*>(bytes_.data()) + at_,
                               static_cast<std::size_t>(length));
    at_ += out.size();
    return out;
  }

  void read_piece() {
    TensorSet::Entry entry;
    const std::size_t begin = at_;
    std::uint64_t before = 0;
    bool typed = false;
    while (at_ < end_) {
      const std::size_t at = at_;
      const std::uint64_t tag = number("a field");
      if (tag <= before) throw unknown(at, tag, "fields in the order of their numbers, once each");
      before = tag;
      if (tag == tensor_name) {
        entry.name = text("a tensor's name");
      } else if (tag == tensor_dtype) {
        entry.dtype = dtype_of(text("a type"), entry.name, path_ + ": byte " + std::to_string(at));
        typed = true;
      } else if (tag == tensor_shape) {
        const std::uint64_t length = taken(number("a shape"), "a shape");
        for (const std::size_t stop = at_ + static_cast<std::size_t>(length); at_ < stop;) {
          if (entry.shape.size() > most_dimensions) throw error(at_, "too many dimensions", "16");
          entry.shape.push_back(static_cast<std::int64_t>(number("a dimension")));
          if (at_ > stop) throw error(at, "a dimension reaches beyond the shape", "whole numbers");
        }
      } else if (tag == tensor_data) {
        if (!entry.name.empty()) {
          begin_tensor(std::move(entry), typed, begin);
        } else if (typed || !entry.shape.empty()) {
          throw error(begin, "a tensor has a type or a shape and no name", "a name (1)");
        }
        read_data(at);
        return;
      } else {
        throw unknown(at, tag, "name (1), dtype (2), shape (3) or data (4)");
      }
    }
    if (entry.name.empty()) throw error(begin, "a tensor has neither name nor data", "either");
    begin_tensor(std::move(entry), typed, begin);
  }
  void begin_tensor(TensorSet::Entry entry, bool typed, std::size_t at) {
    check_complete(at);
    const std::string where = path_ + ": byte " + std::to_string(at);
    if (!typed) throw data_error(where, named(entry.name) + " has no type", "a field dtype (2)");
    wanted_ = bytes_of(entry, where);
    // what is asked for must be there, so that a short file cannot ask for much memory
    if (wanted_ > bytes_.size() - at_) {
      throw data_error(where, named(entry.name) + " has shape " + shape_text(entry.shape),
                       "no more than the file has room for");
    }
    got_ = 0;
    to_ = tensors_.add(std::move(entry), wanted_);
    begun_ = true;
  }
  void read_data(std::size_t at) {
    const std::uint64_t length = number("data");
    if (!begun_) throw error(at, "the data of no tensor", "a tensor with a name");
    const std::string name = named(tensors_.last().name);
    if (taken(length, "data") != end_ - at_) {
      throw error(at, "the data of " + name + " is followed by other fields", "data last");
    }
    if (length > longest_message || end_ > longest_) {
      throw error(at, name + " ends at byte " + std::to_string(end_),
                  "at most " + std::to_string(longest_message) + " bytes: " + why_no_more);
    }
    if (length > wanted_ - got_) {
      throw error(at, name + " has " + std::to_string(got_ + length) + " bytes of data",
                  std::to_string(wanted_) + " as dtype and shape say");
    }
    const auto from = bytes_.subspan(at_, static_cast<std::size_t>(length));
    if (!from.empty()) std::memcpy(to_ + got_, from.data(), from.size());
    got_ += length;
    at_ += from.size();
  }
  /// The tensor before, if there is one, has all of its bytes.
  void check_complete(std::size_t at) const {
    if (got_ == wanted_) return;
    throw error(at, named(tensors_.last().name) + " has " + std::to_string(got_) + " bytes of data",
                std::to_string(wanted_) + " as dtype and shape say");
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0, end_ = 0;  // end_: of what is being read
  std::uint64_t longest_ = 0;
  const std::string& path_;
  Gathered tensors_;
  std::byte* to_ = nullptr;
  std::uint64_t got_ = 0, wanted_ = 0;  // bytes of the tensor that is being read
  bool begun_ = false;
};

}  // namespace quire::checkpoint::tensor_file::protobuf
