#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/aligned.hpp>
#include <quire/core/rng.hpp>

/// Panels of formats that keep some of the weights alone.
namespace quire::testing {

[[nodiscard]] inline std::vector<float> normal_numbers(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(rng.normal());
  return v;
}

/// A packed panel, what read() says of it, and its products, added to ones.
template <class Format>
struct StoredPanel {
  std::size_t outputs, inputs;
  AlignedArray<std::byte> bytes;
  std::vector<float> kept;  // \shape (outputs, inputs)

  StoredPanel(std::size_t n, std::size_t k, const std::vector<float>& weights)
      : outputs(n), inputs(k), bytes(Format::panel_bytes(n, k)), kept(n * k) {
    Format::pack(bytes.data(), n, k, weights.data());
    for (std::size_t i = 0; i < n; ++i) {
      Format::read(bytes.data(), n, k, i, kept.data() + i * k);
    }
  }
  [[nodiscard]] std::vector<float> multiply(const std::vector<float>& x, std::size_t rows) const {
    AlignedArray<std::byte> packed(rows * Format::row_bytes(inputs));
    for (std::size_t r = 0; r < rows; ++r) {
      Format::pack_row(x.data() + r * inputs, inputs,
                       packed.data() + r * Format::row_bytes(inputs));
    }
    std::vector<float> y(rows * outputs, 1.0f);
    Format::add_products(bytes.data(), outputs, inputs, packed.data(), rows, y.data(), outputs);
    return y;
  }
};

/// Whatever the number of rows, and so whichever way they are multiplied, a row's result is the same to
/// the bit, and that of the kept weights in double but for fp32's rounding.
template <class Format>
void expect_products_of_kept_weights() {
  for (const std::size_t outputs : {std::size_t{64}, std::size_t{128}, std::size_t{7}}) {
    for (const std::size_t inputs :
         {std::size_t{1}, std::size_t{16}, std::size_t{64}, std::size_t{300}, std::size_t{513}}) {
      const StoredPanel<Format> p(outputs, inputs,
                                  normal_numbers(outputs * inputs, outputs + inputs));
      constexpr std::size_t most = 19;
      const auto x = normal_numbers(most * inputs, 7);
      const auto all = p.multiply(x, most);
      for (std::size_t r = 0; r < most; ++r) {
        for (std::size_t n = 0; n < outputs; ++n) {
          double want = 1, size = 1;
          for (std::size_t k = 0; k < inputs; ++k) {
            const double term = static_cast<double>(x[r * inputs + k]) *
                                static_cast<double>(p.kept[n * inputs + k]);
            want += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(all[r * outputs + n], want, 1e-6 * size) << outputs << ' ' << inputs;
        }
      }
      for (std::size_t rows = 1; rows < most; ++rows) {
        const auto some = p.multiply(x, rows);
        for (std::size_t i = 0; i < some.size(); ++i) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(some[i]), std::bit_cast<std::uint32_t>(all[i]))
              << rows << " rows of " << inputs << " inputs, " << outputs << " outputs";
        }
      }
    }
  }
}

template <class Format>
void expect_any_part_unpacks() {
  for (const std::size_t outputs : {std::size_t{64}, std::size_t{5}}) {
    const StoredPanel<Format> p(outputs, 100, normal_numbers(outputs * 100, 3));
    for (const std::size_t first : {std::size_t{0}, std::size_t{16}, std::size_t{5}}) {
      for (const std::size_t count : {std::size_t{1}, std::size_t{16}, std::size_t{50}}) {
        std::vector<float> got(count * outputs);
        Format::unpack(p.bytes.data(), outputs, 100, first, count, got.data());
        for (std::size_t k = 0; k < count; ++k) {
          for (std::size_t n = 0; n < outputs; ++n) {
            ASSERT_EQ(got[k * outputs + n], p.kept[n * 100 + first + k]) << first << ' ' << count;
          }
        }
      }
    }
  }
}

}  // namespace quire::testing
