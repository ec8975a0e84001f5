#pragma once

#include <cstdint>
#include <string_view>

#include <quire/speculation/concepts.hpp>

namespace quire::speculation {

/// Has a second, smaller model with the same vocabulary guess, which the executor's options name
/// (`draft_model`). The draft model draws as the large one does: with the request's parameters, and
/// the same random numbers at the same place of the text. So it is greedy where the request is, and
/// where it is not, two models that agree on probabilities draw the same token.
/// \complexity `most` passes of the draft model a step, each over all sequences that decode; and once
/// for each sequence its text so far. See executor/draft_book.hpp for what it keeps.
/// \errors usage, from the executor, without a draft model or with one of another vocabulary.
/// \source Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", ICML '23;
/// Chen et al., "Accelerating Large Language Model Decoding with Speculative Sampling", 2023.
/// Deviation: a draft holds when it is what the large model draws with its own random number, where
/// the papers draw anew from what the two distributions do not share. So texts do not depend on the
/// draft model at all; with common random numbers after Daliri et al., "Coupling without
/// Communication and Drafter-Invariant Speculative Decoding", 2024, which shares Gumbel noise, not
/// the place in the cumulated distribution.
template <std::int64_t drafts_a_step>
struct BasicDraftModel {
  static_assert(drafts_a_step >= 1);
  static constexpr std::string_view name = "draft_model";
  static constexpr Tokens most = drafts_a_step;
  static constexpr bool drafts_by_model = true;
};

/// Five drafts a step.
using DraftModel = BasicDraftModel<5>;
static_assert(SpeculationPolicy<DraftModel>);

}  // namespace quire::speculation
