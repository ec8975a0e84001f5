// mechanism: a draft model on the processor
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/draft_book.hpp>
#include <quire/executor/step.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/model/decoder.hpp>
#include <quire/sampling/sampler.hpp>

namespace quire::executor {

/// Writes the drafts that a plan leaves open, with a second model in the formats of the first. A
/// sequence's drafts depend on its text, its sampling parameters and the two models alone, not on the
/// rest of the batch: only where the draft model's pool has no room for all sequences of a step do
/// the last of them get their last token for a draft.
template <class Decoder, class KvFormat>
class Drafter {
 public:
  /// \errors data, for a checkpoint that cannot be loaded; usage, for a shape that a format cannot take
  Drafter(const checkpoint::Checkpoint& model, const KvGeometry& geometry,
          const kv_format::KvCodec& codec, const weight_format::WeightCodec& weights,
          ThreadPool& threads, bool wrap)
      : decoder_(model.config, model.tensors, threads, weights),
        arena_(model.config.shape, geometry.device_blocks, geometry.block_tokens, codec),
        book_(geometry.device_blocks, geometry.block_tokens),
        wrap_(wrap) {
    arena_.calibrate(nullptr);
  }
  void poison() { arena_.poison(); }

  /// attention: as Decoder::forward takes it.
  template <class Attention>
  void draft(const StepPlan& plan, ThreadPool& threads, std::span<sampling::Sampler> samplers,
             const Attention& attention) {
    book_.begin_step();
    rows_.clear();
    for (const SequencePlan& s : plan.sequences) {
      if (s.to_guess.empty()) continue;
      const auto known = s.history.first(s.history.size() - s.to_guess.size());
      DraftBook::Entry* entry = book_.take(s.sequence, static_cast<std::int64_t>(s.history.size()));
      if (entry == nullptr) {
        std::fill(s.to_guess.begin(), s.to_guess.end(), known.back());
        continue;
      }
      // of what was computed, the drafts that did not hold have to go; the last token's logits are
      // wanted in any case
      const auto computed = entry->text.begin() + entry->computed.value;
      const auto same = std::mismatch(entry->text.begin(), computed, known.begin(), known.end());
      entry->computed = std::min(same.first - entry->text.begin(), std::ssize(known) - 1);
      entry->text.assign(known.begin(), known.end());
      rows_.push_back({&s, entry, 0});
    }
    while (gather()) {
      logits_.resize(batch_.logits_rows.size() * decoder_.logits_stride());
      decoder_.forward(batch_, arena_, memory_, threads, logits_.data(), attention);
      sample(threads, samplers);
    }
  }

 private:
  /// More would only take memory: weights are read once a pass.
  static constexpr std::size_t most_rows = 512;

  struct Row {
    const SequencePlan* plan;
    DraftBook::Entry* entry;
    std::size_t drafted;
    [[nodiscard]] bool finished() const { return drafted == plan->to_guess.size(); }
  };

  /// Makes a pass of the tokens that are not in the cache; false where all drafts are there.
  bool gather() {
    batch_.clear();
    drawing_.clear();
    for (Row& row : rows_) {
      if (row.finished() || batch_.rows() == most_rows) continue;
      DraftBook::Entry& e = *row.entry;
      const auto from = static_cast<std::size_t>(e.computed.value);
      const std::size_t count = std::min(e.text.size() - from, most_rows - batch_.rows());
      batch_.add(std::span(e.text).subspan(from, count), e.computed.value, e.blocks);
      e.computed += static_cast<std::int64_t>(count);
      if (from + count < e.text.size()) continue;
      batch_.logits_rows.push_back(batch_.rows() - 1);
      drawing_.push_back(&row);
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
        Row& row = *drawing_[r];
        SequencePlan s = *row.plan;
        std::vector<TokenId>& text = row.entry->text;
        s.tokens = std::ssize(text) - s.computed.value;
        s.history = text;
        s.draws = 1;
        unread.resize(sampling::alternatives_per_draw(*s.sampling, decoder_.vocab()));
        Draw draw;
        samplers[worker].sample(s,
                                {logits_.data() + r * decoder_.logits_stride(), decoder_.vocab()},
                                {&draw, 1}, 0, unread);
        text.push_back(draw.token);
        row.plan->to_guess[row.drafted++] = draw.token;
      }
    });
  }

  Decoder decoder_;
  kv_format::Arena<KvFormat> arena_;
  DraftBook book_;
  bool wrap_;
  model::Batch batch_;
  model::Activations memory_;
  std::vector<float> logits_;
  std::vector<Row> rows_;
  std::vector<Row*> drawing_;  // of the pass at hand, in order of their logits
};

}  // namespace quire::executor
