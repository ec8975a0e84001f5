#include <cmath>

#include <quire/kv_format/turboquant.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

/// Mean square error over the mean square, of random directions.
template <unsigned bits>
double distortion(std::size_t dim) {
  double error = 0, square = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const std::vector<float> token = random_token(dim, seed);
    std::vector<float> got = through<Turboquant<bits>>(token);
    Turboquant<bits>::from_basis(got.data(), dim);
    for (std::size_t i = 0; i < dim; ++i) {
      error += std::pow(static_cast<double>(got[i] - token[i]), 2);
      square += std::pow(static_cast<double>(token[i]), 2);
    }
  }
  return error / square;
}

TEST(TurboquantKvFormat, ReachesTheDistortionOfItsPaper) {
  EXPECT_EQ(Turboquant<3>::token_bytes(64), 26.0);
  EXPECT_NEAR(distortion<1>(128), 0.3634, 0.004);
  EXPECT_NEAR(distortion<2>(128), 0.1175, 0.002);
  EXPECT_NEAR(distortion<3>(128), 0.0345, 0.001);
  EXPECT_NEAR(distortion<4>(128), 0.0095, 0.0003);
}

}  // namespace
}  // namespace quire::testing
