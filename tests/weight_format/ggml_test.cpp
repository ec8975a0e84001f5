// Blocks of GGUF files against the gguf package (tests/golden/formats/make_ggml.py).
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>
#include <quire/core/rng.hpp>
#include <quire/weight_format/k_quants.hpp>

namespace quire::blockwise {
namespace {

json::Value golden() {
  std::ifstream file(QUIRE_SOURCE_DIR "/tests/golden/formats/ggml.json");
  return json::parse(std::string{std::istreambuf_iterator<char>(file), {}}, "ggml.json");
}
template <class T>
std::vector<T> numbers(const json::Value& v, std::string_view name) {
  std::vector<T> out;
  for (const json::Value& x : *v.object()->find(name)->array()) {
    out.push_back(static_cast<T>(*x.number()));
  }
  return out;
}

template <class Block>
std::vector<float> decoded(const std::vector<std::uint8_t>& bytes) {
  std::vector<float> values(bytes.size() / Block::bytes * Block::size);
  for (std::size_t b = 0; b * Block::bytes < bytes.size(); ++b) {
    Block::decode(reinterpret_cast<const std::byte*>(bytes.data()) + b * Block::bytes,
                  values.data() + b * Block::size);
  }
  return values;
}

template <class Block>
void expect_both_ways(const json::Value& file, std::string_view name) {
  SCOPED_TRACE(name);
  const auto values = numbers<float>(file, "values");
  const json::Value& wanted = *file.object()->find(name);
  std::vector<std::uint8_t> bytes(values.size() / Block::size * Block::bytes);
  for (std::size_t b = 0; b * Block::size < values.size(); ++b) {
    Block::encode(values.data() + b * Block::size,
                  reinterpret_cast<std::byte*>(bytes.data()) + b * Block::bytes);
  }
  EXPECT_EQ(bytes, numbers<std::uint8_t>(wanted, "bytes"));
  EXPECT_EQ(decoded<Block>(bytes), numbers<float>(wanted, "dequantised"));
}

TEST(Ggml, Q8_0AndQ4_0EqualItsBlocksBitForBit) {
  const json::Value file = golden();
  expect_both_ways<Q8_0>(file, "Q8_0");
  expect_both_ways<Q4_0>(file, "Q4_0");
}

TEST(Ggml, SuperBlocksAreReadBitForBit) {
  const json::Value file = golden();
  const json::Value &q4 = *file.object()->find("Q4_K"), &q5 = *file.object()->find("Q5_K"),
                    &q6 = *file.object()->find("Q6_K");
  EXPECT_EQ(decoded<Q4K>(numbers<std::uint8_t>(q4, "bytes")), numbers<float>(q4, "dequantised"));
  EXPECT_EQ(decoded<Q5K>(numbers<std::uint8_t>(q5, "bytes")), numbers<float>(q5, "dequantised"));
  EXPECT_EQ(decoded<Q6K>(numbers<std::uint8_t>(q6, "bytes")), numbers<float>(q6, "dequantised"));
}

template <class Block>
double error_of_writing() {
  std::vector<float> values(Block::size), back(Block::size);
  std::vector<std::byte> bytes(Block::bytes);
  Rng rng(3);
  double error = 0, square = 0;
  for (int round = 0; round < 20; ++round) {
    for (float& x : values) x = static_cast<float>(rng.normal());
    Block::encode(values.data(), bytes.data());
    Block::decode(bytes.data(), back.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      error += std::pow(static_cast<double>(back[i] - values[i]), 2);
      square += std::pow(static_cast<double>(values[i]), 2);
    }
  }
  return std::sqrt(error / square);
}

TEST(Ggml, SuperBlocksThatAreWrittenAreReadBackClose) {
  EXPECT_LT(error_of_writing<Q4K>(), 0.1);
  EXPECT_LT(error_of_writing<Q5K>(), 0.05);
  EXPECT_LT(error_of_writing<Q6K>(), 0.025);
}

}  // namespace
}  // namespace quire::blockwise
