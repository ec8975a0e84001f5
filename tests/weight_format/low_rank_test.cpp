// SVD, ASVD and SVD-LLM against the factors that their papers form, by Eigen's singular values.
#include <quire/weight_format/low_rank.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <Eigen/SVD>

#include <quire/core/rng.hpp>

namespace quire::weight_format::low_rank_test {
namespace {

using Method = LowRankOptions::Method;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr Method methods[] = {Method::svd, Method::asvd, Method::svd_llm};

struct Layer {
  std::size_t outputs, inputs;
  std::vector<float> w;
  InputStatistics seen;

  /// Inputs that hang together, some larger than others.
  Layer(std::size_t m, std::size_t n, std::uint64_t seed, std::size_t rows = 200)
      : outputs(m), inputs(n), w(m * n) {
    Rng rng(seed);
    seen = {n, static_cast<double>(rows), std::vector<double>(n * n), std::vector<double>(n),
            std::vector<float>(n)};
    for (float& v : w) v = static_cast<float>(rng.normal());
    std::vector<double> mix(n * n), x(n), part(n);
    for (double& v : mix) v = rng.normal() / 6;
    for (std::size_t r = 0; r < rows; ++r) {
      for (double& v : part) v = rng.normal();
      for (std::size_t k = 0; k < n; ++k) {
        x[k] = 0;
        for (std::size_t i = 0; i < n; ++i) x[k] += part[i] * mix[i * n + k];
        if (k % 7 == 3) x[k] *= 8;
        seen.magnitude[k] += std::abs(x[k]);
      }
      for (std::size_t i = 0; i < n * n; ++i) seen.moments[i] += x[i / n] * x[i % n];
    }
  }
  [[nodiscard]] Factors by(Method method, std::size_t rank) const {
    LowRankOptions o;
    o.method = method;
    return low_rank(w, outputs, rank, seen, o);
  }
  [[nodiscard]] double loss(const Factors& f) const { return output_error(seen, w, f.product()); }

  /// W' as the papers form it: U_r D_r V_r^T S^-1 of W S = U D V^T, and the squares left out.
  [[nodiscard]] std::pair<Matrix, double> published(Method method, std::size_t rank) const {
    const auto m = static_cast<Eigen::Index>(outputs), n = static_cast<Eigen::Index>(inputs);
    Matrix s = Matrix::Identity(n, n);
    if (method == Method::asvd) {
      for (Eigen::Index k = 0; k < n; ++k) {
        s(k, k) = std::sqrt(seen.magnitude[static_cast<std::size_t>(k)] / seen.rows);
      }
    } else if (method == Method::svd_llm) {
      s = Matrix(Eigen::Map<const Matrix>(seen.moments.data(), n, n)).llt().matrixL();
    }
    const Matrix weights =
        Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(w.data(), m, n)
            .cast<double>();
    const Eigen::JacobiSVD<Eigen::MatrixXd> svd(weights * s,
                                                Eigen::ComputeThinU | Eigen::ComputeThinV);
    const auto r = static_cast<Eigen::Index>(rank);
    const Matrix kept = svd.matrixU().leftCols(r) * svd.singularValues().head(r).asDiagonal() *
                        svd.matrixV().leftCols(r).transpose() * s.inverse();
    return {kept, svd.singularValues().tail(svd.singularValues().size() - r).squaredNorm()};
  }
};

/// More outputs than inputs, fewer, and as many.
std::vector<Layer> layers() { return {{48, 20, 1}, {20, 48, 2}, {32, 32, 3}}; }

TEST(LowRank, EqualsTheFactorsOfThePapers) {
  for (const Layer& layer : layers()) {
    for (const Method method : methods) {
      for (const std::size_t rank : {std::size_t{1}, std::size_t{7}, std::size_t{13}}) {
        const Factors f = layer.by(method, rank);
        const auto [want, dropped] = layer.published(method, rank);
        const std::vector<float> got = f.product();
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(static_cast<double>(got[i]), want.data()[i], 2e-5) << i;
        }
        EXPECT_NEAR(f.dropped, dropped, 1e-9 * dropped);
      }
    }
  }
}

/// The identity: what SVD-LLM drops is what the outputs lose; of plain SVD, what the weights lose.
TEST(LowRank, LossIsTheSumOfTheSquaresLeftOut) {
  for (const Layer& layer : layers()) {
    for (const std::size_t rank : {std::size_t{1}, std::size_t{5}, std::size_t{12}}) {
      const Factors f = layer.by(Method::svd_llm, rank);
      EXPECT_NEAR(layer.loss(f), f.dropped, 1e-6 * f.dropped);
      Layer plain = layer;  // inputs that are as many tokens of one 1 each
      plain.seen.moments.assign(layer.inputs * layer.inputs, 0.0);
      for (std::size_t k = 0; k < layer.inputs; ++k) plain.seen.moments[k * layer.inputs + k] = 1;
      const Factors g = plain.by(Method::svd, rank);
      EXPECT_NEAR(plain.loss(g), g.dropped, 1e-6 * g.dropped);
      EXPECT_GT(layer.loss(layer.by(Method::svd, rank)), f.dropped);
    }
  }
}

/// SVD-LLM loses least of all matrices of a rank: guaranteed. That ASVD loses less than SVD is not; it does on
/// inputs of unlike size, in the mean.
TEST(LowRank, SvdLlmLosesLeast) {
  double svd = 0, asvd = 0, svd_llm = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Layer layer(24, 36, 100 + seed);
    for (const std::size_t rank : {std::size_t{4}, std::size_t{10}, std::size_t{18}}) {
      const double least = layer.loss(layer.by(Method::svd_llm, rank));
      const double a = layer.loss(layer.by(Method::asvd, rank));
      const double s = layer.loss(layer.by(Method::svd, rank));
      EXPECT_LE(least, a);
      EXPECT_LE(least, s);
      svd += s, asvd += a, svd_llm += least;
    }
  }
  EXPECT_LT(asvd, svd);
  EXPECT_LT(svd_llm, 0.9 * asvd);
}

TEST(LowRank, AllOfTheRankGivesTheMatrixBack) {
  for (const Layer& layer : layers()) {
    for (const Method method : methods) {
      const Factors f = layer.by(method, std::min(layer.outputs, layer.inputs));
      EXPECT_EQ(f.dropped, 0);
      const std::vector<float> got = f.product();
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], layer.w[i], 2e-5);
    }
  }
  Layer flat(30, 20, 5);  // a matrix of rank 3
  const std::vector<float> of_three = flat.by(Method::svd, 3).product();
  flat.w = of_three;
  for (const std::size_t rank : {std::size_t{3}, std::size_t{9}, std::size_t{20}}) {
    const std::vector<float> got = flat.by(Method::svd, rank).product();
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], of_three[i], 2e-5);
  }
}

/// Fewer tokens than are to be kept: what they never asked for is kept by the weights' own size.
TEST(LowRank, FewTokensAreNoReasonToDropAtRandom) {
  const Layer layer(40, 40, 6, 8);
  const Factors f = layer.by(Method::svd_llm, 24);
  Layer plain = layer;
  plain.seen.moments.assign(40 * 40, 0.0);
  for (std::size_t k = 0; k < 40; ++k) plain.seen.moments[k * 40 + k] = 1;
  EXPECT_LT(layer.loss(f), 1e-3 * layer.loss(layer.by(Method::svd, 24)) + 1e-9);
  EXPECT_LT(plain.loss(f), 2 * plain.loss(plain.by(Method::svd, 24)));
  Layer nothing = layer;
  nothing.seen.moments.assign(40 * 40, 0.0);
  EXPECT_THROW((void)nothing.by(Method::svd_llm, 3), Error);
  Layer unread = layer;
  unread.w[7] = NAN;
  for (const Method method : methods) EXPECT_THROW((void)unread.by(method, 3), Error);
}

TEST(LowRank, RankCountsBothFactors) {
  EXPECT_EQ(rank_without(0.2, 2048, 2048), 819u);
  EXPECT_EQ(rank_without(0.5, 2048, 2048), 512u);
  EXPECT_EQ(rank_without(0.4, 5632, 2048), 901u);
  EXPECT_EQ(rank_without(0.1, 10, 10), 4u);  // 4.5
  EXPECT_EQ(rank_without(0.9, 10, 10), 1u);  // 0.5: one at least
  EXPECT_EQ(rank_without(0.5, 1, 100), 0u);  // 101 numbers in place of 100
  EXPECT_EQ(rank_without(0.01, 1, 100), 0u);
  for (const double share : {-0.1, 0.0, 1.0, 1.5, std::nan("")}) {
    EXPECT_THROW((void)rank_without(share, 10, 10), Error);
  }
  const Layer layer(6, 4, 1);
  EXPECT_THROW((void)layer.by(Method::svd, 0), Error);
  EXPECT_THROW((void)layer.by(Method::svd, 5), Error);
}

}  // namespace
}  // namespace quire::weight_format::low_rank_test
