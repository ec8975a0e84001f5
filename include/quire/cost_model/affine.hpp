#pragma once

#include <cstdint>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/roofline.hpp>
#include <quire/cost_model/transfers.hpp>

namespace quire::cost_model {

/// A step's time as an affine function of its tokens: prompts by their tokens and squared tokens,
/// decodes by their context and number, with other coefficients for large batches. A prompt chunk behind
/// computed tokens pays for the squares that it adds. Moves between tiers as in transfers.hpp. Joules are the
/// roofline's, over these times.
/// \cost O(sequences) a step. \errors data, when CostInputs has no coefficients.
/// \source Zhong et al., "DistServe", OSDI '24, simdistserve. Deviation: DistServe never mixes prompts and
/// decodes; a step that does pays both, and the prompts' constant.
class Affine {
 public:
  static constexpr std::string_view name = "affine";

  explicit Affine(const CostInputs& inputs) : in_(inputs), roofline_(inputs) {
    if (!in_.affine) {
      throw data_error("affine cost model", "no coefficients are given", "CostInputs::affine");
    }
  }

  [[nodiscard]] StepCost cost(const StepPlan& plan) const {
    return roofline_.with_joules(
        plan, cost_with_moves(plan, plan.sequences.empty() ? 0 : compute(plan), in_));
  }

 private:
  [[nodiscard]] double compute(const StepPlan& plan) const {
    double tokens = static_cast<double>(plan.padding.value), squares = 0, context = 0;
    std::int64_t decodes = 0;
    bool prompts = false;
    for (const SequencePlan& s : plan.sequences) {
      const double before = static_cast<double>(s.computed.value);
      const double after = before + static_cast<double>(s.tokens.value);
      if (s.computed >= s.prompt_tokens) {
        context += after;
        ++decodes;
      } else {
        tokens += after - before;
        squares += after * after - before * before;
        prompts = true;
      }
    }
    const AffineCoefficients& c = *in_.affine;
    const AffineTerms& decode = decodes >= c.large_batch ? c.decode_large : c.decode_small;
    double seconds = 0, constant = 0;
    if (prompts) {
      seconds += c.prefill.first * tokens + c.prefill.second * squares;
      constant = c.prefill.constant;
    }
    if (decodes > 0) {
      seconds += decode.first * context + decode.second * static_cast<double>(decodes);
      if (!prompts) constant = decode.constant;
    }
    seconds += constant + in_.host.per_step.value +
               in_.host.per_sequence.value * static_cast<double>(plan.sequences.size()) +
               in_.host.per_request.value * static_cast<double>(requests_in(plan));
    return seconds;
  }

  CostInputs in_;
  Roofline roofline_;
};
static_assert(CostModel<Affine>);

}  // namespace quire::cost_model
