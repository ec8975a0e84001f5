// mechanism: a draft model on the processor
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/drafts.hpp>
#include <quire/executor/step.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/model/decoder.hpp>
#include <quire/sampling/sampler.hpp>

namespace quire::executor {

/// Writes the drafts that a plan leaves open, with a second model in the formats of the first; see Drafts.
template <class Decoder, class KvFormat>
class Drafter {
 public:
  /// \errors data, for a checkpoint that cannot be loaded; usage, for a shape that a format cannot take
  Drafter(const checkpoint::Checkpoint& model, const KvGeometry& geometry,
          const kv_format::KvCodec& codec, const weight_format::WeightCodec& weights,
          ThreadPool& threads, bool wrap)
      : decoder_(model.config, model.tensors, threads, weights),
        arena_(model.config.shape, geometry.device_blocks, geometry.block_tokens, codec),
        drafts_(geometry.device_blocks, geometry.block_tokens),
        wrap_(wrap) {
    if (kv_format::needs_calibration(codec)) {
      throw usage_error("kv_format " + std::string(codec.name),
                        "it is fitted to one model, and a draft model runs in it as well",
                        "a format that is not fitted");
    }
  }
  void poison() { arena_.poison(); }

  /// attention: as Decoder::forward takes it.
  template <class Attention>
  void draft(const StepPlan& plan, ThreadPool& threads, std::span<sampling::Sampler> samplers,
             const Attention& attention) {
    drafts_.begin(plan);
    while (gather()) {
      logits_.resize(batch_.logits_rows.size() * decoder_.logits_stride());
      decoder_.forward(batch_, arena_, memory_, threads, logits_.data(), attention);
      sample(threads, samplers);
    }
  }

 private:
  /// Makes a pass of the tokens that are not in the cache; false where all drafts are there.
  bool gather() {
    batch_.clear();
    drawing_.clear();
    for (const Drafts::Part& part : drafts_.next()) {
      batch_.add(part.tokens(), static_cast<std::int64_t>(part.from), part.row->entry->blocks);
      if (!part.draws) continue;
      batch_.logits_rows.push_back(batch_.rows() - 1);
      drawing_.push_back(part.row);
    }
    if (wrap_) {
      for (TokenId& t : batch_.tokens) t %= static_cast<TokenId>(decoder_.vocab());
    }
    return batch_.rows() > 0;
  }

  void sample(ThreadPool& threads, std::span<sampling::Sampler> samplers) {
    const bool small = drawing_.size() * decoder_.vocab() < 50'000;
    const std::size_t workers = small ? 1 : std::min(threads.size(), drawing_.size());
    if (drawing_.empty()) return;
    threads.parallel_for(workers, [&](std::size_t worker) {
      std::vector<TokenLogprob> unread;
      for (std::size_t r = worker; r < drawing_.size(); r += workers) {
        const SequencePlan s = Drafts::drawing(*drawing_[r]);
        unread.resize(sampling::alternatives_per_draw(*s.sampling, decoder_.vocab()));
        Draw draw;
        samplers[worker].sample(s,
                                {logits_.data() + r * decoder_.logits_stride(), decoder_.vocab()},
                                {&draw, 1}, 0, unread);
        Drafts::add(*drawing_[r], draw.token);
      }
    });
  }

  Decoder decoder_;
  kv_format::Arena<KvFormat> arena_;
  Drafts drafts_;
  bool wrap_;
  model::Batch batch_;
  model::Activations memory_;
  std::vector<float> logits_;
  std::vector<Drafts::Row*> drawing_;  // of the pass at hand, in order of their logits
};

}  // namespace quire::executor
