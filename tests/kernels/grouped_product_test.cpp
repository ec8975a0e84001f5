// Products for few rows over packed weights: of whole numbers in groups, and 2:4 sparse.
#include <quire/kernels/grouped_product/grouped_product.cuh>
#include <quire/kernels/grouped_product/layout.hpp>
#include <quire/kernels/sparse_product/layout.hpp>
#include <quire/kernels/sparse_product/sparse_product.cuh>

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include <tests/kernels/paged_harness.hpp>

namespace quire::kernels::testing {
namespace {

namespace wf = weight_format;

/// Gives a product its activations and compares every output with the sum in double of what
/// read(output, row) says that the weights are. \shape row (inputs)
template <class Half, class Out>
void check_rows(auto p, std::uint32_t rows, std::uint32_t inputs, std::uint32_t outputs,
                std::size_t x_pad, bool biased, Rng& rng, const auto& product, const auto& read) {
  const std::size_t x_stride = inputs + x_pad, y_stride = outputs + 3;
  auto x = random_array<Half>(rows * x_stride, rng);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t i = inputs; i < x_stride; ++i) x[r * x_stride + i] = from_float<Half>(NAN);
  }
  const auto bias = random_array<float>(outputs, rng);
  auto y = poisoned<Out>(rows * y_stride);
  p.x = x.data();
  p.x_stride = x_stride;
  p.bias = biased ? bias.data() : nullptr;
  p.y = y.data();
  p.y_stride = y_stride;
  p.rows = rows;
  p.inputs = inputs;
  p.outputs = outputs;
  const simt::emulator::ScopedSchedule schedule({.seed = rng()});
  product(p);
  std::vector<float> row(inputs);
  for (std::uint32_t o = 0; o < outputs; ++o) {
    read(o, row.data());
    for (std::uint32_t r = 0; r < rows; ++r) {
      double sum = biased ? bias[o] : 0.0, size = std::abs(sum);
      for (std::uint32_t i = 0; i < inputs; ++i) {
        const double term =
            static_cast<double>(row[i]) * static_cast<double>(to_float(x[r * x_stride + i]));
        sum += term;
        size += std::abs(term);
      }
      // products are exact; each addition rounds the sum so far once, and the result is rounded
      const double unit = sizeof(Out) == 4 ? 0x1p-24 : std::is_same_v<Out, Bf16> ? 0x1p-8 : 0x1p-11;
      const double allowed = 0x1p-24 * (inputs + 8) * size + unit * std::abs(sum);
      ASSERT_NEAR(to_float(y[r * y_stride + o]), sum, allowed)
          << rows << " rows, " << inputs << " inputs, output " << o;
    }
  }
  for (std::uint32_t r = 0; r < rows; ++r) {
    for (std::size_t o = outputs; o < y_stride; ++o) {
      ASSERT_TRUE(std::isnan(to_float(y[r * y_stride + o]))) << "wrote beyond a row";
    }
  }
}

/// A product over the format's own packed panel against what the format reads from it, in double.
template <class Format, class Half, class Out, unsigned columns, unsigned height = 1>
void check_product(std::uint32_t rows, std::uint32_t inputs, std::uint32_t outputs,
                   std::size_t x_pad, bool biased, std::uint64_t seed) {
  Rng rng(seed);
  const auto weights = random_array<float>(std::size_t{outputs} * inputs, rng);
  std::vector<std::byte> panel(Format::panel_bytes(outputs, inputs));
  Format::pack(panel.data(), outputs, inputs, weights.data());
  const GroupedWeights ordered = order_for_device<Format>(panel, outputs, inputs);
  std::vector<float> packed_row(inputs), row_back(inputs, NAN);
  for (std::uint32_t o = 0; o < outputs; ++o) {
    Format::read(panel.data(), outputs, inputs, o, packed_row.data());
    read_ordered<Format>(ordered.codes, ordered.scales, inputs, o, row_back.data());
    ASSERT_EQ(row_back, packed_row);
  }
  // what the kernel loads in vectors is aligned as device memory is, and ends where it ends
  ExactBytes codes(ordered.codes.size());
  std::copy(ordered.codes.begin(), ordered.codes.end(), codes.data());
  GroupedProductParams<Half, Out> p;
  p.codes = codes.data();
  p.scales = ordered.scales.data();
  check_rows<Half, Out>(
      p, rows, inputs, outputs, x_pad, biased, rng,
      [](const auto& q) { grouped_product<Format, Half, Out, columns, 8, height>(q); },
      [&](std::uint32_t o, float* row) { Format::read(panel.data(), outputs, inputs, o, row); });
}

/// The same for pruned weights, against what pruning leaves.
template <class Half, class Out, unsigned columns>
void check_sparse(std::uint32_t rows, std::uint32_t inputs, std::uint32_t outputs,
                  std::size_t x_pad, bool biased, std::uint64_t seed) {
  Rng rng(seed);
  auto weights = random_array<float>(std::size_t{outputs} * inputs, rng);
  for (float& w : weights) w = std::round(w * 4) / 4;  // with ties
  const auto pruned = [&](std::uint32_t o, float* row) {
    for (std::uint32_t i = 0; i < inputs; ++i) {
      std::uint32_t before = 0;  // of its four: larger, or as large and earlier
      const float mine = weights[std::size_t{o} * inputs + i];
      for (std::uint32_t k = i / 4 * 4; k < std::min(i / 4 * 4 + 4, inputs); ++k) {
        const float other = std::abs(weights[std::size_t{o} * inputs + k]);
        before += other > std::abs(mine) || (other == std::abs(mine) && k < i) ? 1 : 0;
      }
      row[i] = before < 2 ? to_float(from_float<Half>(mine)) : 0.0f;
    }
  };
  const auto ordered = prune_for_device<Half>(weights, outputs, inputs);
  const std::size_t chunks = (outputs + 15) / 16 * ((inputs + 63) / 64);
  ASSERT_EQ(ordered.values.size(), chunks * 512);
  ASSERT_EQ(ordered.places.size(), chunks * 32);
  std::vector<float> expected(inputs), back(inputs, NAN);
  for (std::uint32_t o = 0; o < outputs; ++o) {
    pruned(o, expected.data());
    read_sparse(ordered, o, back.data());
    ASSERT_EQ(back, expected);
  }
  ExactBytes values(ordered.values.size() * sizeof(Half));
  std::memcpy(values.data(), ordered.values.data(), values.size());
  SparseProductParams<Half, Out> p;
  p.values = reinterpret_cast<const Half*>(values.data());
  p.places = ordered.places.data();
  check_rows<Half, Out>(
      p, rows, inputs, outputs, x_pad, biased, rng,
      [](const auto& q) { sparse_product<Half, Out, columns>(q); }, pruned);
}

TEST(GroupedProduct, EachFormatAtTheEdgesOfTilesGroupsAndRows) {
  std::uint64_t seed = 0;
  for (const std::uint32_t rows : {1u, 7u, 8u, 9u}) {
    check_product<wf::Int4Grouped<128>, Bf16, Bf16, 8, 2>(rows, 640, 33, 4, rows != 8, ++seed);
    check_product<wf::Int4Grouped<32>, Fp16, float, 8>(rows, 98, 16, 1, rows == 8, ++seed);
    check_product<wf::Int8Grouped<64>, Bf16, float, 16>(rows * 2, 200, 15, 0, true, ++seed);
    check_product<wf::Int8Grouped<128>, Fp16, Fp16, 8>(rows, 127, 17, 3, false, ++seed);
    check_product<wf::Int4Grouped<64>, Fp16, float, 16, 2>(rows * 2, 192, 48, 0, true, ++seed);
  }
}
TEST(SparseProduct, AtTheEdgesOfTilesChunksAndRows) {
  std::uint64_t seed = 40;
  for (const std::uint32_t rows : {1u, 8u, 9u}) {
    check_sparse<Bf16, Bf16, 8>(rows, 640, 33, 4, rows != 8, ++seed);
    check_sparse<Fp16, float, 16>(rows * 2, 98, 16, 1, rows == 8, ++seed);
    check_sparse<Fp16, float, 16>(rows, 67, 15, 1, false, ++seed);
  }
  sparse_product<Bf16, Bf16>(SparseProductParams<Bf16, Bf16>{});
}
TEST(GroupedProduct, NothingToDo) {
  grouped_product<wf::Int4Grouped<128>, Bf16, Bf16>(GroupedProductParams<Bf16, Bf16>{});
}

}  // namespace
}  // namespace quire::kernels::testing
