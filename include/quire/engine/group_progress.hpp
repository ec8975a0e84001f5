#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <quire/core/units.hpp>
#include <quire/executor/step.hpp>
#include <quire/scheduler/sequence_group.hpp>

namespace quire {

/// Why a sequence that now has `length` tokens, `generated` of them its own, ends; or none.
/// A replayed request ends at its given length and nowhere else.
[[nodiscard]] inline FinishReason finish_reason(const Request& request, Tokens length,
                                                Tokens generated, TokenId last, Tokens max_length) {
  if (length >= max_length) return FinishReason::length;
  if (request.output_length) {
    return generated >= *request.output_length ? FinishReason::length : FinishReason::none;
  }
  const SamplingParams& p = request.sampling;
  const auto& stops = p.stop_token_ids;
  if (generated >= p.min_tokens && std::find(stops.begin(), stops.end(), last) != stops.end()) {
    return FinishReason::stop;
  }
  return generated >= p.max_tokens ? FinishReason::length : FinishReason::none;
}

/// Adds a drawn token to a sequence's text.
inline void record_draw(Sequence& s, const Draw& draw, const StepResult& result,
                        bool tracks_tokens) {
  s.length += 1;
  if (tracks_tokens) s.tokens.push_back(draw.token);
  s.cumulative_logprob += draw.logprob;
  s.logprobs.push_back(draw.logprob);
  if (draw.alternatives_count == 0) return;
  s.alternatives_begin.push_back(static_cast<std::uint32_t>(s.alternatives.size()));
  const auto first = result.alternatives.begin() + draw.alternatives_begin;
  s.alternatives.insert(s.alternatives.end(), first, first + draw.alternatives_count);
}

inline void mark_token(Timeline& timeline, Seconds now, bool keep_time) {
  if (timeline.first_token < Seconds{0.0}) timeline.first_token = now;
  timeline.last_token = now;
  if (keep_time) timeline.token_times.push_back(now.value);
}

/// A sequence of the group has ended: where others wait for it to compute the prompt that they share,
/// after a recompute, the next one goes on with that.
inline void hand_on_prompt(SequenceGroup& group, const Sequence& ended) {
  for (Sequence& s : group.sequences) {
    if (&s < &ended && !s.finished()) return;  // it was not the one that computes
    if (s.finished() || s.shared <= ended.computed) continue;
    s.computed = ended.computed;
    s.shared = 0;
    s.published = std::min(s.published, ended.published);
    s.table_changed = true;
    return;
  }
}

/// One way to continue a beam.
struct BeamCandidate {
  std::size_t parent = 0;  // index into SequenceGroup::sequences
  Draw draw;
  double score = 0;  // sum of log-probabilities with this token
};

/// Sum of log-probabilities over length^penalty, the order of beams.
[[nodiscard]] inline double beam_score(const Sequence& s, Tokens prompt, double length_penalty) {
  const double generated =
      static_cast<double>(std::max((s.length - prompt).value, std::int64_t{1}));
  return s.cumulative_logprob / std::pow(generated, length_penalty);
}

/// A sequence's text without its memory.
[[nodiscard]] inline Sequence text_of(const Sequence& s) {
  Sequence text = s;
  text.tables.assign(1, BlockTable{});
  text.host_blocks.clear();
  text.run = {};
  text.computed = text.shared = 0;
  text.published = 0;
  return text;
}

/// Whether beam search may end: enough hypotheses, and no running beam can still beat the worst of
/// the best of them (or early_stopping asks for no more than enough). `best`: score of the best
/// beam.
[[nodiscard]] inline bool beams_are_done(const SequenceGroup& group, double best) {
  const SamplingParams& p = group.request.sampling;
  const auto width = static_cast<std::size_t>(p.beam_width);
  if (group.finished_beams.size() < width) return false;
  if (p.early_stopping) return true;
  std::vector<double> scores;
  for (const Sequence& s : group.finished_beams) {
    scores.push_back(beam_score(s, group.prompt_length(), p.length_penalty));
  }
  const auto worst = scores.begin() + static_cast<std::ptrdiff_t>(width) - 1;
  std::nth_element(scores.begin(), worst, scores.end(), std::greater<>());
  return *worst >= best;
}

/// What a step of beam search comes to, before memory knows of it.
struct BeamStep {
  std::vector<BeamCandidate> survivors;  // best first
  bool ends = false;                     // the search is over: `ended` takes the beams' place
  std::vector<Sequence> ended;
};

/// Chooses among the candidates of a group: the best beam_width continuations that do not stop; one
/// that reached a stop token moves to finished_beams. When the search ends, beams at the length
/// limit become hypotheses; others, cut short, do not.
[[nodiscard]] inline BeamStep choose_beams(SequenceGroup& group,
                                           std::vector<BeamCandidate>& candidates,
                                           const StepResult& result, bool tracks_tokens,
                                           Tokens max_length) {
  const SamplingParams& p = group.request.sampling;
  const auto width = static_cast<std::size_t>(p.beam_width);
  std::stable_sort(
      candidates.begin(), candidates.end(),
      [](const BeamCandidate& a, const BeamCandidate& b) { return a.score > b.score; });
  BeamStep step;
  bool at_limit = false;
  for (std::size_t rank = 0; rank < candidates.size() && step.survivors.size() < width; ++rank) {
    const BeamCandidate& c = candidates[rank];
    const Sequence& parent = group.sequences[c.parent];
    const Tokens generated = parent.length + 1 - group.prompt_length();
    const FinishReason reason =
        finish_reason(group.request, parent.length + 1, generated, c.draw.token, max_length);
    if (reason != FinishReason::stop) {
      at_limit = at_limit || reason == FinishReason::length;
      step.survivors.push_back(c);
    } else if (rank < width) {  // a stop is a hypothesis only as one of the best continuations
      Sequence done = text_of(parent);
      record_draw(done, c.draw, result, tracks_tokens);
      done.finish = reason;
      group.finished_beams.push_back(std::move(done));
    }
  }
  const bool none = step.survivors.empty();
  const double best = none ? 0 : [&] {
    const Sequence& parent = group.sequences[step.survivors[0].parent];
    const double generated = static_cast<double>((parent.length + 1 - group.prompt_length()).value);
    return step.survivors[0].score / std::pow(generated, p.length_penalty);
  }();
  step.ends = none || at_limit || beams_are_done(group, best);
  if (!step.ends || !at_limit) return step;
  for (const BeamCandidate& c : step.survivors) {
    Sequence& ended = step.ended.emplace_back(text_of(group.sequences[c.parent]));
    ended.sample_index = static_cast<std::int32_t>(step.ended.size() - 1);
    record_draw(ended, c.draw, result, tracks_tokens);
    ended.finish = FinishReason::length;
  }
  return step;
}

/// What a beam search asks of memory, whatever its type.
struct BeamMemory {
  template <class Memory>
  explicit BeamMemory(Memory& of)
      : memory(&of),
        fork([](void* m, SequenceGroup& group, Sequence& parent) {
          return static_cast<Memory*>(m)->fork(group, parent);
        }),
        recycle([](void* m, SequenceGroup& group, Sequence& s) {
          static_cast<Memory*>(m)->recycle(group, s);
        }) {}
  void* memory;
  Sequence (*fork)(void*, SequenceGroup&, Sequence&);
  void (*recycle)(void*, SequenceGroup&, Sequence&);
};

/// One step of beam search over a group: the beams that choose_beams() names survive, as forks of
/// their parents; a beam without a survivor gives its blocks back. The last survivor of a parent
/// takes the parent's place, so nothing is copied for it.
/// \source beam search as in Kwon et al., SOSP '23, section 4.4 and Figure 9; stop rule as in
/// Hugging Face Transformers' BeamSearchScorer. Deviation: the best running beam, not the best
/// candidate, is what must beat the hypotheses.
inline void advance_beams(SequenceGroup& group, std::vector<BeamCandidate>& candidates,
                          const StepResult& result, bool tracks_tokens, Tokens max_length,
                          const BeamMemory& memory, std::uint64_t& next_sequence) {
  BeamStep step = choose_beams(group, candidates, result, tracks_tokens, max_length);
  std::vector<Sequence>& beams = group.sequences;
  std::vector<std::int64_t> children(beams.size(), 0);
  if (!step.ends) {
    for (const BeamCandidate& c : step.survivors) ++children[c.parent];
  }
  for (std::size_t i = 0; i < beams.size(); ++i) {
    if (children[i] == 0) memory.recycle(memory.memory, group, beams[i]);
  }
  if (step.ends) {
    beams = std::move(step.ended);
    return;
  }
  std::vector<Sequence> next;
  next.reserve(step.survivors.size());
  for (const BeamCandidate& c : step.survivors) {
    Sequence child;
    if (children[c.parent]-- > 1) {
      child = memory.fork(memory.memory, group, beams[c.parent]);
      child.id = SequenceId{next_sequence++};
    } else {
      child = std::move(beams[c.parent]);
    }
    child.sample_index = static_cast<std::int32_t>(next.size());
    record_draw(child, c.draw, result, tracks_tokens);
    next.push_back(std::move(child));
  }
  beams = std::move(next);
}

/// Orders the sequences of a finished group best first: by beam score, or for best_of by mean
/// log-probability. A group that returns all it generated keeps its order.
inline void rank_sequences(SequenceGroup& group) {
  const SamplingParams& p = group.request.sampling;
  const auto n = static_cast<std::size_t>(p.n);
  auto by = [&](double penalty) {
    return [&group, penalty](const Sequence& a, const Sequence& b) {
      return beam_score(a, group.prompt_length(), penalty) >
             beam_score(b, group.prompt_length(), penalty);
    };
  };
  if (p.beam_width > 0) {
    for (Sequence& s : group.finished_beams) group.sequences.push_back(std::move(s));
    group.finished_beams.clear();
    std::stable_sort(group.sequences.begin(), group.sequences.end(), by(p.length_penalty));
  } else if (group.sequences.size() > n) {
    std::stable_sort(group.sequences.begin(), group.sequences.end(), by(1.0));
  }
}

/// Leaves the n best of a ranked group. \pre their memory was given back.
inline void keep_best(SequenceGroup& group) {
  const auto n = static_cast<std::size_t>(group.request.sampling.n);
  if (group.sequences.size() > n) group.sequences.resize(n);
}

/// The sequence behind each row of a plan: its group, and its place there; null: nobody's any more.
using PlanRows = std::vector<std::pair<SequenceGroup*, std::size_t>>;

/// Returns the running groups with a block among `bad`, or with a copy of one.
[[nodiscard]] inline std::vector<SequenceGroup*> groups_on(std::span<SequenceGroup* const> running,
                                                           std::vector<BlockId> bad,
                                                           std::span<const BlockCopy> copies) {
  const auto is_bad = [&bad](BlockId b) {
    return std::find(bad.begin(), bad.end(), b) != bad.end();
  };
  for (const BlockCopy& c : copies) {
    if (is_bad(c.from)) bad.push_back(c.to);
  }
  std::vector<SequenceGroup*> groups;
  for (SequenceGroup* group : running) {
    for (const Sequence& s : group->sequences) {
      const auto blocks = s.tables[0].blocks();
      if (s.finished() || std::none_of(blocks.begin(), blocks.end(), is_bad)) continue;
      groups.push_back(group);
      break;
    }
  }
  return groups;
}

/// Takes the rows of these groups out of a plan that has run; what they processed counts as dropped.
inline void discard_rows(PlanRows& rows, std::span<SequenceGroup* const> groups,
                         const StepPlan& plan) {
  for (std::size_t r = 0; r < rows.size(); ++r) {
    auto& [group, index] = rows[r];
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) continue;
    group->sequences[index].dropped = plan.sequences[r].tokens;
    group = nullptr;
  }
}

}  // namespace quire
