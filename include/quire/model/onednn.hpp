#pragma once

// oneDNN is optional, and of its interfaces the C one costs no compile time. Who calls what is declared
// here links dnnl and OpenMP (cmake/FindoneDNN.cmake).
#if __has_include(<oneapi/dnnl/dnnl.h>) && __has_include(<omp.h>)
#include <oneapi/dnnl/dnnl_version.h>
#if DNNL_VERSION_MAJOR == 2
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/simd.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <quire/weight_format/codec.hpp>

/// Products of many rows of bf16 by oneDNN, which reads the panels of Bf16W16a16 as they lie.
namespace quire::model::onednn {

namespace detail {

inline void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success) {
    throw state_error(
        "oneDNN",
        std::string(what) + " ended with status " + std::to_string(static_cast<int>(status)),
        "dnnl_success");
  }
}

inline dnnl_engine_t engine() {
  static const dnnl_engine_t one = [] {
    dnnl_engine_t e{};
    check(dnnl_engine_create(&e, dnnl_cpu, 0), "engine");
    return e;
  }();
  return one;
}

/// A product of one shape, and the thread's own handles of its operands.
class Product {
 public:
  Product(std::size_t outputs, std::size_t inputs, std::size_t count, std::size_t y_stride)
      : shape_{outputs, inputs, count, y_stride} {
    using Weights = weight_format::Bf16W16a16;
    const auto n = static_cast<dnnl_dim_t>(outputs), k = static_cast<dnnl_dim_t>(inputs),
               m = static_cast<dnnl_dim_t>(count);
    const dnnl_dims_t x_sizes{m, k}, w_sizes{k, n}, y_sizes{m, n};
    const dnnl_dims_t x_steps{static_cast<dnnl_dim_t>(Weights::row_bytes(inputs) / 2), 1};
    const dnnl_dims_t y_steps{static_cast<dnnl_dim_t>(y_stride), 1};
    dnnl_memory_desc_t x{}, w{}, y{};
    check(dnnl_memory_desc_init_by_strides(&x, 2, x_sizes, dnnl_bf16, x_steps), "rows");
    check(dnnl_memory_desc_init_by_tag(&w, 2, w_sizes, dnnl_bf16, dnnl_BA16a64b2a), "panels");
    check(dnnl_memory_desc_init_by_strides(&y, 2, y_sizes, dnnl_f32, y_steps), "results");
    dnnl_matmul_desc_t product{};
    check(dnnl_matmul_desc_init(&product, &x, &w, nullptr, &y), "product");
    dnnl_primitive_desc_t described{};
    check(dnnl_primitive_desc_create(&described, &product, nullptr, engine(), nullptr),
          "description");
    const char* implementation = "";
    check(dnnl_primitive_desc_query(described, dnnl_query_impl_info_str, 0, &implementation),
          "name");
    // Of shapes that it has no kernel for, it has plain loops, a thousand times slower.
    compiled_ = std::string_view(implementation).substr(0, 3) != "ref";
    check(dnnl_primitive_create(&primitive_, described), "primitive");
    dnnl_primitive_desc_destroy(described);
    check(dnnl_stream_create(&stream_, engine(), dnnl_stream_default_flags), "stream");
    for (const auto& [desc, at] : {std::pair{&x, 0}, std::pair{&w, 1}, std::pair{&y, 2}}) {
      check(dnnl_memory_create(&operands_[static_cast<std::size_t>(at)], desc, engine(),
                               DNNL_MEMORY_NONE),
            "operand");
    }
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() {
    for (const dnnl_memory_t operand : operands_) dnnl_memory_destroy(operand);
    dnnl_stream_destroy(stream_);
    dnnl_primitive_destroy(primitive_);
  }
  [[nodiscard]] bool compiled() const { return compiled_; }
  [[nodiscard]] bool is(const std::array<std::size_t, 4>& shape) const { return shape == shape_; }
  void run(const std::byte* panels, const std::byte* rows, float* y) const {
    const auto bytes = [](const std::byte* p) {
      return const_cast<void*>(
          static_cast<const void*>(p));  // not written: its interface has no const
    };
    check(dnnl_memory_set_data_handle(operands_[0], bytes(rows)), "rows");
    check(dnnl_memory_set_data_handle(operands_[1], bytes(panels)), "panels");
    check(dnnl_memory_set_data_handle(operands_[2], y), "results");
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, operands_[0]},
                                         {DNNL_ARG_WEIGHTS, operands_[1]},
                                         {DNNL_ARG_DST, operands_[2]}};
    check(dnnl_primitive_execute(primitive_, stream_, 3, arguments), "product");
    check(dnnl_stream_wait(stream_), "product");
  }

 private:
  std::array<std::size_t, 4> shape_;
  bool compiled_ = false;
  dnnl_primitive_t primitive_{};
  dnnl_stream_t stream_{};
  std::array<dnnl_memory_t, 3> operands_{};
};

/// WeightCodec::multiply_many. Runs on the thread that calls it alone; a model has few shapes, which each
/// thread keeps.
inline bool multiply_many(const std::byte* panels, std::size_t outputs, std::size_t inputs,
                          const std::byte* rows, std::size_t count, float* y,
                          std::size_t y_stride) {
  thread_local std::vector<std::unique_ptr<Product>> products;
  omp_set_num_threads(1);
  const std::array<std::size_t, 4> shape{outputs, inputs, count, y_stride};
  auto found = std::find_if(products.begin(), products.end(),
                            [&](const auto& product) { return product->is(shape); });
  if (found == products.end()) {
    constexpr std::size_t most = 64;  // prompts have any length
    if (products.size() == most) products.erase(products.begin());
    products.push_back(std::make_unique<Product>(outputs, inputs, count, y_stride));
    found = products.end() - 1;
  }
  if (!(*found)->compiled()) return false;
  (*found)->run(panels, rows, y);
  return true;
}

}  // namespace detail

/// Rows from which on oneDNN's product of a (2048, 2048) matrix is the faster one, measured now on this
/// thread: the medians of nine turns of both. 0: never.
[[nodiscard]] inline std::size_t crossover() {
  using Weights = weight_format::Bf16W16a16;
  constexpr std::size_t wide = 2048, panel = PanelMatrix<Weights>::panel_outputs;
  AlignedArray<std::byte> panels(wide / panel * Weights::panel_bytes(panel, wide));
  for (const std::size_t rows : {8, 16, 32, 64, 128, 256}) {
    const AlignedArray<std::byte> x(rows * Weights::row_bytes(wide));
    AlignedArray<float> y(rows * wide);
    const auto seconds = [&](const auto& body) {
      const auto begin = std::chrono::steady_clock::now();
      body();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    bool known = true;
    std::array<double, 9> ratios{};
    for (double& ratio : ratios) {
      const double ours = seconds([&] {
        for (std::size_t p = 0; p < wide / panel; ++p) {
          Weights::add_products(panels.data() + p * Weights::panel_bytes(panel, wide), panel, wide,
                                x.data(), rows, y.data() + p * panel, wide);
        }
      });
      const double theirs = seconds([&] {
        known = detail::multiply_many(panels.data(), wide, wide, x.data(), rows, y.data(), wide);
      });
      if (!known) return 0;
      ratio = ours / theirs;
    }
    std::sort(ratios.begin(), ratios.end());
    if (ratios[ratios.size() / 2] > 1) return rows;
  }
  return 0;
}

/// The codec of Bf16W16a16 whose products of at least `many` rows are oneDNN's. A row's bits then depend
/// on how many rows are multiplied with it. many: crossover(), or at least 1
/// Verdict on two cores of AMD Zen 5 and oneDNN 2.6, in CPU time beside other work: one call for all
/// outputs is 6 to 13 % ahead of our own product; shared out among our threads, from 10 % behind to 5 %
/// ahead of it, at 8 to 512 rows.
/// \pre panels of 64 outputs, those of processors with vectors of 512 bits
[[nodiscard]] inline weight_format::WeightCodec codec(std::size_t many) {
  static_assert(simd::lanes != 16 || PanelMatrix<weight_format::Bf16W16a16>::panel_outputs == 64);
  weight_format::WeightCodec c = weight_format::codec_of<weight_format::Bf16W16a16>();
  if (simd::lanes == 16 && many > 0) {
    c.multiply_many = &detail::multiply_many;
    c.many = many;
  }
  return c;
}

}  // namespace quire::model::onednn

#endif
#endif
