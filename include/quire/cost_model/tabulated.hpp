#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/operator_profile.hpp>
#include <quire/cost_model/transfers.hpp>

namespace quire::cost_model {

/// Times of a step looked up operator by operator in a profile of the same model and device.
/// Attention is looked up jointly for the prompts and the decodes of a step, since a mixed batch takes
/// longer than its parts; unequal lengths by their mean and longest, with the share between them that
/// the profile measured for such batches. Several prompt chunks count as one with as many tokens and as
/// many query-key pairs.
/// \cost O(sequences) a step. \errors data, when CostInputs has no profile or it lacks an operator.
/// \source the tables and their axes: LLMServingSim 2.0, ISPASS '26. Deviation: linear in the axes, not
/// in their logarithms; whole batches, not requests, are looked up.
class Tabulated {
 public:
  static constexpr std::string_view name = "tabulated";

  explicit Tabulated(const CostInputs& inputs) : in_(inputs) {
    if (!in_.profile) {
      throw data_error("tabulated cost model", "no operator profile is given",
                       "CostInputs::profile");
    }
  }

  [[nodiscard]] StepCost cost(const StepPlan& plan) const {
    StepCost total;
    Transfers transfers = transfers_of(plan, in_);
    const double copied = static_cast<double>(plan.copies.size()) * in_.storage.kv_block_bytes;
    transfers.bytes += copied;
    const double copying = copied > 0 ? 2 * copied / in_.hardware.bandwidth : 0;
    total.bytes_moved = static_cast<std::int64_t>(transfers.bytes);
    if (plan.sequences.empty()) {
      total.seconds = with_transfers(copying, transfers, in_);
      return total;
    }
    const OperatorProfile& p = *in_.profile;
    const double tokens = static_cast<double>((plan.batched_tokens + plan.padding).value);
    const double sequences = static_cast<double>(plan.sequences.size());
    double layer = 2 * p.dense("layernorm", tokens) + attention(plan);
    for (const std::string_view op :
         {"qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj"}) {
      layer += p.dense(op, tokens);
    }
    if (p.has("qk_norm")) layer += p.dense("qk_norm", tokens);
    if (in_.tensor_parallel > 1) layer += 2 * all_reduce(tokens);
    double seconds = static_cast<double>(in_.model.layers) * layer;
    seconds += p.dense("embedding", tokens) + p.dense("final_layernorm", tokens);
    seconds += p.per_sequence("lm_head", sequences) + p.per_sequence("sampler", sequences);
    seconds += in_.host.per_step.value + in_.host.per_sequence.value * sequences;
    total.seconds = with_transfers(copying + seconds, transfers, in_);
    return total;
  }

 private:
  [[nodiscard]] double attention(const StepPlan& plan) const {
    double chunk = 0, pairs = 0, decodes = 0, sum = 0, longest = 0, shortest = 0;
    for (const SequencePlan& s : plan.sequences) {
      const double tokens = static_cast<double>(s.tokens.value);
      const double cached = static_cast<double>(in_.attended(s).value);
      if (s.tokens > Tokens{1}) {
        chunk += tokens;
        pairs += tokens * (cached + tokens / 2);
        continue;
      }
      const double kv = cached + 1;
      shortest = decodes == 0 ? kv : std::min(shortest, kv);
      longest = std::max(longest, kv);
      sum += kv;
      decodes += 1;
    }
    const OperatorProfile& p = *in_.profile;
    const double prefix = chunk > 0 ? std::max(pairs / chunk - chunk / 2, 0.0) : 0;
    const double mean = decodes > 0 ? sum / decodes : 0;
    const double even = p.attention(chunk, prefix, decodes, mean);
    if (decodes < 2 || longest <= shortest) return even;
    const double alpha =
        p.alpha(chunk, prefix, decodes, (mean - shortest) / (longest - shortest), longest);
    return even + alpha * (p.attention(chunk, prefix, decodes, longest) - even);
  }
  [[nodiscard]] double all_reduce(double tokens) const {
    const auto n = static_cast<double>(in_.tensor_parallel);
    const double bytes = 2.0 * tokens * static_cast<double>(in_.model.hidden);
    return in_.hardware.reduce_latency + 2 * (n - 1) / n * bytes / in_.hardware.reduce_bandwidth;
  }

  CostInputs in_;
};
static_assert(CostModel<Tabulated>);

}  // namespace quire::cost_model
