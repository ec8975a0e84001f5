// Products of blocks of whole numbers: against what read() gives, in double, for few and many rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/a8.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/int4_zero_point.hpp>
#include <quire/weight_format/int8_grouped.hpp>
#include <quire/weight_format/mxfp4.hpp>
#include <quire/weight_format/nvfp4.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q4_k.hpp>
#include <quire/weight_format/q5_k.hpp>
#include <quire/weight_format/q6_k.hpp>
#include <quire/weight_format/q8_0.hpp>
#include <quire/weight_format/w8a8.hpp>

namespace quire::testing {
namespace {

using namespace quire::weight_format;

const std::vector<const WeightCodec*> formats{&codec_of<Q80>(),
                                              &codec_of<Q40>(),
                                              &codec_of<Int4ZeroPoint<32>>(),
                                              &codec_of<Int8Grouped<128>>(),
                                              &codec_of<Q4K>(),
                                              &codec_of<Q5K>(),
                                              &codec_of<Q6K>(),
                                              &codec_of<Mxfp4>(),
                                              &codec_of<Nvfp4>()};
/// The same with inputs in 8 bits.
const std::vector<const WeightCodec*> formats_a8{&codec_of<A8<Q80>>(),
                                                 &codec_of<A8<Q40>>(),
                                                 &codec_of<A8<Int4ZeroPoint<32>>>(),
                                                 &codec_of<A8<Int8Grouped<128>>>(),
                                                 &codec_of<A8<Q4K>>(),
                                                 &codec_of<A8<Q6K>>()};
std::vector<const WeightCodec*> all_formats() {
  std::vector<const WeightCodec*> all = formats;
  all.insert(all.end(), formats_a8.begin(), formats_a8.end());
  return all;
}

/// A matrix and rows of inputs of very different sizes, as activations of real models are.
struct Product {
  std::size_t outputs, inputs, rows;
  model::PanelMatrix<Packed> matrix;
  std::vector<float> x, y;

  Product(const WeightCodec& codec, std::size_t n, std::size_t k, std::size_t m)
      : outputs(n), inputs(k), rows(m), x(m * k) {
    Rng rng(n + k);
    model::MatrixSource source;
    source.outputs = n;
    source.inputs = k;
    source.codec = &codec;
    source.read = [&](std::size_t, std::size_t count, float* to) {
      for (std::size_t i = 0; i < count * k; ++i) to[i] = static_cast<float>(rng.normal());
    };
    ThreadPool one(1);
    matrix = model::PanelMatrix<Packed>(source, one);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(rng.normal()) * (i % 37 == 5 ? 300.0f : 1.0f);
    }
    y.resize(m * matrix.padded_outputs());
  }
  void run(std::size_t threads) {
    ThreadPool pool(threads);
    matrix.multiply(x.data(), inputs, rows, y.data(), matrix.padded_outputs(), pool);
  }
};

/// Inputs are rounded to 23 bits of the largest of their block, which here is far above most of them.
TEST(WordProducts, EqualTheirReference) {
  for (const WeightCodec* codec : formats) {
    for (const std::size_t inputs : {16u, 33u, 256u, 1000u}) {
      Product p(*codec, 70, inputs, 9);
      p.run(2);
      std::vector<float> w(inputs);
      for (std::size_t n = 0; n < p.outputs; ++n) {
        p.matrix.read_row(n, w.data());
        for (std::size_t r = 0; r < p.rows; ++r) {
          double want = 0, size = 0, most = 0;
          for (std::size_t k = 0; k < inputs; ++k) {
            most = std::max(most, std::abs(static_cast<double>(p.x[r * inputs + k])));
          }
          for (std::size_t k = 0; k < inputs; ++k) {
            const auto a = static_cast<double>(p.x[r * inputs + k]);
            want += a * static_cast<double>(w[k]);
            size += (std::abs(a) + most / 4) * std::abs(static_cast<double>(w[k]));
          }
          EXPECT_NEAR(static_cast<double>(p.y[r * p.matrix.padded_outputs() + n]), want,
                      5e-7 * size + 1e-9)
              << codec->name << ", " << inputs << " inputs, row " << r;
        }
      }
    }
  }
}

TEST(WordProducts, ARowDoesNotDependOnItsNeighbours) {
  for (const WeightCodec* codec : all_formats()) {
    Product all(*codec, 130, 300, 17);
    all.run(2);
    const std::size_t stride = all.matrix.padded_outputs();
    for (std::size_t count = 1; count < all.rows; ++count) {
      Product some(*codec, 130, 300, 17);
      some.rows = count;
      some.run(1);
      for (std::size_t r = 0; r < count; ++r) {
        EXPECT_EQ(std::memcmp(&some.y[r * stride], &all.y[r * stride], 130 * sizeof(float)), 0)
            << codec->name << ", row " << r << " of " << count;
      }
    }
  }
}

/// A panel takes any number of rows, also more than are summed together; a matrix hands out no more.
TEST(WordProducts, APanelTakesMoreRowsThanAreSummedTogether) {
  constexpr std::size_t outputs = words::columns, inputs = 64, rows = 2 * words::most_sums + 5;
  static_assert(rows > 2 * words::most_sums);
  for (const WeightCodec* codec : all_formats()) {
    // without products of bytes, weights are widened instead
    if (codec->add_products == nullptr) continue;
    Rng rng(3);
    std::vector<float> w(outputs * inputs), x(rows * inputs);
    for (float& v : w) v = static_cast<float>(rng.normal());
    for (float& v : x) v = static_cast<float>(rng.normal());
    AlignedArray<std::byte> panel(codec->panel_bytes(outputs, inputs));
    codec->pack(panel.data(), outputs, inputs, w.data());
    const std::size_t row_bytes = codec->row_bytes(inputs);
    AlignedArray<std::byte> packed(rows * row_bytes);
    for (std::size_t r = 0; r < rows; ++r) {
      codec->pack_row(&x[r * inputs], inputs, packed.data() + r * row_bytes);
    }
    std::vector<float> all(rows * outputs, 1.0f), alone(all);
    codec->add_products(panel.data(), outputs, inputs, packed.data(), rows, all.data(), outputs);
    for (std::size_t r = 0; r < rows; ++r) {
      codec->add_products(panel.data(), outputs, inputs, packed.data() + r * row_bytes, 1,
                          &alone[r * outputs], outputs);
    }
    EXPECT_EQ(all, alone) << codec->name;
  }
}

/// A block of inputs below 2^-100 is zeros; the next one above is not.
TEST(WordProducts, InputsBelowTheSmallestScaleAreZeros) {
  for (const WeightCodec* codec : all_formats()) {
    if (codec->add_products == nullptr) continue;  // no whole numbers then
    for (const bool zeros : {true, false}) {
      Product p(*codec, 20, 128, 1);
      // of different sizes: weights of few values may sum to zero
      for (std::size_t k = 0; k < p.x.size(); ++k) {
        p.x[k] = (zeros ? 0x1p-101f : 0x1p-100f) * (1 + 0.13f * static_cast<float>(k % 7));
      }
      p.run(1);
      for (std::size_t n = 0; n < p.outputs; ++n) {
        EXPECT_EQ(p.y[n] == 0, zeros) << codec->name << ", output " << n;
        EXPECT_TRUE(std::isfinite(p.y[n]));
      }
    }
  }
}

TEST(WordProducts, NotANumberStaysInItsRow) {
  for (const WeightCodec* codec : all_formats()) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Product p(*codec, 20, 64, 6);
      p.x[2 * 64 + 40] = bad;
      p.run(1);
      for (std::size_t r = 0; r < p.rows; ++r) {
        for (std::size_t n = 0; n < p.outputs; ++n) {
          EXPECT_EQ(std::isfinite(p.y[r * p.matrix.padded_outputs() + n]), r != 2) << codec->name;
        }
      }
    }
  }
}

/// Inputs in 8 bits: what the product makes of them is the sum over the rounded ones, block by block, as
/// ggml defines it: a block's largest magnitude is 127 steps.
TEST(WordProducts, InputsInEightBitsAreRoundedByBlocks) {
  for (const WeightCodec* codec : formats_a8) {
    const std::size_t block = codec->name.find("128") != std::string_view::npos ? 128
                              : codec->name.starts_with("q6_k")                 ? 16
                                                                                : 32;
    for (const std::size_t inputs : {16u, 33u, 256u, 1000u}) {
      for (const std::size_t rows : {1u, 2u, 7u, 13u}) {
        Product p(*codec, 70, inputs, rows);
        p.run(2);
        std::vector<double> rounded(rows * inputs);
        for (std::size_t r = 0; r < rows; ++r) {
          const float* x = &p.x[r * inputs];
          for (std::size_t from = 0; from < inputs; from += block) {
            const std::size_t to = std::min(inputs, from + block);
            double most = 0;
            for (std::size_t k = from; k < to; ++k) most = std::max(most, std::abs(double{x[k]}));
            for (std::size_t k = from; k < to; ++k) {
              const float number = x[k] * (127.0f / static_cast<float>(most));
              rounded[r * inputs + k] = static_cast<double>(std::nearbyint(number)) * most / 127;
            }
          }
        }
        std::vector<float> w(inputs);
        for (std::size_t n = 0; n < p.outputs; ++n) {
          p.matrix.read_row(n, w.data());
          for (std::size_t r = 0; r < rows; ++r) {
            double want = 0, size = 0, largest = 0;
            for (const float weight : w) largest = std::max(largest, std::abs(double{weight}));
            for (std::size_t k = 0; k < inputs; ++k) {
              want += rounded[r * inputs + k] * static_cast<double>(w[k]);
              size +=
                  std::abs(rounded[r * inputs + k]) * largest;  // of sums before the zero point's
            }
            EXPECT_NEAR(static_cast<double>(p.y[r * p.matrix.padded_outputs() + n]), want,
                        1e-6 * size + 1e-9)
                << codec->name << ", " << inputs << " inputs, row " << r << " of " << rows;
          }
        }
      }
    }
  }
}

/// Inputs in bytes too: every panel, tile and remainder against the integers by hand.
TEST(WordProducts, BytesAreMultipliedExactly) {
  for (const std::size_t outputs : {5u, 64u, 150u}) {
    Product p(codec_of<W8a8>(), outputs, 300, 15);
    p.run(2);
    std::vector<float> w(300);
    std::vector<std::byte> row(W8a8::row_bytes(300));
    for (std::size_t r = 0; r < p.rows; ++r) {
      W8a8::pack_row(&p.x[r * 300], 300, row.data());
      const auto tail = blockwise::get<W8a8::Tail>(row.data() + W8a8::padded(300));
      for (std::size_t n = 0; n < outputs; ++n) {
        p.matrix.read_row(n, w.data());
        double want = 0;
        for (std::size_t k = 0; k < 300; ++k) {
          const auto code = blockwise::get<std::int8_t>(row.data() + k);
          want += static_cast<double>(code) * static_cast<double>(w[k]);
        }
        want *= static_cast<double>(tail.scale);
        EXPECT_NEAR(static_cast<double>(p.y[r * p.matrix.padded_outputs() + n]), want,
                    1e-5 * std::abs(want) + 1e-3);
      }
    }
  }
}

}  // namespace
}  // namespace quire::testing
