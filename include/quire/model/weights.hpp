#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/bitsandbytes.hpp>
#include <quire/checkpoint/compressed_tensors.hpp>
#include <quire/checkpoint/ggml_blocks.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/gemm.hpp>
#include <quire/model/packed_layout.hpp>
#include <quire/model/tensor_names.hpp>

namespace quire::model {

struct NormWeights {
  std::vector<float> scale;
  std::vector<float> bias;  // empty: a norm without one

  [[nodiscard]] bool empty() const { return scale.empty(); }
};

template <class Matrix>
struct MlpWeights {
  Matrix in;  // gate on top of up, or the first of two matrices
  Matrix out;
  std::size_t width = 0;  // of what lies between them
};

template <class Matrix>
struct LayerWeights {
  NormWeights attention_norm, mlp_norm, query_norm, key_norm;
  Matrix qkv;  // q on top of k on top of v
  Matrix attention_output;
  MlpWeights<Matrix> mlp;  // empty where the layer is a mixture
  Matrix router;
  std::vector<MlpWeights<Matrix>> experts;
  std::int64_t window = 0;  // 0: sees everything before
};

/// What rows are looked up in, of the embedding and of learned positions: RowTable, unless the product has a
/// table of its own.
template <class Gemm, class Head>
struct TableOf {
  using type = RowTable<Head>;
};
template <class Gemm, class Head>
requires requires { typename Gemm::template Table<Head>; }
struct TableOf<Gemm, Head> {
  using type = typename Gemm::template Table<Head>;
};

/// All weights of a decoder, packed in one weight format; norms and biases stay fp32.
template <weight_format::WeightStorage Format, GemmFor<Format> Gemm = PanelGemm>
struct Weights {
  using Matrix = typename Gemm::template Matrix<Format>;
  using Head = weight_format::head_of<Format>;
  using Table = typename TableOf<Gemm, Head>::type;

  checkpoint::ModelConfig config;
  std::string_view format;
  Table embedding;  // empty when `output` serves as one
  Table positions;
  Matrix project_in, project_out;
  std::vector<LayerWeights<Matrix>> layers;
  NormWeights final_norm;
  typename Gemm::template Matrix<Head> output;

  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = embedding.bytes() + positions.bytes() + project_in.bytes() +
                      project_out.bytes() + output.bytes();
    auto mlp = [](const MlpWeights<Matrix>& m) { return m.in.bytes() + m.out.bytes(); };
    for (const auto& layer : layers) {
      all += layer.qkv.bytes() + layer.attention_output.bytes() + mlp(layer.mlp) +
             layer.router.bytes();
      for (const auto& expert : layer.experts) all += mlp(expert);
    }
    return all;
  }
};

namespace detail {

/// Finds and checks the tensors that a configuration calls for, and packs them.
template <weight_format::WeightStorage Format, GemmFor<Format> Gemm>
class WeightLoader {
  using Matrix = typename Gemm::template Matrix<Format>;
  using Head = weight_format::head_of<Format>;
  using HeadMatrix = typename Gemm::template Matrix<Head>;
  using Sizes = std::vector<std::int64_t>;

 public:
  /// image: gets what an image of these weights holds, in place, as long as nothing of them is destroyed
  WeightLoader(const checkpoint::ModelConfig& config, const checkpoint::TensorSet& tensors,
               ThreadPool& threads, const weight_format::WeightCodec& codec,
               std::vector<checkpoint::TensorSet::Entry>* image)
      : config_(config),
        tensors_(tensors),
        threads_(threads),
        codec_(codec),
        image_(image),
        names_(tensor_names(family())),
        prefix_(prefix_in(tensors, names_)) {
    if (config.packed) check_image();
  }

  [[nodiscard]] Weights<Format, Gemm> load() {
    const Shape& s = config_.shape;
    Weights<Format, Gemm> w;
    w.config = config_;
    w.format = codec_.name;
    const std::string embedding = prefix_ + std::string(names_.embedding);
    const std::int64_t width = config_.embedding_width;
    if (s.tied_embedding) {
      w.output = head<HeadMatrix>(embedding, s.vocab, width);
    } else {
      const std::string output = names_.output.empty() ? "lm_head" : std::string(names_.output);
      w.embedding = head<typename Weights<Format, Gemm>::Table>(embedding, s.vocab, width);
      w.output = head<HeadMatrix>(output, s.vocab, width);
    }
    if (!config_.rotary) {
      w.positions = head<typename Weights<Format, Gemm>::Table>(
          prefix_ + std::string(names_.positions), s.max_length.value + config_.position_offset,
          s.hidden);
    }
    if (width != s.hidden) {
      w.project_in = plain(prefix_ + std::string(names_.project_in), s.hidden, width);
      w.project_out = plain(prefix_ + std::string(names_.project_out), width, s.hidden);
    }
    if (config_.final_norm) w.final_norm = norm(prefix_ + std::string(names_.final_norm), s.hidden);
    w.layers.reserve(static_cast<std::size_t>(s.layers));  // what an image lists stays in its place
    for (std::int64_t i = 0; i < s.layers; ++i) w.layers.push_back(layer(i));
    return w;
  }

 private:
  [[nodiscard]] Family family() const { return config_.shape.family; }

  [[nodiscard]] const checkpoint::TensorView& find(const std::string& name,
                                                   std::initializer_list<std::int64_t> shape) {
    return tensors_.at(name, shape);
  }

  [[nodiscard]] std::vector<float> vector(const std::string& name, std::int64_t size) {
    std::vector<float> out(static_cast<std::size_t>(size));
    checkpoint::read_elements(find(name, {size}), 0, out);
    return out;
  }

  /// Matrix `name`: of an image, or of source(), which says where its numbers come from.
  template <class M, class Source>
  [[nodiscard]] M matrix(const std::string& name, std::int64_t outputs, std::int64_t inputs,
                         bool biased, const weight_format::WeightCodec& codec, Source&& source) {
    M made = [&] {
      if (config_.packed) return M(packed<M>(name, outputs, inputs, biased, codec), threads_);
      const MatrixSource from = source();
      if (from.is_factored()) check_takes_factors<M>(name);
      return M(from, threads_);
    }();
    if constexpr (requires { made.packed(); }) {
      if (image_ != nullptr) list(name, made.packed(), pieces_of<M>, biased);
    }
    return made;
  }
  template <class M>
  static constexpr const char* pieces_of = std::same_as<M, RowTable<Head>> ? ".rows" : ".panels";

  /// What an image holds of a matrix.
  template <class M>
  [[nodiscard]] MatrixSource packed(const std::string& name, std::int64_t outputs,
                                    std::int64_t inputs, bool biased,
                                    const weight_format::WeightCodec& codec) {
    const checkpoint::TensorView& pieces = tensors_.at(name + pieces_of<M>);
    if (pieces.shape.size() != 2 || pieces.dtype != checkpoint::DType::u8) {
      throw data_error(tensors_.where() + ": " + in_quotes(pieces.name, 120),
                       std::string(checkpoint::name_of(pieces.dtype)) + " of shape " +
                           checkpoint::shape_text(pieces.shape),
                       "U8 of two dimensions");
    }
    MatrixSource m;
    m.outputs = static_cast<std::size_t>(outputs);
    m.inputs = static_cast<std::size_t>(inputs);
    m.codec = &codec;
    if (biased) m.bias = vector(name + ".bias", outputs);
    m.packed = PackedMatrix{.bytes = pieces.bytes,
                            .pieces = static_cast<std::size_t>(pieces.shape[0]),
                            .piece_bytes = static_cast<std::size_t>(pieces.shape[1]),
                            .owner = std::make_shared<const checkpoint::TensorSet>(tensors_),
                            .where = tensors_.where() + ": " + in_quotes(pieces.name, 120)};
    if (tensors_.contains(name + ".order")) {
      order_ = checkpoint::elements_of<std::uint32_t>(tensors_, name + ".order",
                                                      checkpoint::DType::u32, {inputs});
      for (const std::uint32_t k : order_) {
        if (k < m.inputs) continue;
        throw data_error(tensors_.where() + ": " + in_quotes(name + ".order", 120),
                         "input " + std::to_string(k), "less than " + std::to_string(inputs));
      }
      m.packed->order = order_;
    }
    return m;
  }

  /// What an image will hold of a matrix.
  void list(const std::string& name, const PackedMatrix& m, const char* pieces, bool biased) {
    using checkpoint::DType;
    const auto add = [&](const char* part, DType dtype, std::vector<std::int64_t> shape,
                         std::span<const std::byte> bytes) {
      image_->push_back({name + part, dtype, std::move(shape), bytes});
    };
    add(pieces, DType::u8, {std::int64_t(m.pieces), std::int64_t(m.piece_bytes)}, m.bytes);
    if (biased) add(".bias", DType::f32, {std::ssize(m.bias)}, std::as_bytes(m.bias));
    if (!m.order.empty()) {
      add(".order", DType::u32, {std::ssize(m.order)}, std::as_bytes(m.order));
    }
  }
  void list(const std::string& name, const std::vector<float>& values) {
    if (image_ == nullptr) return;
    image_->push_back({name,
                       checkpoint::DType::f32,
                       {std::ssize(values)},
                       std::as_bytes(std::span<const float>(values))});
  }

  /// Factors are for a product that knows them, and images have no place for them.
  template <class M>
  void check_takes_factors(const std::string& name) const {
    const std::string what =
        in_quotes(name, 120) + " is stored as the product of two matrices, which ";
    if constexpr (!requires(const M& m) { m.factored(); }) {
      throw usage_error(tensors_.where(), what + "this executor does not take",
                        "a checkpoint whose layers are whole, or quire::executor::Cpu");
    }
    if (image_ != nullptr) {
      throw usage_error(tensors_.where(), what + "images of weights do not hold",
                        "a checkpoint whose layers are whole");
    }
  }

  /// An image is of one format, and of processors that lay panels out alike.
  void check_image() const {
    if constexpr (!requires(Matrix m) { m.packed(); }) {
      throw usage_error(tensors_.where(), "holds packed weights, which this executor does not take",
                        "the checkpoint that the image was made of");
    }
    const checkpoint::PackedWeights ours = packed_as(codec_), &its = *config_.packed;
    if (its.weight_format != ours.weight_format) {
      throw usage_error(tensors_.where(),
                        "is an image of weight format " + in_quotes(its.weight_format, 60),
                        "\"" + ours.weight_format + "\", which was asked for");
    }
    if (its.layout != ours.layout) {
      throw usage_error(tensors_.where(),
                        "was made on another kind of processor, or by another version (layout " +
                            in_quotes(its.layout, 60) + ")",
                        "\"" + ours.layout + "\": make it anew with `quire image`");
    }
  }

  [[nodiscard]] NormWeights norm(const std::string& name, std::int64_t width) {
    NormWeights n;
    n.scale = vector(name + ".weight", width);
    list(name + ".weight", n.scale);
    if (config_.norm == checkpoint::Norm::layer) {
      n.bias = vector(name + ".bias", width);
      list(name + ".bias", n.bias);
    }
    return n;
  }

  /// A matrix of embedding or output.
  template <class M>
  [[nodiscard]] M head(const std::string& name, std::int64_t outputs, std::int64_t inputs) {
    return matrix<M>(name, outputs, inputs, false, codec_.of_head(), [&] {
      MatrixSource m = rows(name, outputs, inputs, false);
      m.codec = &codec_.of_head();
      return m;
    });
  }
  /// One that is always a tensor of numbers.
  [[nodiscard]] Matrix plain(const std::string& name, std::int64_t outputs, std::int64_t inputs) {
    return matrix<Matrix>(name, outputs, inputs, false, codec_,
                          [&] { return rows(name, outputs, inputs, false); });
  }

  /// What every matrix starts with. read: as in MatrixSource
  [[nodiscard]] MatrixSource source(const std::string& name, std::int64_t outputs,
                                    std::int64_t inputs, bool biased,
                                    std::function<void(std::size_t, std::size_t, float*)> read) {
    MatrixSource m;
    m.outputs = static_cast<std::size_t>(outputs);
    m.inputs = static_cast<std::size_t>(inputs);
    m.codec = &codec_;
    m.read = std::move(read);
    if (biased) m.bias = vector(name + ".bias", outputs);
    return m;
  }

  /// A matrix that the checkpoint holds in integers.
  [[nodiscard]] MatrixSource integers(const std::string& name, std::int64_t outputs,
                                      std::int64_t inputs, bool biased) {
    const auto codes = std::make_shared<const weight_format::Grouped>(checkpoint::read_grouped(
        tensors_, *config_.quantisation, name, static_cast<std::size_t>(outputs),
        static_cast<std::size_t>(inputs)));
    MatrixSource m = source(name, outputs, inputs, biased,
                            [codes](std::size_t first, std::size_t count, float* values) {
                              codes->read(first, count, values);
                            });
    m.quantised = true;
    m.codes = codes;
    return m;
  }

  /// A matrix in a layout that has a reader of its own.
  template <class Stored>
  [[nodiscard]] MatrixSource stored(std::shared_ptr<const Stored> from, const std::string& name,
                                    std::int64_t outputs, std::int64_t inputs, bool biased) {
    MatrixSource m = source(name, outputs, inputs, biased,
                            [from](std::size_t first, std::size_t count, float* values) {
                              from->read(first, count, values);
                            });
    m.quantised = true;
    m.held_by = from->held_by();
    return m;
  }

  /// A matrix as the configuration says that it is quantised; nothing where it was left as it was.
  [[nodiscard]] std::optional<MatrixSource> quantised(const std::string& name, std::int64_t outputs,
                                                      std::int64_t inputs, bool biased) {
    const checkpoint::Quantisation& q = *config_.quantisation;
    const auto n = static_cast<std::size_t>(outputs), k = static_cast<std::size_t>(inputs);
    if (q.is_bitsandbytes()) {
      using checkpoint::BitsandbytesMatrix;
      if (!BitsandbytesMatrix::stores(tensors_, name)) return std::nullopt;
      return stored(std::make_shared<const BitsandbytesMatrix>(tensors_, name, n, k), name, outputs,
                    inputs, biased);
    }
    if (q.is_compressed()) {
      using checkpoint::CompressedMatrix;
      if (!CompressedMatrix::stores(tensors_, name)) return std::nullopt;
      const auto matrix = std::make_shared<const CompressedMatrix>(tensors_, q, name, n, k);
      MatrixSource m = stored(matrix, name, outputs, inputs, biased);
      m.codes = matrix->codes();
      return m;
    }
    if (!tensors_.contains(name + ".qweight")) return std::nullopt;
    return integers(name, outputs, inputs, biased);
  }

  /// One tensor as a matrix (outputs, inputs).
  [[nodiscard]] MatrixSource rows(const std::string& name, std::int64_t outputs,
                                  std::int64_t inputs, bool biased) {
    return of_tensor(name, find(name + ".weight", {outputs, inputs}), outputs, inputs, biased);
  }
  [[nodiscard]] MatrixSource of_tensor(const std::string& name, const checkpoint::TensorView& view,
                                       std::int64_t outputs, std::int64_t inputs, bool biased) {
    check_floats(view);
    MatrixSource m =
        source(name, outputs, inputs, biased,
               [view, inputs](std::size_t first, std::size_t count, float* values) {
                 checkpoint::read_elements(view, static_cast<std::int64_t>(first) * inputs,
                                           {values, count * static_cast<std::size_t>(inputs)});
               });
    using checkpoint::DType;
    m.element = view.dtype == DType::f32    ? "fp32"
                : view.dtype == DType::f16  ? "fp16"
                : view.dtype == DType::bf16 ? "bf16"
                                            : "";
    if (!m.element.empty()) {
      m.stored = [view](std::size_t first) {
        const std::size_t rows = static_cast<std::size_t>(view.shape[0]);
        return StoredRows{view.bytes.data() + first * (view.bytes.size() / rows), rows - first};
      };
    }
    m.blocks = checkpoint::functions_of(view.dtype).format;
    if (!m.blocks.empty()) {
      m.block_row_bytes = view.bytes.size() / m.outputs;
      m.read_blocks = [view, bytes = m.block_row_bytes](std::size_t first, std::size_t count,
                                                        std::byte* to) {
        std::memcpy(to, view.bytes.data() + first * bytes, count * bytes);
      };
    }
    return m;
  }

  /// A linear layer that is stored as two matrices; nothing where it is not.
  [[nodiscard]] std::optional<MatrixSource> factored(const std::string& name, std::int64_t outputs,
                                                     std::int64_t inputs, bool biased) {
    const auto found = checkpoint::low_rank_tensors(tensors_, name, outputs, inputs);
    if (!found) return std::nullopt;
    MatrixSource m = source(name, outputs, inputs, false, {});
    FactorSources both{of_tensor(name, found->in, found->rank, inputs, false),
                       of_tensor(name, found->out, outputs, found->rank, biased)};
    m.factors = std::make_shared<const FactorSources>(std::move(both));
    return m;
  }

  /// A linear layer; gpt2 stores those as (inputs, outputs).
  [[nodiscard]] MatrixSource linear(const std::string& name, std::int64_t outputs,
                                    std::int64_t inputs, bool biased) {
    if (auto m = factored(name, outputs, inputs, biased)) return *std::move(m);
    if (config_.quantisation) {
      if (auto m = quantised(name, outputs, inputs, biased)) return *std::move(m);
    }
    if (!config_.transposed_linear) return rows(name, outputs, inputs, biased);
    const checkpoint::TensorView view = find(name + ".weight", {inputs, outputs});
    check_floats(view);
    const auto wide = static_cast<std::size_t>(inputs);
    return source(name, outputs, inputs, biased,
                  [view, wide, outputs](std::size_t first, std::size_t count, float* values) {
                    std::vector<float> part(count);
                    for (std::size_t k = 0; k < wide; ++k) {
                      const std::size_t at = k * static_cast<std::size_t>(outputs) + first;
                      checkpoint::read_floats(view, static_cast<std::int64_t>(at), part);
                      for (std::size_t n = 0; n < count; ++n) values[n * wide + k] = part[n];
                    }
                  });
  }

  /// Threads read later; what can be refused is refused here.
  static void check_floats(const checkpoint::TensorView& view) {
    checkpoint::read_elements(view, 0, {});
  }

  [[nodiscard]] Matrix stacked(const std::string& prefix,
                               const std::vector<std::string_view>& names, const Sizes& outputs,
                               std::int64_t inputs, bool biased) {
    std::int64_t all = 0;
    for (std::int64_t n : outputs) all += n;
    std::string name = prefix;
    for (std::size_t i = 0; i < names.size(); ++i) {
      name += (i == 0 ? "" : "+") + std::string(names[i]);
    }
    return matrix<Matrix>(name, all, inputs, biased, codec_, [&] {
      std::vector<MatrixSource> parts;
      if (names.size() == 1) {
        parts.push_back(linear(name, all, inputs, biased));
      } else {
        for (std::size_t i = 0; i < names.size(); ++i) {
          parts.push_back(linear(prefix + std::string(names[i]), outputs[i], inputs, biased));
        }
      }
      return stack(std::move(parts));
    });
  }
  [[nodiscard]] Matrix single(const std::string& name, std::int64_t outputs, std::int64_t inputs,
                              bool biased) {
    return matrix<Matrix>(name, outputs, inputs, biased, codec_,
                          [&] { return linear(name, outputs, inputs, biased); });
  }

  [[nodiscard]] MlpWeights<Matrix> mlp(const std::string& prefix,
                                       const std::vector<std::string_view>& in,
                                       std::string_view out, std::int64_t width) {
    const std::int64_t hidden = config_.shape.hidden;
    MlpWeights<Matrix> m;
    m.width = static_cast<std::size_t>(width);
    m.in = stacked(prefix, in, Sizes(in.size(), width), hidden, config_.mlp_bias);
    m.out = single(prefix + std::string(out), hidden, width, config_.mlp_bias);
    return m;
  }

  [[nodiscard]] LayerWeights<Matrix> layer(std::int64_t i) {
    const Shape& s = config_.shape;
    const std::string prefix = prefix_ + std::string(names_.layer) + std::to_string(i) + ".";
    LayerWeights<Matrix> w;
    w.window = config_.windows[static_cast<std::size_t>(i)];
    w.attention_norm = norm(prefix + std::string(names_.attention_norm), s.hidden);
    w.mlp_norm = norm(prefix + std::string(names_.mlp_norm), s.hidden);
    if (config_.query_key_norm) {
      w.query_norm = norm(prefix + std::string(names_.query_norm), s.head_dim);
      w.key_norm = norm(prefix + std::string(names_.key_norm), s.head_dim);
    }
    const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    w.qkv = stacked(prefix, names_.qkv, {q, kv, kv}, s.hidden, config_.qkv_bias);
    w.attention_output =
        single(prefix + std::string(names_.attention_output), s.hidden, q, config_.output_bias);
    const bool dense = s.experts == 0 || std::binary_search(config_.dense_layers.begin(),
                                                            config_.dense_layers.end(), i);
    if (dense) {
      const std::int64_t width = s.experts == 0 ? s.ffn : config_.dense_ffn;
      w.mlp = mlp(prefix, names_.mlp_in, names_.mlp_out, width);
      return w;
    }
    w.router = plain(prefix + std::string(names_.router), s.experts, s.hidden);
    w.experts.reserve(static_cast<std::size_t>(s.experts));
    for (std::int64_t e = 0; e < s.experts; ++e) {
      const std::string expert = prefix + std::string(names_.expert) + std::to_string(e) + ".";
      w.experts.push_back(mlp(expert, names_.expert_in, names_.expert_out, s.ffn));
    }
    return w;
  }

  const checkpoint::ModelConfig& config_;
  const checkpoint::TensorSet& tensors_;
  ThreadPool& threads_;
  const weight_format::WeightCodec& codec_;
  std::vector<checkpoint::TensorSet::Entry>* image_;
  std::vector<std::uint32_t> order_;  // of the matrix that is being made
  TensorNames names_;
  std::string prefix_;
};

}  // namespace detail

/// Packs the tensors of a model in a weight format. Tensors that the model does not use are left
/// alone. \errors data when a tensor is missing, or has another shape or no floating-point elements
/// codec: the format's, or the one that Packed stands for
/// image: gets what an image of the weights holds, as views that stay valid while nothing of them is
/// destroyed (weight_image.hpp)
template <weight_format::WeightStorage Format, GemmFor<Format> Gemm = PanelGemm>
[[nodiscard]] Weights<Format, Gemm> load_weights(
    const checkpoint::ModelConfig& config, const checkpoint::TensorSet& tensors,
    ThreadPool& threads, const weight_format::WeightCodec& codec,
    std::vector<checkpoint::TensorSet::Entry>* image = nullptr) {
  return detail::WeightLoader<Format, Gemm>(config, tensors, threads, codec, image).load();
}
template <WeightFormatPolicy Format, GemmFor<Format> Gemm = PanelGemm>
[[nodiscard]] Weights<Format, Gemm> load_weights(const checkpoint::ModelConfig& config,
                                                 const checkpoint::TensorSet& tensors,
                                                 ThreadPool& threads) {
  return load_weights<Format, Gemm>(config, tensors, threads, weight_format::codec_of<Format>());
}

}  // namespace quire::model
