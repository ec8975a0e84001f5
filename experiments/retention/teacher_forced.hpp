#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>

namespace quire::experiment {

/// What a model said about given texts, position by position, under a configuration.
struct Reading {
  std::vector<std::vector<TokenId>> best;   // text, token after the prompt: the most probable
  std::vector<std::vector<double>> nats;    // and how surprising the right one was
  double kept = 0, cached = 0;              // keys attended to, keys that keep_all would; sums
  double steps = 0, blocks = 0, holes = 0;  // blocks held and holes in slots, summed over steps
  std::int64_t most_blocks = 0;
  std::int64_t pages_read = 0, pages_held = 0;
  std::int64_t moved_slots = 0;
};

/// The CPU executor on texts that are given: it computes every step, notes what the model says, and
/// then continues with the text's own token.
struct TeacherForced {
  struct Options : executor::Cpu::Options {
    std::shared_ptr<const std::vector<std::vector<TokenId>>> texts;  // by request id
    std::shared_ptr<Reading> reading;
  };
  [[nodiscard]] static model::Shape shape(const Options& o) { return executor::Cpu::shape(o); }
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    return executor::Cpu::geometry<C>(options);
  }

  template <class C>
  class Bound : public executor::Cpu::Bound<C> {
    using Base = executor::Cpu::Bound<C>;

   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Base(options, geometry), texts_(options.texts), reading_(options.reading) {}

    void execute(const StepPlan& plan, StepResult& result) {
      Base::execute(plan, result);
      reading_->pages_read += result.pages_read;
      reading_->pages_held += result.pages_held;
      reading_->moved_slots += std::ssize(plan.slot_moves);
      std::size_t row = 0, draw = 0;
      for (const SequencePlan& s : plan.sequences) {
        if (s.tokens == Tokens{1}) {
          reading_->kept += static_cast<double>(s.keys_cached().value + 1);
          reading_->cached += static_cast<double>(s.computed.value + 1);
        }
        if (s.draws == 0) continue;
        const std::size_t id = s.request.value;
        const TokenId right =
            (*texts_)[id][static_cast<std::size_t>((s.computed + s.tokens).value)];
        const std::span<const float> logits = Base::logits(row++);
        const auto best = std::max_element(logits.begin(), logits.end());
        double total = 0;
        for (const float l : logits) total += std::exp(static_cast<double>(l - *best));
        reading_->best[id].push_back(static_cast<TokenId>(best - logits.begin()));
        reading_->nats[id].push_back(std::log(total) - static_cast<double>(logits[right] - *best));
        result.draws[draw++].token = right;
      }
    }

   private:
    std::shared_ptr<const std::vector<std::vector<TokenId>>> texts_;
    std::shared_ptr<Reading> reading_;
  };
};

/// Reads texts under configuration C: the prompt of each in one step, the rest one by one.
/// \shape prompts (texts): tokens \pre every text is longer than its prompt
template <class C>
[[nodiscard]] Reading read_texts(const checkpoint::Checkpoint& model,
                                 const std::vector<std::vector<TokenId>>& texts,
                                 const std::vector<std::int64_t>& prompts,
                                 const RetentionLimits& limits) {
  auto reading = std::make_shared<Reading>();
  reading->best.resize(texts.size());
  reading->nats.resize(texts.size());
  TeacherForced::Options options;
  options.model = model;
  options.limits = {.max_batched_tokens = 1 << 20, .watermark = 0, .retention = limits};
  std::int64_t blocks = 0, longest = 0;
  for (const auto& text : texts) {
    const auto length = static_cast<std::int64_t>(text.size());
    longest = std::max(longest, length);
    blocks += ceil_div(length, C::BlockSize::tokens.value) + 1;
  }
  options.device_blocks = blocks;
  options.model.config.shape.max_length =
      std::max(longest + 1, model.config.shape.max_length.value);
  options.texts = std::make_shared<const std::vector<std::vector<TokenId>>>(texts);
  options.reading = reading;
  Engine<C, TeacherForced> engine(options);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    Request r;
    r.prompt.assign(texts[i].begin(), texts[i].begin() + prompts[i]);
    r.output_length = static_cast<std::int64_t>(texts[i].size()) - prompts[i];
    r.sampling.max_tokens = *r.output_length;
    r.sampling.temperature = 0;
    engine.submit(std::move(r));
  }
  while (engine.has_work()) {
    engine.step();
    const MemoryUsage usage = engine.usage();
    if (usage.physical_blocks > BlockCount{0}) {
      reading->steps += 1;
      reading->blocks += static_cast<double>(usage.physical_blocks.value);
      reading->holes += static_cast<double>(usage.holes.value);
      reading->most_blocks = std::max(reading->most_blocks, usage.physical_blocks.value);
    }
    for (const auto& group : engine.take_finished()) {
      if (!group->error.empty()) throw state_error("retention", group->error, "more KV blocks");
    }
  }
  return *reading;
}

}  // namespace quire::experiment
