// The product of a batch with a 2048 x 2048 matrix in each weight format, held as engines hold it (as a type
// or behind its codec), one thread, and what rounding to the format and back costs. One row reads
// the weights once and is bound by their bytes, many rows by multiply-adds. Eigen runs beside it in
// fp32 (its own bench name), as the library that is always at hand.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <Eigen/Dense>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/aligned.hpp>
#include <quire/core/pair_products.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/weight_format.hpp>

namespace {

using namespace quire;
using namespace quire::weight_format;
using Formats =
    type_list<Fp32, weight_format::Bf16, weight_format::Fp16, Int8Grouped<128>, Int4Grouped<128>,
              Int4ZeroPoint<128>, IntPerChannel<4>, IntPerChannel<4, true>,
              LinearOnly<Int4Grouped<64>>, Nf4, Fp4, Mxfp4, Nvfp4, Q80, A8<Q80>, Q40, A8<Q40>, Q4K,
              Q5K, Q6K, W8a8, Bf16W16a16, Fp8W8a8, LlmInt8, Sparse24, Bitmap<50>>;

/// QUIRE_BENCH_QUICK, which tests set, asks for a quick look.
const bool quick = std::getenv("QUIRE_BENCH_QUICK") != nullptr;
const std::size_t width = quick ? 256 : 2048;
const int largest = quick ? 1 : 512;  // MiB of matrices, and rows

std::vector<float> random(std::size_t n) {
  Rng rng(n);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(rng.uniform()) - 0.5f;
  return v;
}

model::MatrixSource source(const WeightCodec& codec) {
  const auto read = [](std::size_t first, std::size_t count, float* to) {
    Rng rng(first);
    for (std::size_t i = 0; i < count * width; ++i) {
      to[i] = static_cast<float>(rng.uniform()) - 0.5f;
    }
  };
  return {.outputs = width, .inputs = width, .read = read, .bias = {}, .codec = &codec};
}

/// Several copies of the matrix, together larger than the caches, taken in turn: as a model's layers.
template <class Storage>
void one_row(benchmark::State& state, const WeightCodec& codec, double weight_bytes) {
  ThreadPool one(1);
  std::vector<model::PanelMatrix<Storage>> layers;
  const auto copies = static_cast<std::size_t>(state.range(0) << 20) /
                      static_cast<std::size_t>(static_cast<double>(width * width) * weight_bytes);
  for (std::size_t i = 0; i < std::max<std::size_t>(1, copies); ++i) {
    layers.emplace_back(source(codec), one);
  }
  const auto x = random(width);
  std::vector<float> y(layers.front().padded_outputs());
  for (auto _ : state) {
    for (const auto& layer : layers) {
      layer.multiply(x.data(), width, 1, y.data(), y.size(), one);
      benchmark::DoNotOptimize(y.data());
    }
  }
  std::size_t bytes = 0;
  for (const auto& layer : layers) bytes += layer.bytes();
  quire_bench::count_bytes(state, static_cast<std::int64_t>(bytes));
  quire_bench::against(state, "read_memory");
}

/// The limit of a format's products.
std::string_view products_of(std::string_view format) {
  if (format == W8a8::name || format.ends_with("_a8")) return "byte_products";
  if (format == Bf16W16a16::name && simd::multiplies_pairs) return "bf16_products";
  return "fused_multiply_add";
}

/// Rounds a matrix of floats into panels, or widens the panels back, larger than the caches. A copy reads and
/// writes each of its bytes: so half of what is read and written here is counted, against a copy's rate.
/// Through the codec: what is timed is compiled already.
void convert(benchmark::State& state, const WeightCodec& codec, bool packing) {
  constexpr std::size_t outputs = 32;  // of a panel
  const std::size_t panels =
      static_cast<std::size_t>(state.range(0) << 20) / (outputs * width * sizeof(float));
  const std::size_t bytes = codec.panel_bytes(outputs, width);
  std::vector<float> rows = random(std::max<std::size_t>(1, panels) * outputs * width);
  AlignedArray<std::byte> memory(rows.size() / (outputs * width) * bytes);
  const auto pass = [&](bool in) {
    for (std::size_t p = 0; p * outputs * width < rows.size(); ++p) {
      float* values = rows.data() + p * outputs * width;
      std::byte* panel = memory.data() + p * bytes;
      if (in) {
        codec.pack(panel, outputs, width, values);
      } else {
        codec.unpack(panel, outputs, width, 0, width, values);
      }
    }
  };
  pass(true);
  for (auto _ : state) {
    pass(packing);
    benchmark::ClobberMemory();
  }
  quire_bench::count_bytes(
      state, static_cast<std::int64_t>((rows.size() * sizeof(float) + memory.size()) / 2));
  quire_bench::against(state, "memcpy_large");
}

template <class Storage>
void many_rows(benchmark::State& state, const WeightCodec& codec, std::string_view format) {
  ThreadPool one(1);
  const model::PanelMatrix<Storage> matrix(source(codec), one);
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto x = random(rows * width);
  std::vector<float> y(rows * matrix.padded_outputs());
  for (auto _ : state) {
    matrix.multiply(x.data(), width, rows, y.data(), matrix.padded_outputs(), one);
    benchmark::DoNotOptimize(y.data());
  }
  quire_bench::count_items(state, static_cast<std::int64_t>(2 * rows * width * width));
  quire_bench::against(state, products_of(format));
}

void eigen_many_rows(benchmark::State& state) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Rows w = Rows::Random(width, width), x = Rows::Random(state.range(0), width);
  Rows y(state.range(0), width);
  for (auto _ : state) {
    y.noalias() = x * w.transpose();
    benchmark::DoNotOptimize(y.data());
  }
  quire_bench::count_items(state, 2 * state.range(0) * static_cast<std::int64_t>(width * width));
  quire_bench::against(state, "fused_multiply_add");
}

const bool registered = [] {
  for_each_type(Formats{}, []<class Format>() {
    const std::string name(Format::name);
    benchmark::RegisterBenchmark(("one_row/" + name).c_str(),
                                 [](auto& s) {
                                   one_row<storage_of<Format>>(s, codec_of<Format>(),
                                                               Format::weight_bytes(width));
                                 })
        ->Arg(largest)  // MiB
        ->Unit(benchmark::kMillisecond);
    for (const bool packing : {true, false}) {
      benchmark::RegisterBenchmark(((packing ? "quantise/" : "dequantise/") + name).c_str(),
                                   [packing](auto& s) { convert(s, codec_of<Format>(), packing); })
          ->Arg(quick ? 1 : 256)  // MiB of floats
          ->Unit(benchmark::kMillisecond);
    }
    benchmark::RegisterBenchmark(
        ("many_rows/" + name).c_str(),
        [](auto& s) { many_rows<storage_of<Format>>(s, codec_of<Format>(), Format::name); })
        ->Arg(16)
        ->Arg(largest)
        ->Unit(benchmark::kMillisecond);
  });
  benchmark::RegisterBenchmark("many_rows/eigen_fp32", eigen_many_rows)
      ->Arg(16)
      ->Arg(largest)
      ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
