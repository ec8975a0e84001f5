#include <quire/checkpoint/tensor_file/tensor_file.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/save.hpp>
#include <quire/core/rng.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"

namespace {

namespace checkpoint = quire::checkpoint;
namespace fs = std::filesystem;
using checkpoint::Declared;
using checkpoint::DType;
using checkpoint::TensorFile;
using checkpoint::TensorSet;
using checkpoint::TensorView;
using quire::testing::TempDir;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& call,
                     quire::ErrorKind kind = quire::ErrorKind::data) {
  try {
    call();
  } catch (const quire::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}
const TensorFile& format(const char* name) { return checkpoint::tensor_file_named(name); }
TensorSet open(const TensorFile& format, const std::string& path) {
  return format.open(path, checkpoint::mapped_files());
}
void expect_same(const TensorSet& a, const TensorSet& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const TensorView &x = a.all()[i], &y = b.all()[i];
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.dtype, y.dtype);
    EXPECT_TRUE(x.has_shape(y.shape)) << x.name;
    ASSERT_EQ(x.bytes.size(), y.bytes.size());
    EXPECT_TRUE(std::equal(x.bytes.begin(), x.bytes.end(), y.bytes.begin())) << x.name;
  }
}

/// A tensor of each type, of random bits but for NaN and infinity, and ones of odd shapes and names.
TensorSet samples() {
  checkpoint::TensorList list;
  quire::Rng rng(1);
  for (int d = 0; d <= static_cast<int>(DType::u64); ++d) {
    const auto dtype = static_cast<DType>(d);
    const auto size = static_cast<std::size_t>(checkpoint::size_of(dtype));
    std::vector<std::uint8_t> bytes(7 * 5 * size);
    for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(rng.below(256));
    const bool floats =
        dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
    // an exponent of ones is no number: clear one of its bits
    for (std::size_t i = size; floats && i <= bytes.size(); i += size) bytes[i - 1] &= 0xbf;
    list.add("layers.0." + std::string(checkpoint::name_of(dtype)), dtype, {7, 5},
             std::move(bytes));
  }
  const float edges[] = {0.0f,     -0.0f,  std::numeric_limits<float>::max(),
                         1.4e-45f, 1e-40f, std::numeric_limits<float>::min(),
                         0.1f,     -3.0f};
  list.add("edges", DType::f32, {2, 1, 4}, std::vector<float>(std::begin(edges), std::end(edges)));
  list.add("scalar \"quoted\" \\ \u00e9", DType::f64, {}, std::vector<double>{5e-324});
  list.add("none", DType::bf16, {3, 0, 5}, std::vector<std::uint16_t>{});
  list.add("words", DType::u64, {1}, std::vector<std::uint64_t>{~std::uint64_t{0}});
  list.add("long", DType::u8, {3 << 19}, std::vector<std::uint8_t>(3 << 19, 7));  // two chunks
  return list.set("samples");
}

TEST(TensorFile, GivesEveryBitBack) {
  const TempDir folder;
  const TensorSet tensors = samples();
  for (const TensorFile& f : checkpoint::tensor_files()) {
    SCOPED_TRACE(f.name);
    const std::string path = folder.path() / f.file;
    f.save(path, tensors.all());
    EXPECT_FALSE(fs::exists(path + ".part"));
    for (const checkpoint::FileLoader& loader : checkpoint::file_loaders()) {
      const TensorSet back = f.open(path, loader);
      expect_same(tensors, back);
      EXPECT_THAT(back.files(), testing::ElementsAre(path));
    }
    const TensorSet kept = open(f, path);
    fs::remove(path);
    expect_same(tensors, kept);
    f.save(path, {});
    EXPECT_EQ(open(f, path).size(), 0u);
  }
}

/// Mapped formats are used where they lie, on a multiple of 64 bytes; the others in memory of their own.
TEST(TensorFile, AnIndexCopiesNothing) {
  const TempDir folder;
  const TensorSet tensors = samples();
  const std::string path = folder.path() / "file";
  const TensorFile& f = format("flatbuffers");
  f.save(path, tensors.all());
  checkpoint::FileBytes whole;
  const TensorSet back = f.open(path, {"spy", [&](const std::string& p) {
                                         return whole = checkpoint::mapped_files().load(p);
                                       }});
  for (const TensorView& t : back.all()) {
    if (t.bytes.empty()) continue;
    EXPECT_GE(t.bytes.data(), whole.bytes.data()) << t.name;
    EXPECT_LE(t.bytes.data() + t.bytes.size(), whole.bytes.data() + whole.bytes.size()) << t.name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.bytes.data()) % 64, 0u) << t.name;
  }
}

/// What the formats' own compilers write.
TEST(TensorFile, ReadsWhatOtherWritersWrite) {
  checkpoint::TensorList list;
  list.add("a", DType::f32, {2, 3}, std::vector<float>{0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f});
  list.add("none", DType::bf16, {0, 5}, std::vector<std::uint16_t>{});
  list.add("scalar", DType::i64, {}, std::vector<std::int64_t>{-2});
  const TensorSet tensors = list.set("golden");
  const std::string golden = QUIRE_SOURCE_DIR "/tests/golden/formats/";
  expect_same(open(format("flatbuffers"), golden + "tensors.flatbuffers"), tensors);
  expect_same(open(format("protobuf"), golden + "tensors.pb"), tensors);
  expect_same(open(format("protobuf_chunked"), golden + "tensors_in_pieces.pb"), tensors);
  // protobuf has one order of fields: byte for byte what protoc writes
  const TempDir folder;
  const std::string path = folder.path() / "model.pb";
  const std::vector<TensorView> order = {tensors.at("a"), tensors.at("scalar"), tensors.at("none")};
  format("protobuf").save(path, order);
  EXPECT_EQ(quire::testing::read_file(path), quire::testing::read_file(golden + "tensors.pb"));
}

/// The other way round, where the compilers are installed.
TEST(TensorFile, OtherReadersReadWhatIsWritten) {
  if (std::system("command -v protoc flatc >/dev/null") != 0) {
    GTEST_SKIP() << "protoc and flatc are not installed";
  }
  const TempDir folder;
  const std::string proto = folder.path() / "model.pb", said = folder.path() / "said";
  const std::string schemas = QUIRE_SOURCE_DIR "/tests/golden/formats";
  const TensorSet tensors = samples();
  for (const char* name : {"protobuf", "protobuf_chunked"}) {
    format(name).save(proto, tensors.all());
    ASSERT_EQ(std::system(("protoc --decode=quire.Weights -I " + schemas + " " + schemas +
                           "/tensors.proto <" + proto + " >" + said)
                              .c_str()),
              0);
    const std::string text = quire::testing::read_file(said);
    EXPECT_THAT(text, HasSubstr("name: \"layers.0.F8_E4M3\"\n  dtype: \"F8_E4M3\"\n  shape: 7\n"));
    EXPECT_THAT(text, HasSubstr(std::string("\npieces: ") +
                                std::to_string(tensors.size() + (name[8] == '_' ? 1 : 0))));
  }
  const std::string index = folder.path() / "model.flatbuffers";
  format("flatbuffers").save(index, tensors.all());
  std::string bytes = quire::testing::read_file(index);
  std::uint32_t size = 0;
  std::memcpy(&size, bytes.data(), 4);
  folder.write("model.flatbuffers", bytes.substr(0, 4 + size));
  ASSERT_EQ(std::system(("flatc --json --strict-json --size-prefixed -o " + folder.path().string() +
                         " " + schemas + "/tensors.fbs -- " + index)
                            .c_str()),
            0);
  const std::string text = quire::testing::read_file(folder.path() / "model.json");
  EXPECT_THAT(text, HasSubstr("\"name\": \"layers.0.F8_E4M3\""));
  EXPECT_THAT(text, HasSubstr("\"dtype\": \"F8_E4M3\""));
}

/// The limit is said before a byte is asked for, let alone written.
TEST(TensorFile, AMessageOfTwoGibibytesIsRefusedBeforeItIsWritten) {
  const TempDir folder;
  const std::string path = folder.path() / "model.pb";
  const std::int64_t half = std::int64_t{1} << 30;
  const std::vector<Declared> tensors = {
      {"first", DType::u8, {half}}, {"second", DType::bf16, {half / 2}}, {"third", DType::u8, {1}}};
  const auto none = [](std::size_t) -> std::span<const std::byte> {
    ADD_FAILURE() << "data is asked for";
    return {};
  };
  EXPECT_EQ(
      error_of([&] { format("protobuf").write(path, tensors, none); }, quire::ErrorKind::usage),
      path +
          ": tensor \"second\" would end at byte 2147483713; expected at most 2147483647 "
          "bytes: a protobuf message has no more; larger models are written in chunks "
          "(protobuf_chunked)");
  EXPECT_FALSE(fs::exists(path) || fs::exists(path + ".part"));
}

/// A file with holes in place of the data, so that none of it is written.
TEST(TensorFile, AMessageOfTwoGibibytesIsRefusedWhenItIsRead) {
  namespace protobuf = checkpoint::tensor_file::protobuf;
  const TempDir folder;
  const std::uint64_t half = std::uint64_t{1} << 30;
  const auto file_of = [&](std::uint64_t first, std::uint64_t second) {
    const Declared a{"first", DType::u8, {static_cast<std::int64_t>(first)}};
    const Declared b{"second", DType::u8, {static_cast<std::int64_t>(second)}};
    const std::string path = folder.write("model.pb", protobuf::piece_of(a, true, first));
    fs::resize_file(path, fs::file_size(path) + first);
    std::ofstream(path, std::ios::binary | std::ios::app) << protobuf::piece_of(b, true, second);
    fs::resize_file(path, fs::file_size(path) + second);
    std::ofstream(path, std::ios::binary | std::ios::app) << protobuf::end_of(2);
    return path;
  };
  std::string path = file_of(16, 2 * half);
  EXPECT_THAT(error_of([&] { (void)open(format("protobuf"), path); }),
              testing::MatchesRegex(".*/model.pb: byte [0-9]+: tensor \"second\" ends at byte "
                                    "2147483[0-9]+; expected at most 2147483647 bytes: a protobuf "
                                    "message has no more; .*"));
  // nor is a chunk as long as that, which no library could read
  EXPECT_THAT(error_of([&] { (void)open(format("protobuf_chunked"), path); }),
              HasSubstr("tensor \"second\" ends at byte 2147483"));
}

TEST(TensorFile, JsonHasNoNumberForInfinity) {
  const TempDir folder;
  const std::string path = folder.path() / "model.json";
  checkpoint::TensorList list;
  list.add("a", DType::f32, {2}, std::vector<float>{1, std::numeric_limits<float>::infinity()});
  const TensorSet tensors = list.set("here");
  EXPECT_EQ(
      error_of([&] { format("json_text").save(path, tensors.all()); }, quire::ErrorKind::usage),
      path + ": tensor \"a\": element 1 is infinite; expected numbers that JSON can say");
  EXPECT_FALSE(fs::exists(path) || fs::exists(path + ".part"));
}

TEST(TensorFile, WhatIsCrookedIsNamed) {
  const TempDir folder;
  const auto says = [&](const char* name, const std::string& text) {
    const std::string path = folder.write("file", text);
    return error_of([&] { (void)open(format(name), path); });
  };
  const auto json = [&](const std::string& tensor) {
    return says("json_text", R"({"tensors": [)" + tensor + "]}");
  };
  EXPECT_THAT(says("json_text", "{}"), HasSubstr("there are no tensors"));
  EXPECT_THAT(json(R"({"name": "a", "shape": [1]})"),
              HasSubstr("name, dtype, shape and data, in this order"));
  EXPECT_THAT(json(R"({"name": "a", "dtype": "F32", "shape": [2], "data": [1]})"),
              HasSubstr("tensor \"a\" has 1 elements; expected 2 as its shape says"));
  EXPECT_THAT(json(R"({"name": "a", "dtype": "F32", "shape": [1], "data": [1,2]})"),
              HasSubstr("tensor \"a\" has more elements than its shape"));
  EXPECT_THAT(json(R"({"name": "a", "dtype": "U8", "shape": [1], "data": [256]})"),
              HasSubstr("the number does not fit its type; expected one of 1 bytes"));
  EXPECT_THAT(json(R"({"name": "a", "dtype": "Q4_0", "shape": [1], "data": [1]})"),
              HasSubstr("tensor \"a\" is of the unknown type \"Q4_0\""));
  EXPECT_THAT(json(R"({"name": "a", "dtype": "F32", "shape": [9999999999], "data": [1]})"),
              HasSubstr("no more than the file has room for"));
  EXPECT_THAT(json(R"({"name": "a", "dtype": "F32", "shape": [-1], "data": [1]})"),
              HasSubstr("has shape [-1]"));
  const std::string one = R"({"name": "a", "dtype": "F32", "shape": [1], "data": [1]})";
  EXPECT_THAT(json(one + "," + one), HasSubstr("tensor \"a\" occurs twice"));
  EXPECT_EQ(json(one), "no error");

  namespace protobuf = checkpoint::tensor_file::protobuf;
  const Declared a{"a", DType::u8, {3}};
  const std::string piece = protobuf::piece_of(a, true, 3) + "abc";
  EXPECT_EQ(says("protobuf", piece + protobuf::end_of(1)), "no error");
  EXPECT_THAT(says("protobuf", piece), HasSubstr("without the count of its tensors"));
  EXPECT_THAT(says("protobuf", piece + protobuf::end_of(2)),
              HasSubstr("it has 2 tensors; expected 1"));
  EXPECT_THAT(says("protobuf", protobuf::piece_of(a, true, 2) + "ab" + protobuf::end_of(1)),
              HasSubstr("tensor \"a\" has 2 bytes of data; expected 3 as dtype and shape say"));
  EXPECT_THAT(says("protobuf", protobuf::piece_of(a, false, 3) + "abc" + protobuf::end_of(1)),
              HasSubstr("the data of no tensor"));
  EXPECT_THAT(says("protobuf", piece + protobuf::piece_of(a, false, 1) + "d" + protobuf::end_of(2)),
              HasSubstr("tensor \"a\" has 4 bytes of data"));
  EXPECT_THAT(says("protobuf", std::string("\x12\x00", 2)),
              HasSubstr("field 2 of wire type 2 does not belong here"));
}

/// A checkpoint's directory with another format in place of safetensors is opened like any other.
TEST(TensorFile, ADirectoryOfAnyFormatIsACheckpoint) {
  const TempDir folder;
  const checkpoint::Checkpoint model = quire::testing::golden("llama_bf16");
  for (const TensorFile& f : checkpoint::tensor_files()) {
    SCOPED_TRACE(f.name);
    const std::string to = folder.path() / f.name;
    checkpoint::save_checkpoint(model, to, f);
    EXPECT_TRUE(fs::exists(fs::path(to) / f.file));
    const checkpoint::Checkpoint back = quire::testing::opened(to);
    expect_same(model.tensors, back.tensors);
    EXPECT_EQ(back.config.shape.hidden, model.config.shape.hidden);
  }
  // safetensors come first
  fs::copy(folder.path() / "safetensors" / "model.safetensors",
           folder.path() / "protobuf" / "model.safetensors");
  EXPECT_THAT(quire::testing::opened(folder.path() / "protobuf").tensors.where(),
              HasSubstr("model.safetensors"));
}

TEST(TensorFile, UnknownNamesAreSaid) {
  EXPECT_EQ(
      error_of([] { (void)checkpoint::tensor_file_named("pickle"); }, quire::ErrorKind::usage),
      "file format \"pickle\": there is none of this name; expected safetensors, "
      "flatbuffers, protobuf, protobuf_chunked, json_text");
}

}  // namespace
