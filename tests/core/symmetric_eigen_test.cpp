#include <quire/core/symmetric_eigen.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <Eigen/Eigenvalues>

#include <quire/core/rng.hpp>

namespace quire::symmetric_eigen_test {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::vector<double> flat(const Matrix& m) { return {m.data(), m.data() + m.size()}; }

/// B B^T of `rank` columns, so that the others of n eigenvalues are 0.
Matrix symmetric(Eigen::Index n, Eigen::Index rank, std::uint64_t seed) {
  Rng rng(seed);
  Matrix b(n, rank);
  for (Eigen::Index i = 0; i < b.size(); ++i) b.data()[i] = rng.normal();
  return b * b.transpose();
}

void expect_taken_apart(const Matrix& a) {
  const Eigen::Index n = a.rows();
  const SymmetricEigen ours = symmetric_eigen(flat(a), static_cast<std::size_t>(n), "test");
  const Eigen::SelfAdjointEigenSolver<Matrix> theirs(a);
  const double size = a.cwiseAbs().sum();
  for (Eigen::Index i = 0; i < n; ++i) {
    EXPECT_NEAR(ours.values[static_cast<std::size_t>(i)], theirs.eigenvalues()[n - 1 - i],
                1e-13 * size);
  }
  const Eigen::Map<const Matrix> v(ours.vectors.data(), n, n);
  const Eigen::Map<const Eigen::VectorXd> values(ours.values.data(), n);
  EXPECT_LT((v * v.transpose() - Matrix::Identity(n, n)).norm(), 1e-12 * static_cast<double>(n));
  EXPECT_LE((v.transpose() * values.asDiagonal() * v - a).cwiseAbs().maxCoeff(), 1e-13 * size);
}

TEST(SymmetricEigen, TakesMatricesApartAsEigenDoes) {
  for (const Eigen::Index n : {1, 2, 3, 5, 16, 33, 100}) {
    SCOPED_TRACE(n);
    expect_taken_apart(symmetric(n, n, 7));
    expect_taken_apart(symmetric(n, 1 + n / 3, 8));                       // most eigenvalues are 0
    expect_taken_apart(symmetric(n, n, 9) - 3 * Matrix::Identity(n, n));  // some below
    expect_taken_apart(Matrix::Zero(n, n));
    expect_taken_apart(Matrix::Identity(n, n));  // no value stands alone
    expect_taken_apart(1e-200 * symmetric(n, n, 10));
    Matrix diagonal = Matrix::Zero(n, n);
    for (Eigen::Index i = 0; i < n; ++i) diagonal(i, i) = std::pow(10.0, -static_cast<double>(i));
    expect_taken_apart(diagonal);
  }
}

TEST(SymmetricEigen, RefusesWhatIsNoNumber) {
  std::vector<double> a = flat(symmetric(4, 4, 1));
  for (const double x :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    a[5] = x;
    EXPECT_THROW((void)symmetric_eigen(a, 4, "test"), Error);
  }
}

}  // namespace
}  // namespace quire::symmetric_eigen_test
