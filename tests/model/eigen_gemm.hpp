#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include <Eigen/Dense>

#include <quire/model/gemm.hpp>

namespace quire::model::testing {

/// The product by Eigen, over an unpacked copy of the weights: the oracle of PanelGemm, and a
/// second implementation behind the seam. Its blocking follows the batch, so it keeps values but
/// not bits.
struct EigenGemm {
  static constexpr std::string_view name = "eigen";

  template <WeightFormatPolicy Format>
  class Matrix {
    using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using Strided = Eigen::Stride<Eigen::Dynamic, 1>;

   public:
    Matrix() = default;
    Matrix(const MatrixSource& source, ThreadPool& threads) {
      const PanelMatrix<Format> packed(source, threads);  // for the format's rounding
      weights_.resize(static_cast<Eigen::Index>(source.outputs),
                      static_cast<Eigen::Index>(source.inputs));
      bias_ = Eigen::VectorXf::Zero(static_cast<Eigen::Index>(source.outputs));
      for (std::size_t n = 0; n < source.outputs; ++n) {
        packed.read_row(n, weights_.data() + n * source.inputs);
        if (!source.bias.empty()) bias_[static_cast<Eigen::Index>(n)] = source.bias[n];
      }
    }
    [[nodiscard]] std::size_t outputs() const { return static_cast<std::size_t>(weights_.rows()); }
    [[nodiscard]] std::size_t inputs() const { return static_cast<std::size_t>(weights_.cols()); }
    [[nodiscard]] std::size_t padded_outputs() const { return outputs(); }
    [[nodiscard]] std::size_t bytes() const {
      return static_cast<std::size_t>(weights_.size()) * sizeof(float);
    }
    [[nodiscard]] bool empty() const { return weights_.size() == 0; }
    void read_row(std::size_t output, float* values) const {
      Eigen::Map<Eigen::RowVectorXf>(values, weights_.cols()) =
          weights_.row(static_cast<Eigen::Index>(output));
    }
    void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                  std::size_t y_stride, ThreadPool&) const {
      const auto m = static_cast<Eigen::Index>(rows);
      const Eigen::Map<const Rows, 0, Strided> in(x, m, weights_.cols(),
                                                  Strided(static_cast<Eigen::Index>(x_stride), 1));
      Eigen::Map<Rows, 0, Strided> out(y, m, weights_.rows(),
                                       Strided(static_cast<Eigen::Index>(y_stride), 1));
      out.noalias() = in * weights_.transpose();
      out.rowwise() += bias_.transpose();
    }

   private:
    Rows weights_;
    Eigen::VectorXf bias_;
  };
};

}  // namespace quire::model::testing
