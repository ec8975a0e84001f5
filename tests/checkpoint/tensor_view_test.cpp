#include <quire/checkpoint/tensor_view.hpp>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace {

using quire::checkpoint::DType;
using quire::checkpoint::TensorView;
using testing::ElementsAre;

template <class T>
std::vector<float> floats(DType dtype, const std::vector<T>& raw) {
  // One byte before the values, so that they are not aligned.
  std::vector<std::byte> memory(raw.size() * sizeof(T) + 1);
  std::memcpy(memory.data() + 1, raw.data(), raw.size() * sizeof(T));
  const TensorView view{"t", dtype, {}, std::span(memory).subspan(1)};
  std::vector<float> out(raw.size());
  quire::checkpoint::read_floats(view, 0, out);
  return out;
}

TEST(TensorView, NamesAndSizesOfTypesAgree) {
  for (const std::string_view name : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16",
                                      "BF16", "I32", "U32", "F32", "F64", "I64", "U64"}) {
    const auto dtype = quire::checkpoint::dtype_named(name);
    ASSERT_TRUE(dtype.has_value()) << name;
    EXPECT_EQ(quire::checkpoint::name_of(*dtype), name);
  }
  EXPECT_FALSE(quire::checkpoint::dtype_named("C64").has_value());
  EXPECT_EQ(quire::checkpoint::size_of(DType::f64), 8);
  EXPECT_EQ(quire::checkpoint::size_of(DType::boolean), 1);
}

TEST(TensorView, ReadsFloatsOfEachTypeFromAnyAddress) {
  EXPECT_THAT(floats<float>(DType::f32, {1.5f, -2}), ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(floats<double>(DType::f64, {1.5, -2}), ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(floats<std::uint16_t>(DType::bf16, {0x3f80, 0xc000}), ElementsAre(1.0f, -2.0f));
  EXPECT_THAT(floats<std::uint16_t>(DType::f16, {0x3c00, 0xc000, 0x0001, 0x7bff}),
              ElementsAre(1.0f, -2.0f, 0x1p-24f, 65504.0f));
}

TEST(TensorView, RefusesRangesOutsideAndTypesThatAreNoFloats) {
  const std::byte memory[8] = {};
  const TensorView f32{"t", DType::f32, {}, memory};
  std::vector<float> out(2);
  EXPECT_THROW(quire::checkpoint::read_floats(f32, 1, out), quire::Error);
  EXPECT_THROW(quire::checkpoint::read_floats(f32, -1, out), quire::Error);
  EXPECT_THROW(quire::checkpoint::read_floats(f32, 3, {}), quire::Error);
  const TensorView i64{"t", DType::i64, {}, memory};
  EXPECT_THROW(quire::checkpoint::read_floats(i64, 0, std::span(out).first(1)), quire::Error);
}

}  // namespace
