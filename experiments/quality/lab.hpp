#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/quality/format.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/simd.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/attending.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/scheduler/limits.hpp>
#include <quire/weight_format/fp32.hpp>

/// What a format does to a model: its predictions on given texts, read token by token by the engine
/// that serves, beside those of the same model in fp32.
namespace quire::quality {

using Texts = std::vector<std::vector<TokenId>>;

/// One model's predictions, position by position.
struct Reading {
  std::vector<std::vector<TokenId>> best;      // text, position from 1 on: the most probable token
  std::vector<std::vector<float>> nats;        // and how surprising the right one was
  std::vector<std::vector<float>> divergence;  // KL from the baseline, in nat; empty without one
  std::vector<std::vector<float>> overlap;     // sum of min(p, baseline's p); if asked for
  std::vector<std::vector<float>> log_probabilities;  // \shape (text)(position, vocab); if kept
  double seconds = 0;                                 // of the engine's steps
  double tokens = 0;
  std::size_t pool_block_bytes = 0, open_bytes = 0;
  Tokens block_tokens = 0;
  std::size_t weight_bytes = 0, layer_weight_bytes = 0;  // of all matrices; of the layers'
  std::int64_t most_together = 0;                        // sequences in one step
  double steps = 0;

  [[nodiscard]] double pool_bytes_per_token() const {
    return static_cast<double>(pool_block_bytes) / static_cast<double>(block_tokens.value);
  }
};

/// The CPU executor on texts that are given: it computes every step, notes what the model says, and
/// continues with the text's own token.
template <class Attending>
struct Forced {
  struct Options : executor::Cpu::Options {
    const kv_format::KvCodec* codec = nullptr;
    const weight_format::WeightCodec* weights = &weight_format::codec_of<weight_format::Fp32>();
    std::shared_ptr<const Texts> texts;       // by request id
    std::shared_ptr<const Reading> baseline;  // with log-probabilities; null: this is the baseline
    std::shared_ptr<Reading> reading;
    bool notes = true;  // false: only time and memory
    bool overlap = false;
  };
  [[nodiscard]] static model::Shape shape(const Options& o) { return executor::Cpu::shape(o); }
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    KvGeometry g = executor::Cpu::geometry<C>(options);
    g.tells_freed = options.codec->keeps_open_blocks();
    return g;
  }

  using Base = executor::Cpu::Steps<kv_format::Packed, weight_format::Packed, Attending>;
  class Notes : public Base {
   public:
    Notes(const Options& options, const KvGeometry& geometry)
        : Base(options, geometry, *options.codec, *options.weights),
          texts_(options.texts),
          baseline_(options.baseline),
          reading_(options.reading),
          notes_(options.notes),
          overlap_(options.overlap) {
      reading_->pool_block_bytes = Base::arena().block_bytes();
      reading_->weight_bytes = Base::decoder().weights().bytes();
      for (const auto& layer : Base::decoder().weights().layers) {
        reading_->layer_weight_bytes += layer.qkv.bytes() + layer.attention_output.bytes() +
                                        layer.mlp.in.bytes() + layer.mlp.out.bytes();
      }
    }

    void execute(const StepPlan& plan, StepResult& result) {
      Base::execute(plan, result);
      reading_->seconds += result.seconds.value;
      reading_->tokens += static_cast<double>(plan.batched_tokens.value);
      reading_->steps += 1;
      reading_->most_together =
          std::max(reading_->most_together, static_cast<std::int64_t>(plan.sequences.size()));
      reading_->open_bytes = std::max(reading_->open_bytes, Base::arena().open_bytes());
      std::size_t row = 0, draw = 0;
      for (const SequencePlan& s : plan.sequences) {
        if (s.draws == 0) continue;
        const std::size_t id = s.request.value;
        const TokenId right =
            (*texts_)[id][static_cast<std::size_t>((s.computed + s.tokens).value)];
        if (notes_) note(id, right, Base::logits(row));
        ++row;
        result.draws[draw++].token = right;
      }
    }

   private:
    void note(std::size_t id, TokenId right, std::span<const float> logits) {
      const std::size_t n = logits.size(), whole = n / simd::lanes * simd::lanes;
      const auto best =
          static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      terms_.resize(n);
      for (std::size_t t = 0; t < n; ++t) terms_[t] = logits[t] - logits[best];
      for (std::size_t t = 0; t < whole; t += simd::lanes) {
        simd::store(simd::exp(simd::load(&terms_[t])), &terms_[t]);
      }
      for (std::size_t t = whole; t < n; ++t) terms_[t] = std::exp(terms_[t]);
      const float norm = logits[best] + static_cast<float>(std::log(sum(terms_)));
      const std::size_t position = reading_->nats[id].size();
      reading_->best[id].push_back(static_cast<TokenId>(best));
      reading_->nats[id].push_back(norm - logits[right]);
      if (baseline_ == nullptr) {
        auto& all = reading_->log_probabilities[id];
        for (const float l : logits) all.push_back(l - norm);
      } else {
        const float* expected = baseline_->log_probabilities[id].data() + position * n;
        for (std::size_t t = 0; t < whole; t += simd::lanes) {
          simd::store(simd::exp(simd::load(expected + t)), &terms_[t]);
        }
        for (std::size_t t = whole; t < n; ++t) terms_[t] = std::exp(expected[t]);
        for (std::size_t t = 0; t < n; ++t) terms_[t] *= expected[t] - (logits[t] - norm);
        reading_->divergence[id].push_back(static_cast<float>(sum(terms_)));
        if (!overlap_) return;
        for (std::size_t t = 0; t < n; ++t) {
          terms_[t] = std::exp(std::min(expected[t], logits[t] - norm));
        }
        reading_->overlap[id].push_back(static_cast<float>(sum(terms_)));
      }
    }
    /// In double, and four at a time, since each addition waits for the one before.
    [[nodiscard]] static double sum(const std::vector<float>& terms) {
      double sums[4] = {};
      for (std::size_t i = 0; i < terms.size(); ++i) sums[i % 4] += static_cast<double>(terms[i]);
      return sums[0] + sums[1] + (sums[2] + sums[3]);
    }

    std::vector<float> terms_;
    std::shared_ptr<const Texts> texts_;
    std::shared_ptr<const Reading> baseline_;
    std::shared_ptr<Reading> reading_;
    bool notes_, overlap_;
  };
  template <class>
  using Bound = Notes;
};

/// How texts are read.
struct ReadOptions {
  const weight_format::WeightCodec* weights = &weight_format::codec_of<weight_format::Fp32>();
  std::size_t threads = 1;
  std::int64_t together = 64;    // side by side
  BlockCount device_blocks = 0;  // of the pool; 0: enough for all of them
  bool notes = true;             // what the model says, or only time and memory
  bool overlap = false;          // with the baseline's probabilities, as well
  RetentionLimits retention{};
  /// That a format which is fitted to the model beforehand is fitted on.
  std::span<const std::vector<TokenId>> calibration{};
};

/// Reads texts with keys and values in a format, one token a step, several of them side by side.
/// baseline: what fp32 said; null: this is the baseline, and log-probabilities are kept.
/// \pre every text has two tokens or more
template <class C = Variant<kv_format::Fp32>>
[[nodiscard]] std::shared_ptr<const Reading> read_texts(const Format& format,
                                                        const checkpoint::Checkpoint& model,
                                                        std::shared_ptr<const Texts> texts,
                                                        std::shared_ptr<const Reading> baseline,
                                                        const ReadOptions& how = {}) {
  using Executor = Forced<executor::AttendingFor<typename C::Retention>>;
  auto reading = std::make_shared<Reading>();
  reading->best.resize(texts->size());
  reading->nats.resize(texts->size());
  reading->divergence.resize(texts->size());
  reading->overlap.resize(texts->size());
  reading->log_probabilities.resize(texts->size());
  reading->block_tokens = C::BlockSize::tokens;
  typename Executor::Options options;
  options.model = model;
  options.threads = how.threads;
  options.codec = format.codec;
  options.weights = how.weights;
  options.notes = how.notes;
  options.overlap = how.overlap;
  options.limits = {.max_batched_tokens = 1 << 20,
                    .max_sequences = how.together,
                    .watermark = 0,
                    .retention = how.retention};
  std::int64_t longest = 0;
  for (const auto& text : *texts) longest = std::max(longest, std::ssize(text));
  options.device_blocks = how.device_blocks;
  if (how.device_blocks == BlockCount{0}) {
    options.device_blocks = how.together * (ceil_div(longest, C::BlockSize::tokens.value) + 1);
  }
  options.model.config.shape.max_length =
      std::max(longest + 1, model.config.shape.max_length.value);
  options.poison = true;  // what nobody wrote would show
  if (kv_format::needs_calibration(*format.codec)) {
    options.kv_calibration =
        experiment::calibrate_kv(model, how.calibration, *format.codec, *how.weights, how.threads);
  }
  options.texts = texts;
  options.baseline = std::move(baseline);
  options.reading = reading;
  Engine<C, Executor> engine(options);
  for (const auto& text : *texts) {
    Request r;
    r.prompt.assign(text.begin(), text.begin() + 1);
    r.output_length = std::ssize(text) - 1;
    r.sampling.max_tokens = *r.output_length;
    r.sampling.temperature = 0;
    engine.submit(std::move(r));
  }
  while (engine.has_work()) {
    engine.step();
    for (const auto& group : engine.take_finished()) {
      if (!group->error.empty()) throw state_error("quality", group->error, "more KV blocks");
    }
  }
  return reading;
}

/// A mean over texts, weighted by their tokens, with its 95 % interval from resampled texts.
struct Interval {
  double mean = 0, low = 0, high = 0;
};

/// Sums over a text.
struct TextSum {
  double value = 0, count = 0;
};

/// Resamples texts; the same texts in the same draws for every format, so that intervals are paired.
/// \source Efron: percentile bootstrap.
[[nodiscard]] inline Interval interval(const std::vector<TextSum>& texts,
                                       std::size_t draws = 10000) {
  const auto ratio = [](const TextSum& sum) { return sum.count > 0 ? sum.value / sum.count : 0.0; };
  TextSum all;
  for (const TextSum& t : texts) {
    all.value += t.value;
    all.count += t.count;
  }
  Rng rng(1);
  std::vector<double> means;
  for (std::size_t d = 0; d < draws; ++d) {
    TextSum sum;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const TextSum& t = texts[rng.below(texts.size())];
      sum.value += t.value;
      sum.count += t.count;
    }
    means.push_back(ratio(sum));
  }
  std::sort(means.begin(), means.end());
  return {ratio(all), means[draws / 40], means[draws - 1 - draws / 40]};
}

/// Mean of what `of(text, position)` gives, position by position.
template <class Of>
[[nodiscard]] Interval over_positions(const Reading& reading, Of&& of) {
  std::vector<TextSum> sums(reading.nats.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    for (std::size_t p = 0; p < reading.nats[i].size(); ++p) {
      sums[i].value += of(i, p);
      sums[i].count += 1;
    }
  }
  return interval(sums);
}

/// What keys and values of a sequence take: its blocks in the pool, and beside it those not packed yet.
struct SequenceBytes {
  double block = 0, open = 0;
  double unpacked =
      0;  // that a step reads more than the pool's, for tokens not packed yet; the mean
  [[nodiscard]] double of(Tokens length, Tokens block_tokens) const {
    return block * static_cast<double>(ceil_div(length.value, block_tokens.value)) + open;
  }
};
[[nodiscard]] inline SequenceBytes sequence_bytes(const model::Shape& m,
                                                  const kv_format::KvCodec& codec,
                                                  Tokens block_tokens) {
  const auto head_dim = static_cast<std::size_t>(m.head_dim);
  const auto block = static_cast<std::size_t>(block_tokens.value);
  SequenceBytes bytes;
  for (std::int64_t l = 0; l < m.layers; ++l) {
    const kv_format::KvCodec& c =
        codec.of_layer(static_cast<std::size_t>(l), static_cast<std::size_t>(m.layers));
    for (const kv_format::SideCodec* side : {&c.keys, &c.values}) {
      const auto slab = static_cast<double>(side->slab_bytes(block, head_dim));
      bytes.block += slab;
      const bool sealed = side->seal != nullptr;  // then between one and all tokens of a group wait
      const auto group = static_cast<double>(std::max(side->residual, sealed ? block : 0));
      bytes.unpacked += (sealed ? (group + 1) / 2 : group) *
                        (2.0 * static_cast<double>(head_dim) - slab / static_cast<double>(block));
    }
    if (c.keeps_open_blocks()) {  // the window, and the block that is being filled
      const std::size_t window = std::max(c.keys.residual, c.values.residual);
      bytes.open += 2.0 * static_cast<double>((window + block) * head_dim) * sizeof(std::uint16_t);
    }
  }
  bytes.block *= static_cast<double>(m.kv_heads);
  bytes.open *= static_cast<double>(m.kv_heads);
  bytes.unpacked *= static_cast<double>(m.kv_heads);
  return bytes;
}

/// Sequences of `length` tokens whose keys and values fit into `memory` beside each other.
[[nodiscard]] inline std::int64_t sequences_in(Bytes memory, const model::Shape& m,
                                               const kv_format::KvCodec& codec, Tokens block_tokens,
                                               Tokens length) {
  const double sequence = sequence_bytes(m, codec, block_tokens).of(length, block_tokens);
  return static_cast<std::int64_t>(static_cast<double>(memory.value) / sequence);
}

}  // namespace quire::quality
