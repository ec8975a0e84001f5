#include <bit>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <quire/core/json.hpp>
#include <quire/weight_format/grouped.hpp>
#include <quire/weight_format/int4_zero_point.hpp>
#include <tests/weight_format/rounding.hpp>

namespace quire::testing {
namespace {

TEST(Int4ZeroPointWeightFormat, CostsItsBitsAndErrsByItsSteps) {
  using F = weight_format::Int4ZeroPoint<64>;
  EXPECT_EQ(8 * F::weight_bytes(256), 4.375);
  EXPECT_LT(rounding_error<F>(64, 256), 0.1);
}

/// fp32 of the bits that a golden row tells.
std::vector<float> floats_in(const json::Value& row, std::string_view name) {
  std::vector<float> out;
  for (const json::Value& x : *row.object()->find(name)->array()) {
    out.push_back(std::bit_cast<float>(static_cast<std::int32_t>(*x.number())));
  }
  return out;
}

template <unsigned bits>
void expect_rounded_as_in_training(const json::Value& row) {
  const std::vector<float> weights = floats_in(row, "weights"), wanted = floats_in(row, "rounded");
  std::vector<float> got(weights.size());
  const auto expect_bits = [&](const char* by) {
    for (std::size_t k = 0; k < got.size(); ++k) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[k]), std::bit_cast<std::uint32_t>(wanted[k]))
          << by << ", " << bits << " bits, input " << k << ": " << got[k] << " and " << wanted[k];
    }
  };
  using Block = typename weight_format::IntZeroPoint<bits, 128>::Block;
  std::byte packed[Block::bytes];
  Block::encode(weights.data(), packed);
  Block::decode(packed, got.data());
  expect_bits("the format");
  const weight_format::Grouped q =
      weight_format::round_to_nearest(weights.data(), 1, weights.size(), bits, 128, false);
  q.read(0, 1, got.data());
  expect_bits("what is written to a checkpoint");
}

/// The rows are written by experiments/small_models/train_qat.py --golden.
TEST(Int4ZeroPointWeightFormat, RoundsAsQuantisationAwareTrainingDoes) {
  std::ifstream file(QUIRE_SOURCE_DIR "/tests/golden/formats/fake_quantised.jsonl");
  std::size_t rows = 0;
  for (std::string line; std::getline(file, line); ++rows) {
    const json::Value row = json::parse(line, "fake_quantised.jsonl");
    const double bits = *row.object()->find("bits")->number();
    if (bits == 4) expect_rounded_as_in_training<4>(row);
    if (bits == 3) expect_rounded_as_in_training<3>(row);
    if (bits == 2) expect_rounded_as_in_training<2>(row);
  }
  EXPECT_EQ(rows, 30u);
}

}  // namespace
}  // namespace quire::testing
