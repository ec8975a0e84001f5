#include <quire/checkpoint/safetensors.hpp>

#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/safetensors_writer.hpp>

#include "tests/common/temp_file.hpp"

namespace {

using quire::checkpoint::DType;
using quire::checkpoint::TensorSet;
using quire::checkpoint::TensorView;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
namespace safetensors = quire::checkpoint::safetensors;

template <class Call>
std::string error_of(Call call) {
  try {
    (void)call();
  } catch (const quire::Error& error) {
    EXPECT_EQ(error.kind(), quire::ErrorKind::data);
    return error.what();
  }
  return "no error";
}

/// A file with this header text and so many bytes of data.
std::string file_of(const std::string& header, std::size_t data) {
  std::string out;
  for (int shift = 0; shift < 64; shift += 8) {
    out.push_back(static_cast<char>((header.size() >> shift) & 0xFF));
  }
  return out + header + std::string(data, '\1');
}

class SafetensorsTest : public testing::Test {
 protected:
  [[nodiscard]] TensorSet open(const std::string& text) const {
    return safetensors::open_file(directory_.write("m.safetensors", text));
  }
  [[nodiscard]] std::string error(const std::string& header, std::size_t data) const {
    return error_of([&] { return open(file_of(header, data)); });
  }
  quire::testing::TempDir directory_;
};

std::span<const std::byte> bytes_of(const std::vector<float>& values) {
  return std::as_bytes(std::span(values));
}

TEST_F(SafetensorsTest, WhatIsWrittenIsRead) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<float> scalar = {7};
  const std::int64_t a_shape[] = {2, 3};
  const std::int64_t empty_shape[] = {0, 5};
  const std::vector<TensorView> tensors = {{"z\"é", DType::f32, a_shape, bytes_of(a)},
                                           {"scalar", DType::f32, {}, bytes_of(scalar)},
                                           {"none", DType::bf16, empty_shape, {}}};
  const std::string path = directory_.path() / "a.safetensors";
  safetensors::save(path, tensors);
  const TensorSet set = safetensors::open_file(path);
  ASSERT_EQ(set.size(), 3u);
  const TensorView& back = set.at("z\"é", {2, 3});
  EXPECT_EQ(back.dtype, DType::f32);
  std::vector<float> values(6);
  quire::checkpoint::read_floats(back, 0, values);
  EXPECT_EQ(values, a);
  EXPECT_EQ(set.at("scalar", {}).elements(), 1);
  EXPECT_EQ(set.at("none", {0, 5}).bytes.size(), 0u);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

TEST_F(SafetensorsTest, ReadsTheBytesOfAnotherWriter) {
  // Written by the reference library, version 0.8: {"b": float16 [2], "a": int64 scalar}.
  const std::string header =
      R"({"__metadata__":{"format":"np"},"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}}      )";
  std::string text = file_of(header, 0);
  text += std::string("\x05\0\0\0\0\0\0\0\x00\x3c\x00\xc0", 12);
  const TensorSet set = open(text);
  std::vector<float> values(2);
  quire::checkpoint::read_floats(set.at("b"), 0, values);
  EXPECT_THAT(values, ElementsAre(1.0f, -2.0f));
  EXPECT_EQ(std::to_integer<int>(set.at("a").bytes[0]), 5);
}

TEST_F(SafetensorsTest, ReadsUnalignedData) {
  const std::string header = R"({"odd":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("f":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  std::string text = file_of(header, 1);
  const float values[] = {1.5f, -2.25f};
  text.append(reinterpret_cast<const char*>(values), sizeof(values));
  const TensorSet set = open(text);
  std::vector<float> out(1);
  quire::checkpoint::read_floats(set.at("f"), 1, out);
  EXPECT_EQ(out[0], -2.25f);
}

TEST_F(SafetensorsTest, RefusesALengthThatDoesNotFit) {
  EXPECT_THAT(error_of([&] { return open(""); }), HasSubstr("the file ends inside"));
  EXPECT_THAT(error_of([&] { return open("1234567"); }), HasSubstr("byte 0"));
  EXPECT_THAT(
      error_of([&] { return open(std::string("\x03\0\0\0\0\0\0\0{}", 10)); }),
      HasSubstr("byte 10: the file ends inside the header, of which it has 2 bytes; expected 3"));
  EXPECT_THAT(error_of([&] { return open(std::string(8, '\xff') + "{}"); }),
              HasSubstr("18446744073709551615"));
  EXPECT_THAT(error(R"([])", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(error(R"( {})", 0), HasSubstr("not a JSON object"));
}

TEST_F(SafetensorsTest, RefusesOffsetsThatLeaveHolesOverlapOrEndEarly) {
  const auto tensor = [](const char* name, int begin, int end) {
    return "\"" + std::string(name) + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) +
           R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  EXPECT_EQ(error("{" + tensor("a", 0, 2) + "," + tensor("b", 2, 4) + "}", 4), "no error");
  EXPECT_THAT(error("{" + tensor("a", 0, 2) + "," + tensor("b", 3, 4) + "}", 4),
              HasSubstr("begins at byte 3 of the data; expected byte 2"));
  EXPECT_THAT(error("{" + tensor("a", 0, 3) + "," + tensor("b", 2, 4) + "}", 4),
              HasSubstr("begins at byte 2"));
  EXPECT_THAT(error("{" + tensor("a", 1, 4) + "}", 4), HasSubstr("begins at byte 1"));
  EXPECT_THAT(error("{" + tensor("a", 0, 3) + "}", 4), HasSubstr("cover 3 bytes"));
  EXPECT_THAT(
      error("{" + tensor("a", 0, 5) + "}", 4),
      HasSubstr("data_offsets[1] (byte 49): the tensor ends at byte 5 of the data, of which "
                "the file has 4; expected a whole copy"));
  EXPECT_THAT(error("{}", 1), HasSubstr("cover 0 bytes"));
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", 2),
              HasSubstr("data_offsets[1]"));
}

TEST_F(SafetensorsTest, RefusesShapesThatDoNotMatchOrOverflow) {
  EXPECT_THAT(error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
              HasSubstr("the offsets span 4 bytes; expected 8"));
  EXPECT_THAT(
      error(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0),
      HasSubstr("overflows 64 bits"));
  EXPECT_EQ(
      error(R"({"a":{"dtype":"F32","shape":[1152921504606846976,0],"data_offsets":[0,0]}})", 0),
      "no error");
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})", 0),
              HasSubstr("shape[0]"));
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1),
              HasSubstr("is a number"));
}

TEST_F(SafetensorsTest, RefusesUnknownTypesKeysAndDuplicates) {
  EXPECT_THAT(error(R"({"a":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("unknown dtype \"F8_E8M0\""));
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}})", 1),
              HasSubstr("unknown key \"strides\""));
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[1]}})", 1),
              HasSubstr("\"data_offsets\" is missing"));
  EXPECT_THAT(error(R"({"__metadata__":{"n":1}})", 0), HasSubstr("__metadata__.n"));
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                    R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                    0),
              HasSubstr("occurs twice"));
}

TEST_F(SafetensorsTest, RefusesWhatIsNoRegularFileWithoutWaiting) {
  EXPECT_THAT(error_of([&] { return safetensors::open_file(directory_.path()); }),
              HasSubstr("not a regular file"));
  const std::string pipe = directory_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { return safetensors::open_file(pipe); }),
              HasSubstr("not a regular file"));
  EXPECT_THAT(error_of([&] { return safetensors::open_file(directory_.path() / "none"); }),
              HasSubstr("cannot open it"));
}

TEST_F(SafetensorsTest, ANameThatIsMissingListsTheNearest) {
  const TensorSet set =
      open(file_of(R"({"model.norm.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                   R"("lm_head.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                   0));
  EXPECT_THAT(error_of([&] { return set.at("model.norm.weigth"); }),
              AllOf(HasSubstr("there is no tensor \"model.norm.weigth\""),
                    HasSubstr("the nearest are \"model.norm.weight\", \"lm_head.weight\"")));
  EXPECT_THAT(error_of([&] { return set.at("lm_head.weight", {3}); }),
              HasSubstr("has shape [0]; expected [3]"));
}

class ShardedTest : public SafetensorsTest {
 protected:
  void SetUp() override {
    const auto one = [](const char* name, char value) {
      std::string text = file_of(
          "{\"" + std::string(name) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
      text.back() = value;
      return text;
    };
    directory_.write("one.safetensors", one("a", 1));
    directory_.write("two.safetensors", one("b", 2));
  }
  [[nodiscard]] TensorSet sharded(const std::string& index) const {
    directory_.write("model.safetensors.index.json", index);
    return safetensors::open_directory(directory_.path());
  }
  [[nodiscard]] std::string index_error(const std::string& map) const {
    return error_of([&] { return sharded(R"({"weight_map":{)" + map + "}}"); });
  }
};

TEST_F(ShardedTest, JoinsTheShards) {
  const TensorSet set = sharded(
      R"({"metadata":{"total_size":2},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  ASSERT_EQ(set.size(), 2u);
  EXPECT_EQ(std::to_integer<int>(set.at("a").bytes[0]), 1);
  EXPECT_EQ(std::to_integer<int>(set.at("b").bytes[0]), 2);
}

TEST_F(ShardedTest, ATensorInTwoShardsComesFromTheOneNamed) {
  std::string both = file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                             2);
  directory_.write("two.safetensors", both);
  const TensorSet set = sharded(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  EXPECT_EQ(set.size(), 2u);
}

TEST_F(ShardedTest, RefusesWhatIsMissing) {
  EXPECT_THAT(index_error(R"("a":"one.safetensors","b":"one.safetensors")"),
              HasSubstr("lacks 1 of the 2 tensors"));
  EXPECT_THAT(index_error(R"("a":"three.safetensors")"), HasSubstr("cannot open it"));
  EXPECT_THAT(index_error(R"("x":"one.safetensors")"), HasSubstr("unknown to the index"));
  EXPECT_THAT(error_of([&] { return sharded("{}"); }), HasSubstr("\"weight_map\" is missing"));
}

TEST_F(ShardedTest, RefusesNamesThatLeaveTheDirectory) {
  for (const char* name :
       {"../one.safetensors", "/etc/passwd", "x/one.safetensors", "..", ".", "", "a\\\\b"}) {
    EXPECT_THAT(index_error(R"("a":")" + std::string(name) + "\""),
                HasSubstr("not a plain file name"))
        << name;
  }
  EXPECT_THAT(index_error(R"("a":"one.safetensors\u0000")"), HasSubstr("not a plain file name"));
  EXPECT_THAT(index_error(R"("a":7)"), HasSubstr("weight_map.a"));
}

TEST_F(SafetensorsTest, ADirectoryWithoutWeightsSaysWhatItNeeds) {
  EXPECT_THAT(error_of([&] { return safetensors::open_directory(directory_.path()); }),
              HasSubstr("model.safetensors.index.json"));
}

}  // namespace
