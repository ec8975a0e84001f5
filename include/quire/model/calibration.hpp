#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/checkpoint/quantised.hpp>
#include <quire/core/error.hpp>
#include <quire/core/float16.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/calibration_options.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/tensor_names.hpp>
#include <quire/weight_format/awq.hpp>
#include <quire/weight_format/gptq.hpp>
#include <quire/weight_format/low_rank.hpp>
#include <quire/weight_format/pruning.hpp>

namespace quire::model {

/// The product that notes what passes through it, beside each matrix; for calibration.
struct RecordingGemm {
  static constexpr std::string_view name = "recording";
  template <weight_format::WeightStorage Format>
  class Matrix : public PanelMatrix<Format> {
   public:
    Matrix() = default;
    Matrix(const MatrixSource& source, ThreadPool& threads)
        : PanelMatrix<Format>(source, threads),
          seen_(std::make_shared<weight_format::InputStatistics>()) {
      const std::size_t n = source.inputs;
      *seen_ = {n, 0, std::vector<double>(n * n), std::vector<double>(n), std::vector<float>(n)};
    }
    void multiply(const float* x, std::size_t x_stride, std::size_t rows, float* y,
                  std::size_t y_stride, ThreadPool& threads) const {
      note(x, x_stride, rows, threads);
      PanelMatrix<Format>::multiply(x, x_stride, rows, y, y_stride, threads);
    }
    [[nodiscard]] const weight_format::InputStatistics& seen() const { return *seen_; }
    /// From now on nothing is noted: of a layer whose inputs nobody asks for.
    void ignore() const { seen_->inputs = 0; }

   private:
    void note(const float* x, std::size_t stride, std::size_t rows, ThreadPool& threads) const {
      const std::size_t n = seen_->inputs;
      if (n == 0) return;
      std::vector<float> columns(n * rows);
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t k = 0; k < n; ++k) {
          const float v = x[r * stride + k];
          columns[k * rows + r] = v;
          seen_->magnitude[k] += static_cast<double>(std::abs(v));
          seen_->most[k] = std::max(seen_->most[k], std::abs(v));
        }
      }
      seen_->rows += static_cast<double>(rows);
      const PanelMatrix<weight_format::Fp32> transposed(
          {n,
           rows,
           [&](std::size_t first, std::size_t count, float* to) {
             std::copy_n(columns.data() + first * rows, count * rows, to);
           },
           {}},
          threads);
      const std::size_t wide = transposed.padded_outputs();
      std::vector<float> moments(n * wide);
      transposed.multiply(columns.data(), rows, n, moments.data(), wide, threads);
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t k = 0; k < n; ++k) {
          seen_->moments[i * n + k] += static_cast<double>(moments[i * wide + k]);
        }
      }
    }
    std::shared_ptr<weight_format::InputStatistics> seen_;
  };
};

namespace detail {

/// A model's layers as fp32, one after the other rounded to integers, pruned or made factors.
template <class Gemm>
class Calibrator {
  using Statistics = weight_format::InputStatistics;
  using Method = CalibrationOptions::Method;
  using Names = std::vector<std::string>;
  using Recorded = Decoder<weight_format::Packed, Gemm>;

 public:
  Calibrator(const checkpoint::Checkpoint& model, const std::vector<std::vector<TokenId>>& texts,
             const CalibrationOptions& options, ThreadPool& threads)
      : model_(model), texts_(texts), options_(options), threads_(threads) {
    const checkpoint::ModelConfig& c = model.config;
    checkpoint::check_roundable(c, model.tensors, model.directory + ": calibration");
    if (texts.empty()) throw usage_error("calibration", "no texts", "a few");
    names_ = tensor_names(c.shape.family);
    prefix_ = prefix_in(model.tensors, names_);
    quantisation_.layout = options.layout;
    quantisation_.bits = options.bits;
    quantisation_.group = options.group;
    quantisation_.symmetric = options.symmetric;
    using Layout = checkpoint::Quantisation::Layout;
    if (options.layout > Layout::awq && options.layout != Layout::compressed_packed) {
      throw usage_error("calibration", "a layout that has no groups of integers",
                        "gptq, gptq_v2, awq or compressed_packed");
    }
  }

  /// The model in floats, with its inputs' outliers moved into the weights.
  [[nodiscard]] checkpoint::Checkpoint smoothed(double strength) {
    const checkpoint::ModelConfig& c = model_.config;
    if (!c.norm_before) {
      throw usage_error("smoothing", "of a model whose norms come after", "norms before layers");
    }
    const Recorded seen(c, tensors(), threads_, weight_format::codec_of<weight_format::Fp32>());
    for (const auto& text : texts_) (void)full_logits(seen, text, threads_);
    for (std::size_t l = 0; l < seen.weights().layers.size(); ++l) {
      const auto& layer = seen.weights().layers[l];
      const std::string prefix = prefix_ + std::string(names_.layer) + std::to_string(l) + ".";
      for (const bool attention : {true, false}) {
        Names matrices;
        for (const std::string_view n : attention ? names_.qkv : names_.mlp_in) {
          matrices.push_back(prefix + std::string(n));
        }
        Statistics s = attention ? layer.qkv.seen() : layer.mlp.in.seen();
        smooth(matrices, s,
               prefix + std::string(attention ? names_.attention_norm : names_.mlp_norm), strength);
      }
    }
    checkpoint::Checkpoint out = model_;
    out.tensors = tensors();
    return out;
  }

  [[nodiscard]] checkpoint::Checkpoint run(std::vector<LayerError>* errors) {
    const auto layers = static_cast<std::size_t>(model_.config.shape.layers);
    std::shared_ptr<const Recorded> seen;
    for (std::size_t l = 0; l < layers; ++l) {
      // GPTQ sees each layer's inputs as the layers before it make them after rounding.
      if (options_.method == Method::gptq) {
        seen = recorded(true, l);
      } else if (seen == nullptr) {
        seen = recorded(true);
      }
      layer(l, seen->weights().layers[l], errors);
    }
    checkpoint::Checkpoint out = model_;
    out.tensors = tensors();
    out.config.quantisation = quantisation_;
    return out;
  }

  /// The model in floats, with weights of its layers zero. Each layer's inputs are seen as the layers before
  /// it make them after pruning.
  [[nodiscard]] checkpoint::Checkpoint pruned(const weight_format::PruningOptions& options,
                                              std::vector<LayerError>* errors) {
    const auto layers = static_cast<std::size_t>(model_.config.shape.layers);
    for (std::size_t l = 0; l < layers; ++l) {
      const std::shared_ptr<const Recorded> seen = recorded(false, l);
      for (const auto& [name, s] : matrices(l, seen->weights().layers[l])) {
        std::vector<float>& w = values(name + ".weight");
        std::vector<float> kept = weight_format::prune(w, w.size() / s->inputs, *s, options);
        note(errors, name, *s, w, kept);
        w = std::move(kept);
      }
    }
    checkpoint::Checkpoint out = model_;
    out.tensors = tensors();
    return out;
  }

  /// The model in floats, with layers as factors. Each layer's inputs are seen as the layers before it make
  /// them as factors.
  [[nodiscard]] checkpoint::Checkpoint factored(const weight_format::LowRankOptions& options,
                                                std::vector<LayerError>* errors) {
    const bool asks =
        errors != nullptr || options.method != weight_format::LowRankOptions::Method::svd;
    const auto layers = static_cast<std::size_t>(model_.config.shape.layers);
    std::shared_ptr<const Recorded> seen = asks ? nullptr : unread();
    std::map<std::string, weight_format::Factors> made;
    for (std::size_t l = 0; l < layers; ++l) {
      if (asks) seen = recorded(false, l);
      for (const auto& [name, s] : matrices(l, seen->weights().layers[l])) {
        std::vector<float>& w = values(name + ".weight");
        const std::size_t outputs = w.size() / s->inputs;
        const std::size_t rank = weight_format::rank_without(options.share, outputs, s->inputs);
        if (rank == 0) continue;
        weight_format::Factors f = weight_format::low_rank(w, outputs, rank, *s, options);
        round_as(model_.tensors.at(name + ".weight").dtype, f.in);
        round_as(model_.tensors.at(name + ".weight").dtype, f.out);
        std::vector<float> product = f.product();
        note(errors, name, *s, w, product);
        if (errors != nullptr) errors->back().promised = f.dropped;
        w = std::move(product);  // for the inputs of the layers after it
        made.emplace(name, std::move(f));
      }
    }
    factors_ = std::move(made);
    checkpoint::Checkpoint out = model_;
    out.tensors = tensors();
    return out;
  }

 private:
  /// The model before it has read anything.
  [[nodiscard]] std::shared_ptr<const Recorded> unread() const {
    return std::make_shared<const Recorded>(model_.config, model_.tensors, threads_,
                                            weight_format::codec_of<weight_format::Fp32>());
  }
  /// Numbers as a type of two bytes has them.
  static void round_as(checkpoint::DType dtype, std::vector<float>& numbers) {
    for (float& x : numbers) {
      if (dtype == checkpoint::DType::bf16) x = to_float(to_bf16(x));
      if (dtype == checkpoint::DType::f16) x = to_float(to_fp16(x));
    }
  }
  /// Adds numbers in such a type, or as fp32.
  static void add_as(checkpoint::TensorList& list, const std::string& name, checkpoint::DType dtype,
                     std::size_t rows, const std::vector<float>& numbers) {
    const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows),
                                          static_cast<std::int64_t>(numbers.size() / rows)};
    const auto add = [&]<class Element>(Element /*of*/, checkpoint::DType as) {
      std::vector<Element> elements;
      elements.reserve(numbers.size());
      for (const float x : numbers) elements.push_back(from_float<Element>(x));
      list.add(name, as, shape, std::move(elements));
    };
    if (dtype == checkpoint::DType::bf16) return add(Bf16{}, dtype);
    if (dtype == checkpoint::DType::f16) return add(Fp16{}, dtype);
    add(0.0f, checkpoint::DType::f32);
  }

  /// The model as it is now, after it has read the texts. rounded: some layers are integers by now; only:
  /// the layer whose inputs are asked for
  [[nodiscard]] std::shared_ptr<const Recorded> recorded(
      bool rounded, std::size_t only = std::numeric_limits<std::size_t>::max()) {
    auto config = model_.config;
    if (rounded) config.quantisation = quantisation_;
    auto decoder = std::make_shared<const Recorded>(config, tensors(), threads_,
                                                    weight_format::codec_of<weight_format::Fp32>());
    const auto& all = decoder->weights().layers;
    for (std::size_t i = 0; i < all.size() && only < all.size(); ++i) {
      if (i == only) continue;
      for (const auto* m :
           {&all[i].qkv, &all[i].attention_output, &all[i].mlp.in, &all[i].mlp.out}) {
        m->ignore();
      }
    }
    for (const auto& text : texts_) (void)full_logits(*decoder, text, threads_);
    return decoder;
  }
  /// A layer's matrices and what their inputs were.
  template <class Layer>
  [[nodiscard]] std::vector<std::pair<std::string, const Statistics*>> matrices(
      std::size_t l, const Layer& seen) const {
    const std::string prefix = prefix_ + std::string(names_.layer) + std::to_string(l) + ".";
    std::vector<std::pair<std::string, const Statistics*>> all;
    const auto add = [&](std::string_view name, const auto& matrix) {
      all.emplace_back(prefix + std::string(name), &matrix.seen());
    };
    for (const std::string_view n : names_.qkv) add(n, seen.qkv);
    add(names_.attention_output, seen.attention_output);
    for (const std::string_view n : names_.mlp_in) add(n, seen.mlp.in);
    add(names_.mlp_out, seen.mlp.out);
    return all;
  }
  static void note(std::vector<LayerError>* errors, const std::string& name, const Statistics& s,
                   const std::vector<float>& w, const std::vector<float>& instead) {
    if (errors == nullptr) return;
    LayerError lost;
    lost.name = name;
    lost.error = weight_format::output_error(s, w, instead);
    lost.outputs = weight_format::output_error(s, w, std::vector<float>(w.size()));
    errors->push_back(std::move(lost));
  }

  template <class Layer>
  void layer(std::size_t l, const Layer& seen, std::vector<LayerError>* errors) {
    const std::string prefix = prefix_ + std::string(names_.layer) + std::to_string(l) + ".";
    const auto under = [&](const auto& names) {
      Names out;
      for (const std::string_view n : names) out.push_back(prefix + std::string(n));
      return out;
    };
    const checkpoint::ModelConfig& c = model_.config;
    const Names qkv = under(names_.qkv), in = under(names_.mlp_in);
    const Names o = {prefix + std::string(names_.attention_output)};
    const Names down = {prefix + std::string(names_.mlp_out)};
    const auto norm = [&](std::string_view n) { return prefix + std::string(n); };
    Statistics s[4] = {seen.qkv.seen(), seen.attention_output.seen(), seen.mlp.in.seen(),
                       seen.mlp.out.seen()};
    const Names* groups[4] = {&qkv, &o, &in, &down};
    if (options_.method == Method::awq) {
      if (c.norm_before) {
        scale(qkv, s[0], {}, norm(names_.attention_norm));
        scale(in, s[2], {}, norm(names_.mlp_norm));
      }
      if (qkv.size() == 3) scale(o, s[1], heads_sharing_values(), qkv[2]);
      if (in.size() == 2 || c.activation == checkpoint::Activation::relu) {
        scale(down, s[3], {}, in.back());
      }
    }
    for (std::size_t i = 0; i < 4; ++i) {
      for (const std::string& name : *groups[i]) round(name, s[i], errors);
    }
  }

  [[nodiscard]] std::size_t group_of(std::size_t inputs) const {
    return options_.group == 0 ? inputs : options_.group;
  }

  /// Channel of the values that each input of the output projection comes from.
  [[nodiscard]] std::vector<std::size_t> heads_sharing_values() const {
    const Shape& s = model_.config.shape;
    const auto d = static_cast<std::size_t>(s.head_dim);
    const auto together = static_cast<std::size_t>(s.heads / s.kv_heads);
    std::vector<std::size_t> shared(static_cast<std::size_t>(s.heads) * d);
    for (std::size_t i = 0; i < shared.size(); ++i) shared[i] = i / d / together * d + i % d;
    return shared;
  }

  /// Multiplies the inputs' weights by AWQ's factors and divides what `before` gives by them: a norm's
  /// scale and bias, or a matrix's outputs. The function stays as it is.
  void scale(const Names& matrices, Statistics& s, const std::vector<std::size_t>& shared,
             const std::string& before) {
    const std::size_t n = s.inputs;
    std::vector<float> stacked;
    for (const std::string& name : matrices) {
      const std::vector<float>& w = values(name + ".weight");
      stacked.insert(stacked.end(), w.begin(), w.end());
    }
    weight_format::AwqOptions o;
    o.bits = options_.bits;
    o.group = group_of(n);
    o.symmetric = options_.symmetric;
    o.shared = shared;
    move(matrices, s, shared, before,
         weight_format::awq_factors(stacked, stacked.size() / n, s, o));
  }

  /// SmoothQuant's factors: large where inputs are large and weights are not.
  void smooth(const Names& matrices, Statistics& s, const std::string& before, double strength) {
    std::vector<double> most(s.inputs);
    for (const std::string& name : matrices) {
      const std::vector<float>& w = values(name + ".weight");
      for (std::size_t i = 0; i < w.size(); ++i) {
        double& m = most[i % s.inputs];
        m = std::max(m, static_cast<double>(std::abs(w[i])));
      }
    }
    std::vector<float> factors(s.inputs, 1.0f);
    for (std::size_t k = 0; k < s.inputs; ++k) {
      const auto x = static_cast<double>(s.most[k]);
      if (x > 0 && most[k] > 0) {
        factors[k] = static_cast<float>(std::pow(x, strength) / std::pow(most[k], 1 - strength));
      }
    }
    move(matrices, s, {}, before, factors);
  }

  void move(const Names& matrices, Statistics& s, const std::vector<std::size_t>& shared,
            const std::string& before, const std::vector<float>& factors) {
    const std::size_t n = s.inputs;
    for (const std::string& name : matrices) {
      std::vector<float>& w = values(name + ".weight");
      for (std::size_t i = 0; i < w.size(); ++i) w[i] *= factors[i % n];
    }
    std::vector<float>& w = values(before + ".weight");
    const std::size_t channels =
        shared.empty() ? n : *std::max_element(shared.begin(), shared.end()) + 1;
    std::vector<float> of_channel(channels);
    for (std::size_t k = 0; k < n; ++k) of_channel[shared.empty() ? k : shared[k]] = factors[k];
    const std::size_t width = w.size() / channels;
    for (std::size_t i = 0; i < w.size(); ++i) w[i] /= of_channel[i / width];
    if (model_.tensors.contains(before + ".bias")) {
      std::vector<float>& b = values(before + ".bias");
      for (std::size_t i = 0; i < b.size(); ++i) b[i] /= of_channel[i];
    }
    for (std::size_t i = 0; i < n; ++i) {
      s.magnitude[i] /= static_cast<double>(factors[i]);
      s.most[i] /= factors[i];
      for (std::size_t k = 0; k < n; ++k) {
        s.moments[i * n + k] /= static_cast<double>(factors[i]) * static_cast<double>(factors[k]);
      }
    }
  }

  void round(const std::string& name, const Statistics& s, std::vector<LayerError>* errors) {
    const std::vector<float>& w = values(name + ".weight");
    const std::size_t outputs = w.size() / s.inputs, group = group_of(s.inputs);
    weight_format::Grouped q;
    if (options_.method == Method::gptq) {
      q = weight_format::gptq(w, outputs, s,
                              {options_.bits, group, options_.symmetric, options_.act_order});
    } else if (options_.method == Method::awq) {
      weight_format::AwqOptions o;
      o.bits = options_.bits;
      o.group = group;
      o.symmetric = options_.symmetric;
      // Its authors leave queries and keys as they are: their products are sensitive to it.
      o.clip = name.find("q_proj") == std::string::npos && name.find("k_proj") == std::string::npos;
      q = weight_format::round_clipped(w, outputs, s, o);
    } else {
      q = weight_format::round_to_nearest(w.data(), outputs, s.inputs, options_.bits, group,
                                          options_.symmetric);
    }
    if (errors != nullptr) {
      std::vector<float> back(w.size());
      q.read(0, outputs, back.data());
      note(errors, name, s, w, back);
    }
    rounded_.emplace(name, std::move(q));
  }

  /// A float tensor of the model, as it has become. \errors data when there is none
  [[nodiscard]] std::vector<float>& values(const std::string& name) {
    const auto found = values_.find(name);
    if (found != values_.end()) return found->second;
    const checkpoint::TensorView& view = model_.tensors.at(name);
    std::vector<float> out(static_cast<std::size_t>(view.elements()));
    checkpoint::read_floats(view, 0, out);
    return values_.emplace(name, std::move(out)).first->second;
  }

  /// All tensors as they are now.
  [[nodiscard]] checkpoint::TensorSet tensors() const {
    checkpoint::TensorList list;
    list.keep(model_.tensors);
    for (const checkpoint::TensorView& t : model_.tensors.all()) {
      const std::string name(t.name);
      const std::string stem = name.substr(0, name.rfind('.'));
      if (name.ends_with(".weight") && rounded_.contains(stem)) {
        checkpoint::add_grouped(list, quantisation_, stem, rounded_.at(stem));
      } else if (name.ends_with(".weight") && factors_.contains(stem)) {
        const weight_format::Factors& f = factors_.at(stem);
        const std::size_t rank = f.rank, outputs = f.out.size() / rank;
        add_as(list, stem + std::string(checkpoint::low_rank_in), t.dtype, rank, f.in);
        add_as(list, stem + std::string(checkpoint::low_rank_out), t.dtype, outputs, f.out);
      } else if (const auto changed = values_.find(name); changed != values_.end()) {
        list.add(name, checkpoint::DType::f32, {t.shape.begin(), t.shape.end()}, changed->second);
      } else {
        list.add(t);
      }
    }
    return list.set(model_.tensors.where() + ", calibrated");
  }

  const checkpoint::Checkpoint& model_;
  const std::vector<std::vector<TokenId>>& texts_;
  CalibrationOptions options_;
  ThreadPool& threads_;
  TensorNames names_;
  std::string prefix_;
  checkpoint::Quantisation quantisation_;
  std::map<std::string, std::vector<float>> values_;
  std::map<std::string, weight_format::Grouped> rounded_;
  std::map<std::string, weight_format::Factors> factors_;
};

}  // namespace detail

/// Rounds the linear layers of a model to integers and gives the model back as its tensors are stored:
/// to be run, or saved. Embedding, output matrix and norms stay floats.
/// errors: if given, what each matrix's outputs lose on the texts, as this method sees its inputs
/// \errors usage for a model that is quantised, transposed or a mixture, and for groups that do not
/// divide a row
template <class Gemm = RecordingGemm>
[[nodiscard]] checkpoint::Checkpoint calibrate(const checkpoint::Checkpoint& model,
                                               const std::vector<std::vector<TokenId>>& texts,
                                               const CalibrationOptions& options,
                                               ThreadPool& threads,
                                               std::vector<LayerError>* errors = nullptr) {
  return detail::Calibrator<Gemm>(model, texts, options, threads).run(errors);
}

/// Drops weights of a model's linear layers: floats with zeros, to be run in any format, or packed without
/// them (weight_format/sparse_24.hpp). errors: if given, what each matrix's outputs lose on the texts
/// \errors usage as calibrate(), and for a share that is none
template <class Gemm = RecordingGemm>
[[nodiscard]] checkpoint::Checkpoint prune(const checkpoint::Checkpoint& model,
                                           const std::vector<std::vector<TokenId>>& texts,
                                           const weight_format::PruningOptions& options,
                                           ThreadPool& threads,
                                           std::vector<LayerError>* errors = nullptr) {
  return detail::Calibrator<Gemm>(model, texts, {}, threads).pruned(options, errors);
}

/// Stores linear layers as two matrices of a low rank each (checkpoint/low_rank.hpp), which have a share less
/// numbers together; a layer for which that saves nothing stays whole, as do embedding and output matrix.
/// errors: if given, what each matrix's outputs lose on the texts. SVD alone asks for no texts otherwise
/// \errors usage as calibrate(), and for a share that is none
template <class Gemm = RecordingGemm>
[[nodiscard]] checkpoint::Checkpoint factor(const checkpoint::Checkpoint& model,
                                            const std::vector<std::vector<TokenId>>& texts,
                                            const weight_format::LowRankOptions& options,
                                            ThreadPool& threads,
                                            std::vector<LayerError>* errors = nullptr) {
  return detail::Calibrator<Gemm>(model, texts, {}, threads).factored(options, errors);
}

/// Moves outliers of the inputs of attention and MLP into their weights, by factors max|x|^a / max|w|^(1 - a)
/// that the norm before them is divided by. The function stays as it is; what rounds inputs, as W8a8
/// does, loses less. strength: a, 0.5 or, for models with larger outliers, up to 0.85
/// \errors usage as calibrate(), and for norms after the layers \source Xiao et al., SmoothQuant, ICML '23
template <class Gemm = RecordingGemm>
[[nodiscard]] checkpoint::Checkpoint smooth(const checkpoint::Checkpoint& model,
                                            const std::vector<std::vector<TokenId>>& texts,
                                            ThreadPool& threads, double strength = 0.5) {
  return detail::Calibrator<Gemm>(model, texts, {}, threads).smoothed(strength);
}

}  // namespace quire::model
