// One file: the steps of a forward pass share the buffers and the batch, and read best in order.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/attention/kv_view.hpp>
#include <quire/attention/shared_prefix.hpp>
#include <quire/attention/sliding_window.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/config.hpp>
#include <quire/executor/arena_geometry.hpp>
#include <quire/executor/communicator.cuh>
#include <quire/executor/concepts.hpp>
#include <quire/executor/cuda_tiers.cuh>
#include <quire/executor/device_matrix.cuh>
#include <quire/executor/draft_book.hpp>
#include <quire/executor/drafts.hpp>
#include <quire/executor/keeping.cuh>
#include <quire/executor/kv_fingerprint.hpp>
#include <quire/executor/rejected_drafts.hpp>
#include <quire/executor/step.hpp>
#include <quire/executor/step_data.cuh>
#include <quire/executor/transfers.cuh>
#include <quire/executor/uploads.cuh>
#include <quire/kernels/block_primitives.cuh>
#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/cascade/cascade.cuh>
#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <quire/kernels/embedding/embedding.cuh>
#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/layer_norm/layer_norm.cuh>
#include <quire/kernels/mixture/route.cuh>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>
#include <quire/kernels/paged_prefill/warpgroup_prefill.cuh>
#include <quire/kernels/rms_norm/rms_norm.cuh>
#include <quire/kernels/sampling/sampling.cuh>
#include <quire/kernels/swiglu/swiglu.cuh>
#include <quire/kernels/top_logprobs/top_logprobs.cuh>
#include <quire/model/rope.hpp>
#include <quire/model/step_seconds.hpp>
#include <quire/model/weights.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/sampling/sampler.hpp>
#include <quire/scheduler/limits.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// By which kernel sequences with several rows attend: matrix, by products of a warp, which every device
/// has; warpgroups, by those of sm_90a, over 16-bit keys and values in blocks of 8 tokens or more;
/// by_device, by warpgroups where the device, the program and the keys and values allow it.
enum class PrefillPath { by_device, matrix, warpgroups };

/// Layers see what the model says, and nothing changes a logit.
struct AttendsAsModel {
  struct Layer {};
  static constexpr bool by_layer = false;  // whether layers of one window may differ

  [[nodiscard]] static Layer layer(const model::Shape&, std::size_t /*index*/,
                                   std::int64_t /*window*/) {
    return {};
  }
  /// body(variant) of layers that attend alike
  template <class Body>
  static decltype(auto) with(const auto& layers, const Body& body) {
    if (layers.window > 0) return body(attention::SlidingWindow(layers.window));
    return body(attention::Causal());
  }
  /// What of it the bytes of a block depend on.
  [[nodiscard]] static std::string said() { return {}; }
};

/// Runs steps on a device through Quire's kernels: copies and swaps of blocks, the whole forward
/// pass, and sampling. Under a host compiler the kernels run on the emulator, so that a machine
/// without a GPU can check every step against the CPU executor.
///
/// Value: element of activations, queries and keys before they are stored; float keeps the CPU
/// executor's precision. Product: a dense product. head_dims: the head sizes that are compiled.
/// Families: llama, mistral, qwen2, qwen3, opt (also with norms behind what they norm and a narrow embedding,
/// as opt-350m has them), gpt2, and of mixtures of experts mixtral and qwen3_moe, with weights without
/// scales or in groups; GELU by the error function is refused.
/// Sequences with several rows attend through the prefill kernel where it exists (16-bit queries);
/// other rows through the decode kernels. On devices of compute capability 9.0 that prefill is by
/// warpgroups where it may be (PrefillPath). Keys and values: every format that KvAccess knows, 4-bit codes
/// with 16-bit activations and head_dim 64, 128 ... alone. Weights: without scales through Product;
/// layers' in groups of whole numbers (LinearOnly<Int4Grouped<128>> ...) with 16-bit activations and 2:4
/// sparse (LinearOnly<Sparse24>) with bfloat16, read once for each eight or sixteen rows.
///
/// Token retention: every policy that Cpu runs, by the same decisions, but those that re-assign positions
/// other than of a whole sequence. What each lane kept is sent with each step, 4 bytes an entry; where a
/// policy asks for votes, a step in which rows vote ends with their coming to the host, 8 bytes an entry, and
/// with the host's waiting for them, as the policy decides there. Policies that select pages do so on the
/// device, which the host does not wait for. Steps that turn queries, for positions that were re-assigned,
/// and those that select pages are not recorded; rows of several tokens that attend to kept ones do so row
/// by row, through the decode kernels.
///
/// A draft model runs as steps of its own before the step that its drafts are for, one for each draft, and the
/// host waits for each.
///
/// Three streams: steps, blocks on their way out, blocks on their way in. Blocks that leave do so beside
/// the step, and beside later ones until one writes where they are read; those that come are waited for
/// before the step, or, where the offload policy overlaps, layer by layer. The host waits for drawn tokens (and
/// votes), and where a disk tier would meet the device in a slot (CudaTiers); a step which draws none returns when
/// it is launched, and its time shows in the next. Steps of one token a sequence are recorded by number
/// of rows, rounded up, and replayed, but where sequences attend to a prefix together, which needs 16-bit
/// activations. All device memory is taken when the executor is made; a step
/// larger than the limits announce takes more.
///
/// Ranks: who else computes the model's layers. Each rank has an executor over its model::share_of_rank(),
/// and runs the same plans; all of them draw the same tokens. They have no disk tier: what one of them could not
/// read, the others would not compute again.
template <class Value, class Product, Communicator Ranks, unsigned... head_dims>
struct ParallelCuda {
  struct Options {
    checkpoint::Checkpoint
        model;  // checkpoint::open_checkpoint(directory), or a rank's share of it
    Ranks ranks{};
    SchedulerLimits limits{};
    Bytes kv_memory = std::int64_t{256} << 20;   // for device blocks
    Bytes host_memory = std::int64_t{64} << 20;  // pinned, for swapped blocks, where a policy swaps
    BlockCount device_blocks = 0;                // more than 0: this many, in place of kv_memory
    BlockCount host_blocks = 0;                  // likewise
    Bytes disk_memory = std::int64_t{1} << 30;   // of the disk tier, where a policy has one
    BlockCount disk_blocks = 0;                  // likewise
    DiskTierOptions disk{};  // disk.directory must be given where a policy has a disk tier
    TierCosts costs{};       // for policies that choose by time; measured by whoever sets them
    std::uint32_t multiprocessors = 0;  // what the split-KV plan fills; 0: those of the device
    bool wrap_tokens = false;           // maps token ids into the vocabulary by remainder
    bool poison = false;                // fills unwritten KV with NaN
    bool graphs = true;                 // replays steps of one token a sequence
    PrefillPath prefill = PrefillPath::by_device;
    /// Sequences of one token a step whose tables begin with the same blocks attend to those once,
    /// together, where they hold so many tokens at least. 0: never
    Tokens share_from = 1024;
    /// Of a speculation policy that guesses with a second model. It runs in the formats of the first, its
    /// heads are of a size that is compiled, and it has a KV pool of as many blocks beside kv_memory. Ranks
    /// have it whole, each for itself.
    std::optional<checkpoint::Checkpoint> draft_model{};
  };

  [[nodiscard]] static model::Shape shape(const Options& options) {
    return options.model.config.shape;
  }

  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    if constexpr (KeepingFor<C>::lists) {
      static_assert(
          std::is_same_v<Ranks, Alone> || !KeepingFor<C>::is_of_all_heads,
          "quire: retention: the policy keeps tokens by all heads' attention, and each rank has "
          "some of them; use quire::executor::BasicCuda");
    }
    check_draft_model<C>(shape(options),
                         options.draft_model ? &options.draft_model->config.shape : nullptr,
                         options.limits.max_length);
    KvGeometry g = quire::executor::arena_geometry<C>(options);
    g.attends = true;
    if (g.tiers.uses_disk && !std::is_same_v<Ranks, Alone>) {
      throw usage_error("offload policy " + std::string(C::Offload::name),
                        "has a disk tier, and what one rank could not read the others would not "
                        "compute again",
                        "recompute, swap_to_host, overlapped_swap or host_cache, or a single rank");
    }
    return g;
  }

  /// Attending: how layers attend; AttendsAsModel, or CudaAttention's.
  template <class KvFormat, class WeightFormat, unsigned block_tokens, class Keeping = KeepsAll,
            class Attending = AttendsAsModel>
  class Steps {
    using Head = weight_format::head_of<WeightFormat>;
    using Weight = typename DeviceElement<Head>::type;
    static_assert(sizeof(DeviceMatrix<WeightFormat>) >
                  0);  // which refuses formats without a product
    using Block = kernels::PortableBlock<simt::emulated ? 64 : 256>;
    static constexpr kernels::DecodeTuning decode_tuning{.warps = simt::emulated ? 2 : 4};
    static constexpr kernels::PrefillTuning prefill_tuning{.warps = simt::emulated ? 1 : 4};
    template <unsigned head_dim>
    using Key = kernels::KernelKey<KvFormat, block_tokens, head_dim, Value>;
    template <unsigned head_dim>
    using Listed = kernels::ListedKey<Key<head_dim>>;
    /// How rows' own keys and values find their slots.
    template <unsigned head_dim>
    using Writing = std::conditional_t<Keeping::lists, Listed<head_dim>, Key<head_dim>>;
    template <unsigned head_dim>
    static constexpr bool prefills = !Keeping::lists && sizeof(Value) == 2 && head_dim % 16 == 0 &&
                                     sizeof(typename Key<head_dim>::Stored) <= 2;
    template <unsigned head_dim>
    static constexpr kernels::WarpgroupTuning warpgroup_tuning =
        simt::emulated ? kernels::WarpgroupTuning{.consumers = 1, .tokens = 32}
                       : kernels::warpgroup_tuning<Key<head_dim>>;
    template <unsigned head_dim>
    static constexpr bool has_warpgroup_path =
        prefills<head_dim>&& kernels::prefers_warpgroups<Key<head_dim>>&&
            kernels::fits_warpgroups<Key<head_dim>, warpgroup_tuning<head_dim>>;
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
          device_pool_((static_cast<std::size_t>(geometry.device_blocks.value) + 1) * block_bytes_),
          multiprocessors_(options.multiprocessors > 0 ? options.multiprocessors
                                                       : simt::multiprocessors()),
          wrap_(options.wrap_tokens),
          graphs_wanted_(options.graphs),
          share_from_(options.share_from),
          shares_(keeps_all && share_from_ > Tokens{0} &&
                  ((config_.shape.head_dim == head_dims && prefills<head_dims>) || ...)),
          ranks_(options.ranks),
          keeping_(options.limits.retention, config_.shape, geometry),
          tiers_(geometry, block_bytes_, static_cast<std::size_t>(config_.shape.layers)) {
      {
        const model::Stopwatch watch(weight_seconds_);
        load(options);
      }
      keeping_.check(
          std::any_of(attention_.begin(), attention_.end(), [](auto& a) { return a.window > 0; }),
          config_.rotary);
      choose_prefill(options.prefill);
      if (options.poison) {
        // all bits set is a NaN in every format: as element, or as scale
        device_pool_.upload(std::vector<std::byte>(device_pool_.size(), std::byte{0xff}));
        tiers_.poison();
      }
      reserve_for(options.limits);
      if constexpr (keeps_all) {
        if (options.draft_model) guesses_ = std::make_unique<Guesses>(options, geometry);
      }
      if (geometry.tiers.uses_disk) {
        tiers_.open_disk(options.disk, geometry,
                         kv_fingerprint(options.model, KvFormat::name, WeightFormat::name,
                                        geometry.block_tokens, layout()));
      }
      simt::synchronise_device();  // the streams are not ordered with what was uploaded
    }

    /// What an earlier executor left in the disk tier.
    [[nodiscard]] std::span<const StoredBlock> stored() const { return tiers_.stored(); }
    [[nodiscard]] CudaTiers& tiers() { return tiers_; }
    /// How long it took to bring the weights to the device.
    [[nodiscard]] double weight_seconds() const { return weight_seconds_; }

    /// Runs one step. \errors state for a plan that names blocks or tokens which do not exist, and
    /// for calls of the device that fail, naming call, kernel and step; usage for tokens outside the
    /// vocabulary
    void execute(const StepPlan& plan, StepResult& result) {
      const auto start = std::chrono::steady_clock::now();
      const simt::ScopedStep step(plan.step);
      result.clear();
      if constexpr (keeps_all) {
        if (guesses_) guesses_->draft(plan);
      }
      gather(plan);
      list_draws(plan, result);
      const bool replays = add_lists(plan);
      if (!data_.send(compute_)) graphs_.clear();
      move_blocks(plan, result);
      if constexpr (Keeping::lists) keeping_.clear_votes(compute_);
      if (rows_ > 0) run_forward(replays);
      if constexpr (Keeping::lists) keeping_.fetch_votes(compute_);
      tiers_.all_ordered();
      draw(plan, result);
      if constexpr (!keeps_all) keeping_.end(result);
      result.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    /// Which sequences of the last step's plan were found to begin with the same blocks.
    [[nodiscard]] const attention::SharedPrefixes& shared_prefixes() const { return shared_; }
    /// Device memory that retention takes beside what a step has anyway.
    [[nodiscard]] std::size_t retention_bytes() const {
      return keeping_.device_bytes() + turned_room_ * std::size_t(config_.shape.heads) *
                                           std::size_t(config_.shape.head_dim) * sizeof(Value);
    }
    /// Bytes that came to the host so far for a retention policy to decide by.
    [[nodiscard]] std::uint64_t fetched_bytes() const { return keeping_.fetched_bytes(); }
    /// The kernel by which sequences with several rows attend.
    [[nodiscard]] std::string_view prefill_kernel() const {
      if (!cache_maps_.empty()) return "warpgroup_prefill";
      return ((config_.shape.head_dim == head_dims && prefills<head_dims>) || ...) ? "paged_prefill"
                                                                                   : "paged_decode";
    }

   private:
    static constexpr bool keeps_all = !Keeping::lists && !Keeping::selects;
    static constexpr std::uint32_t blocks_per_multiprocessor = 4;
    static constexpr std::uint32_t most_shared_parts = 16;
    static constexpr kernels::PrefillTuning prefix_tuning{.warps = simt::emulated ? 1u : 4u,
                                                          .tiles = 1};
    static constexpr std::uint64_t sampling_stream = 0x73616d706c65ULL;  // as sampling::Sampler

    /// \shape (width). bias: empty for RMS norms
    struct Norm {
      Array<float> scale, bias;
    };
    struct NoMixture {
      [[nodiscard]] static bool empty() { return true; }
    };
    struct Experts {
      DeviceMatrix<WeightFormat> router;
      ExpertMatrices<WeightFormat> in, out;
      [[nodiscard]] bool empty() const { return in.size() == 0; }
    };
    using Mixture =
        typename std::conditional_t<ExpertsOnDevice<WeightFormat>, std::type_identity<Experts>,
                                    std::type_identity<NoMixture>>::type;
    struct Layer {
      Norm attention_norm, mlp_norm;
      Array<float> query_norm, key_norm;
      DeviceMatrix<WeightFormat> qkv, attention_output, mlp_in, mlp_out;
      Mixture mixture;  // in place of the MLP
      std::size_t mlp_width = 0;
      std::size_t attention = 0;  // which of attention_
    };
    /// Layers that attend alike, and how a step's attention is split for them.
    struct Attention {
      std::int64_t window = 0;  // tokens; 0: all
      [[no_unique_address]] typename Attending::Layer as{};
      std::size_t work_at = 0, merges_at = 0;
      std::uint32_t work = 0, merges = 0;
      // what sequences attend to together
      std::size_t groups_at = 0, prefixes_at = 0, members_at = 0, first_partial_at = 0;
      std::uint32_t prefixes = 0;
    };
    /// A step's rows, on the host. The first table entry is the block that padded rows write to.
    struct Rows {
      std::vector<std::uint32_t> tokens, sequence, tables, table_begin, row_table_begin,
          logits_rows;
      std::vector<std::int32_t> positions, lengths;
      std::vector<kernels::PrefillSequence> prompts;  // sequences with several rows
    };
    /// Where a step's lists lie in data_.
    struct Places {
      std::size_t tokens = 0, sequence = 0, tables = 0, table_begin = 0, row_table_begin = 0,
                  logits_rows = 0, positions = 0, lengths = 0, prompts = 0, prefills = 0,
                  copies = 0, samples = 0, penalties = 0, beams = 0;
    };
    /// A second model, which writes the drafts that a plan leaves open: a step of its own for each. The host
    /// waits for each, since it plans the next.
    struct Guesses {
      Drafts drafts;
      Steps model;
      StepPlan plan{};
      StepResult result{};
      std::vector<BlockTable> tables{};

      Guesses(const Options& options, const KvGeometry& geometry)
          : drafts(geometry.device_blocks, geometry.block_tokens),
            model(of_draft(options), without_tiers(geometry)) {}

      void draft(const StepPlan& of) {
        drafts.begin(of);
        for (auto parts = drafts.next(); !parts.empty(); parts = drafts.next()) {
          plan.clear();
          plan.step = of.step;
          tables.assign(parts.size(), {});
          for (std::size_t i = 0; i < parts.size(); ++i) {
            for (const BlockId b : parts[i].row->entry->blocks) tables[i].append(b);
            SequencePlan s = Drafts::drawing(*parts[i].row);
            s.computed = static_cast<std::int64_t>(parts[i].from);
            s.tokens = static_cast<std::int64_t>(parts[i].count);
            s.tables = {&tables[i], 1};
            s.draws = parts[i].draws ? 1 : 0;
            s.drafts = 0;
            s.to_guess = {};
            plan.sequences.push_back(s);
          }
          model.execute(plan, result);
          for (std::size_t i = 0; i < parts.size(); ++i) {
            if (parts[i].draws) Drafts::add(*parts[i].row, result.row(i).front().token);
          }
        }
      }

     private:
      [[nodiscard]] static Options of_draft(const Options& options) {
        Options o = options;
        o.model = *options.draft_model;
        o.draft_model.reset();
        o.ranks = Ranks{};
        o.prefill = PrefillPath::by_device;
        return o;
      }
      [[nodiscard]] static KvGeometry without_tiers(KvGeometry geometry) {
        geometry.host_blocks = geometry.disk_blocks = 0;
        geometry.tiers = {};
        return geometry;
      }
    };
    struct Recorded {
      std::size_t steps = 0;
      simt::Graph graph;
    };

    static checkpoint::ModelConfig accepted(const checkpoint::ModelConfig& c) {
      auto refuse = [&c](std::string_view why) {
        throw usage_error("executor cuda: model " + c.model_type, why,
                          "a llama, mistral, qwen2, qwen3, opt or gpt2 model");
      };
      if (!((c.shape.head_dim == head_dims) || ...)) {
        refuse("head_dim " + std::to_string(c.shape.head_dim) + " has no kernels in this program");
      }
      if (c.shape.experts > 0) {
        if (!ExpertsOnDevice<WeightFormat>) {
          refuse("mixtures of experts have no kernels for 2:4 sparse weights");
        }
        if (c.shape.hidden % 8 != 0 || c.shape.ffn % 8 != 0) {
          refuse("experts have kernels for widths of eights alone");
        }
      }
      if (c.norm == checkpoint::Norm::rms && (!c.norm_before || !c.final_norm)) {
        refuse("RMS norms behind what they norm have no kernels");
      }
      using enum checkpoint::Activation;
      if (c.activation != gelu_tanh && c.activation != (c.shape.gated_mlp ? silu : relu)) {
        refuse("the function of its MLP has no kernel");
      }
      return c;
    }
    /// \errors usage, where warpgroups are asked for and cannot be had
    void choose_prefill(PrefillPath path) {
      if (path == PrefillPath::matrix) return;
      const bool exists =
          ((config_.shape.head_dim == head_dims && has_warpgroup_path<head_dims>) || ...);
      const auto refuse = [path](std::string_view why, std::string_view expected) {
        if (path == PrefillPath::by_device) return;
        throw usage_error("executor cuda: prefill by warpgroups", why, expected);
      };
      if (!exists) {
        return refuse(
            "no such kernel for these keys and values",
            "bf16 or fp16 ones of a multiple of 64 dimensions, 16-bit activations, blocks "
            "of 8 tokens or more that divide a tile");
      }
      if (!simt::has_warpgroups()) {
        return refuse("this device, or this program, has no products of warpgroups",
                      "compute capability 9.0, and a program compiled for sm_90a");
      }
      (void)(map_cache<head_dims>() || ...);
    }
    /// Describes each layer's keys and values to tensor copies; whether heads have that many dimensions.
    template <unsigned head_dim>
    bool map_cache() {
      if (config_.shape.head_dim != head_dim) return false;
      if constexpr (has_warpgroup_path<head_dim>) {
        using Kernel =
            kernels::WarpgroupPrefill<Key<head_dim>, attention::Causal, warpgroup_tuning<head_dim>>;
        const auto kv_heads = static_cast<std::uint32_t>(config_.shape.kv_heads);
        cache_maps_.reserve(static_cast<std::size_t>(config_.shape.layers));
        for (std::size_t l = 0; l < static_cast<std::size_t>(config_.shape.layers); ++l) {
          cache_maps_.push_back(Kernel::map_of(
              {device_pool_.data() + l * 2 * kv_heads * slab_bytes(), block_bytes_, kv_heads},
              static_cast<std::size_t>(device_blocks_.value) + 1));
        }
      }
      return true;
    }
    /// What of this executor the bytes of a block depend on, beside the formats.
    [[nodiscard]] static std::string layout() {
      return std::string(simt::emulated ? "cuda, emulated, " : "cuda, ") +
             std::to_string(sizeof(Value)) +
             " bytes, a third: " + std::to_string(to_float(from_float<Value>(1.0f / 3))) +
             Attending::said();
    }
    [[nodiscard]] std::size_t slab_bytes() const {
      return KvFormat::slab_bytes(block_tokens, static_cast<std::size_t>(config_.shape.head_dim));
    }
    [[nodiscard]] std::size_t hidden() const {
      return static_cast<std::size_t>(config_.shape.hidden);
    }
    [[nodiscard]] std::size_t vocab() const { return output_.outputs(); }
    /// Of the embedding, where it is narrower than the layers.
    [[nodiscard]] std::size_t embedding_width() const {
      return static_cast<std::size_t>(config_.embedding_width);
    }
    [[nodiscard]] std::size_t widest_row() const { return std::max(hidden(), embedding_width()); }
    /// Experts of a row.
    [[nodiscard]] std::size_t chosen() const {
      return static_cast<std::size_t>(config_.shape.experts_per_token);
    }

    void load(const Options& options) {
      ThreadPool one(1);
      const ScopedUploads uploads;
      auto w = model::load_weights<WeightFormat, DeviceGemm>(config_, options.model.tensors, one);
      const auto scale = [](const model::NormWeights& n) {
        return Array<float>(std::span<const float>(n.scale));
      };
      const auto norm = [&](const model::NormWeights& n) {
        return Norm{scale(n), Array<float>(std::span<const float>(n.bias))};
      };
      for (auto& from : w.layers) {
        Layer to;
        to.attention_norm = norm(from.attention_norm);
        to.mlp_norm = norm(from.mlp_norm);
        to.query_norm = scale(from.query_norm);
        to.key_norm = scale(from.key_norm);
        to.qkv = std::move(from.qkv);
        to.attention_output = std::move(from.attention_output);
        to.mlp_in = std::move(from.mlp.in);
        to.mlp_out = std::move(from.mlp.out);
        to.mlp_width = from.mlp.width;
        if constexpr (ExpertsOnDevice<WeightFormat>) {
          if (!from.experts.empty()) take_experts(from, to);
        }
        const auto seen = std::find_if(attention_.begin(), attention_.end(), [&](const auto& a) {
          return !Attending::by_layer && a.window == from.window;
        });
        to.attention = static_cast<std::size_t>(seen - attention_.begin());
        if (seen == attention_.end()) {
          attention_.push_back(
              {.window = from.window,
               .as = Attending::layer(config_.shape, layers_.size(), from.window)});
        }
        layers_.push_back(std::move(to));
      }
      final_norm_ = norm(w.final_norm);
      output_ = std::move(w.output);
      project_in_ = std::move(w.project_in);
      project_out_ = std::move(w.project_out);
      embedding_ = std::move(w.embedding);
      position_table_ = std::move(w.positions);
      if (!position_table_.empty()) {
        most_positions_ =
            static_cast<std::int64_t>(position_table_.outputs()) - config_.position_offset;
      }
      if (!config_.rotary) return;
      rope_ = model::Rope(static_cast<std::size_t>(config_.shape.head_dim), config_.rope_theta,
                          config_.rope_scaling, config_.rope_divisors);
    }

    static void take_experts(auto& from, Layer& to) {
      to.mlp_width = from.experts.front().width;
      std::vector<DeviceMatrix<WeightFormat>> in, out;
      in.reserve(from.experts.size());
      out.reserve(from.experts.size());
      for (auto& expert : from.experts) {
        in.push_back(std::move(expert.in));
        out.push_back(std::move(expert.out));
      }
      to.mixture.router = std::move(from.router);
      to.mixture.in = ExpertMatrices<WeightFormat>(std::move(in));
      to.mixture.out = ExpertMatrices<WeightFormat>(std::move(out));
    }

    /// Cosines and sines of all positions below `count`, which grows by doubling.
    void reserve_angles(std::int64_t count) {
      if (!config_.rotary || count <= angle_positions_) return;
      graphs_.clear();
      angle_positions_ =
          std::max<std::int64_t>(count, std::max<std::int64_t>(256, 2 * angle_positions_));
      const auto d = static_cast<std::size_t>(config_.shape.head_dim);
      std::vector<float> table(static_cast<std::size_t>(angle_positions_) * d);
      for (std::int64_t p = 0; p < angle_positions_; ++p) {
        rope_.angles(p, &table[static_cast<std::size_t>(p) * d]);
      }
      angles_ = Array<float>(std::span<const float>(table));
    }

    /// Takes the memory of the largest step that the limits announce. No step has more rows than the
    /// pool has slots.
    void reserve_for(const SchedulerLimits& limits) {
      const std::int64_t slots = device_blocks_.value * std::int64_t{block_tokens};
      const std::int64_t longest = std::min(
          limits.max_length > Tokens{0} ? limits.max_length.value : config_.shape.max_length.value,
          slots);
      const std::int64_t batch = limits.max_batched_tokens > Tokens{0}
                                     ? limits.max_batched_tokens.value
                                     : std::max<std::int64_t>(2560, longest);
      const std::int64_t sequences = std::max(limits.max_sequences, limits.max_batch);
      const std::size_t most = padded_rows(
          static_cast<std::size_t>(std::max<std::int64_t>(1, std::min(sequences, slots))));
      if constexpr (Keeping::lists) turned_room_ = Keeping::turns ? most : 0;
      reserve_rows(static_cast<std::size_t>(std::min(std::max(batch, limits.chunk.value), slots)),
                   most, most);
      reserve_angles(longest);
    }
    /// Makes room for the activations of a step.
    void reserve_rows(std::size_t rows, std::size_t logits, std::size_t sequences) {
      rows = std::max(rows, logits);
      if (rows > rows_room_) {
        rows_room_ = rows;
        graphs_.clear();
        std::size_t qkv = 0, width = 0;
        for (const Layer& l : layers_) {
          qkv = std::max(qkv, l.qkv.outputs());
          width = std::max(width, l.mlp_width);
        }
        const auto heads = static_cast<std::size_t>(config_.shape.heads);
        const auto head_dim = static_cast<std::size_t>(config_.shape.head_dim);
        stream_ = Array<float>(rows * hidden());
        projected_ = Array<float>(rows * widest_row());
        normed_ = Array<Value>(rows * widest_row());
        qkv_ = Array<float>(rows * qkv);
        q_ = Array<Value>((rows + turned_room_) * heads * head_dim);
        attended_ = Array<Value>((rows + 1) * heads * head_dim);  // and what padded merges write
        const std::size_t choices = rows * chosen(), experts = std::size_t(config_.shape.experts);
        mlp_in_ = Array<float>(std::max(rows, choices) * 2 * width);
        mlp_mid_ = Array<Value>(std::max(rows, choices) * width);
        routed_ = Array<float>(rows * experts);
        choices_ = Array<std::uint32_t>(choices);
        choice_weights_ = Array<float>(choices);
        takers_ = Array<std::uint32_t>(choices * experts);
        takers_count_ = Array<std::uint32_t>(experts);
        expert_out_ = Array<float>(choices * hidden());
      }
      const std::size_t partials =
          (Keeping::selects ? 2 : 1) * work_room(rows_room_ + turned_room_) + 1 +
          shared_room(sequences);
      if (partials > partials_room_) {
        partials_room_ = partials;
        graphs_.clear();
        const auto heads = static_cast<std::size_t>(config_.shape.heads);
        partial_ =
            Array<float>(partials * heads * static_cast<std::size_t>(config_.shape.head_dim));
        partial_lse_ = Array<float>(partials * heads);
      }
      if (logits > logits_room_) {
        logits_room_ = logits;
        graphs_.clear();
        logits_ = Array<float>(logits * vocab());
        drawn_ = Array<std::uint32_t>(4 * logits);
        host_drawn_ = simt::PinnedArray<std::uint32_t>(4 * logits);
      }
    }
    /// Makes room for queries that are turned for some of their keys: more queries and partial results.
    void reserve_turned(std::size_t turned) {
      if (turned <= turned_room_) return;
      turned_room_ = 2 * turned;
      partials_room_ = 0;
      reserve_rows(std::max(rows_, std::exchange(rows_room_, 0)), logits_count_, 0);
    }
    /// Parts that a plan for so many rows has at most.
    [[nodiscard]] std::size_t work_room(std::size_t rows) const {
      return rows + 1 +
             multiprocessors_ * blocks_per_multiprocessor /
                 static_cast<std::size_t>(config_.shape.kv_heads);
    }
    /// Partial results of shared prefixes that so many sequences have at most.
    [[nodiscard]] std::size_t shared_room(std::size_t sequences) const {
      return shares_ ? most_shared_parts * sequences : 0;
    }
    /// Rows that steps of one token a sequence are recorded for.
    [[nodiscard]] static std::size_t padded_rows(std::size_t rows) {
      return rows <= 16 ? std::bit_ceil(rows) : (rows + 15) / 16 * 16;
    }

    static void check_block(BlockId b, BlockCount blocks, std::string_view pool) {
      if (static_cast<std::int64_t>(b.value) < blocks.value) return;
      throw state_error(
          "step plan",
          "it names block " + std::to_string(b.value) + " of the " + std::string(pool) + " pool",
          "a block below " + std::to_string(blocks.value));
    }

    /// Starts the plan's moves, and has the step wait for those that it depends on.
    void move_blocks(const StepPlan& plan, StepResult& result) {
      for (const auto* swaps : {&plan.swap_out, &plan.swap_in}) {
        for (const BlockSwap& s : *swaps) check_block(s.device, device_blocks_, "device");
      }
      move_slots(plan);
      tiers_.move(plan, computed_, device_pool_.data(), result);
      if (!tiers_.leaving().empty() && writes(plan, tiers_.leaving())) {
        tiers_.order_after_leaving(compute_);
      }
      if (tiers_.arriving() && (!copies_.empty() || rows_ == 0)) {
        tiers_.order_after_arriving(compute_);
      }
      run_moves(copies_,
                {device_pool_.data(), device_pool_.data(), block_bytes_,
                 data_.at<kernels::BlockMove>(at_.copies)},
                compute_);
      const std::size_t moved = plan.swap_out.size() + plan.swap_in.size() + copies_.size() +
                                plan.spills.size() + plan.prefetches.size();
      result.bytes_moved = static_cast<std::int64_t>(moved * block_bytes_);
    }
    /// Tokens that change their slot do so before all other moves.
    void move_slots([[maybe_unused]] const StepPlan& plan) {
      if constexpr (Keeping::lists) {
        if (!keeping_.has_moves()) return;
        if (!tiers_.leaving().empty() && keeping_.moves_into(tiers_.leaving())) {
          tiers_.order_after_leaving(compute_);
        }
        const kernels::KvPool pool{device_pool_.data(), block_bytes_,
                                   static_cast<std::uint32_t>(config_.shape.kv_heads)};
        (void)((config_.shape.head_dim == head_dims &&
                (keeping_.template move_slots<Key<head_dims>>(pool, data_, compute_), true)) ||
               ...);
        computed_.record(compute_);
      }
    }
    /// Whether the step itself writes to one of these blocks.
    [[nodiscard]] bool writes(const StepPlan& plan,
                              const std::unordered_set<std::uint32_t>& blocks) const {
      for (const BlockCopy& c : plan.copies) {
        if (blocks.contains(c.to.value)) return true;
      }
      for (const SequencePlan& s : plan.sequences) {
        if constexpr (Keeping::lists) {
          if (keeping_.writes(s, blocks)) return true;
        } else {
          const auto table = s.tables.front().blocks();
          const std::int64_t end = (s.computed + s.tokens).value;
          for (std::int64_t b = s.computed.value / block_tokens; b * block_tokens < end; ++b) {
            if (blocks.contains(table[static_cast<std::size_t>(b)].value)) return true;
          }
        }
      }
      return false;
    }

    /// The plan's rows as one ragged batch.
    void gather(const StepPlan& plan) {
      Rows& to = batch_;
      for (auto* list : {&to.tokens, &to.sequence, &to.tables, &to.table_begin, &to.row_table_begin,
                         &to.logits_rows}) {
        list->clear();
      }
      to.positions.clear();
      to.lengths.clear();
      to.prompts.clear();
      sequences_.clear();
      to.tables.push_back(static_cast<std::uint32_t>(device_blocks_.value));
      copies_.clear();
      for (const BlockCopy& c : plan.copies) {
        check_block(c.from, device_blocks_, "device");
        check_block(c.to, device_blocks_, "device");
        copies_.push_back({c.from.value, c.to.value});
      }
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
        const std::int64_t slots = Keeping::lists ? lane_slots(s) : end;
        const std::int64_t needed = (slots + block_tokens - 1) / block_tokens;
        if (static_cast<std::int64_t>(blocks.size()) < needed) {
          throw state_error("step plan",
                            "the block table of sequence " + std::to_string(s.sequence.value) +
                                " holds " + std::to_string(blocks.size()) + " blocks",
                            std::to_string(needed));
        }
        if (end > most_positions_) {
          throw usage_error("position " + std::to_string(end - 1),
                            "lies beyond the model's position table",
                            "at most " + std::to_string(most_positions_) + " tokens");
        }
        sequences_.push_back(
            {to.tokens.size(), static_cast<std::size_t>(s.tokens.value), s.computed.value, blocks});
        const auto at = static_cast<std::uint32_t>(to.tables.size());
        for (const BlockId b : blocks.first(static_cast<std::size_t>(needed))) {
          check_block(b, device_blocks_, "device");
          if (!Keeping::lists) to.tables.push_back(b.value);
        }
        for (std::int64_t p = s.computed.value; p < end; ++p) {
          TokenId t = s.history[static_cast<std::size_t>(p)];
          if (wrap_) t %= static_cast<TokenId>(vocab());
          if (t >= vocab()) {
            throw usage_error("token " + std::to_string(t), "is not in the vocabulary",
                              "ids below " + std::to_string(vocab()));
          }
          to.tokens.push_back(t);
          to.positions.push_back(static_cast<std::int32_t>(p));
          to.lengths.push_back(static_cast<std::int32_t>(p + 1));
          to.sequence.push_back(static_cast<std::uint32_t>(to.table_begin.size()));
          to.row_table_begin.push_back(at);
        }
        to.table_begin.push_back(at);
        if (const auto rows = static_cast<std::uint32_t>(s.tokens.value); rows > 1) {
          to.prompts.push_back({static_cast<std::uint32_t>(to.tokens.size()) - rows, rows,
                                static_cast<std::int32_t>(s.computed.value), at});
        }
        if (s.draws > 0) {
          const auto end_row = static_cast<std::uint32_t>(to.tokens.size());
          const auto drafts = static_cast<std::uint32_t>(s.drafts);
          for (std::uint32_t r = end_row - 1 - drafts; r < end_row; ++r)
            to.logits_rows.push_back(r);
        }
        reserve_angles(end);
      }
      if constexpr (Keeping::lists) keeping_.gather(plan, to.tables);
      if constexpr (Keeping::selects) {
        for (const BlockSwap& s : plan.swap_in) {
          check_block(s.device, device_blocks_, "device");
          keeping_.brought_in(s.device);
        }
        for (const BlockCopy& c : plan.copies) keeping_.brought_in(c.to);
        keeping_.gather(plan);
      }
    }

    /// Adds the step's lists to what is sent; returns whether the step is one that is replayed.
    bool add_lists(const StepPlan& plan) {
      Rows& b = batch_;
      find_shared_prefixes();
      const bool replays =
          graphs_wanted_ && !b.tokens.empty() && plan.swap_in.empty() && prefixes_.empty() &&
          rows_alike() &&
          std::all_of(plan.sequences.begin(), plan.sequences.end(),
                      [](const SequencePlan& s) { return s.tokens == Tokens{1} && s.draws > 0; });
      if (replays) {
        const std::size_t padded = padded_rows(b.tokens.size());
        for (auto row = static_cast<std::uint32_t>(b.tokens.size()); row < padded; ++row) {
          b.tokens.push_back(0);
          b.positions.push_back(0);
          b.lengths.push_back(1);
          b.sequence.push_back(row);
          b.table_begin.push_back(0);
          b.row_table_begin.push_back(0);
          b.logits_rows.push_back(row);
        }
      }
      rows_ = b.tokens.size();
      logits_count_ = b.logits_rows.size();
      if constexpr (Keeping::lists) {
        reserve_turned(keeping_.turned());
        if (keeping_.reserve(rows_, std::size_t(config_.shape.heads))) graphs_.clear();
      }
      reserve_rows(rows_, logits_count_, b.table_begin.size());
      data_.clear();
      at_.tokens = data_.add(b.tokens);
      at_.positions = data_.add(b.positions);
      at_.lengths = data_.add(b.lengths);
      at_.sequence = data_.add(b.sequence);
      at_.table_begin = data_.add(b.table_begin);
      at_.row_table_begin = data_.add(b.row_table_begin);
      at_.logits_rows = data_.add(b.logits_rows);
      (void)((config_.shape.head_dim == head_dims && (add_plans<head_dims>(replays), true)) || ...);
      at_.tables = data_.add(b.tables);  // from here on lengths differ from step to step
      if constexpr (Keeping::lists) keeping_.add_moves(data_);
      at_.copies = data_.add(copies_);
      at_.samples = data_.add(samples_);
      at_.penalties = data_.add(penalties_);
      at_.beams = data_.add(beam_rows_);
      return replays;
    }

    /// Whether rows of one token do nothing that a recorded step of as many rows would not.
    [[nodiscard]] bool rows_alike() const {
      if constexpr (Keeping::lists) {
        return keeping_.alike(batch_.tokens.size());
      } else {
        return !Keeping::selects;
      }
    }

    template <unsigned head_dim>
    void add_plans(bool replays) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      const auto kv_heads = static_cast<std::uint32_t>(config_.shape.kv_heads);
      const kernels::DecodeSlots slots{
          .blocks = multiprocessors_ * blocks_per_multiprocessor,
          .blocks_per_work =
              kv_heads * kernels::decode_passes<Key<head_dim>, decode_tuning>(heads / kv_heads)};
      prefills_ = 0;
      if constexpr (Keeping::lists) {
        keeping_.add(data_, slots, rows_, replays, work_room(rows_));
      } else {
        add_paged<head_dim>(slots, replays);
      }
    }
    template <unsigned head_dim>
    void add_paged(const kernels::DecodeSlots& slots, bool replays) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      const auto kv_heads = static_cast<std::uint32_t>(config_.shape.kv_heads);
      std::vector<std::uint32_t> rows;  // that the decode kernels take
      std::vector<std::int32_t> lengths;
      if constexpr (prefills<head_dim>) {
        rows = rows_beside_prompts();
      } else {
        rows.resize(batch_.lengths.size());
        std::iota(rows.begin(), rows.end(), 0u);
      }
      for (const std::uint32_t row : rows) lengths.push_back(batch_.lengths[row]);
      if constexpr (prefills<head_dim>) {
        std::uint32_t tile =
            kernels::PagedPrefill<Key<head_dim>, attention::Causal, prefill_tuning>::tile;
        if constexpr (has_warpgroup_path<head_dim>) {
          if (!cache_maps_.empty()) {
            tile = kernels::WarpgroupPrefill<Key<head_dim>, attention::Causal,
                                             warpgroup_tuning<head_dim>>::tile;
          }
        }
        const auto work = kernels::plan_prefill(
            std::span<const kernels::PrefillSequence>(batch_.prompts), heads / kv_heads, tile);
        prefills_ = static_cast<std::uint32_t>(work.size());
        at_.prompts = data_.add(batch_.prompts);
        at_.prefills = data_.add(work);
      }
      if constexpr (prefills<head_dim>) {
        if (!prefixes_.empty()) return add_cascades<head_dim>(rows, lengths, slots);
      }
      if constexpr (Keeping::selects) {
        keeping_.add(data_, slots, rows, batch_.lengths);
      } else {
        add_splits(rows, lengths, slots, replays);
      }
    }
    /// How each kind of layer splits the tokens that rows attend to.
    void add_splits(const std::vector<std::uint32_t>& rows,
                    const std::vector<std::int32_t>& lengths, const kernels::DecodeSlots& slots,
                    bool replays) {
      const std::span<const std::int32_t> all(lengths);
      for (Attention& a : attention_) {
        a.prefixes = 0;
        kernels::DecodePlan plan = Attending::with(
            a, [&](const auto& variant) { return kernels::plan_decode(all, variant, slots); });
        for (kernels::DecodeWork& w : plan.work) w.sequence = rows[w.sequence];
        for (kernels::MergeWork& m : plan.merges) m.sequence = rows[m.sequence];
        if (replays) {  // parts and merges of nothing, which write where nobody reads
          const std::size_t room = work_room(rows_);
          plan.work.resize(room, {0, 0, 0, static_cast<std::int32_t>(room), 0});
          plan.merges.resize(rows_, {static_cast<std::uint32_t>(rows_), 0, 0});
        }
        a.work = static_cast<std::uint32_t>(plan.work.size());
        a.merges = static_cast<std::uint32_t>(plan.merges.size());
        a.work_at = data_.add(plan.work);
        a.merges_at = data_.add(plan.merges);
      }
    }

    /// Rows of sequences with one token.
    [[nodiscard]] std::vector<std::uint32_t> rows_beside_prompts() const {
      std::vector<std::uint32_t> rows;
      const auto& prompts = batch_.prompts;
      std::size_t prompt = 0;
      for (std::uint32_t row = 0; row < batch_.lengths.size(); ++row) {
        if (prompt < prompts.size() && row >= prompts[prompt].row + prompts[prompt].rows) ++prompt;
        if (prompt < prompts.size() && row >= prompts[prompt].row) continue;
        rows.push_back(row);
      }
      return rows;
    }

    /// Which sequences begin with the same blocks, in numbers of tokens that pay: found as the CPU executor
    /// finds them. Of each group, those with one row attend together; sequences of prefixes_: indices into
    /// rows_beside_prompts().
    void find_shared_prefixes() {
      shared_.clear();
      prefixes_.clear();
      if (!shares_) return;
      const auto least =
          static_cast<std::size_t>(share_from_.value + block_tokens - 1) / block_tokens;
      shared_.find(sequences_, least);
      if (shared_.groups().empty()) return;
      std::vector<std::uint32_t> place;  // of each sequence among those with one row
      std::uint32_t places = 0;
      for (const attention::SequenceRows& s : sequences_) {
        place.push_back(places);
        places += s.rows == 1 ? 1 : 0;
      }
      for (const attention::SharedPrefixes::Group& group : shared_.groups()) {
        kernels::SharedPrefix prefix;
        std::size_t blocks = group.blocks;
        for (const std::uint32_t m : shared_.members(group)) {
          const attention::SequenceRows& s = sequences_[m];
          // the last token is the row's own
          const std::size_t whole = static_cast<std::size_t>(s.position) / block_tokens;
          if (s.rows > 1 || whole < least) continue;
          prefix.sequences.push_back(place[m]);
          blocks = std::min(blocks, whole);
        }
        prefix.tokens = static_cast<std::int32_t>(blocks * block_tokens);
        if (prefix.sequences.size() > 1) prefixes_.push_back(std::move(prefix));
      }
    }

    /// add_plans() of a step whose rows share prefixes.
    template <unsigned head_dim>
    void add_cascades(const std::vector<std::uint32_t>& rows,
                      const std::vector<std::int32_t>& lengths, const kernels::DecodeSlots& slots) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      const auto kv_heads = static_cast<std::uint32_t>(config_.shape.kv_heads);
      std::vector<std::uint32_t> table_begin;
      for (const std::uint32_t row : rows) table_begin.push_back(batch_.row_table_begin[row]);
      const auto plan_for = [&]<class Variant>(const Variant& variant) {
        return kernels::plan_cascade(
            std::span<const std::int32_t>(lengths), std::span<const std::uint32_t>(table_begin),
            std::span<const kernels::SharedPrefix>(prefixes_), variant, slots, kv_heads,
            heads / kv_heads,
            kernels::PagedPrefill<Key<head_dim>, Variant, prefix_tuning, true>::tile,
            most_shared_parts);
      };
      for (Attention& a : attention_) {
        kernels::CascadePlan plan = Attending::with(a, plan_for);
        for (kernels::DecodeWork& w : plan.own.work) w.sequence = rows[w.sequence];
        for (kernels::MergeWork& m : plan.own.merges) m.sequence = rows[m.sequence];
        for (std::uint32_t& m : plan.members) m = rows[m];
        a.work = static_cast<std::uint32_t>(plan.own.work.size());
        a.merges = static_cast<std::uint32_t>(plan.own.merges.size());
        a.prefixes = static_cast<std::uint32_t>(plan.work.size());
        a.work_at = data_.add(plan.own.work);
        a.merges_at = data_.add(plan.own.merges);
        a.groups_at = data_.add(plan.groups);
        a.prefixes_at = data_.add(plan.work);
        a.members_at = data_.add(plan.members);
        a.first_partial_at = data_.add(plan.first_partial);
      }
    }

    void run_forward(bool replays) {
      const auto forward_all = [this] {
        (void)((config_.shape.head_dim == head_dims && (forward<head_dims>(), true)) || ...);
      };
      if (!replays) return forward_all();
      Recorded& r = graphs_[{rows_, asks()}];
      if (r.steps++ == 0) return forward_all();  // libraries make their choices for these shapes
      if (r.graph.empty()) r.graph.capture(compute_, forward_all);
      r.graph.launch(compute_);
    }

    /// Whether rows vote, for which a recorded step has more kernels.
    [[nodiscard]] bool asks() const {
      if constexpr (Keeping::lists) {
        return keeping_.asked() > 0;
      } else {
        return false;
      }
    }

    template <class Format, class Out>
    void multiply(const DeviceMatrix<Format>& w, const Value* x, Array<Out>& y, std::size_t rows) {
      if constexpr (PlainWeightFormat<Format>) {
        product_.multiply(w.arguments(x, y.data(), rows), compute_);
      } else if constexpr (SparseOnDevice<Format>) {
        static_assert(std::is_same_v<Value, Bf16>,
                      "quire: weight_format: the CUDA executor multiplies 2:4 sparse weights by "
                      "bfloat16; smallest model: BasicCuda<Bf16, CublasLtProduct, 128>");
        const auto p = w.arguments(x, y.data(), rows);
        if constexpr (simt::emulated) {
          kernels::sparse_product<Value, Out, 8, 2>(p, compute_);
        } else if (rows <= 8) {
          kernels::sparse_product<Value, Out>(p, compute_);
        } else {
          kernels::sparse_product<Value, Out, 16>(p, compute_);
        }
      } else {
        static_assert(sizeof(Value) == 2,
                      "quire: weight_format: the CUDA executor multiplies weights in groups by "
                      "16-bit activations; smallest model: BasicCuda<Bf16, CublasLtProduct, 128>");
        const auto p = w.arguments(x, y.data(), rows);
        if constexpr (simt::emulated) {
          kernels::grouped_product<Format, Value, Out, 8, 2>(p, compute_);
        } else if (rows <= 8) {
          kernels::grouped_product<Format, Value, Out>(p, compute_);
        } else {
          kernels::grouped_product<Format, Value, Out, 16, 16, 2>(p, compute_);
        }
      }
    }
    /// stream += add, normed_ = norm(stream), or, where norms lie behind what they norm, both are that. norm:
    /// null for none. \shape rows: null for all
    void add_and_norm(const Norm* norm, const float* add, const std::uint32_t* rows,
                      std::size_t count) {
      const auto blocks = static_cast<unsigned>(count);
      const auto width = static_cast<std::uint32_t>(hidden());
      if (norm != nullptr && norm->bias.empty()) {
        using Kernel = kernels::RmsNorm<Value, Block>;
        simt::launch<Kernel>({{blocks}, Kernel::shared_bytes},
                             {stream_.data(), add, hidden(), norm->scale.data(), normed_.data(),
                              rows, width, norm_eps()},
                             compute_);
      } else {
        using Kernel = kernels::LayerNorm<Value, Block>;
        const float* scale = norm != nullptr ? norm->scale.data() : nullptr;
        const float* bias = norm != nullptr ? norm->bias.data() : nullptr;
        simt::launch<Kernel>({{blocks}, Kernel::shared_bytes},
                             {stream_.data(), add, scale, bias, normed_.data(), rows, width,
                              norm_eps(), !config_.norm_before},
                             compute_);
      }
    }
    /// normed_ = projected_, for the product that comes next.
    void narrow_projected(std::size_t rows, std::size_t width) {
      using Kernel = kernels::LayerNorm<Value, Block>;
      typename Kernel::Params p;
      p.stream = projected_.data();
      p.out = normed_.data();
      p.width = static_cast<std::uint32_t>(width);
      simt::launch<Kernel>({{static_cast<unsigned>(rows)}, Kernel::shared_bytes}, p, compute_);
    }
    /// The norm between the branch before a layer, or behind all of them, and what comes next; null: none.
    [[nodiscard]] const Norm* norm_at(std::size_t layer) const {
      if (!config_.norm_before) return layer == 0 ? nullptr : &layers_[layer - 1].mlp_norm;
      if (layer < layers_.size()) return &layers_[layer].attention_norm;
      return config_.final_norm ? &final_norm_ : nullptr;
    }
    /// The same between a layer's branches.
    [[nodiscard]] const Norm* norm_within(const Layer& layer) const {
      return config_.norm_before ? &layer.mlp_norm : &layer.attention_norm;
    }

    /// The stream's beginning: tokens, and positions where they are learned.
    template <class Parts>
    void embed(const Parts& parts) {
      using Kernel = kernels::Embedding<Weight>;
      const auto rows = static_cast<unsigned>(rows_);
      const bool narrow = !project_in_.empty();
      typename Kernel::Params p;
      p.table = embedding_.empty() ? output_.weights() : embedding_.weights();
      p.tokens = data_.at<std::uint32_t>(at_.tokens);
      p.position = data_.at<std::int32_t>(at_.positions);
      if (narrow) {
        p.out = projected_.data();
        p.width = static_cast<std::uint32_t>(embedding_width());
        simt::launch<Kernel>({{rows, parts(embedding_width())}}, p, compute_);
        narrow_projected(rows_, embedding_width());
        multiply(project_in_, normed_.data(), stream_, rows_);
        if (position_table_.empty()) return;
        p.table = nullptr;
      }
      p.out = stream_.data();
      p.width = static_cast<std::uint32_t>(hidden());
      p.places = first_place();
      simt::launch<Kernel>({{rows, parts(hidden())}}, p, compute_);
    }
    [[nodiscard]] float norm_eps() const { return static_cast<float>(config_.norm_eps); }

    template <unsigned head_dim>
    void forward() {
      const auto parts = [](std::size_t n) { return static_cast<unsigned>((n + 255) / 256); };
      const auto rows = static_cast<unsigned>(rows_);
      embed(parts);
      const float* add = nullptr;  // the last branch's result, not yet in the stream
      for (std::size_t l = 0; l < layers_.size(); ++l) {
        const Layer& layer = layers_[l];
        if (tiers_.arriving()) tiers_.order_after_arriving(compute_, l);
        add_and_norm(norm_at(l), add, nullptr, rows_);
        attend<head_dim>(layer, l);
        multiply(layer.attention_output, attended_.data(), projected_, rows_);
        ranks_.sum(projected_.data(), rows_ * hidden(), compute_);
        add_and_norm(norm_within(layer), projected_.data(), nullptr, rows_);
        if (layer.mixture.empty()) {
          multiply(layer.mlp_in, normed_.data(), mlp_in_, rows_);
          activate(layer, rows, parts(layer.mlp_width));
          multiply(layer.mlp_out, mlp_mid_.data(), projected_, rows_);
        } else if constexpr (ExpertsOnDevice<WeightFormat>) {
          mix(layer, rows, parts(layer.mlp_width), parts(hidden()));
        }
        ranks_.sum(projected_.data(), rows_ * hidden(), compute_);
        add = projected_.data();
      }
      if (logits_count_ == 0) return;
      // rows that nobody asks about need no last sum
      add_and_norm(norm_at(layers_.size()), add, data_.at<std::uint32_t>(at_.logits_rows),
                   logits_count_);
      if (!project_out_.empty()) {
        multiply(project_out_, normed_.data(), projected_, logits_count_);
        narrow_projected(logits_count_, embedding_width());
      }
      multiply(output_, normed_.data(), logits_, logits_count_);
    }

    /// Of position 0; null without learned positions.
    [[nodiscard]] const Weight* first_place() const {
      if (position_table_.empty()) return nullptr;
      return position_table_.weights() +
             static_cast<std::size_t>(config_.position_offset) * hidden();
    }

    void activate(const Layer& layer, unsigned rows, unsigned parts) {
      using enum checkpoint::Activation;
      if (config_.activation == silu) return activate_by<kernels::Silu>(layer, rows, parts);
      if (config_.activation == relu) return activate_by<kernels::Relu>(layer, rows, parts);
      activate_by<kernels::GeluTanh>(layer, rows, parts);
    }
    template <class Function>
    void activate_by(const Layer& layer, unsigned rows, unsigned parts) {
      const auto width = static_cast<std::uint32_t>(layer.mlp_width);
      if (config_.shape.gated_mlp) {
        simt::launch<kernels::GatedActivation<Function, float, Value>>(
            {{rows, parts}}, {mlp_in_.data(), 2 * layer.mlp_width, mlp_mid_.data(), width},
            compute_);
      } else {
        simt::launch<kernels::Activation<Function, float, Value>>(
            {{rows, parts}}, {mlp_in_.data(), layer.mlp_width, mlp_mid_.data(), width}, compute_);
      }
    }

    /// A mixture of experts: each row's best few, without the host knowing which.
    void mix(const Layer& layer, unsigned rows, unsigned mlp_parts, unsigned parts) {
      const auto experts = static_cast<std::uint32_t>(layer.mixture.in.size());
      const auto few = static_cast<std::uint32_t>(chosen()), choices = rows * few;
      multiply(layer.mixture.router, normed_.data(), routed_, rows_);
      simt::launch<kernels::Route>({{rows}},
                                   {routed_.data(), choices_.data(), choice_weights_.data(),
                                    experts, few, config_.normalize_expert_weights},
                                   compute_);
      simt::launch<kernels::ListTakers>(
          {{experts}}, {choices_.data(), takers_.data(), takers_count_.data(), choices}, compute_);
      layer.mixture.in.multiply(normed_.data(), few, mlp_in_.data(), takers_.data(),
                                takers_count_.data(), choices, rows, compute_);
      activate(layer, choices, mlp_parts);
      layer.mixture.out.multiply(mlp_mid_.data(), 1, expert_out_.data(), takers_.data(),
                                 takers_count_.data(), choices, rows, compute_);
      simt::launch<kernels::JoinExperts>(
          {{rows, parts}},
          {expert_out_.data(), choice_weights_.data(), projected_.data(),
           static_cast<std::uint32_t>(hidden()), few},
          compute_);
    }

    template <unsigned head_dim>
    void attend(const Layer& layer, std::size_t index) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      const auto kv_heads = static_cast<std::uint32_t>(config_.shape.kv_heads);
      multiply(layer.qkv, normed_.data(), qkv_, rows_);
      kernels::CacheWriteParams<float, Value> write;
      write.qkv = qkv_.data();
      write.stride = layer.qkv.outputs();
      write.q = q_.data();
      write.cache = {device_pool_.data() + index * 2 * kv_heads * slab_bytes(), block_bytes_,
                     kv_heads};
      write.blocks = data_.at<std::uint32_t>(at_.tables);
      write.table_begin = data_.at<std::uint32_t>(at_.table_begin);
      write.sequence = data_.at<std::uint32_t>(at_.sequence);
      write.position = data_.at<std::int32_t>(at_.positions);
      write.angles = config_.rotary ? angles_.data() : nullptr;
      write.query_norm = layer.query_norm.data();
      write.key_norm = layer.key_norm.data();
      write.eps = norm_eps();
      write.heads = heads;
      if constexpr (Keeping::lists) {
        write.table_begin = data_.at<std::uint32_t>(keeping_.kept(index).begin_at);
        write.lengths = data_.at<std::int32_t>(keeping_.kept(index).lengths_at);
      }
      using Write = kernels::CacheWrite<Writing<head_dim>, float>;
      simt::launch<Write>(
          {{static_cast<unsigned>(rows_),
            (heads + 2 * kv_heads + Write::heads_a_block - 1) / Write::heads_a_block}},
          write, compute_);
      const Attention& a = attention_[layer.attention];
      if constexpr (Keeping::lists) {
        attend_to_kept<head_dim>(write.cache, index);
      } else if constexpr (Keeping::selects) {
        keeping_.template update<Key<head_dim>>(write.cache, index, data_, compute_);
        attend_to_pages<head_dim>(a, write.cache, index);
      } else {
        Attending::with(
            a, [&](const auto& variant) { attend_as<head_dim>(variant, a, write.cache, index); });
      }
    }

    /// How rows attend; where their work lies is still to be said.
    template <unsigned head_dim, class Variant>
    [[nodiscard]] kernels::PagedDecodeParams<Value, Variant> attending(
        const Variant& variant, const kernels::KvPool& cache) {
      const auto heads = static_cast<std::uint32_t>(config_.shape.heads);
      kernels::PagedDecodeParams<Value, Variant> p;
      p.q = q_.data();
      p.q_stride = p.out_stride = std::size_t{heads} * head_dim;
      p.out = attended_.data();
      p.cache = cache;
      p.blocks = data_.at<std::uint32_t>(at_.tables);
      p.table_begin = data_.at<std::uint32_t>(at_.row_table_begin);
      p.lengths = data_.at<std::int32_t>(at_.lengths);
      p.partial = partial_.data();
      p.partial_lse = partial_lse_.data();
      p.heads = heads;
      p.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
      p.variant = variant;
      return p;
    }

    /// To the tokens that a retention policy kept, which then hears what rows made of them.
    template <unsigned head_dim>
    void attend_to_kept(const kernels::KvPool& cache, std::size_t layer) {
      const auto& kept = keeping_.kept(layer);
      auto p = attending<head_dim>(attention::Causal(), cache);
      p.table_begin = data_.at<std::uint32_t>(kept.begin_at);
      p.lengths = data_.at<std::int32_t>(kept.lengths_at);
      p.work = data_.at<kernels::DecodeWork>(kept.work_at);
      keeping_.template turn<head_dim>(q_.data(), rows_, p.heads, angles_.data(), data_, compute_);
      kernels::paged_decode<Listed<head_dim>, attention::Causal, decode_tuning>(
          p, kept.work, data_.at<kernels::MergeWork>(kept.merges_at), kept.merges, compute_,
          keeping_.lse());
      keeping_.template vote<Listed<head_dim>>(p, kept, data_, compute_);
    }

    /// To the pages that rows choose, or to all.
    template <unsigned head_dim>
    void attend_to_pages(const Attention& a, const kernels::KvPool& cache, std::size_t layer) {
      const auto& choice = keeping_.choice(layer);
      Attention all = a;
      all.work = choice.work;
      all.merges = choice.merges;
      all.work_at = choice.work_at;
      all.merges_at = choice.merges_at;
      attend_as<head_dim>(attention::Causal(), all, cache, layer);
      if (choice.rows.empty()) return;
      auto p = attending<head_dim>(attention::Causal(), cache);
      keeping_.template choose<Key<head_dim>>(p, choice, layer, data_, compute_);
      p.blocks = keeping_.chosen();
      p.table_begin = data_.at<std::uint32_t>(choice.begin_at);
      p.lengths = data_.at<std::int32_t>(choice.lengths_at);
      p.work = data_.at<kernels::DecodeWork>(choice.chosen_work_at);
      kernels::paged_decode<Listed<head_dim>, attention::Causal, decode_tuning>(
          p, choice.chosen_work, data_.at<kernels::MergeWork>(choice.chosen_merges_at),
          choice.chosen_merges, compute_);
    }

    template <unsigned head_dim, class Variant>
    void attend_as(const Variant& variant, const Attention& a, const kernels::KvPool& cache,
                   [[maybe_unused]] std::size_t layer) {
      auto p = attending<head_dim>(variant, cache);
      p.work = data_.at<kernels::DecodeWork>(a.work_at);
      if constexpr (prefills<head_dim>) {
        if (a.prefixes > 0) attend_to_prefixes<head_dim>(p, a);
      }
      kernels::paged_decode<Key<head_dim>, Variant, decode_tuning>(
          p, a.work, data_.at<kernels::MergeWork>(a.merges_at), a.merges, compute_);
      if constexpr (prefills<head_dim>) {
        if (prefills_ == 0) return;
        kernels::WarpgroupPrefillParams<Value, Variant> of;
        of.q = p.q;
        of.out = p.out;
        of.q_stride = of.out_stride = p.q_stride;
        of.cache = cache;
        of.blocks = p.blocks;
        of.sequences = data_.at<kernels::PrefillSequence>(at_.prompts);
        of.work = data_.at<kernels::PrefillWork>(at_.prefills);
        of.heads = p.heads;
        of.scale = p.scale;
        of.variant = variant;
        if constexpr (has_warpgroup_path<head_dim>) {
          if (!cache_maps_.empty()) {
            using Kernel =
                kernels::WarpgroupPrefill<Key<head_dim>, Variant, warpgroup_tuning<head_dim>>;
            of.cache_map = cache_maps_[layer];
            of.works = prefills_;
            simt::launch<Kernel>(Kernel::shape(prefills_, cache.kv_heads, multiprocessors_), of,
                                 compute_);
            return;
          }
        }
        using Kernel = kernels::PagedPrefill<Key<head_dim>, Variant, prefill_tuning>;
        simt::launch<Kernel>({{prefills_, cache.kv_heads}, Kernel::shared_bytes}, of, compute_);
      }
    }

    /// What sequences attend to together; paged_decode merges it with what each has alone.
    template <unsigned head_dim, class Variant>
    void attend_to_prefixes(const kernels::PagedDecodeParams<Value, Variant>& own,
                            const Attention& a) {
      using Kernel = kernels::PagedPrefill<Key<head_dim>, Variant, prefix_tuning, true>;
      kernels::SharedPrefixParams<Value, Variant> p;
      p.q = own.q;
      p.q_stride = own.q_stride;
      p.cache = own.cache;
      p.blocks = own.blocks;
      p.groups = data_.at<kernels::PrefixGroup>(a.groups_at);
      p.work = data_.at<kernels::PrefixWork>(a.prefixes_at);
      p.members = data_.at<std::uint32_t>(a.members_at);
      p.first_partial = data_.at<std::uint32_t>(a.first_partial_at);
      p.lengths = own.lengths;
      p.partial = own.partial;
      p.partial_lse = own.partial_lse;
      p.heads = own.heads;
      p.scale = own.scale;
      p.variant = own.variant;
      simt::launch<Kernel>({{a.prefixes, p.cache.kv_heads}, Kernel::shared_bytes}, p, compute_);
    }

    /// Rows whose draws no kernel makes: log-probabilities need more than a token, several draws after
    /// penalties would meet in one row, and so would a beam's bans. They are drawn on the host.
    [[nodiscard]] static bool on_host(const SequencePlan& s) {
      const SamplingParams& p = *s.sampling;
      if (p.beam_width > 0) {
        return !p.stop_token_ids.empty() && s.computed + s.tokens < s.prompt_tokens + p.min_tokens;
      }
      const bool changes = sampling::has_penalties(p) || !p.stop_token_ids.empty();
      return sampling::wants_logprobs(p) || (s.draws > 1 && changes);
    }

    /// What is to be drawn, and where in the result it goes.
    void list_draws(const StepPlan& plan, StepResult& result) {
      samples_.clear();
      penalties_.clear();
      places_.clear();
      beams_.clear();
      beam_rows_.clear();
      candidates_ = 0;
      draws_on_host_ = false;
      std::uint32_t row = 0;
      for (const SequencePlan& s : plan.sequences) {
        result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
        if (s.draws <= 0) continue;
        const auto count = static_cast<std::size_t>(s.draws), first = result.draws.size();
        const auto drafts = static_cast<std::size_t>(s.drafts);
        result.draws.resize(first + count + drafts);
        if (on_host(s)) {
          draws_on_host_ = true;
        } else if (s.sampling->beam_width > 0) {
          beams_.emplace_back(first, count);
          beam_rows_.push_back(row);
          candidates_ = std::max(candidates_, count);
        } else {
          for_drafts(s, [&](const SequencePlan& after, std::uint32_t draft) {
            add_rows(after, row + draft, samples_, penalties_);
            for (std::size_t d = 0; d < count; ++d) places_.push_back(first + draft + d);
          });
        }
        row += 1 + static_cast<std::uint32_t>(s.drafts);
      }
      result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
    }

    void draw(const StepPlan& plan, StepResult& result) {
      const std::size_t count = samples_.size();
      if (draws_on_host_) {
        if (host_logits_.size() < logits_room_ * vocab()) {
          host_logits_ = simt::PinnedArray<float>(logits_room_ * vocab());
        }
        simt::copy_to_host(host_logits_.data(), logits_.data(), logits_count_ * vocab(), compute_,
                           "logits");
      }
      if (count > 0) {
        if (2 * count > drawn_.size()) {
          drawn_ = Array<std::uint32_t>(4 * count);
          host_drawn_ = simt::PinnedArray<std::uint32_t>(4 * count);
        }
        using Kernel = kernels::Sample<Block>;
        simt::launch<Kernel>({{static_cast<unsigned>(count)}, Kernel::shared_bytes},
                             {logits_.data(), vocab(), data_.at<kernels::SampleRow>(at_.samples),
                              data_.at<kernels::TokenPenalty>(at_.penalties), drawn_.data(),
                              drawn_.data() + count, static_cast<std::uint32_t>(vocab())},
                             compute_);
        simt::copy_to_host(host_drawn_.data(), drawn_.data(), 2 * count, compute_, "drawn tokens");
      }
      if (!beams_.empty()) list_candidates();
      computed_.record(compute_);
      if (count == 0 && beams_.empty() && !draws_on_host_) {
        if (asks()) compute_.synchronise("votes");
        return;
      }
      compute_.synchronise("sample");
      take_candidates(result);
      for (std::size_t i = 0; i < count; ++i) {
        if (host_drawn_.data()[count + i] != 0) throw nothing_to_draw_from();
        result.draws[places_[i]].token = host_drawn_.data()[i];
      }
      if (draws_on_host_) sample_on_host(plan, result);
      keep_what_held(plan, result);
    }
    /// body(plan, i): what is drawn after i drafts, as if the step ended there.
    template <class Body>
    static void for_drafts(const SequencePlan& s, const Body& body) {
      if (s.drafts == 0) return body(s, 0u);
      SequencePlan after = s;
      after.tokens -= s.drafts;
      for (std::uint32_t d = 0; d <= static_cast<std::uint32_t>(s.drafts); ++d) {
        body(after, d);
        after.tokens += 1;
      }
    }
    /// Of the draws after drafts.
    void keep_what_held(const StepPlan& plan, StepResult& result) {
      held_.clear();
      bool any = false;
      for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
        const SequencePlan& s = plan.sequences[i];
        if (s.draws <= 0) continue;
        held_.push_back(held_drafts(s, std::span(result.draws).subspan(result.begin[i])));
        any = any || s.drafts > 0;
      }
      if (any) leave_out_rejected(plan, held_, result);
    }

    /// The likeliest tokens of beams' rows, as many as any of them asks for.
    void list_candidates() {
      const std::size_t all = beams_.size() * candidates_;
      if (all > candidate_tokens_.size()) {
        candidate_tokens_ = Array<std::uint32_t>(2 * all);
        candidate_logprobs_ = Array<float>(2 * all);
        host_tokens_ = simt::PinnedArray<std::uint32_t>(2 * all);
        host_logprobs_ = simt::PinnedArray<float>(2 * all);
      }
      using Kernel = kernels::TopLogprobs<Block>;
      simt::launch<Kernel>(
          {{static_cast<unsigned>(beams_.size())}, Kernel::shared_bytes},
          {logits_.data(), vocab(), data_.at<std::uint32_t>(at_.beams), candidate_tokens_.data(),
           candidate_logprobs_.data(), static_cast<std::uint32_t>(vocab()),
           static_cast<std::uint32_t>(candidates_)},
          compute_);
      simt::copy_to_host(host_tokens_.data(), candidate_tokens_.data(), all, compute_, "beams");
      simt::copy_to_host(host_logprobs_.data(), candidate_logprobs_.data(), all, compute_, "beams");
    }
    void take_candidates(StepResult& result) const {
      for (std::size_t b = 0; b < beams_.size(); ++b) {
        const auto [first, count] = beams_[b];
        for (std::size_t d = 0; d < count; ++d) {
          const float logprob = host_logprobs_.data()[b * candidates_ + d];
          if (std::isnan(logprob)) throw nothing_to_draw_from();
          result.draws[first + d] = {host_tokens_.data()[b * candidates_ + d], logprob, 0, 0};
        }
      }
    }
    [[nodiscard]] static Error nothing_to_draw_from() {
      return state_error("logits", "there is nothing to draw from",
                         "numbers, at least one of them finite");
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
      const std::span<float> logits(host_logits_.data(), logits_count_ * vocab());
      std::size_t row = 0;
      for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
        const SequencePlan& s = plan.sequences[i];
        if (s.draws <= 0) continue;
        if (on_host(s)) {
          const auto count = static_cast<std::size_t>(s.draws);
          for_drafts(s, [&](const SequencePlan& after, std::uint32_t draft) {
            const std::size_t before = result.alternatives.size();
            if (s.sampling->beam_width <= 0) {
              result.alternatives.resize(
                  before + count * sampling::alternatives_per_draw(*s.sampling, vocab()));
            }
            sampler_.sample(after, logits.subspan((row + draft) * vocab(), vocab()),
                            {result.draws.data() + result.begin[i] + draft, count},
                            static_cast<std::uint32_t>(before),
                            std::span(result.alternatives).subspan(before));
          });
        }
        row += 1 + static_cast<std::size_t>(s.drafts);
      }
    }

    checkpoint::ModelConfig config_;
    std::size_t block_bytes_;
    BlockCount device_blocks_;
    Array<std::byte> device_pool_;  // one block more: what padded rows write to
    std::uint32_t multiprocessors_;
    bool wrap_, graphs_wanted_;
    double weight_seconds_ = 0;
    Tokens share_from_;
    bool shares_;  // whether there is a kernel for it, and somebody wants it
    std::vector<Layer> layers_;
    std::vector<Attention> attention_;
    std::vector<simt::TensorMap> cache_maps_;  // of each layer, where prefill is by warpgroups
    DeviceMatrix<Head> embedding_;             // empty when `output` serves as one
    DeviceMatrix<Head> position_table_;        // where positions are learned
    Norm final_norm_;
    Array<float> angles_;
    DeviceMatrix<Head> output_;
    DeviceMatrix<WeightFormat> project_in_, project_out_;  // of a narrow embedding
    model::Rope rope_;
    std::int64_t angle_positions_ = 0;
    std::int64_t most_positions_ = std::numeric_limits<std::int64_t>::max();  // that are learned
    Product product_;
    Ranks ranks_;
    Keeping keeping_;
    sampling::Sampler sampler_;

    // the step
    Rows batch_;
    std::size_t rows_ = 0, logits_count_ = 0, rows_room_ = 0, logits_room_ = 0, partials_room_ = 0;
    std::size_t turned_room_ = 0;                     // queries beside those of the rows
    std::vector<attention::SequenceRows> sequences_;  // whose blocks are the plan's
    attention::SharedPrefixes shared_;
    std::vector<kernels::SharedPrefix> prefixes_;
    std::vector<kernels::BlockMove> copies_;
    std::vector<kernels::SampleRow> samples_;
    std::vector<kernels::TokenPenalty> penalties_;
    std::vector<std::size_t> places_;                         // of each drawn token in the result
    std::vector<std::pair<std::size_t, std::size_t>> beams_;  // first draw, number of candidates
    std::vector<std::uint32_t> beam_rows_;                    // of the logits
    std::size_t candidates_ = 0;                              // the most of a beam
    std::vector<std::uint32_t> held_;                         // drafts of each row that draws
    std::uint32_t prefills_ = 0;                              // blocks of prefill work
    bool draws_on_host_ = false;
    StepData data_{std::size_t{1} << 20};
    Places at_;
    // activations
    Array<float> stream_, qkv_, projected_, mlp_in_, logits_, partial_, partial_lse_;
    Array<Value> normed_, q_, attended_, mlp_mid_;
    // of mixtures: scores of experts, who is chosen, by whom, and what comes of it
    Array<float> routed_, choice_weights_, expert_out_;
    Array<std::uint32_t> choices_, takers_, takers_count_;
    Array<std::uint32_t> drawn_;  // tokens, then whether there was none
    simt::PinnedArray<std::uint32_t> host_drawn_;
    simt::PinnedArray<float> host_logits_;
    Array<std::uint32_t> candidate_tokens_;
    Array<float> candidate_logprobs_;
    simt::PinnedArray<std::uint32_t> host_tokens_;
    simt::PinnedArray<float> host_logprobs_;

    std::unique_ptr<Guesses> guesses_;
    CudaTiers tiers_;
    std::map<std::pair<std::size_t, bool>, Recorded> graphs_;  // by rows, and whether they vote
    simt::OwnStream compute_;
    simt::Event computed_;
  };

  template <class C>
  using Bound = Steps<typename C::KvFormat, typename C::WeightFormat,
                      static_cast<unsigned>(C::BlockSize::tokens.value), KeepingFor<C>>;
};

/// The same on one device that has the whole model.
template <class Value, class Product, unsigned... head_dims>
using BasicCuda = ParallelCuda<Value, Product, Alone, head_dims...>;

}  // namespace quire::executor
