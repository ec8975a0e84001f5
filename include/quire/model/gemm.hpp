#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

#include <quire/core/thread_pool.hpp>
#include <quire/model/factored_matrix.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::model {

/// A weight matrix that can be multiplied with a batch of rows.
/// Built from a MatrixSource; multiply(x, x_stride, rows, y, y_stride, threads) writes
/// y = x W^T + bias, padded_outputs() floats a row. Promise: a row of y depends on its row of x
/// alone, bit for bit. A library whose blocking follows the batch breaks it, and with it every
/// equality between batched, chunked and single runs.
template <class M>
concept WeightMatrix = std::constructible_from<M, const MatrixSource&, ThreadPool&> &&
    std::default_initializable<M> &&
    requires(const M& matrix, const float* x, float* y, std::size_t n, ThreadPool& threads) {
  { matrix.outputs() } -> std::same_as<std::size_t>;
  { matrix.inputs() } -> std::same_as<std::size_t>;
  { matrix.padded_outputs() } -> std::same_as<std::size_t>;
  { matrix.bytes() } -> std::same_as<std::size_t>;
  { matrix.empty() } -> std::same_as<bool>;
  { matrix.read_row(n, y) } -> std::same_as<void>;
  { matrix.multiply(x, n, n, y, n, threads) } -> std::same_as<void>;
};

/// The seam behind which a matrix product of another library fits: its matrix per weight format.
template <class G, class Format>
concept GemmFor = requires {
  { G::name } -> std::convertible_to<std::string_view>;
}
&&WeightMatrix<typename G::template Matrix<Format>>;

/// Quire's own product over packed panels, of factors one after the other; the default.
struct PanelGemm {
  static constexpr std::string_view name = "panel";
  template <weight_format::WeightStorage Format>
  using Matrix = FactoredMatrix<PanelMatrix<Format>>;
};
static_assert(GemmFor<PanelGemm, weight_format::Fp32>);

}  // namespace quire::model
