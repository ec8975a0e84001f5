// mechanism: matrices of which some are stored as the product of two
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <quire/core/thread_pool.hpp>
#include <quire/model/matrix.hpp>
#include <quire/model/packed_matrix.hpp>

namespace quire::model {

/// A weight matrix as Matrix has it, or, where its source says so, matrices on top of each other of which
/// each is one or the product of two: W = out in, multiplied one after the other. All first factors are one
/// product; every second one adds its bias. Factors are in any format that Matrix takes, and fill whole
/// panels each: of a small rank a first factor takes more memory than its numbers.
/// As long as Matrix keeps the promise, a row of y depends on its row of x alone, bit for bit.
template <class Matrix>
class FactoredMatrix {
 public:
  FactoredMatrix() = default;
  FactoredMatrix(const MatrixSource& source, ThreadPool& threads) {
    if (!source.is_factored()) {
      whole_ = Matrix(source, threads);
      return;
    }
    inputs_ = source.inputs;
    std::vector<MatrixSource> all{source};
    if (source.parts != nullptr) all = *source.parts;
    std::vector<MatrixSource> first;
    first.reserve(all.size());
    parts_.reserve(all.size());
    for (const MatrixSource& part : all) {
      const FactorSources* const factors = part.factors.get();
      Part made{Matrix(factors != nullptr ? factors->out : part, threads), outputs_, between_,
                factors != nullptr};
      if (factors != nullptr) {
        first.push_back(factors->in);
        between_ += factors->in.outputs;
      }
      outputs_ += part.outputs;
      padded_ = std::max(padded_, made.at + made.matrix.padded_outputs());
      parts_.push_back(std::move(made));
    }
    first_ = Matrix(stack(std::move(first)), threads);
  }

  /// Whether it is a product of two, in part or all of it.
  [[nodiscard]] bool factored() const { return !parts_.empty(); }
  [[nodiscard]] std::size_t outputs() const { return factored() ? outputs_ : whole_.outputs(); }
  [[nodiscard]] std::size_t inputs() const { return factored() ? inputs_ : whole_.inputs(); }
  [[nodiscard]] std::size_t padded_outputs() const {
    return factored() ? padded_ : whole_.padded_outputs();
  }
  /// Numbers of a row that lie between first and second factors: their ranks; 0 of a whole matrix.
  [[nodiscard]] std::size_t between() const { return between_; }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = whole_.bytes() + first_.bytes();
    for (const Part& part : parts_) all += part.matrix.bytes();
    return all;
  }
  [[nodiscard]] bool empty() const { return outputs() == 0; }

  /// What follows is of a whole matrix; see PanelMatrix.
  void fetch(bool alone) const { whole_.fetch(alone); }
  /// \pre not factored()
  [[nodiscard]] PackedMatrix packed() const { return whole_.packed(); }
  [[nodiscard]] bool halves() const { return !factored() && whole_.halves(); }
  [[nodiscard]] bool by_library(std::size_t rows) const { return whole_.by_library(rows); }
  /// \pre halves()
  template <class Join>
  void multiply_halves(const float* x, std::size_t x_stride, std::size_t rows, ThreadPool& threads,
                       const Join& join) const {
    whole_.multiply_halves(x, x_stride, rows, threads, join);
  }

  /// Reads one row of W back as fp32, of factors their product. \shape values (inputs)
  void read_row(std::size_t output, float* values) const {
    if (!factored()) return whole_.read_row(output, values);
    const auto above = [&](const Part& p) { return p.at <= output; };
    const Part& part = *(std::partition_point(parts_.begin(), parts_.end(), above) - 1);
    if (!part.factored) return part.matrix.read_row(output - part.at, values);
    std::vector<float> factors(part.matrix.inputs()), row(inputs_);
    part.matrix.read_row(output - part.at, factors.data());
    std::fill_n(values, inputs_, 0.0f);
    for (std::size_t r = 0; r < factors.size(); ++r) {
      first_.read_row(part.between + r, row.data());
      for (std::size_t k = 0; k < inputs_; ++k) values[k] += factors[r] * row[k];
    }
  }

  /// y = x W^T + bias. \shape x (rows, inputs); y (rows, padded_outputs)
  void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                std::size_t y_stride, ThreadPool& threads) const {
    if (!factored()) return whole_.multiply(x, x_stride, rows, y, y_stride, threads);
    const std::size_t wide = first_.padded_outputs();
    auto* const middle = reinterpret_cast<float*>(threads.scratch(rows * wide * sizeof(float), 1));
    first_.multiply(x, x_stride, rows, middle, wide, threads);
    // in this order: what fills a part's last panel lies where the next part begins
    for (const Part& part : parts_) {
      part.matrix.multiply(part.factored ? middle + part.between : x,
                           part.factored ? wide : x_stride, rows, y + part.at, y_stride, threads);
    }
  }

 private:
  struct Part {
    Matrix matrix;            // the second factor, or all
    std::size_t at = 0;       // of its outputs among all
    std::size_t between = 0;  // of its inputs among those of all second factors
    bool factored = false;
  };
  Matrix whole_;  // or:
  Matrix first_;
  std::vector<Part> parts_;
  std::size_t outputs_ = 0, inputs_ = 0, padded_ = 0, between_ = 0;
};

}  // namespace quire::model
