#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/attention/paged.hpp>
#include <quire/attention/shared_prefix.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/model/fusion.hpp>
#include <quire/model/gemm.hpp>
#include <quire/model/ops.hpp>
#include <quire/model/rope.hpp>
#include <quire/model/step_seconds.hpp>
#include <quire/model/weight_load.hpp>
#include <quire/model/weights.hpp>

namespace quire::model {

/// A ragged batch: sequences of any length and any part of them, one row a token.
struct Batch {
  std::vector<TokenId> tokens;          // \shape (rows)
  std::vector<std::int64_t> positions;  // \shape (rows)
  std::vector<attention::SequenceRows> sequences;
  std::vector<std::size_t> logits_rows;  // rows whose logits are wanted, in the order wanted
  attention::SharedPrefixes shared;      // of the sequences; none until somebody finds them

  [[nodiscard]] std::size_t rows() const { return tokens.size(); }
  void clear() {
    tokens.clear();
    positions.clear();
    sequences.clear();
    logits_rows.clear();
    shared.clear();
  }
  /// Adds tokens of one sequence, of which `computed` are in the cache already.
  void add(std::span<const TokenId> ids, std::int64_t computed, std::span<const BlockId> blocks) {
    sequences.push_back({rows(), ids.size(), computed, blocks});
    for (std::size_t i = 0; i < ids.size(); ++i) {
      positions.push_back(computed + static_cast<std::int64_t>(i));
    }
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
};

/// Working memory of a decoder, kept from step to step.
class Activations {
 public:
  [[nodiscard]] float* get(std::size_t which, std::size_t floats) {
    if (buffers_[which].size() < floats) buffers_[which] = AlignedArray<float>(floats);
    return buffers_[which].data();
  }
  attention::Workspace workspace;
  WeightLoad load;
  StepSeconds seconds;
  Fusion fusion;
  // Of a mixture: rows that an expert is to work on, with their weights, and experts by their score.
  std::vector<std::vector<std::pair<std::size_t, float>>> takers;
  std::vector<std::size_t> experts;

  /// Cosines and sines of all positions up to `last`. \shape result (last + 1, 2 * rope.half())
  [[nodiscard]] const float* rotations(const Rope& rope, std::int64_t last) {
    const std::size_t width = 2 * rope.half();
    for (auto p = static_cast<std::int64_t>(rotations_.size() / width); p <= last; ++p) {
      rotations_.resize(static_cast<std::size_t>(p + 1) * width);
      rope.angles(p, rotations_.data() + static_cast<std::size_t>(p) * width);
    }
    return rotations_.data();
  }

 private:
  std::vector<float> rotations_;
  AlignedArray<float> buffers_[11];
};

/// What is to be done to a row, by whoever comes to it first; a reference to something callable.
struct RowHook {
  const void* context = nullptr;
  void (*call)(const void* context, std::size_t row) = nullptr;

  template <class F>
  [[nodiscard]] static RowHook of(const F& f) {
    return {&f,
            [](const void* context, std::size_t row) { (*static_cast<const F*>(context))(row); }};
  }
  explicit operator bool() const { return call != nullptr; }
  void operator()(std::size_t row) const { call(context, row); }
};

/// One layer's attention in a forward pass: new keys and values to store, queries to answer.
/// \shape keys, values (rows, kv_heads, head_dim), rows queries.q_stride floats apart
struct AttentionCall {
  std::size_t layer;
  std::int64_t window;  // the layer's own sliding window; 0: none
  const attention::KvView<std::byte>& cache;
  const attention::Queries& queries;
  const float *keys, *values;
  attention::Workspace& workspace;
  ThreadPool& threads;
  /// Turns the queries and keys of a row; called once for each row before it is stored or read.
  RowHook rotate{};  // none: they are turned

  [[nodiscard]] attention::KvView<const std::byte> readable() const { return cache.readable(); }
};

/// Stores every token in the order of the block table and attends to it as a variant says.
template <kv_format::KvStorage KvFormat, AttentionVariant Variant>
void attend_as(const AttentionCall& call, const Variant& variant) {
  if (call.rotate) {
    attention::write_kv<KvFormat>(call.cache, call.queries.sequences, call.keys, call.values,
                                  call.queries.q_stride, call.threads, call.rotate);
  } else {
    attention::write_kv<KvFormat>(call.cache, call.queries.sequences, call.keys, call.values,
                                  call.queries.q_stride, call.threads);
  }
  attention::paged<KvFormat>(call.readable(), call.queries, variant, call.workspace, call.threads);
}
/// What a layer of the model sees.
[[nodiscard]] inline attention::SlidingWindow window_of(const AttentionCall& call) {
  return call.window > 0 ? attention::SlidingWindow(call.window) : attention::SlidingWindow();
}

/// Stores every token in the order of the block table and attends to all that the layer sees.
struct FullAttention {
  static constexpr bool takes_rotation = true;  // it may turn rows as it stores them
  template <kv_format::KvStorage KvFormat>
  void attend(const AttentionCall& call) const {
    attend_as<KvFormat>(call, window_of(call));
  }
};

/// Whether an attention turns rows as it stores them (AttentionCall::rotate).
template <class A>
inline constexpr bool turns_rows = requires {
  requires static_cast<bool>(A::takes_rotation);
};

/// A decoder-only transformer: one block for all families, steered by the fields of ModelConfig.
/// Every row's result depends on its own tokens alone, bit for bit.
template <weight_format::WeightStorage Format, GemmFor<Format> Gemm = PanelGemm>
class Decoder {
 public:
  using Matrix = typename Gemm::template Matrix<Format>;

  Decoder(const checkpoint::ModelConfig& config, const checkpoint::TensorSet& tensors,
          ThreadPool& threads) requires WeightFormatPolicy<Format>
      : Decoder(config, tensors, threads, weight_format::codec_of<Format>()) {}
  /// codec: of the format, where Format is Packed.
  Decoder(const checkpoint::ModelConfig& config, const checkpoint::TensorSet& tensors,
          ThreadPool& threads, const weight_format::WeightCodec& codec)
      : weights_(load_weights<Format, Gemm>(config, tensors, threads, codec)) {
    const checkpoint::ModelConfig& c = weights_.config;
    hidden_ = static_cast<std::size_t>(c.shape.hidden);
    heads_ = static_cast<std::size_t>(c.shape.heads);
    kv_heads_ = static_cast<std::size_t>(c.shape.kv_heads);
    head_dim_ = static_cast<std::size_t>(c.shape.head_dim);
    eps_ = static_cast<float>(c.norm_eps);
    if (c.rotary) rope_ = Rope(head_dim_, c.rope_theta, c.rope_scaling, c.rope_divisors);
  }

  [[nodiscard]] const checkpoint::ModelConfig& config() const { return weights_.config; }
  [[nodiscard]] const Weights<Format, Gemm>& weights() const { return weights_; }
  [[nodiscard]] const Rope& rope() const { return rope_; }
  [[nodiscard]] std::size_t vocab() const { return weights_.output.outputs(); }
  /// Floats from one row of logits to the next.
  [[nodiscard]] std::size_t logits_stride() const { return weights_.output.padded_outputs(); }
  /// Positions that the model has: learned tables end, rotary embedding does not.
  [[nodiscard]] std::int64_t most_positions() const {
    return weights_.positions.empty()
               ? std::numeric_limits<std::int64_t>::max()
               : static_cast<std::int64_t>(weights_.positions.rows()) - config().position_offset;
  }

  /// Runs a batch: writes keys and values of its rows into the arena and the logits of
  /// `batch.logits_rows`. \shape logits (logits_rows, logits_stride)
  /// attention: stores keys and values and answers queries, layer by layer (FullAttention).
  /// \errors usage for a token outside the vocabulary or a position that the model does not have
  template <kv_format::KvStorage KvFormat, class Attention = const FullAttention>
  void forward(const Batch& batch, kv_format::Arena<KvFormat>& arena, Activations& memory,
               ThreadPool& threads, float* logits, Attention&& attention = {}) const {
    const std::size_t rows = batch.rows();
    if (rows == 0) return;
    Pass pass{*this, memory, threads, rows};
    fetch(0);
    pass.embed(batch);
    const float* rotations = nullptr;
    if (arena.codec().stores_before_rotation() && config().rotary) {
      rotations = memory.rotations(
          rope_, *std::max_element(batch.positions.begin(), batch.positions.end()));
    }
    arena.begin(batch.sequences);
    for (std::size_t l = 0; l < weights_.layers.size(); ++l) {
      const auto& layer = weights_.layers[l];
      fetch(l + 1);
      attention::KvView<std::byte> cache = arena.layer(l);
      cache.rotations = rotations;
      pass.template attend<KvFormat>(l, batch, cache, attention);
      pass.feed_forward(layer);
    }
    arena.end(batch.sequences, rotations);
    pass.output(batch, logits);
  }

 private:
  enum Buffer : std::size_t {
    hidden,
    normed,
    qkv,
    attended,
    projected,
    mlp_in,
    mlp_mid,
    angles,
    gathered,
    routed,
    expert_out
  };
  /// Has a layer read, but for experts, or behind the last one the output matrix: where they lie in an image
  /// and nobody has used them yet.
  void fetch(std::size_t l) const {
    if constexpr (requires(const Matrix& m) { m.fetch(true); }) {
      if (l >= weights_.layers.size()) return weights_.output.fetch(false);
      const LayerWeights<Matrix>& layer = weights_.layers[l];
      for (const Matrix* matrix :
           {&layer.qkv, &layer.attention_output, &layer.router, &layer.mlp.in, &layer.mlp.out}) {
        matrix->fetch(!layer.experts.empty());  // experts lie behind it
      }
    }
  }

  // Rows that pass an MLP or the output matrix together: bounds the working memory of long prompts.
  static constexpr std::size_t chunk_rows = 512;

  /// One forward pass: the batch's residual stream and its scratch.
  struct Pass {
    const Decoder& model;
    Activations& memory;
    ThreadPool& threads;
    std::size_t rows;
    bool normed_ready = false;  // the next branch's input lies in its buffer

    [[nodiscard]] float* buffer(Buffer which, std::size_t width) {
      return memory.get(which, rows * width);
    }
    [[nodiscard]] float* stream() { return buffer(Buffer::hidden, model.hidden_); }

    void for_rows(std::size_t count, std::size_t work_per_row, const auto& body) {
      run_tasks(threads, count, count * work_per_row, body);
    }

    void embed(const Batch& batch) {
      const auto& w = model.weights_;
      const checkpoint::ModelConfig& c = w.config;
      const auto width = static_cast<std::size_t>(c.embedding_width);
      float* x = stream();
      const bool narrow = !w.project_in.empty();
      float* embedded = narrow ? buffer(Buffer::normed, width) : x;
      for (std::size_t r = 0; r < rows; ++r) {
        if (batch.tokens[r] >= model.vocab()) {
          throw usage_error("token " + std::to_string(batch.tokens[r]), "is not in the vocabulary",
                            "ids below " + std::to_string(model.vocab()) +
                                "; made-up prompts, as workloads have them, are replayed with "
                                "executor::Cpu::Options::wrap_tokens = true");
        }
        if (batch.positions[r] >= model.most_positions()) {
          throw usage_error("position " + std::to_string(batch.positions[r]),
                            "lies beyond the model's position table",
                            "at most " + std::to_string(model.most_positions()) + " tokens");
        }
      }
      for_rows(rows, width, [&](std::size_t r) {
        if (w.embedding.empty()) {
          w.output.read_row(batch.tokens[r], embedded + r * width);
        } else {
          w.embedding.read_row(batch.tokens[r], embedded + r * width);
        }
      });
      if (narrow) project(w.project_in, embedded, width, x, model.hidden_, rows);
      if (!w.positions.empty()) {
        float* table = buffer(Buffer::attended, model.hidden_);
        for_rows(rows, model.hidden_, [&](std::size_t r) {
          float* row = table + r * model.hidden_;
          w.positions.read_row(static_cast<std::size_t>(batch.positions[r] + c.position_offset),
                               row);
          add(x + r * model.hidden_, row, model.hidden_);
        });
      }
      if (c.rotary) {
        float* out = buffer(Buffer::angles, model.head_dim_);
        for_rows(rows, 32 * model.head_dim_, [&](std::size_t r) {
          model.rope_.angles(batch.positions[r], out + r * model.head_dim_);
        });
      }
    }

    /// A product, counted. \shape y (count, y_stride)
    template <class AnyMatrix>
    void multiply(const AnyMatrix& w, const float* x, std::size_t x_stride, std::size_t count,
                  float* y, std::size_t y_stride) {
      memory.load.bytes += static_cast<std::int64_t>(w.bytes());
      count_floats(count * (w.inputs() + w.outputs()));
      if constexpr (requires { w.between(); }) count_floats(count * 2 * w.between());
      const Stopwatch watch(static_cast<const void*>(&w) == &model.weights_.output
                                ? memory.seconds.head
                                : memory.seconds.products);
      w.multiply(x, x_stride, count, y, y_stride, threads);
    }
    /// A product whose result takes exactly its outputs a row. \shape y (count, width)
    void project(const Matrix& w, const float* x, std::size_t x_stride, float* y, std::size_t width,
                 std::size_t count) {
      if (w.padded_outputs() == width) return multiply(w, x, x_stride, count, y, width);
      const std::size_t stride = w.padded_outputs();
      float* padded = memory.get(Buffer::projected, count * stride);
      multiply(w, x, x_stride, count, padded, stride);
      for (std::size_t r = 0; r < count; ++r)
        std::copy_n(padded + r * stride, width, y + r * width);
    }

    void normalise(const NormWeights& n, const float* x, float* out, std::size_t width) {
      if (n.bias.empty()) {
        rms_norm(x, n.scale.data(), model.eps_, out, width);
      } else {
        layer_norm(x, n.scale.data(), n.bias.data(), model.eps_, out, width);
      }
    }
    void normalise_rows(const NormWeights& n, const float* x, float* out) {
      const std::size_t h = model.hidden_;
      for_rows(rows, 4 * h, [&](std::size_t r) { normalise(n, x + r * h, out + r * h, h); });
    }

    /// x = x + f(norm(x)), or norm(x + f(x)) in the order of the first transformers.
    /// next: the norm before the branch that comes next, or null behind the last
    void add_to_stream(const NormWeights& n, const NormWeights* next, const float* y,
                       std::size_t y_stride) {
      float* x = stream();
      const std::size_t h = model.hidden_;
      const bool after = !model.config().norm_before;
      normed_ready = !after && next != nullptr && memory.fusion.residual_norm;
      float* normed = normed_ready ? buffer(Buffer::normed, h) : nullptr;
      count_floats((normed_ready || after ? 4 : 3) * h * rows);
      for_rows(rows, 4 * h, [&](std::size_t r) {
        add(x + r * h, y + r * y_stride, h);
        if (after) normalise(n, x + r * h, x + r * h, h);
        if (normed_ready) normalise(*next, x + r * h, normed + r * h, h);
      });
    }
    [[nodiscard]] const float* branch_input(const NormWeights& n) {
      if (!model.config().norm_before) return stream();
      float* out = buffer(Buffer::normed, model.hidden_);
      if (!normed_ready) {
        count_floats(2 * model.hidden_ * rows);
        normalise_rows(n, stream(), out);
      }
      return out;
    }
    void count_floats(std::size_t floats) {
      memory.load.activation_bytes += static_cast<std::int64_t>(floats * sizeof(float));
    }

    template <kv_format::KvStorage KvFormat, class Attention>
    void attend(std::size_t l, const Batch& batch, const attention::KvView<std::byte>& cache,
                Attention& attention) {
      const LayerWeights<Matrix>& layer = model.weights_.layers[l];
      const std::size_t d = model.head_dim_, q_width = model.heads_ * d;
      const std::size_t kv_width = model.kv_heads_ * d;
      const std::size_t stride = layer.qkv.padded_outputs();
      float* qkv = buffer(Buffer::qkv, stride);
      multiply(layer.qkv, branch_input(layer.attention_norm), model.hidden_, rows, qkv, stride);
      const bool turns = !layer.query_norm.empty() || model.config().rotary;
      const bool fused =
          turns && memory.fusion.rotary_cache_write && turns_rows<std::remove_cvref_t<Attention>>;
      const float* angles = turns ? buffer(Buffer::angles, d) : nullptr;
      const auto turn = [&](std::size_t r) { rotate_row(layer, angles + r * d, qkv + r * stride); };
      if (turns) count_floats((fused ? 1 : 2) * rows * (model.heads_ + model.kv_heads_) * d);
      if (turns && !fused) for_rows(rows, 4 * (model.heads_ + model.kv_heads_) * d, turn);
      float* attended = buffer(Buffer::attended, q_width);
      const attention::Queries queries{qkv,
                                       stride,
                                       attended,
                                       q_width,
                                       model.heads_,
                                       1.0f / std::sqrt(static_cast<float>(d)),
                                       batch.sequences,
                                       &batch.shared};
      {
        const Stopwatch watch(memory.seconds.attention);
        attention.template attend<KvFormat>({l, layer.window, cache, queries, qkv + q_width,
                                             qkv + q_width + kv_width, memory.workspace, threads,
                                             fused ? RowHook::of(turn) : RowHook{}});
      }
      const std::size_t out_stride = layer.attention_output.padded_outputs();
      float* projected = buffer(Buffer::projected, out_stride);
      multiply(layer.attention_output, attended, q_width, rows, projected, out_stride);
      add_to_stream(layer.attention_norm, &layer.mlp_norm, projected, out_stride);
    }

    /// \shape angles (head_dim); qkv (heads + kv_heads, head_dim): keys lie behind the queries
    void rotate_row(const LayerWeights<Matrix>& layer, const float* angles, float* qkv) {
      const std::size_t d = model.head_dim_, heads = model.heads_ + model.kv_heads_;
      for (std::size_t h = 0; h < heads; ++h) {
        const NormWeights& n = h < model.heads_ ? layer.query_norm : layer.key_norm;
        if (!n.empty()) normalise(n, qkv + h * d, qkv + h * d, d);
        if (model.config().rotary) model.rope_.rotate(angles, qkv + h * d);
      }
    }
    /// The norm before the attention of the layer behind this one, or null.
    [[nodiscard]] const NormWeights* norm_behind(const LayerWeights<Matrix>& layer) const {
      return &layer == &model.weights_.layers.back() ? nullptr : &(&layer + 1)->attention_norm;
    }

    void feed_forward(const LayerWeights<Matrix>& layer) {
      const float* in = branch_input(layer.mlp_norm);
      if (!layer.experts.empty()) return mixture(layer, in);
      const std::size_t stride = layer.mlp.out.padded_outputs();
      float* out = buffer(Buffer::projected, stride);
      for (std::size_t r = 0; r < rows; r += chunk_rows) {
        run_mlp(layer.mlp, in + r * model.hidden_, std::min(chunk_rows, rows - r),
                out + r * stride);
      }
      add_to_stream(layer.mlp_norm, norm_behind(layer), out, stride);
    }

    /// \shape in (count, hidden); out (count, mlp.out.padded_outputs())
    void run_mlp(const MlpWeights<Matrix>& mlp, const float* in, std::size_t count, float* out) {
      const std::size_t wide = mlp.in.padded_outputs();
      const bool gated = mlp.in.outputs() > mlp.width;
      float* mid = memory.get(Buffer::mlp_mid, count * mlp.width);
      if (!multiply_gated(mlp, in, count, mid)) {
        float* first = memory.get(Buffer::mlp_in, count * wide);
        multiply(mlp.in, in, model.hidden_, count, first, wide);
        count_floats(count * mlp.width * (gated ? 3 : 2));
        for_rows(count, 16 * mlp.width, [&](std::size_t r) {
          act(first + r * wide, first + r * wide + mlp.width, mid + r * mlp.width, mlp.width,
              gated);
        });
      }
      multiply(mlp.out, mid, mlp.width, count, out, mlp.out.padded_outputs());
    }

    /// Gate and up by halves of panels, joined while both are at hand; false where it is not wanted, or
    /// the matrix has no such halves.
    bool multiply_gated(const MlpWeights<Matrix>& mlp, const float* in, std::size_t count,
                        float* mid) {
      if constexpr (std::is_same_v<Gemm, PanelGemm>) {  // another may look at what is multiplied
        if (!memory.fusion.gated_activation || mlp.in.outputs() != 2 * mlp.width ||
            !mlp.in.halves() || mlp.in.by_library(count)) {
          return false;
        }
        memory.load.bytes += static_cast<std::int64_t>(mlp.in.bytes());
        count_floats(count * (mlp.in.inputs() + mlp.width));
        const Stopwatch watch(memory.seconds.products);
        mlp.in.multiply_halves(
            in, model.hidden_, count, threads,
            [&](std::size_t row, std::size_t at, const float* gate, const float* up,
                std::size_t n) { act(gate, up, mid + row * mlp.width + at, n, true); });
        return true;
      }
      return false;
    }

    void act(const float* in, const float* up, float* out, std::size_t width, bool gated) const {
      auto apply = [&](const auto& f) {
        if (gated) {
          activate_gated(in, up, out, width, f);
        } else {
          activate(in, out, width, f);
        }
      };
      switch (model.config().activation) {
        case checkpoint::Activation::silu:
          return apply(Silu{});
        case checkpoint::Activation::relu:
          return apply(Relu{});
        case checkpoint::Activation::gelu:
          return apply(GeluErf{});
        case checkpoint::Activation::gelu_tanh:
          return apply(GeluTanh{});
      }
    }

    /// Mixture of experts: each row goes to its best few; their results are added in the order of
    /// the experts, so that a row's bits do not depend on its neighbours.
    void mixture(const LayerWeights<Matrix>& layer, const float* in) {
      const std::size_t experts = layer.experts.size(), h = model.hidden_;
      const auto at = static_cast<std::size_t>(&layer - model.weights_.layers.data());
      const auto chosen = static_cast<std::size_t>(model.config().shape.experts_per_token);
      const std::size_t stride = layer.router.padded_outputs();
      float* scores = buffer(Buffer::routed, stride);
      multiply(layer.router, in, h, rows, scores, stride);
      auto& takers = memory.takers;
      if (takers.size() < experts) takers.resize(experts);
      for (auto& rows_of_expert : takers) rows_of_expert.clear();
      std::vector<std::size_t>& order = memory.experts;
      order.resize(experts);
      for (std::size_t r = 0; r < rows; ++r) {
        const std::span<float> p(scores + r * stride, experts);
        softmax(p);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::partial_sort(
            order.begin(), order.begin() + static_cast<std::ptrdiff_t>(chosen), order.end(),
            [&](std::size_t a, std::size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
        float total = 0;
        for (std::size_t i = 0; i < chosen; ++i) total += p[order[i]];
        if (!model.config().normalize_expert_weights) total = 1;
        for (std::size_t i = 0; i < chosen; ++i) {
          takers[order[i]].push_back({r, p[order[i]] / total});
        }
      }
      if constexpr (requires(const Matrix& m) { m.fetch(true); }) {
        for (std::size_t e = 0; e < experts; ++e) {  // all that this step asks, at once
          if (takers[e].empty()) continue;
          layer.experts[e].in.fetch(true);
          layer.experts[e].out.fetch(true);
        }
      }
      float* sum = buffer(Buffer::attended, h);
      std::fill_n(sum, rows * h, 0.0f);
      for (std::size_t e = 0; e < experts; ++e) {
        const auto& mine = takers[e];
        memory.load.add_rows(model.weights_.layers.size(), experts, at, e, mine.size());
        for (std::size_t first = 0; first < mine.size(); first += chunk_rows) {
          const std::size_t count = std::min(chunk_rows, mine.size() - first);
          float* rows_in = memory.get(Buffer::gathered, count * h);
          for (std::size_t i = 0; i < count; ++i) {
            std::copy_n(in + mine[first + i].first * h, h, rows_in + i * h);
          }
          const std::size_t out_stride = layer.experts[e].out.padded_outputs();
          float* out = memory.get(Buffer::expert_out, count * out_stride);
          run_mlp(layer.experts[e], rows_in, count, out);
          for (std::size_t i = 0; i < count; ++i) {
            const auto& [row, weight] = mine[first + i];
            add_scaled(sum + row * h, out + i * out_stride, weight, h);
          }
        }
      }
      add_to_stream(layer.mlp_norm, norm_behind(layer), sum, h);
    }

    void output(const Batch& batch, float* logits) {
      const std::size_t count = batch.logits_rows.size();
      if (count == 0) return;
      if (!memory.fusion.sampled_logits && rows != count) {
        std::vector<std::size_t> all(rows);
        std::iota(all.begin(), all.end(), std::size_t{0});
        std::vector<float> every(rows * model.logits_stride());
        output_of(all, every.data());
        for (std::size_t i = 0; i < count; ++i) {
          std::copy_n(every.data() + batch.logits_rows[i] * model.logits_stride(),
                      model.logits_stride(), logits + i * model.logits_stride());
        }
        return;
      }
      output_of(batch.logits_rows, logits);
    }
    void output_of(std::span<const std::size_t> wanted, float* logits) {
      const auto& w = model.weights_;
      const std::size_t h = model.hidden_, count = wanted.size();
      float* last = memory.get(Buffer::gathered, count * h);
      for (std::size_t i = 0; i < count; ++i) {
        const float* x = stream() + wanted[i] * h;
        if (w.final_norm.empty()) {
          std::copy_n(x, h, last + i * h);
        } else {
          normalise(w.final_norm, x, last + i * h, h);
        }
      }
      const float* in = last;
      std::size_t width = h;
      if (!w.project_out.empty()) {
        width = w.project_out.outputs();
        float* narrow = memory.get(Buffer::mlp_mid, count * width);
        project(w.project_out, last, h, narrow, width, count);
        in = narrow;
      }
      multiply(w.output, in, width, count, logits, model.logits_stride());
    }
  };

  Weights<Format, Gemm> weights_;
  Rope rope_;
  std::size_t hidden_ = 0, heads_ = 0, kv_heads_ = 0, head_dim_ = 0;
  float eps_ = 0;
};

/// Logits after every token of one sequence, without an engine: for tests, perplexity and
/// calibration. \shape result (tokens, vocab)
template <weight_format::WeightStorage Format, GemmFor<Format> Gemm,
          KvFormatPolicy KvFormat = kv_format::Fp32>
[[nodiscard]] std::vector<float> full_logits(const Decoder<Format, Gemm>& model,
                                             std::span<const TokenId> tokens, ThreadPool& threads) {
  constexpr Tokens block_tokens = 64;
  const auto length = static_cast<std::int64_t>(tokens.size());
  const BlockCount blocks = blocks_for(length, block_tokens);
  kv_format::Arena<KvFormat> arena(model.config().shape, blocks, block_tokens);
  std::vector<BlockId> table;
  for (std::uint32_t b = 0; b < static_cast<std::uint32_t>(blocks.value); ++b) table.push_back({b});
  Batch batch;
  batch.add(tokens, 0, table);
  for (std::size_t r = 0; r < tokens.size(); ++r) batch.logits_rows.push_back(r);
  Activations memory;
  std::vector<float> padded(tokens.size() * model.logits_stride());
  model.forward(batch, arena, memory, threads, padded.data());
  std::vector<float> out(tokens.size() * model.vocab());
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    std::copy_n(padded.data() + r * model.logits_stride(), model.vocab(),
                out.data() + r * model.vocab());
  }
  return out;
}

}  // namespace quire::model
