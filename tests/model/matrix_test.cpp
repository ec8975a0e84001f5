#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp32.hpp>
#include <tests/model/eigen_gemm.hpp>

namespace quire::model::testing {
namespace {

MatrixSource random_source(std::size_t outputs, std::size_t inputs, std::uint64_t seed) {
  auto values = std::make_shared<std::vector<float>>(outputs * inputs);
  Rng rng(seed);
  for (float& x : *values) x = static_cast<float>(rng.normal());
  MatrixSource m{outputs,
                 inputs,
                 [values, inputs](std::size_t first, std::size_t count, float* to) {
                   std::copy_n(values->data() + first * inputs, count * inputs, to);
                 },
                 {}};
  for (std::size_t i = 0; i < outputs; ++i) m.bias.push_back(static_cast<float>(rng.normal()));
  return m;
}

/// Sizes around every edge of panels, tiles, chunks of rows and of inputs.
template <class Format>
void expect_equals_eigen() {
  ThreadPool threads(2);
  for (std::size_t outputs : std::initializer_list<std::size_t>{1, 15, 64, 65, 200}) {
    for (std::size_t inputs : std::initializer_list<std::size_t>{1, 31, 128, 300}) {
      const auto source = random_source(outputs, inputs, outputs * inputs);
      const PanelMatrix<Format> ours(source, threads);
      const EigenGemm::Matrix<Format> eigen(source, threads);
      for (std::size_t rows : std::initializer_list<std::size_t>{1, 6, 7, 100}) {
        const auto x = random_source(rows, inputs, rows);
        std::vector<float> in(rows * inputs), want(rows * outputs);
        x.read(0, rows, in.data());
        std::vector<float> got(rows * ours.padded_outputs());
        ours.multiply(in.data(), inputs, rows, got.data(), ours.padded_outputs(), threads);
        eigen.multiply(in.data(), inputs, rows, want.data(), outputs, threads);
        for (std::size_t r = 0; r < rows; ++r) {
          for (std::size_t n = 0; n < outputs; ++n) {
            ASSERT_NEAR(got[r * ours.padded_outputs() + n], want[r * outputs + n], 1e-4)
                << outputs << "x" << inputs << ", row " << r << " of " << rows;
          }
        }
      }
    }
  }
}
TEST(PanelMatrix, EqualsEigen) {
  expect_equals_eigen<weight_format::Fp32>();
  expect_equals_eigen<weight_format::Bf16>();
}

/// The same format without the promise of a plain layout takes the path through unpack().
struct Opaque {
  using F = weight_format::Bf16;
  static constexpr std::string_view name = "opaque";
  static std::size_t panel_bytes(std::size_t n, std::size_t k) { return F::panel_bytes(n, k); }
  static double weight_bytes(std::size_t k) { return F::weight_bytes(k); }
  static void pack(std::byte* p, std::size_t n, std::size_t k, const float* w) {
    F::pack(p, n, k, w);
  }
  static void unpack(const std::byte* p, std::size_t n, std::size_t k, std::size_t first,
                     std::size_t count, float* v) {
    F::unpack(p, n, k, first, count, v);
  }
  static void read(const std::byte* p, std::size_t n, std::size_t k, std::size_t o, float* v) {
    F::read(p, n, k, o, v);
  }
};

TEST(PanelMatrix, FormatsWithoutAPlainLayoutGiveTheSameBits) {
  ThreadPool threads(1);
  const auto source = random_source(150, 300, 4);
  const PanelMatrix<weight_format::Bf16> plain(source, threads);
  const PanelMatrix<Opaque> opaque(source, threads);
  for (std::size_t rows : std::initializer_list<std::size_t>{1, 20}) {
    std::vector<float> in(rows * 300);
    random_source(rows, 300, 9).read(0, rows, in.data());
    std::vector<float> a(rows * plain.padded_outputs()), b(a.size());
    plain.multiply(in.data(), 300, rows, a.data(), plain.padded_outputs(), threads);
    opaque.multiply(in.data(), 300, rows, b.data(), opaque.padded_outputs(), threads);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
  }
}

TEST(MatrixSource, StackPutsPartsOnTopOfEachOther) {
  const auto a = random_source(3, 4, 1), b = random_source(5, 4, 2), c = random_source(1, 4, 3);
  const auto all = stack({a, b, c});
  ASSERT_EQ(all.outputs, 9u);
  std::vector<float> want(36), got(36);
  a.read(0, 3, &want[0]);
  b.read(0, 5, &want[12]);
  c.read(0, 1, &want[32]);
  for (std::size_t first = 0; first < 9; ++first) {
    for (std::size_t count = 1; first + count <= 9; ++count) {
      std::fill(got.begin(), got.end(), 0.0f);
      all.read(first, count, got.data());
      EXPECT_TRUE(std::equal(got.begin(), got.begin() + static_cast<std::ptrdiff_t>(4 * count),
                             want.begin() + static_cast<std::ptrdiff_t>(4 * first)));
    }
  }
  EXPECT_EQ(all.bias[3], b.bias[0]);
  EXPECT_EQ(all.bias[8], c.bias[0]);
}

TEST(RowTable, GivesRowsBack) {
  ThreadPool threads(2);
  const auto source = random_source(130, 24, 5);
  const RowTable<weight_format::Fp32> table(source, threads);
  std::vector<float> want(24), got(24);
  for (std::size_t r = 0; r < 130; ++r) {
    source.read(r, 1, want.data());
    table.read_row(r, got.data());
    EXPECT_EQ(got, want);
  }
  EXPECT_EQ(table.bytes(), 130u * 128u);  // rows of 96 bytes on lines of 64
}

}  // namespace
}  // namespace quire::model::testing
