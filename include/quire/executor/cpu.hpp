#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/simd.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/arena_geometry.hpp>
#include <quire/executor/attending.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/cpu_tiers.hpp>
#include <quire/executor/draft_book.hpp>
#include <quire/executor/drafter.hpp>
#include <quire/executor/kv_fingerprint.hpp>
#include <quire/executor/rejected_drafts.hpp>
#include <quire/executor/step.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/weight_cache.hpp>
#include <quire/model/weight_stream.hpp>
#include <quire/sampling/sampler.hpp>
#include <quire/scheduler/limits.hpp>

namespace quire::executor {

/// Runs steps for real on the processor: a decoder with the configuration's weight and KV formats,
/// paged attention through the plan's block tables, and sampling. Seconds are measured.
///
/// Tokens and logits of a sequence do not depend on the rest of the batch, on how its prompt was
/// chunked, on block size, copies and swaps, or on the number of threads: bit for bit. Formats that pack
/// several tokens together (kv_format::keeps_open_blocks) depend on chunking, and so on preemption by
/// recomputing and on a prefix index: tokens are read as they were until they are packed.
struct Cpu {
  struct Options {
    checkpoint::Checkpoint model;  // checkpoint::open_checkpoint(directory)
    SchedulerLimits limits{};
    std::size_t threads = 1;
    /// Each on a processor of its own, the caller among them, while the executor lives; on machines of
    /// several memories, weights then lie near the threads that multiply them. More threads than
    /// processors are refused.
    bool pin_threads = false;
    Bytes kv_memory = std::int64_t{256} << 20;   // for device blocks
    Bytes host_memory = std::int64_t{64} << 20;  // for swapped blocks, where a policy swaps
    BlockCount device_blocks = 0;                // more than 0: this many, in place of kv_memory
    BlockCount host_blocks = 0;                  // likewise
    Bytes disk_memory = std::int64_t{1} << 30;   // of the disk tier, where a policy has one
    BlockCount disk_blocks = 0;                  // likewise
    DiskTierOptions disk{};  // disk.directory must be given where a policy has a disk tier
    EmulatedLink link{};     // between device and tiers; none by default
    TierCosts costs{};       // for policies that choose by time; measured by whoever sets them
    /// Maps token ids into the vocabulary by remainder: for replaying traces whose prompts are
    /// known by identity only, with made-up ids.
    bool wrap_tokens = false;
    bool poison = false;  // fills unwritten KV with NaN: a wrong read shows in the results
    /// Of a KV format that is fitted to the model beforehand: what model::calibrate_kv found.
    std::shared_ptr<const kv_format::Calibration> kv_calibration{};
    /// Of a speculation policy that guesses with a second model. It runs in the formats of the first,
    /// and has a KV pool of as many blocks beside kv_memory, touched as it is used.
    std::optional<checkpoint::Checkpoint> draft_model{};
    model::Fusion fusion{};  // same results in any case
    /// Where packed weights are kept from one start to the next; none by default.
    model::WeightCache weight_cache{};
    /// How much of the weights may be in memory at a time; 0: all. The rest is read for each pass, a layer
    /// ahead of its use. For weights that are mapped: of an image, or from a cache that maps.
    Bytes resident_weights = 0;
  };

  [[nodiscard]] static model::Shape shape(const Options& options) {
    return options.model.config.shape;
  }

  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    return geometry<C>(options, kv_format::codec_of<typename C::KvFormat>());
  }
  /// The same with blocks in another KV format.
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options, const kv_format::KvCodec& kv) {
    const model::Shape& m = shape(options);
    const auto block = static_cast<std::int64_t>(
        kv.block_bytes(static_cast<std::size_t>(m.layers), static_cast<std::size_t>(m.kv_heads),
                       static_cast<std::size_t>(C::BlockSize::tokens.value),
                       static_cast<std::size_t>(m.head_dim)));
    check_draft_model<C>(shape(options),
                         options.draft_model ? &options.draft_model->config.shape : nullptr,
                         options.limits.max_length);
    KvGeometry g = arena_geometry<C>(options, block);
    g.attends = true;
    g.tells_freed = kv.keeps_open_blocks();
    return g;
  }

  template <class KvFormat, class WeightFormat, class Attending = AttendsAll>
  class Steps {
   public:
    using Decoder = model::Decoder<WeightFormat>;
    static constexpr std::string_view name = "cpu";
    static constexpr bool needs_tokens = true;

    // Templates, since clang 14 instantiates constrained members with their class.
    template <KvFormatPolicy Format = KvFormat>
    Steps(const Options& options, const KvGeometry& geometry)
        : Steps(options, geometry, kv_format::codec_of<Format>()) {}
    template <WeightFormatPolicy Format = WeightFormat>
    Steps(const Options& options, const KvGeometry& geometry, const kv_format::KvCodec& codec)
        : Steps(options, geometry, codec, weight_format::codec_of<Format>()) {}
    /// Codecs of the formats, where KvFormat or WeightFormat is Packed.
    Steps(const Options& options, const KvGeometry& geometry, const kv_format::KvCodec& codec,
          const weight_format::WeightCodec& weights);

    /// What an earlier executor left in the disk tier.
    [[nodiscard]] std::span<const StoredBlock> stored() const { return tiers_.stored(); }
    [[nodiscard]] CpuTiers& tiers() { return tiers_; }

    /// Runs one step. \errors state for a plan that names blocks or tokens which do not exist;
    /// usage for tokens outside the vocabulary
    void execute(const StepPlan& plan, StepResult& result);

    [[nodiscard]] const Decoder& decoder() const { return decoder_; }
    /// How long it took to pack the weights, or to find them packed.
    [[nodiscard]] double weight_seconds() const { return weight_seconds_; }
    [[nodiscard]] ThreadPool& threads() { return threads_; }
    /// Sets what is fused from the next step on.
    void fuse(const model::Fusion& fusion) {
      memory_.fusion = fusion;
      for (sampling::Sampler& sampler : samplers_) sampler.sort_all(!fusion.partial_sort);
    }
    /// What steps took of the weights since it was cleared last: bytes, and rows of each expert.
    [[nodiscard]] model::WeightLoad& weight_load() { return memory_.load; }
    /// Where steps spent their time since it was cleared last.
    [[nodiscard]] model::StepSeconds& step_seconds() { return memory_.seconds; }
    [[nodiscard]] const kv_format::Arena<KvFormat>& arena() const { return device_; }
    /// Which sequences of the last step's plan were found to begin with the same blocks.
    [[nodiscard]] const attention::SharedPrefixes& shared_prefixes() const { return batch_.shared; }
    /// Logits of the last step, one row per sequence that drew and one more for each of its drafts, in
    /// the plan's order; sampling has
    /// changed them by then where it applied penalties, a temperature or truncation.
    /// \shape (rows that drew, vocab)
    [[nodiscard]] std::span<const float> logits(std::size_t row) const {
      return {logits_.data() + row * decoder_.logits_stride(), decoder_.vocab()};
    }

   private:
    /// Attends to a layer when what tiers still had of it has come.
    struct LayerByLayer {
      static constexpr bool takes_rotation = model::turns_rows<Attending>;
      Attending& attending;
      CpuTiers* tiers;              // null: of a model that has none
      model::WeightStream* stream;  // null: all weights are in memory
      template <kv_format::KvStorage Format>
      void attend(const model::AttentionCall& call) const {
        if (tiers != nullptr) tiers->wait(call.layer);
        if (stream != nullptr) stream->begin(call.layer);
        attending.template attend<Format>(call);
      }
    };

    [[nodiscard]] Decoder decoder_of(const Options& options,
                                     const weight_format::WeightCodec& codec) {
      const model::Stopwatch watch(weight_seconds_);
      const checkpoint::Checkpoint model = model::with_cached_weights<WeightFormat>(
          options.model, codec, options.weight_cache, threads_);
      return Decoder(model.config, model.tensors, threads_, codec);
    }

    /// Of all that the bytes of a block depend on, beside its text.
    [[nodiscard]] std::uint64_t fingerprint(const Options& options,
                                            const KvGeometry& geometry) const {
      std::uint64_t h = kv_fingerprint(
          options.model, device_.codec().name, decoder_.weights().format, geometry.block_tokens,
          "cpu, lanes: " + std::to_string(simd::lanes) + attention_of<Attending>());
      if (options.kv_calibration != nullptr) {
        for (const auto* side : {&options.kv_calibration->keys, &options.kv_calibration->values}) {
          for (const auto& layer : *side) h = hash_span(std::span<const float>(layer), h);
        }
      }
      return h;
    }

    void move_blocks(const StepPlan& plan, StepResult& result) {
      auto check = [](BlockId b, BlockCount blocks, std::string_view pool) {
        if (static_cast<std::int64_t>(b.value) < blocks.value) return;
        throw state_error(
            "step plan",
            "it names block " + std::to_string(b.value) + " of the " + std::string(pool) + " pool",
            "a block below " + std::to_string(blocks.value));
      };
      attending_.move_slots(plan, device_);
      tiers_.move(
          plan,
          [&](BlockId b) {
            check(b, device_.blocks(), "device");
            return std::span<std::byte>(device_.block(b), device_.block_bytes());
          },
          result);
      move_open_blocks(plan);
      for (const BlockSwap& s : plan.swap_in) attending_.brought_in(s.device);
      for (const BlockCopy& c : plan.copies) {
        check(c.from, device_.blocks(), "device");
        check(c.to, device_.blocks(), "device");
        kv_format::copy_block(device_, c.from, device_, c.to);
        attending_.copied(c.from, c.to);
      }
      close_freed(plan);
      const std::size_t moved = plan.swap_out.size() + plan.swap_in.size() + plan.copies.size() +
                                plan.spills.size() + plan.prefetches.size();
      result.bytes_moved = static_cast<std::int64_t>(moved * device_.block_bytes());
    }

    /// What is not packed yet follows the blocks.
    void move_open_blocks(const StepPlan& plan) {
      kv_format::OpenBlocks& open = device_.open_blocks();
      if (open.empty()) return;
      for (const TierMove& m : plan.spills) open.moved(m.from, m.to);
      for (const BlockSwap& s : plan.swap_out) open.swapped_out(s.device, s.host);
      for (const TierMove& m : plan.prefetches) open.moved(m.from, m.to);
      for (const BlockSwap& s : plan.swap_in) open.swapped_in(s.host, s.device);
    }

    /// Blocks that lost their content keep no room beside the pool, but where this plan filled them anew.
    void close_freed(const StepPlan& plan) {
      kv_format::OpenBlocks& open = device_.open_blocks();
      if (open.empty()) return;
      for (const BlockId b : plan.freed) {
        const auto fills = [b](const auto& list, auto member) {
          return std::any_of(list.begin(), list.end(),
                             [&](const auto& entry) { return entry.*member == b; });
        };
        if (static_cast<std::int64_t>(b.value) >= device_.blocks().value ||
            fills(plan.swap_in, &BlockSwap::device) || fills(plan.copies, &BlockCopy::to)) {
          continue;
        }
        open.close(b);
      }
    }

    /// The plan's rows as one ragged batch.
    void gather(const StepPlan& plan) {
      batch_.clear();
      for (const SequencePlan& s : plan.sequences) {
        const std::int64_t end = (s.computed + s.tokens).value;
        if (s.tables.empty() || s.tokens < Tokens{1} || s.computed < Tokens{0} ||
            static_cast<std::int64_t>(s.history.size()) < end) {
          throw state_error(
              "step plan",
              "sequence " + std::to_string(s.sequence.value) + " lacks a block table or tokens",
              "a table and the ids of all tokens up to the last of the step");
        }
        const std::span<const BlockId> blocks = s.tables.front().blocks();
        const std::int64_t needed = ceil_div(Attending::slots(s), block_tokens_.value);
        if (static_cast<std::int64_t>(blocks.size()) < needed) {
          throw state_error("step plan",
                            "the block table of sequence " + std::to_string(s.sequence.value) +
                                " holds " + std::to_string(blocks.size()) + " blocks",
                            std::to_string(needed));
        }
        for (const BlockId b : blocks.first(static_cast<std::size_t>(needed))) {
          if (static_cast<std::int64_t>(b.value) >= device_.blocks().value) {
            throw state_error("step plan", "it names block " + std::to_string(b.value),
                              "a block below " + std::to_string(device_.blocks().value));
          }
        }
        batch_.add(s.history.subspan(static_cast<std::size_t>(s.computed.value),
                                     static_cast<std::size_t>(s.tokens.value)),
                   s.computed.value, blocks);
        if (s.draws <= 0) continue;
        for (std::int32_t d = s.drafts; d >= 0; --d) {
          batch_.logits_rows.push_back(batch_.rows() - 1 - static_cast<std::size_t>(d));
        }
      }
      batch_.shared.find(batch_.sequences);
      if (wrap_) {
        for (TokenId& t : batch_.tokens) t %= static_cast<TokenId>(decoder_.vocab());
      }
    }

    void sample(const StepPlan& plan, StepResult& result) {
      std::vector<DrawingRow>& rows = drawing_;
      rows.clear();
      std::size_t draws = 0, alternatives = 0, logits = 0;
      for (const SequencePlan& s : plan.sequences) {
        result.begin.push_back(static_cast<std::uint32_t>(draws));
        if (s.draws <= 0) continue;
        rows.push_back({&s, logits, draws, alternatives});
        const auto count = static_cast<std::size_t>(s.draws) + static_cast<std::size_t>(s.drafts);
        logits += 1 + static_cast<std::size_t>(s.drafts);
        draws += count;
        if (s.sampling->beam_width <= 0) {
          alternatives += count * sampling::alternatives_per_draw(*s.sampling, decoder_.vocab());
        }
      }
      result.begin.push_back(static_cast<std::uint32_t>(draws));
      result.draws.resize(draws);
      result.alternatives.resize(alternatives);
      std::vector<std::uint32_t>& held = held_;
      held.assign(rows.size(), 0);
      auto run = [&](std::size_t r, sampling::Sampler& sampler) {
        SequencePlan s = *rows[r].plan;
        const auto count = static_cast<std::size_t>(s.draws);
        const auto after = [&](std::size_t draft) {  // draws after so many drafts
          const std::size_t each = s.sampling->beam_width > 0 ? 0
                                                              : sampling::alternatives_per_draw(
                                                                    *s.sampling, decoder_.vocab());
          const std::size_t alternative = rows[r].alternative + draft * each;
          sampler.sample(s,
                         {logits_.data() + (rows[r].logits + draft) * decoder_.logits_stride(),
                          decoder_.vocab()},
                         {result.draws.data() + rows[r].draw + draft, count},
                         static_cast<std::uint32_t>(alternative),
                         std::span(result.alternatives).subspan(alternative));
        };
        s.tokens -= s.drafts;
        after(0);
        while (held[r] < static_cast<std::uint32_t>(s.drafts)) {
          const auto next = static_cast<std::size_t>((s.computed + s.tokens).value);
          if (result.draws[rows[r].draw + held[r]].token != s.history[next]) break;
          s.tokens += 1;
          after(++held[r]);
        }
      };
      const bool small = rows.size() * decoder_.vocab() < 50'000;
      const std::size_t workers = small ? 1 : std::min(threads_.size(), rows.size());
      std::atomic<std::size_t> next{0};
      threads_.parallel_for(workers, [&](std::size_t worker) {
        for (std::size_t r = next++; r < rows.size(); r = next++) run(r, samplers_[worker]);
      });
      if (logits > rows.size()) leave_out_rejected(plan, held, result);
    }

    [[nodiscard]] static ThreadPlaces places_of(const Options& options) {
      const std::size_t threads = std::max<std::size_t>(1, options.threads);
      return options.pin_threads ? place_threads(threads, processors_of_machine())
                                 : ThreadPlaces(threads);
    }
    /// A row that draws, and where its logits and results begin.
    struct DrawingRow {
      const SequencePlan* plan;
      std::size_t logits, draw, alternative;
    };

    ThreadPool threads_;
    double weight_seconds_ = 0;
    Decoder decoder_;
    std::unique_ptr<model::WeightStream> stream_;
    kv_format::Arena<KvFormat> device_;
    CpuTiers tiers_;
    Tokens block_tokens_;
    bool wrap_;
    Attending attending_;
    std::unique_ptr<Drafter<Decoder, KvFormat>> drafter_;
    model::Batch batch_;
    model::Activations memory_;
    std::vector<float> logits_;
    std::vector<sampling::Sampler> samplers_;
    std::vector<DrawingRow> drawing_;  // of the step at hand
    std::vector<std::uint32_t> held_;  // drafts of each of them that held
  };
  /// Only the formats and the way of attending matter here: configurations that differ elsewhere
  /// share one class, and so do all formats that are no plain arrays.
  template <class C>
  using Shared = Steps<kv_format::storage_of<typename C::KvFormat>,
                       weight_format::storage_of<typename C::WeightFormat>,
                       AttendingFor<typename C::Retention>>;
  template <class C>
  [[nodiscard]] static Shared<C> bind(const Options& options, const KvGeometry& geometry) {
    return Shared<C>(options, geometry, kv_format::codec_of<typename C::KvFormat>(),
                     weight_format::codec_of<typename C::WeightFormat>());
  }
  /// The same for those who build it without bind(), such as executors that wrap this one.
  template <class C>
  class Bound : public Shared<C> {
   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Shared<C>(options, geometry, kv_format::codec_of<typename C::KvFormat>(),
                    weight_format::codec_of<typename C::WeightFormat>()) {}
  };
};

// Outside the class, so that a translation unit that declares an explicit instantiation extern does
// not compile the model again.
template <class KvFormat, class WeightFormat, class Attending>
Cpu::Steps<KvFormat, WeightFormat, Attending>::Steps(const Options& options,
                                                     const KvGeometry& geometry,
                                                     const kv_format::KvCodec& codec,
                                                     const weight_format::WeightCodec& weights)
    : threads_(places_of(options)),
      decoder_(decoder_of(options, weights)),
      device_(shape(options), geometry.device_blocks, geometry.block_tokens, codec),
      tiers_(geometry, device_.block_bytes(), options.link, shape(options).layers),
      block_tokens_(geometry.block_tokens),
      wrap_(options.wrap_tokens),
      attending_(options.limits.retention, shape(options), geometry),
      samplers_(threads_.size()) {
  fuse(options.fusion);
  if (options.resident_weights.value > 0) {
    stream_ = model::stream_of(decoder_.weights(), options.resident_weights.value);
  }
  attending_.check(decoder_);
  device_.calibrate(options.kv_calibration);
  if (options.draft_model) {
    try {
      drafter_ = std::make_unique<Drafter<Decoder, KvFormat>>(
          *options.draft_model, geometry, codec, weights, threads_, options.wrap_tokens);
    } catch (const Error& error) {  // the same words may be said of the model that it guesses for
      throw Error(error.kind(), "draft_model " + options.draft_model->directory, error.what());
    }
  }
  if (options.poison) {
    device_.poison();
    if (drafter_) drafter_->poison();
  }
  if (geometry.tiers.uses_disk) {
    tiers_.open_disk(options.disk, geometry, fingerprint(options, geometry));
  }
}

template <class KvFormat, class WeightFormat, class Attending>
void Cpu::Steps<KvFormat, WeightFormat, Attending>::execute(const StepPlan& plan,
                                                            StepResult& result) {
  const auto start = std::chrono::steady_clock::now();
  result.clear();
  move_blocks(plan, result);
  if (drafter_)
    drafter_->draft(plan, threads_, samplers_, LayerByLayer{attending_, nullptr, nullptr});
  gather(plan);
  logits_.resize(batch_.logits_rows.size() * decoder_.logits_stride());
  attending_.begin(plan);
  if (batch_.rows() > 0) {
    decoder_.forward(batch_, device_, memory_, threads_, logits_.data(),
                     LayerByLayer{attending_, &tiers_, stream_.get()});
  }
  tiers_.wait();
  attending_.end(result);
  {
    const model::Stopwatch watch(memory_.seconds.sampling);
    sample(plan, result);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace quire::executor
