#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/gguf/save_tokenizer.hpp>
#include <quire/checkpoint/gguf/tensors.hpp>
#include <quire/checkpoint/gguf/writer.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/core/error.hpp>
#include <quire/model/rope.hpp>

namespace quire::checkpoint {

namespace gguf::detail {

/// ggml's name of a file in which most tensors have a type (general.file_type).
[[nodiscard]] inline std::uint32_t file_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q8_0:
      return 7;
    case DType::q4_k:
      return 14;
    case DType::q5_k:
      return 16;
    case DType::q6_k:
      return 18;
    case DType::bf16:
      return 32;
    default:
      return 0;
  }
}

/// Puts a model into ggml's names and layouts.
class Saver {
 public:
  Saver(const Checkpoint& model, DType dtype)
      : model_(model), config_(model.config), dtype_(dtype), arch_(architecture()) {}

  [[nodiscard]] MetadataText metadata() const {
    const model::Shape& s = config_.shape;
    MetadataText m;
    const auto key = [this](std::string_view name) {
      return std::string(arch_.name) + "." + std::string(name);
    };
    const auto number = [&](std::string_view name, std::int64_t value) {
      m.add(key(name), static_cast<std::uint32_t>(value));
    };
    m.add_text("general.architecture", arch_.name);
    m.add_text("general.type", "model");
    m.add_text("general.name", s.name);
    m.add("general.file_type", file_type(dtype_));
    m.add("general.quantization_version", std::uint32_t{2});
    number("vocab_size", s.vocab);
    number("context_length", s.max_length.value);
    number("embedding_length", s.hidden);
    number("block_count", s.layers);
    number("feed_forward_length", s.family == model::Family::qwen3_moe ? dense_width() : s.ffn);
    number("attention.head_count", s.heads);
    number("attention.head_count_kv", s.kv_heads);
    number("attention.key_length", s.head_dim);
    number("attention.value_length", s.head_dim);
    m.add(key("attention.layer_norm_rms_epsilon"), static_cast<float>(config_.norm_eps));
    number("rope.dimension_count", s.head_dim);
    m.add(key("rope.freq_base"), static_cast<float>(config_.rope_theta));
    if (config_.windows.front() > 0) number("attention.sliding_window", config_.windows.front());
    if (s.experts > 0) {
      number("expert_count", s.experts);
      number("expert_used_count", s.experts_per_token);
      if (s.family == model::Family::qwen3_moe) number("expert_feed_forward_length", s.ffn);
    }
    const GenerationConfig& g = model_.generation;
    const auto sampling = [&m](std::string_view name, const std::optional<double>& value) {
      if (value) m.add("general.sampling." + std::string(name), static_cast<float>(*value));
    };
    sampling("temp", g.do_sample == false ? std::optional(0.0) : g.temperature);
    sampling("top_p", g.top_p);
    sampling("min_p", g.min_p);
    sampling("penalty_repeat", g.repetition_penalty);
    if (g.top_k) m.add("general.sampling.top_k", *g.top_k);
    ModelConfig config = config_;
    if (!g.eos.empty()) config.eos = g.eos;
    add_tokenizer(m, model_.directory, config);
    return m;
  }

  [[nodiscard]] std::vector<TensorSource> tensors() const {
    const model::Shape& s = config_.shape;
    std::vector<TensorSource> out;
    const std::string prefix = model_.tensors.contains("model.norm.weight") ? "model." : "";
    add(out, "token_embd.weight", prefix + "embed_tokens.weight");
    add(out, "output_norm.weight", prefix + "norm.weight");
    if (!s.tied_embedding) add(out, "output.weight", "lm_head.weight");
    if (const std::vector<float> divisors = rope_divisors(); !divisors.empty()) {
      out.push_back({"rope_freqs.weight",
                     DType::f32,
                     {s.head_dim / 2},
                     [divisors](std::int64_t /*row*/, float* values) {
                       std::copy(divisors.begin(), divisors.end(), values);
                     }});
    }
    for (std::int64_t i = 0; i < s.layers; ++i) {
      const std::string to = "blk." + std::to_string(i) + ".";
      const std::string from = prefix + "layers." + std::to_string(i) + ".";
      for (const TensorName& n : layer_names) {
        const bool mlp = n.ggml == "ffn_gate" || n.ggml == "ffn_up" || n.ggml == "ffn_down";
        const bool norm = n.ggml == "attn_q_norm" || n.ggml == "attn_k_norm";
        if ((mlp && s.experts > 0) || (norm && !config_.query_key_norm)) continue;
        const bool turning = n.ggml == "attn_q" || n.ggml == "attn_k";
        const std::string name = from + std::string(n.hugging_face);
        add(out, to + std::string(n.ggml) + ".weight", name + ".weight", turning);
        if (model_.tensors.contains(name + ".bias")) {
          add(out, to + std::string(n.ggml) + ".bias", name + ".bias", turning);
        }
      }
      if (s.experts > 0) add_experts(out, to, from);
    }
    return out;
  }

 private:
  [[nodiscard]] const Architecture& architecture() const {
    using model::Family;
    const Family family = config_.shape.family;
    const auto refuse = [this](std::string_view what, std::string_view expected) {
      throw data_error(model_.directory, what, expected);
    };
    if (family == Family::gpt2 || family == Family::opt) {
      refuse("GGUF files of " + config_.model_type + " are not written",
             "llama, mistral, mixtral, qwen2, qwen3 or qwen3_moe");
    }
    if (config_.quantisation) {
      refuse("the checkpoint is quantised already", "one in floats: GGUF has other blocks");
    }
    if (has_low_rank(model_.tensors)) {
      refuse("its layers are stored as factors of low rank, which GGUF has no place for",
             "layers that are whole");
    }
    if (!config_.dense_layers.empty() || !config_.normalize_expert_weights) {
      refuse("GGUF has no place for layers without experts, or weights of experts as they come",
             "experts in every layer, and norm_topk_prob");
    }
    const bool rows_turn =
        family == Family::llama || family == Family::mistral || family == Family::mixtral;
    for (const std::int64_t window : config_.windows) {
      if (window == config_.windows.front() && (window == 0 || rows_turn)) continue;
      refuse("GGUF has no place for these sliding windows", "none, or the same in every layer");
    }
    for (const Architecture& a : architectures) {
      if (rows_turn ? a.neighbours_turn : a.family == family) return a;
    }
    throw data_error(model_.directory, "no architecture of ggml fits", "another model");
  }
  [[nodiscard]] std::int64_t dense_width() const {
    return config_.dense_ffn > 0 ? config_.dense_ffn : config_.shape.ffn;
  }
  [[nodiscard]] std::vector<float> rope_divisors() const {
    if (!config_.rope_scaling) return config_.rope_divisors;
    std::vector<float> out;
    for (std::int64_t i = 0; i < config_.shape.head_dim / 2; ++i) {
      const double f =
          std::pow(config_.rope_theta,
                   -2.0 * static_cast<double>(i) / static_cast<double>(config_.shape.head_dim));
      out.push_back(static_cast<float>(model::Rope::divisor(f, *config_.rope_scaling)));
    }
    return out;
  }

  /// Matrices in the type asked for; vectors and the router in fp32, as ggml wants them.
  void add(std::vector<TensorSource>& out, std::string name, const std::string& from,
           bool turning = false, bool exact = false) const {
    const TensorView view = model_.tensors.at(from);
    const bool reorder = turning && arch_.neighbours_turn;
    const std::int64_t columns = view.shape.size() == 1 && !reorder ? view.shape[0]
                                 : view.shape.size() == 1           ? 1
                                                                    : view.shape[1];
    if (view.shape.empty() || view.shape.size() > 2) {
      throw data_error(model_.directory,
                       "tensor " + in_quotes(from, 120) + " has shape " + shape_text(view.shape),
                       "one or two dimensions");
    }
    TensorSource t;
    t.name = std::move(name);
    t.dtype = view.shape.size() == 1 || exact ? DType::f32 : dtype_;
    t.shape.assign(view.shape.begin(), view.shape.end());
    const std::int64_t head_dim = config_.shape.head_dim;
    if (reorder && view.shape[0] % head_dim != 0) {
      throw data_error(model_.directory,
                       "tensor " + in_quotes(from, 120) + " has shape " + shape_text(view.shape),
                       "whole heads of " + std::to_string(head_dim));
    }
    // Row p of the file is the row r with row_among_neighbours(r) = p.
    t.read_row = [view, columns, reorder, head_dim](std::int64_t p, float* values) {
      if (view.shape.size() == 1 && reorder) {  // a bias: one row of its own
        for (std::int64_t r = 0; r < view.shape[0]; ++r) {
          read_elements(view, r, {values + row_among_neighbours(r, head_dim), 1});
        }
        return;
      }
      const std::int64_t inside = p % head_dim;
      const std::int64_t r = reorder ? p - inside + inside % 2 * (head_dim / 2) + inside / 2 : p;
      read_elements(view, r * columns, {values, static_cast<std::size_t>(columns)});
    };
    out.push_back(std::move(t));
  }

  void add_experts(std::vector<TensorSource>& out, const std::string& to,
                   const std::string& from) const {
    const model::Shape& s = config_.shape;
    add(out, to + "ffn_gate_inp.weight", from + std::string(router_name(s.family)) + ".weight",
        false, true);
    for (const ExpertName& n : expert_names) {
      std::vector<TensorView> experts;
      for (std::int64_t e = 0; e < s.experts; ++e) {
        experts.push_back(model_.tensors.at(
            from + std::string(experts_prefix(s.family)) + std::to_string(e) + "." +
            std::string(s.family == model::Family::mixtral ? n.mixtral : n.qwen3_moe) + ".weight"));
        if (experts.back().shape.size() == 2 && experts.back().has_shape(experts.front().shape)) {
          continue;
        }
        throw data_error(model_.directory, "experts of other shapes in " + in_quotes(from), "one");
      }
      const std::int64_t rows = experts.front().shape[0], columns = experts.front().shape[1];
      out.push_back({to + std::string(n.ggml) + ".weight",
                     dtype_,
                     {s.experts, rows, columns},
                     [experts, rows, columns](std::int64_t r, float* values) {
                       read_elements(experts[static_cast<std::size_t>(r / rows)],
                                     r % rows * columns,
                                     {values, static_cast<std::size_t>(columns)});
                     }});
    }
  }

  const Checkpoint& model_;
  const ModelConfig& config_;
  DType dtype_;
  const Architecture& arch_;
};

}  // namespace gguf::detail

/// Writes a model as a GGUF file that other readers of the format take as well: matrices in one type,
/// norms, biases and routers in fp32, the tokenizer in ggml's own keys and, beside them, as it was.
/// dtype: f32, f16, bf16, q8_0, q4_0, q4_k, q5_k or q6_k; K-quants are rounded to nearest, without ggml's
/// search for scales.
/// \errors data for a model that the format has no place for, one line that says what; usage for rows
/// that are no whole number of a type's blocks; state when the file cannot be written
inline void save_gguf(const Checkpoint& model, const std::string& path, DType dtype) {
  if (is_gguf(model.directory)) {
    throw usage_error(model.directory, "is a GGUF file already", "a Hugging Face directory");
  }
  if (model.config.packed) {
    throw usage_error(model.directory, "is an image, packed already", "a Hugging Face directory");
  }
  const gguf::detail::Saver saver(model, dtype);
  gguf::write_file(path, saver.metadata(), saver.tensors());
}

}  // namespace quire::checkpoint
