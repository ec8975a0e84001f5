// Layers that are the product of two matrices: the product itself, whole models, files, and who refuses them.
#include <quire/model/factored_matrix.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include <quire/checkpoint/gguf/save.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/core/rng.hpp>
#include <quire/model/bitsandbytes.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/tensor_parallel.hpp>
#include <quire/model/weight_cache.hpp>
#include <quire/model/weight_image.hpp>
#include <quire/model/weight_stream.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q8_0.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"
#include "tests/model/eigen_gemm.hpp"

namespace quire::model::factored {
namespace {

namespace fs = std::filesystem;
using quire::testing::golden;
using quire::testing::opened;
using quire::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using weight_format::codec_of;
using weight_format::Packed;

std::vector<float> numbers(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> out(count);
  for (float& v : out) v = static_cast<float>(rng.normal());
  return out;
}
MatrixSource of_numbers(std::size_t outputs, std::size_t inputs, const std::vector<float>& w,
                        std::vector<float> bias, const weight_format::WeightCodec& codec) {
  MatrixSource m;
  m.outputs = outputs;
  m.inputs = inputs;
  m.read = [w, inputs](std::size_t first, std::size_t count, float* to) {
    std::copy_n(w.data() + first * inputs, count * inputs, to);
  };
  m.bias = std::move(bias);
  m.codec = &codec;
  return m;
}
MatrixSource of_factors(std::size_t outputs, std::size_t rank, std::size_t inputs,
                        std::vector<float> bias, const weight_format::WeightCodec& codec,
                        std::uint64_t seed) {
  MatrixSource m;
  m.outputs = outputs;
  m.inputs = inputs;
  m.codec = &codec;
  m.factors = std::make_shared<const FactorSources>(FactorSources{
      of_numbers(rank, inputs, numbers(rank * inputs, seed), {}, codec),
      of_numbers(outputs, rank, numbers(outputs * rank, seed + 1), std::move(bias), codec)});
  return m;
}

/// Queries and values as factors, keys whole, as q on top of k on top of v; and one matrix alone.
template <class Format>
void expect_products(const weight_format::WeightCodec& codec, double tolerance) {
  SCOPED_TRACE(codec.name);
  constexpr std::size_t inputs = 96, rows = 130;
  const auto bias = [](std::size_t n) { return numbers(n, n); };
  std::vector<MatrixSource> parts;
  parts.push_back(of_factors(70, 9, inputs, bias(70), codec, 1));
  parts.push_back(of_numbers(10, inputs, numbers(10 * inputs, 3), bias(10), codec));
  parts.push_back(of_factors(33, 65, inputs, bias(33), codec, 4));
  const MatrixSource sources[] = {stack(std::move(parts)),
                                  of_factors(40, 7, inputs, bias(40), codec, 6)};
  const std::size_t ranks[] = {9 + 65, 7};
  for (std::size_t which = 0; which < 2; ++which) {
    SCOPED_TRACE(which);
    ThreadPool one(1), three(3);
    const FactoredMatrix<PanelMatrix<Format>> m(sources[which], one);
    ASSERT_TRUE(m.factored());
    EXPECT_FALSE(m.empty());
    EXPECT_FALSE(m.halves());
    EXPECT_EQ(m.outputs(), sources[which].outputs);
    EXPECT_EQ(m.inputs(), inputs);
    EXPECT_EQ(m.between(), ranks[which]);
    const std::size_t n = m.outputs(), stride = m.padded_outputs() + 3;
    ASSERT_GE(m.padded_outputs(), n);
    const std::vector<float> x = numbers(rows * inputs, 9);
    std::vector<float> all(rows * stride), again(rows * stride), single(stride), w(inputs);
    m.multiply(x.data(), inputs, rows, all.data(), stride, three);
    m.multiply(x.data(), inputs, rows, again.data(), stride, one);
    EXPECT_EQ(all, again);
    std::vector<float> biases;
    if (sources[which].parts != nullptr) {
      for (const MatrixSource& part : *sources[which].parts) {
        const std::vector<float>& b = part.factors ? part.factors->out.bias : part.bias;
        biases.insert(biases.end(), b.begin(), b.end());
      }
    } else {
      biases = sources[which].factors->out.bias;
    }
    for (const std::size_t r : {std::size_t{0}, std::size_t{1}, rows - 1}) {
      m.multiply(x.data() + r * inputs, inputs, 1, single.data(), stride, one);
      EXPECT_TRUE(std::equal(single.begin(), single.begin() + static_cast<std::ptrdiff_t>(n),
                             all.begin() + static_cast<std::ptrdiff_t>(r * stride)));
      for (std::size_t o = 0; o < n; ++o) {
        m.read_row(o, w.data());
        double want = static_cast<double>(biases[o]);
        for (std::size_t k = 0; k < inputs; ++k) {
          want += static_cast<double>(w[k]) * static_cast<double>(x[r * inputs + k]);
        }
        ASSERT_NEAR(static_cast<double>(all[r * stride + o]), want, tolerance) << o;
      }
    }
  }
}

TEST(FactoredMatrix, IsTheProductOfItsFactorsInEveryFormat) {
  expect_products<weight_format::Fp32>(codec_of<weight_format::Fp32>(), 2e-3);
  expect_products<weight_format::Bf16>(codec_of<weight_format::Bf16>(), 2e-3);
  expect_products<Packed>(codec_of<weight_format::Q80>(), 2e-3);
  expect_products<Packed>(codec_of<weight_format::Q40>(), 2e-3);
  expect_products<Packed>(codec_of<weight_format::Int4Grouped<32>>(), 2e-3);
}

TEST(FactoredMatrix, FactorsFillWholePanels) {
  ThreadPool one(1);
  const auto& codec = codec_of<weight_format::Fp32>();
  using Panels = PanelMatrix<weight_format::Fp32>;
  const FactoredMatrix<Panels> m(of_factors(40, 7, 96, {}, codec, 6), one);
  const auto padded = [](std::size_t n) { return simd::round_up(n, Panels::panel_outputs); };
  EXPECT_EQ(m.bytes(), sizeof(float) * (padded(7) * 96 + padded(40) * 7));
  const FactoredMatrix<Panels> whole(of_numbers(40, 96, numbers(40 * 96, 1), {}, codec), one);
  EXPECT_FALSE(whole.factored());
  EXPECT_EQ(whole.bytes(), sizeof(float) * padded(40) * 96);
  EXPECT_EQ(whole.between(), 0u);
}

/// A model whose layers are factors (but for some), and the same with their products in place of them.
struct Pair {
  checkpoint::Checkpoint factored, dense;
  std::size_t layers = 0;  // that are factors
};
Pair pair_of(const std::string& name) {
  const checkpoint::Checkpoint model = golden(name);
  checkpoint::TensorList factored, dense;
  factored.keep(model.tensors);
  dense.keep(model.tensors);
  Pair out{model, model};
  std::uint64_t seed = 1;
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    bool linear = false;
    for (const char* n : {"q_proj", "v_proj", "o_proj", "out_proj", "up_proj", "down_proj",
                          "c_attn", "c_proj", "c_fc", "fc1", "fc2", "w1", "w2"}) {
      linear = linear || t.name.ends_with("." + std::string(n) + ".weight");
    }
    if (!linear || t.shape.size() != 2) {
      factored.add(t);
      dense.add(t);
      continue;
    }
    ++out.layers;
    const bool turned = model.config.transposed_linear;
    const std::int64_t outputs = t.shape[turned ? 1 : 0], inputs = t.shape[turned ? 0 : 1];
    const auto m = static_cast<std::size_t>(outputs), n = static_cast<std::size_t>(inputs);
    const std::size_t rank = 3 + out.layers % 4;
    std::vector<float> a = numbers(rank * n, seed++), b = numbers(m * rank, seed++), w(m * n);
    for (float& v : a) v /= 8;
    for (float& v : b) v /= 4;
    for (std::size_t o = 0; o < m; ++o) {
      for (std::size_t k = 0; k < n; ++k) {
        double sum = 0;
        for (std::size_t r = 0; r < rank; ++r) {
          sum += static_cast<double>(b[o * rank + r]) * static_cast<double>(a[r * n + k]);
        }
        w[turned ? k * m + o : o * n + k] = static_cast<float>(sum);
      }
    }
    const std::string stem(t.name.substr(0, t.name.rfind('.')));
    const auto r = static_cast<std::int64_t>(rank);
    using checkpoint::DType;
    factored.add(stem + ".low_rank_in", DType::f32, {r, inputs}, std::move(a));
    factored.add(stem + ".low_rank_out", DType::f32, {outputs, r}, std::move(b));
    dense.add(std::string(t.name), DType::f32, {t.shape.begin(), t.shape.end()}, std::move(w));
  }
  out.factored.tensors = factored.set("factored " + name);
  out.dense.tensors = dense.set("dense " + name);
  return out;
}
const std::vector<TokenId> words = {5, 100, 3, 77, 20, 0, 9, 41, 41, 8, 63};

template <class Format>
std::vector<float> logits_of(const checkpoint::Checkpoint& c, std::size_t threads,
                             const weight_format::WeightCodec& codec) {
  ThreadPool pool(threads);
  const Decoder<Format> decoder(c.config, c.tensors, pool, codec);
  return full_logits(decoder, words, pool);
}

TEST(FactoredMatrix, AModelOfFactorsSaysWhatItsProductsSay) {
  for (const char* name : {"llama", "qwen2", "qwen3", "opt", "gpt2", "mixtral"}) {
    SCOPED_TRACE(name);
    const Pair pair = pair_of(name);
    ASSERT_GT(pair.layers, 4u);
    const auto& fp32 = codec_of<weight_format::Fp32>();
    const auto got = logits_of<weight_format::Fp32>(pair.factored, 1, fp32);
    const auto want = logits_of<weight_format::Fp32>(pair.dense, 1, fp32);
    ASSERT_EQ(got.size(), want.size());
    float most = 0;
    for (const float v : want) most = std::max(most, std::abs(v));
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5f * most) << i;
    EXPECT_EQ(got, logits_of<weight_format::Fp32>(pair.factored, 3, fp32));
    EXPECT_EQ(got, logits_of<weight_format::Fp32>(pair.factored, 2, fp32));
    const auto& q8 = codec_of<weight_format::LinearOnly<weight_format::Q80>>();
    EXPECT_EQ(logits_of<Packed>(pair.factored, 1, q8), logits_of<Packed>(pair.factored, 3, q8));
  }
}

/// Rows of a batch do not change each other's bits, and the switch of fused gates changes none.
TEST(FactoredMatrix, ATokenAtATimeIsTheSame) {
  const Pair pair = pair_of("llama");
  ThreadPool threads(2);
  const Decoder<weight_format::Fp32> decoder(pair.factored.config, pair.factored.tensors, threads);
  const auto whole = full_logits(decoder, words, threads);
  kv_format::Arena<kv_format::Fp32> arena(decoder.config().shape, 1, 64);
  const std::vector<BlockId> table = {{0}};
  std::vector<float> row(decoder.logits_stride());
  for (std::size_t t = 0; t < words.size(); ++t) {
    Batch batch;
    batch.add(std::span(words).subspan(t, 1), static_cast<std::int64_t>(t), table);
    batch.logits_rows = {0};
    Activations memory;
    if (t % 2 == 1) memory.fusion = no_fusion;
    decoder.forward(batch, arena, memory, threads, row.data());
    EXPECT_TRUE(std::equal(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(decoder.vocab()),
                           whole.begin() + static_cast<std::ptrdiff_t>(t * decoder.vocab())));
    EXPECT_EQ(memory.load.bytes, static_cast<std::int64_t>(decoder.weights().bytes() -
                                                           decoder.weights().embedding.bytes()));
  }
}

TEST(FactoredMatrix, GoesThroughAFile) {
  const Pair pair = pair_of("llama");
  const TempDir folder;
  const std::string path = folder.path() / "factored";
  checkpoint::save_checkpoint(pair.factored, path);
  const auto& fp32 = codec_of<weight_format::Fp32>();
  EXPECT_EQ(logits_of<weight_format::Fp32>(opened(path), 1, fp32),
            logits_of<weight_format::Fp32>(pair.factored, 1, fp32));
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// The file's name and the tensor's are in the error when a half is gone, or of another shape or type.
TEST(FactoredMatrix, DamagedFilesAreRefused) {
  const Pair pair = pair_of("llama");
  const TempDir folder;
  const std::string layer = "model.layers.1.mlp.up_proj";
  int files = 0;
  const auto load = [&](const auto& edit) {
    std::vector<checkpoint::TensorSet::Entry> entries;
    for (const checkpoint::TensorView& t : pair.factored.tensors.all()) {
      checkpoint::TensorSet::Entry e{
          std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}, t.bytes};
      if (edit(e)) entries.push_back(std::move(e));
    }
    checkpoint::Checkpoint damaged = pair.factored;
    damaged.tensors =
        checkpoint::TensorSet("damaged", std::move(entries),
                              {std::make_shared<checkpoint::TensorSet>(pair.factored.tensors)});
    const std::string path = folder.path() / ("damaged" + std::to_string(++files));
    checkpoint::save_checkpoint(damaged, path);
    return error_of([&] {
      (void)logits_of<weight_format::Fp32>(opened(path), 1, codec_of<weight_format::Fp32>());
    });
  };
  EXPECT_EQ(load([](auto&) { return true; }), "no error");
  for (const char* half : {".low_rank_in", ".low_rank_out"}) {
    EXPECT_THAT(load([&](auto& e) { return e.name != layer + half; }),
                AllOf(HasSubstr("damaged"), HasSubstr("there is no tensor \"" + layer + half)));
    EXPECT_THAT(load([&](auto& e) {
                  if (e.name == layer + half) e.dtype = checkpoint::DType::i32;
                  return true;
                }),
                AllOf(HasSubstr(layer + half), HasSubstr("I32")));
    EXPECT_THAT(load([&](auto& e) {
                  if (e.name == layer + half) std::swap(e.shape[0], e.shape[1]);
                  return true;
                }),
                AllOf(HasSubstr("damaged"), HasSubstr(layer + half), HasSubstr("has shape")));
    EXPECT_THAT(load([&](auto& e) {  // rank 0, or ranks that differ
                  if (e.name != layer + half) return true;
                  e.shape[std::string_view(half) == ".low_rank_in" ? 0 : 1] = 0;
                  e.bytes = {};
                  return true;
                }),
                AllOf(HasSubstr("damaged"), HasSubstr(layer + half), HasSubstr("has shape")));
  }
}

/// One sentence each, and nothing is left behind.
TEST(FactoredMatrix, WhoCannotTakeItSaysSo) {
  const Pair pair = pair_of("llama");
  const checkpoint::Checkpoint& model = pair.factored;
  const TempDir folder;
  ThreadPool threads(1);
  const std::string image = folder.path() / "image";
  const auto& q8 = codec_of<weight_format::Q80>();
  EXPECT_THAT(
      error_of([&] { save_weight_image<Packed>(model, q8, image, threads); }),
      AllOf(HasSubstr("factored llama"), HasSubstr("is stored as the product of two matrices"),
            HasSubstr("images of weights do not hold")));
  EXPECT_FALSE(fs::exists(image));
  EXPECT_THAT(error_of([&] {
                (void)load_weights<weight_format::Fp32, model::testing::EigenGemm>(
                    model.config, model.tensors, threads);
              }),
              AllOf(HasSubstr("factored llama"), HasSubstr("this executor does not take")));
  EXPECT_THAT(error_of([&] { (void)share_of_rank(model, 0, 2); }), HasSubstr("low rank"));
  EXPECT_THAT(error_of([&] {
                checkpoint::save_gguf(model, folder.path() / "m.gguf", checkpoint::DType::f32);
              }),
              HasSubstr("low rank, which GGUF has no place for"));
  EXPECT_FALSE(fs::exists(folder.path() / "m.gguf"));
  EXPECT_THAT(error_of([&] {
                (void)to_bitsandbytes(model, checkpoint::Quantisation::Layout::bitsandbytes_nf4);
              }),
              HasSubstr("stored as factors of low rank"));
  const auto weights = load_weights<Packed>(model.config, model.tensors, threads, q8);
  EXPECT_THAT(error_of([&] { (void)stream_of(weights, 1 << 20); }), HasSubstr("low rank"));
}

/// A start with a cache is a start without one, and leaves nothing there.
TEST(FactoredMatrix, TheCacheOfPackedWeightsLeavesItAlone) {
  const Pair pair = pair_of("llama");
  const TempDir folder;
  const std::string path = folder.path() / "factored";
  checkpoint::save_checkpoint(pair.factored, path);
  const checkpoint::Checkpoint model = opened(path);
  ThreadPool threads(1);
  const WeightCache cache{.directory = folder.path() / "cache"};
  const auto same =
      with_cached_weights<Packed>(model, codec_of<weight_format::Q80>(), cache, threads);
  EXPECT_FALSE(same.config.packed.has_value());
  EXPECT_EQ(same.tensors.where(), model.tensors.where());
  EXPECT_FALSE(fs::exists(cache.directory));
}

}  // namespace
}  // namespace quire::model::factored
