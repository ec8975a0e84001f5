// One file: the steps of a forward pass share the buffers and the batch, and read best in order.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/config.hpp>
#include <quire/executor/arena_geometry.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/device_matrix.cuh>
#include <quire/executor/step.hpp>
#include <quire/kernels/block_primitives.cuh>
#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <quire/kernels/embedding/embedding.cuh>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/rms_norm/rms_norm.cuh>
#include <quire/kernels/sampling/sampling.cuh>
#include <quire/kernels/swiglu/swiglu.cuh>
#include <quire/model/rope.hpp>
#include <quire/model/weights.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/sampling/sampler.hpp>
#include <quire/scheduler/limits.hpp>
#include <quire/simt/device_array.cuh>

namespace quire::executor {

/// Runs steps on a device through Quire's kernels: copies and swaps of blocks, the whole forward
/// pass, and sampling. Under a host compiler the kernels run on the emulator, so that a machine
/// without a GPU can check every step against the CPU executor.
///
/// Value: element of activations, queries and keys before they are stored; float keeps the CPU
/// executor's precision. Product: a dense product. head_dims: the head sizes that are compiled.
/// Families: llama, mistral, qwen2 and qwen3 (rotary, RMS norm, gated MLP); others are refused.
/// Each row attends through the decode kernels, rows of a prompt too.
template <class Value, class Product, unsigned... head_dims>
struct BasicCuda {
  struct Options {
    checkpoint::Checkpoint model;  // checkpoint::open_checkpoint(directory)
    SchedulerLimits limits{};
    Bytes kv_memory = std::int64_t{256} << 20;   // for device blocks
    Bytes host_memory = std::int64_t{64} << 20;  // for swapped blocks, where a policy swaps
    BlockCount device_blocks = 0;                // more than 0: this many, in place of kv_memory
    BlockCount host_blocks = 0;                  // likewise
    std::uint32_t multiprocessors = 132;         // of the device; what the split-KV plan fills
    bool wrap_tokens = false;                    // maps token ids into the vocabulary by remainder
    bool poison = false;                         // fills unwritten KV with NaN
  };

  [[nodiscard]] static model::Shape shape(const Options& options) {
    return options.model.config.shape;
  }

  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    if constexpr (requires { typename C::Retention; }) {
      static_assert(C::Retention::keeps_all && !retention::selects_pages<typename C::Retention>,
                    "quire: retention: the CUDA executor keeps every token and attends to all; use "
                    "quire::retention::KeepAll, or quire::executor::Cpu");
    }
    static_assert(!speculation::guesses<speculation_of<C>>,
                  "quire: speculation: the CUDA executor draws one token a sequence and step; use "
                  "quire::speculation::None, or quire::executor::Cpu");
    const KvGeometry g = quire::executor::arena_geometry<C>(options);
    if (g.tiers.uses_disk || g.tiers.overlaps) {
      throw usage_error("offload policy " + std::string(C::Offload::name),
                        "the CUDA executor has no disk tier and does not overlap fetches",
                        "recompute, swap_to_host or host_cache");
    }
    return g;
  }

  template <class KvFormat, class WeightFormat, unsigned block_tokens>
  class Steps {
    using Weight = typename DeviceElement<WeightFormat>::type;
    using Block = kernels::PortableBlock<simt::emulated ? 64 : 256>;
    static constexpr kernels::DecodeTuning decode_tuning{.warps = simt::emulated ? 2 : 4};
    template <unsigned head_dim>
    using Key = kernels::KernelKey<KvFormat, block_tokens, head_dim, Value>;
    template <class T>
    using Array = simt::DeviceArray<T>;

   public:
    static constexpr std::string_view name = "cuda";
    static constexpr bool needs_tokens = true;

    Steps(const Options& options, const KvGeometry& geometry)
        : config_(accepted(options.model.config)),
          block_bytes_(static_cast<std::size_t>(2 * config_.shape.layers * config_.shape.kv_heads) *
                       slab_bytes()),
          device_blocks_(geometry.device_blocks),
          host_blocks_(geometry.host_blocks),
          device_pool_(static_cast<std::size_t>(geometry.device_blocks.value) * block_bytes_),
          host_pool_(static_cast<std::size_t>(geometry.host_blocks.value) * block_bytes_),
          multiprocessors_(options.multiprocessors),
          wrap_(options.wrap_tokens) {
      load(options);
      if (options.poison) {
        // all bits set is a NaN in every format: as element, or as scale
        const std::vector<std::byte> ones(std::max(device_pool_.size(), host_pool_.size()),
                                          std::byte{0xff});
        device_pool_.upload(std::span(ones).first(device_pool_.size()));
        host_pool_.upload(std::span(ones).first(host_pool_.size()));
      }
    }

    /// Runs one step. \errors state for a plan that names blocks or tokens which do not exist;
    /// usage for tokens outside the vocabulary
    void execute(const StepPlan& plan, StepResult& result) {
      const auto start = std::chrono::steady_clock::now();
      result.clear();
      move_blocks(plan, result);
      gather(plan);
      if (rows_ > 0) {
        (void)((config_.shape.head_dim == head_dims && (forward<head_dims>(), true)) || ...);
      }
      sample(plan, result);
      result.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

   private:
    static constexpr std::uint32_t blocks_per_multiprocessor = 4;
    static constexpr std::uint64_t sampling_stream = 0x73616d706c65ULL;  // as sampling::Sampler

    struct Layer {
      Array<float> attention_norm, mlp_norm, query_norm, key_norm;
      DeviceMatrix<WeightFormat> qkv, attention_output, mlp_in, mlp_out;
      std::size_t mlp_width = 0;
      std::int64_t window = 0;
    };

    static checkpoint::ModelConfig accepted(const checkpoint::ModelConfig& c) {
      auto refuse = [&c](std::string_view why) {
        throw usage_error("executor cuda: model " + c.model_type, why,
                          "a llama, mistral, qwen2 or qwen3 model");
      };
      if (!((c.shape.head_dim == head_dims) || ...)) {
        refuse("head_dim " + std::to_string(c.shape.head_dim) + " has no kernels in this program");
      }
      if (c.shape.experts > 0) refuse("mixtures of experts have no kernels");
      if (!c.rotary) refuse("learned positions have no kernels");
      if (c.norm != checkpoint::Norm::rms || !c.norm_before || !c.final_norm) {
        refuse("its norms have no kernels");
      }
      if (!c.shape.gated_mlp || (c.activation != checkpoint::Activation::silu &&
                                 c.activation != checkpoint::Activation::gelu_tanh)) {
        refuse("its MLP has no kernels");
      }
      if (c.embedding_width != c.shape.hidden) refuse("a narrow embedding has no kernels");
      return c;
    }
    [[nodiscard]] std::size_t slab_bytes() const {
      return KvFormat::slab_bytes(block_tokens, static_cast<std::size_t>(config_.shape.head_dim));
    }
    [[nodiscard]] std::size_t hidden() const {
      return static_cast<std::size_t>(config_.shape.hidden);
    }
    [[nodiscard]] std::size_t vocab() const { return output_.outputs(); }

    void load(const Options& options) {
      ThreadPool one(1);
      auto w = model::load_weights<WeightFormat, DeviceGemm>(config_, options.model.tensors, one);
      auto norm = [](const model::NormWeights& n) {
        return Array<float>(std::span<const float>(n.scale));
      };
      for (auto& from : w.layers) {
        Layer to;
        to.attention_norm = norm(from.attention_norm);
        to.mlp_norm = norm(from.mlp_norm);
        to.query_norm = norm(from.query_norm);
        to.key_norm = norm(from.key_norm);
        to.qkv = std::move(from.qkv);
        to.attention_output = std::move(from.attention_output);
        to.mlp_in = std::move(from.mlp.in);
        to.mlp_out = std::move(from.mlp.out);
        to.mlp_width = from.mlp.width;
        to.window = from.window;
        layers_.push_back(std::move(to));
      }
      final_norm_ = norm(w.final_norm);
      output_ = std::move(w.output);
      if (!w.embedding.empty()) {
        std::vector<Weight> table(w.embedding.rows() * hidden());
        std::vector<float> row(hidden());
        for (std::size_t t = 0; t < w.embedding.rows(); ++t) {
          w.embedding.read_row(t, row.data());
          for (std::size_t i = 0; i < hidden(); ++i) {
            table[t * hidden() + i] = from_float<Weight>(row[i]);
          }
        }
        embedding_ = Array<Weight>(std::span<const Weight>(table));
      }
      rope_ = model::Rope(static_cast<std::size_t>(config_.shape.head_dim), config_.rope_theta,
                          config_.rope_scaling, config_.rope_divisors);
    }

    /// Cosines and sines of all positions below `count`, which grows by doubling.
    void reserve_angles(std::int64_t count) {
      if (count <= angle_positions_) return;
      angle_positions_ =
          std::max<std::int64_t>(count, std::max<std::int64_t>(256, 2 * angle_positions_));
      const auto d = static_cast<std::size_t>(config_.shape.head_dim);
      std::vector<float> table(static_cast<std::size_t>(angle_positions_) * d);
      for (std::int64_t p = 0; p < angle_positions_; ++p) {
        rope_.angles(p, &table[static_cast<std::size_t>(p) * d]);
      }
      angles_ = Array<float>(std::span<const float>(table));
    }

    static void check_block(BlockId b, BlockCount blocks, std::string_view pool) {
      if (static_cast<std::int64_t>(b.value) < blocks.value) return;
      throw state_error(
          "step plan",
          "it names block " + std::to_string(b.value) + " of the " + std::string(pool) + " pool",
          "a block below " + std::to_string(blocks.value));
    }

    /// Moves in the order of the list: a launch takes as many as do not touch each other's blocks.
    void launch_moves(const std::vector<kernels::BlockMove>& moves, const Array<std::byte>& source,
                      Array<std::byte>& target) {
      std::size_t begin = 0;
      const bool within = source.data() == target.data();
      while (begin < moves.size()) {
        std::unordered_set<std::uint32_t> read, written;
        std::size_t end = begin;
        for (; end < moves.size(); ++end) {
          const auto& m = moves[end];
          if (written.contains(m.to) ||
              (within && (written.contains(m.from) || read.contains(m.to)))) {
            break;
          }
          read.insert(m.from);
          written.insert(m.to);
        }
        moves_.assign(std::span(moves).subspan(begin, end - begin));
        kernels::copy_blocks({source.data(), target.data(), block_bytes_, moves_.data()},
                             static_cast<std::uint32_t>(end - begin));
        begin = end;
      }
    }
    void move_blocks(const StepPlan& plan, StepResult& result) {
      std::vector<kernels::BlockMove> out, in, copies;
      for (const BlockSwap& s : plan.swap_out) {
        check_block(s.device, device_blocks_, "device");
        check_block(s.host, host_blocks_, "host");
        out.push_back({s.device.value, s.host.value});
      }
      for (const BlockSwap& s : plan.swap_in) {
        check_block(s.device, device_blocks_, "device");
        check_block(s.host, host_blocks_, "host");
        in.push_back({s.host.value, s.device.value});
      }
      for (const BlockCopy& c : plan.copies) {
        check_block(c.from, device_blocks_, "device");
        check_block(c.to, device_blocks_, "device");
        copies.push_back({c.from.value, c.to.value});
      }
      launch_moves(out, device_pool_, host_pool_);
      launch_moves(in, host_pool_, device_pool_);
      launch_moves(copies, device_pool_, device_pool_);
      result.bytes_moved =
          static_cast<std::int64_t>((out.size() + in.size() + copies.size()) * block_bytes_);
    }

    /// The plan's rows as one ragged batch, on the device.
    void gather(const StepPlan& plan) {
      std::vector<std::uint32_t> tokens, sequence, tables, begins, row_begins, logits_rows;
      std::vector<std::int32_t> positions, lengths;
      for (const SequencePlan& s : plan.sequences) {
        const std::int64_t end = (s.computed + s.tokens).value;
        if (s.tables.empty() || s.tokens < Tokens{1} || s.computed < Tokens{0} ||
            static_cast<std::int64_t>(s.history.size()) < end) {
          throw state_error(
              "step plan",
              "sequence " + std::to_string(s.sequence.value) + " lacks a block table or tokens",
              "a table and the ids of all tokens up to the last of the step");
        }
        const auto blocks = s.tables.front().blocks();
        const std::int64_t needed = (end + block_tokens - 1) / block_tokens;
        if (static_cast<std::int64_t>(blocks.size()) < needed) {
          throw state_error("step plan",
                            "the block table of sequence " + std::to_string(s.sequence.value) +
                                " holds " + std::to_string(blocks.size()) + " blocks",
                            std::to_string(needed));
        }
        const auto at = static_cast<std::uint32_t>(tables.size());
        for (const BlockId b : blocks.first(static_cast<std::size_t>(needed))) {
          check_block(b, device_blocks_, "device");
          tables.push_back(b.value);
        }
        for (std::int64_t p = s.computed.value; p < end; ++p) {
          TokenId t = s.history[static_cast<std::size_t>(p)];
          if (wrap_) t %= static_cast<TokenId>(vocab());
          if (t >= vocab()) {
            throw usage_error("token " + std::to_string(t), "is not in the vocabulary",
                              "ids below " + std::to_string(vocab()));
          }
          tokens.push_back(t);
          positions.push_back(static_cast<std::int32_t>(p));
          lengths.push_back(static_cast<std::int32_t>(p + 1));
          sequence.push_back(static_cast<std::uint32_t>(begins.size()));
          row_begins.push_back(at);
        }
        begins.push_back(at);
        if (s.draws > 0) logits_rows.push_back(static_cast<std::uint32_t>(tokens.size() - 1));
        reserve_angles(end);
      }
      rows_ = tokens.size();
      logits_count_ = logits_rows.size();
      tokens_.assign(tokens);
      positions_.assign(positions);
      sequence_.assign(sequence);
      tables_.assign(tables);
      table_begin_.assign(begins);
      row_table_begin_.assign(row_begins);
      lengths_.assign(lengths);
      logits_rows_.assign(logits_rows);
      host_lengths_ = std::move(lengths);
    }

    template <class Out>
    void multiply(const DeviceMatrix<WeightFormat>& w, const Value* x, Array<Out>& y,
                  std::size_t rows) {
      y.reserve(rows * w.outputs());
      product_.multiply(w.arguments(x, y.data(), rows));
    }
    /// stream += add, out = norm(stream). \shape rows: null for all
    void add_and_norm(const Array<float>& scale, const float* add, const std::uint32_t* rows,
                      std::size_t count) {
      normed_.reserve(count * hidden());
      using Kernel = kernels::RmsNorm<Value, Block>;
      simt::launch<Kernel>({{static_cast<unsigned>(count)}, Kernel::shared_bytes},
                           {stream_.data(), add, hidden(), scale.data(), normed_.data(), rows,
                            static_cast<std::uint32_t>(hidden()), norm_eps()});
    }
    [[nodiscard]] float norm_eps() const { return static_cast<float>(config_.norm_eps); }

    template <unsigned head_dim>
    void forward() {
      stream_.reserve(rows_ * hidden());
      const auto parts = [](std::size_t n) { return static_cast<unsigned>((n + 255) / 256); };
      const auto rows = static_cast<unsigned>(rows_);
      simt::launch<kernels::Embedding<Weight>>(
          {{rows, parts(hidden())}},
          {embedding_.empty() ? output_.weights() : embedding_.data(), tokens_.data(),
           stream_.data(), static_cast<std::uint32_t>(hidden())});
      const float* add = nullptr;  // the last branch's result, not yet in the stream
      for (std::size_t l = 0; l < layers_.size(); ++l) {
        const Layer& layer = layers_[l];
        add_and_norm(layer.attention_norm, add, nullptr, rows_);
        attend<head_dim>(layer, l);
        multiply(layer.attention_output, attended_.data(), projected_, rows_);
        add_and_norm(layer.mlp_norm, projected_.data(), nullptr, rows_);
        multiply(layer.mlp_in, normed_.data(), mlp_in_, rows_);
        mlp_mid_.reserve(rows_ * layer.mlp_width);
        activate(layer, rows, parts(layer.mlp_width));
        multiply(layer.mlp_out, mlp_mid_.data(), projected_, rows_);
        add = projected_.data();
      }
      if (logits_count_ == 0) return;
      // rows that nobody asks about need no last sum
      add_and_norm(final_norm_, add, logits_rows_.data(), logits_count_);
      multiply(output_, normed_.data(), logits_, logits_count_);
    }

    void activate(const Layer& layer, unsigned rows, unsigned parts) {
      const kernels::GatedActivationParams<float, Value> p{
          mlp_in_.data(), 2 * layer.mlp_width, mlp_mid_.data(),
          static_cast<std::uint32_t>(layer.mlp_width)};
      if (config_.activation == checkpoint::Activation::silu) {
        simt::launch<kernels::GatedActivation<kernels::Silu, float, Value>>({{rows, parts}}, p);
      } else {
        simt::launch<kernels::GatedActivation<kernels::GeluTanh, float, Value>>({{rows, parts}}, p);
      }
    }

    template <unsigned head_dim>
    void attend(const Layer& layer, std::size_t index) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      const auto kv_heads = static_cast<std::uint32_t>(config_.shape.kv_heads);
      multiply(layer.qkv, normed_.data(), qkv_, rows_);
      q_.reserve(rows_ * heads * head_dim);
      attended_.reserve(rows_ * heads * head_dim);
      kernels::CacheWriteParams<float, Value> write;
      write.qkv = qkv_.data();
      write.stride = layer.qkv.outputs();
      write.q = q_.data();
      write.cache = {device_pool_.data() + index * 2 * kv_heads * slab_bytes(), block_bytes_,
                     kv_heads};
      write.blocks = tables_.data();
      write.table_begin = table_begin_.data();
      write.sequence = sequence_.data();
      write.position = positions_.data();
      write.angles = angles_.data();
      write.query_norm = layer.query_norm.data();
      write.key_norm = layer.key_norm.data();
      write.eps = norm_eps();
      write.heads = heads;
      using Write = kernels::CacheWrite<Key<head_dim>, float>;
      simt::launch<Write>(
          {{static_cast<unsigned>(rows_),
            (heads + 2 * kv_heads + Write::heads_a_block - 1) / Write::heads_a_block}},
          write);
      if (layer.window > 0) {
        attend_as<head_dim>(attention::SlidingWindow(layer.window), write.cache);
      } else {
        attend_as<head_dim>(attention::Causal(), write.cache);
      }
    }

    template <unsigned head_dim, class Variant>
    void attend_as(const Variant& variant, const kernels::KvPool& cache) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      const auto plan = kernels::plan_decode(
          std::span<const std::int32_t>(host_lengths_), variant,
          {.blocks = multiprocessors_ * blocks_per_multiprocessor,
           .blocks_per_work = cache.kv_heads * kernels::decode_passes<Key<head_dim>, decode_tuning>(
                                                   heads / cache.kv_heads)});
      work_.assign(plan.work);
      merges_.assign(plan.merges);
      partial_.reserve(plan.partials * std::size_t{heads} * head_dim);
      partial_lse_.reserve(plan.partials * std::size_t{heads});
      kernels::PagedDecodeParams<Value, Variant> p;
      p.q = q_.data();
      p.q_stride = p.out_stride = std::size_t{heads} * head_dim;
      p.out = attended_.data();
      p.cache = cache;
      p.blocks = tables_.data();
      p.table_begin = row_table_begin_.data();
      p.lengths = lengths_.data();
      p.work = work_.data();
      p.partial = partial_.data();
      p.partial_lse = partial_lse_.data();
      p.heads = heads;
      p.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
      p.variant = variant;
      kernels::paged_decode<Key<head_dim>, Variant, decode_tuning>(
          p, static_cast<std::uint32_t>(plan.work.size()), merges_.data(),
          static_cast<std::uint32_t>(plan.merges.size()));
    }

    /// Rows whose draws the kernel does not make: beams and log-probabilities need more than a
    /// token, and several draws after penalties would meet in one row. They are drawn on the host.
    [[nodiscard]] static bool on_host(const SequencePlan& s) {
      const SamplingParams& p = *s.sampling;
      const bool changes = sampling::has_penalties(p) || !p.stop_token_ids.empty();
      return p.beam_width > 0 || sampling::wants_logprobs(p) || (s.draws > 1 && changes);
    }

    void sample(const StepPlan& plan, StepResult& result) {
      std::vector<kernels::SampleRow> rows;
      std::vector<kernels::TokenPenalty> penalties;
      std::vector<std::size_t> place;  // of each row's draw in the result
      std::size_t row = 0;
      bool host = false;
      for (const SequencePlan& s : plan.sequences) {
        result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
        if (s.draws <= 0) continue;
        const auto count = static_cast<std::size_t>(s.draws), first = result.draws.size();
        result.draws.resize(first + count);
        if (on_host(s)) {
          host = true;
        } else {
          add_rows(s, static_cast<std::uint32_t>(row), rows, penalties);
          for (std::size_t d = 0; d < count; ++d) place.push_back(first + d);
        }
        ++row;
      }
      result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
      if (host) sample_on_host(plan, result);
      if (rows.empty()) return;
      sample_rows_.assign(rows);
      penalties_.assign(penalties);
      drawn_.reserve(2 * rows.size());
      using Kernel = kernels::Sample<Block>;
      simt::launch<Kernel>(
          {{static_cast<unsigned>(rows.size())}, Kernel::shared_bytes},
          {logits_.data(), vocab(), sample_rows_.data(), penalties_.data(), drawn_.data(),
           drawn_.data() + rows.size(), static_cast<std::uint32_t>(vocab())});
      std::vector<std::uint32_t> tokens(2 * rows.size());
      drawn_.download(tokens);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (tokens[rows.size() + i] != 0) {
          throw state_error("logits", "there is nothing to draw from",
                            "numbers, at least one of them finite");
        }
        result.draws[place[i]].token = tokens[i];
      }
    }

    void add_rows(const SequencePlan& s, std::uint32_t row, std::vector<kernels::SampleRow>& rows,
                  std::vector<kernels::TokenPenalty>& penalties) {
      const SamplingParams& p = *s.sampling;
      const std::int64_t length = (s.computed + s.tokens).value;
      const std::int64_t generated = length - s.prompt_tokens.value;
      kernels::SampleRow r;
      r.row = row;
      r.first_penalty = static_cast<std::uint32_t>(penalties.size());
      add_penalties(s, generated, penalties);
      r.penalties = static_cast<std::uint32_t>(penalties.size()) - r.first_penalty;
      if (!(p.temperature < sampling::smallest_temperature)) {
        r.inverse_temperature = static_cast<float>(1 / p.temperature);
        r.top_k = static_cast<std::uint32_t>(std::max(p.top_k, 0));
        r.top_p = static_cast<float>(p.top_p);
        if (p.min_p > 0) r.log_min_p = static_cast<float>(std::log(p.min_p));
      }
      for (std::int32_t d = 0; d < s.draws; ++d) {
        const std::uint64_t seed =
            p.seed + static_cast<std::uint64_t>(s.sample_index) + static_cast<std::uint64_t>(d);
        r.draw = static_cast<std::uint32_t>(
            counter_bits(seed, sampling_stream, static_cast<std::uint64_t>(generated)) >> 32);
        rows.push_back(r);
      }
    }

    void add_penalties(const SequencePlan& s, std::int64_t generated,
                       std::vector<kernels::TokenPenalty>& penalties) const {
      const SamplingParams& p = *s.sampling;
      constexpr float ban = std::numeric_limits<float>::infinity();
      const bool early = generated < p.min_tokens.value;
      std::vector<TokenId> stops;
      if (early) {
        for (const TokenId t : p.stop_token_ids) {
          if (t < vocab() && std::find(stops.begin(), stops.end(), t) == stops.end()) {
            stops.push_back(t);
            penalties.push_back({t, 1.0f, ban});
          }
        }
      }
      if (!sampling::has_penalties(p)) return;
      const auto length = static_cast<std::size_t>((s.computed + s.tokens).value);
      const auto prompt = std::min(static_cast<std::size_t>(s.prompt_tokens.value), length);
      std::vector<std::pair<TokenId, bool>> seen;  // token, of the output
      for (std::size_t i = 0; i < length; ++i) {
        if (s.history[i] < vocab()) seen.emplace_back(s.history[i], i >= prompt);
      }
      std::sort(seen.begin(), seen.end());
      for (std::size_t i = 0; i < seen.size();) {
        std::size_t end = i, outputs = 0;
        for (; end < seen.size() && seen[end].first == seen[i].first; ++end) {
          outputs += seen[end].second ? 1 : 0;
        }
        if (std::find(stops.begin(), stops.end(), seen[i].first) == stops.end()) {
          const double subtract =
              outputs == 0
                  ? 0.0
                  : p.frequency_penalty * static_cast<double>(outputs) + p.presence_penalty;
          penalties.push_back({seen[i].first, static_cast<float>(p.repetition_penalty),
                               static_cast<float>(subtract)});
        }
        i = end;
      }
    }

    void sample_on_host(const StepPlan& plan, StepResult& result) {
      std::vector<float> logits(logits_count_ * vocab());
      logits_.download(logits);
      std::size_t row = 0;
      for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
        const SequencePlan& s = plan.sequences[i];
        if (s.draws <= 0) continue;
        if (on_host(s)) {
          const auto count = static_cast<std::size_t>(s.draws);
          const std::size_t before = result.alternatives.size();
          if (s.sampling->beam_width <= 0) {
            result.alternatives.resize(
                before + count * sampling::alternatives_per_draw(*s.sampling, vocab()));
          }
          sampler_.sample(s, std::span(logits).subspan(row * vocab(), vocab()),
                          {result.draws.data() + result.begin[i], count},
                          static_cast<std::uint32_t>(before),
                          std::span(result.alternatives).subspan(before));
        }
        ++row;
      }
    }

    checkpoint::ModelConfig config_;
    std::size_t block_bytes_;
    BlockCount device_blocks_, host_blocks_;
    Array<std::byte> device_pool_, host_pool_;
    std::uint32_t multiprocessors_;
    bool wrap_;
    std::vector<Layer> layers_;
    Array<Weight> embedding_;  // empty when `output` serves as one
    Array<float> final_norm_, angles_;
    DeviceMatrix<WeightFormat> output_;
    model::Rope rope_;
    std::int64_t angle_positions_ = 0;
    Product product_;
    sampling::Sampler sampler_;

    // the batch
    std::size_t rows_ = 0, logits_count_ = 0;
    std::vector<std::int32_t> host_lengths_;
    Array<std::uint32_t> tokens_, sequence_, tables_, table_begin_, row_table_begin_, logits_rows_;
    Array<std::int32_t> positions_, lengths_;
    Array<kernels::DecodeWork> work_;
    Array<kernels::MergeWork> merges_;
    Array<kernels::BlockMove> moves_;
    Array<kernels::SampleRow> sample_rows_;
    Array<kernels::TokenPenalty> penalties_;
    Array<std::uint32_t> drawn_;
    // activations
    Array<float> stream_, qkv_, projected_, mlp_in_, logits_, partial_, partial_lse_;
    Array<Value> normed_, q_, attended_, mlp_mid_;
  };

  template <class C>
  using Bound = Steps<typename C::KvFormat, typename C::WeightFormat,
                      static_cast<unsigned>(C::BlockSize::tokens.value)>;
};

}  // namespace quire::executor
