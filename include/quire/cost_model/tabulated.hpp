#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <quire/core/error.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/operator_profile.hpp>
#include <quire/cost_model/roofline.hpp>
#include <quire/cost_model/transfers.hpp>

namespace quire::cost_model {

/// Times of a step looked up operator by operator in a profile of the same model and device.
/// Attention is looked up jointly for the prompts and the decodes of a step, since a mixed batch takes
/// longer than its parts. Unequal lengths: the time of their mean, and a share of the way to that of the
/// longest, which the profile measured for such batches. Several prompt chunks: the first one's time,
/// and what each other one adds to the same decodes. Between devices: two all-reduces a layer, one after
/// the embedding, and the gathering of the logits.
///
/// What the profile lacks is refused, or where CostInputs::rest_by_roofline says so priced by the roofline of
/// the device; a sampler that was not measured takes no time then. Joules are the roofline's, over these times.
/// \cost O(sequences) a step. \errors data, when CostInputs has no profile or it lacks an operator.
/// \source the tables and their axes: LLMServingSim 2.0, ISPASS '26. Deviations: chunks are added, not
/// folded into one; shares are interpolated between buckets; the logits' gathering and the host's part.
class Tabulated {
 public:
  static constexpr std::string_view name = "tabulated";

  explicit Tabulated(const CostInputs& inputs) : in_(inputs), roofline_(inputs) {
    if (!in_.profile) {
      throw data_error("tabulated cost model", "no operator profile is given",
                       "CostInputs::profile");
    }
    if (in_.rest_by_roofline) return;
    const OperatorProfile& p = *in_.profile;
    std::string missing;
    for (const std::string_view op :
         {"embedding", "layernorm", "qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn",
          "down_proj", "final_layernorm", "lm_head", "sampler"}) {
      if (!p.has(op)) missing.append(missing.empty() ? "" : ", ").append(op);
    }
    for (const auto& [there, what] : {std::pair{p.has_decodes(), "attention of decodes"},
                                      std::pair{p.has_prompts(), "attention of prompts"},
                                      std::pair{p.has_mixed(), "attention of both at once"}}) {
      if (!there) missing.append(missing.empty() ? "" : ", ").append(what);
    }
    if (!missing.empty()) {
      throw data_error("tabulated cost model", "the operator profile has no times for " + missing,
                       "a profile of all operators, or tabulated_or_roofline");
    }
  }

  [[nodiscard]] StepCost cost(const StepPlan& plan) const {
    return roofline_.with_joules(
        plan, cost_with_moves(plan, plan.sequences.empty() ? 0 : compute(plan), in_));
  }

 private:
  [[nodiscard]] double dense(std::string_view op, double tokens) const {
    return in_.profile->has(op) ? in_.profile->dense(op, tokens)
                                : roofline_.operator_seconds(op, tokens);
  }
  [[nodiscard]] double per_sequence(std::string_view op, double sequences) const {
    return in_.profile->has(op) ? in_.profile->per_sequence(op, sequences)
                                : roofline_.operator_seconds(op, sequences);
  }
  [[nodiscard]] double compute(const StepPlan& plan) const {
    const OperatorProfile& p = *in_.profile;
    const HostOverhead& host = in_.host;
    const Tokens real = plan.batched_tokens + plan.padding;
    const double tokens = static_cast<double>(host.padded(real).value);
    const double sequences = static_cast<double>(plan.sequences.size());
    double kernels =
        11;  // products, norms, rotary, activation, attention in two parts, cache write
    double layer = 2 * dense("layernorm", tokens) + attention(plan);
    for (const std::string_view op :
         {"qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj"}) {
      layer += dense(op, tokens);
    }
    if (p.has("qk_norm")) {
      layer += p.dense("qk_norm", tokens);
      kernels += 1;
    }
    double between = 0;  // devices, once a step
    if (in_.tensor_parallel > 1) {
      layer += 2 * all_reduce(tokens);
      kernels += 2;
      between = all_reduce(tokens) + gather_logits(sequences);
    }
    double seconds =
        static_cast<double>(in_.model.layers) * (layer + kernels * host.per_kernel.value);
    seconds += dense("embedding", tokens) + dense("final_layernorm", tokens) + between;
    seconds += per_sequence("lm_head", sequences) + per_sequence("sampler", sequences);
    seconds += host.per_step.value + host.per_sequence.value * sequences +
               host.per_request.value * static_cast<double>(requests_in(plan));
    if (host.graph_tokens > Tokens{0} && real > host.graph_tokens) {
      seconds += host.beyond_graph.value;
    }
    return seconds;
  }

  [[nodiscard]] double attention(const StepPlan& plan) const {
    const OperatorProfile& p = *in_.profile;
    if (p.has_decodes() && p.has_prompts()) return tabulated_attention(plan);
    return roofline_.attention_seconds(plan);  // half of a table is none
  }
  [[nodiscard]] double tabulated_attention(const StepPlan& plan) const {
    double chunks = 0, cached = 0, decodes = 0, sum = 0, longest = 0, shortest = 0;
    const SequencePlan* first = nullptr;  // prompt chunk
    for (const SequencePlan& s : plan.sequences) {
      const double computed = static_cast<double>(in_.attended(s).value);
      if (s.tokens > Tokens{1}) {
        if (first == nullptr) first = &s;
        chunks += static_cast<double>(s.tokens.value);
        cached += static_cast<double>(s.tokens.value) * computed;
        continue;
      }
      shortest = decodes == 0 ? computed : std::min(shortest, computed);
      longest = std::max(longest, computed);
      sum += computed;
      decodes += 1;
    }
    const OperatorProfile& p = *in_.profile;
    const double mean = decodes > 0 ? sum / decodes : 0;
    const auto at = [&](const SequencePlan* s, double kv) {
      return s == nullptr ? p.attention(0, 0, decodes, kv)
                          : p.attention(static_cast<double>(s->tokens.value),
                                        static_cast<double>(in_.attended(*s).value), decodes, kv);
    };
    const double even = at(first, mean);
    double seconds = even;
    if (first != nullptr && static_cast<double>(first->tokens.value) < chunks) {
      const double alone = p.attention(p.smallest_chunk(), 0, decodes, mean);
      for (const SequencePlan& s : plan.sequences) {
        if (s.tokens > Tokens{1} && &s != first) seconds += std::max(at(&s, mean) - alone, 0.0);
      }
    }
    if (decodes < 2 || longest <= shortest) return seconds;
    const double alpha = p.alpha(chunks, chunks > 0 ? cached / chunks : 0, decodes,
                                 (mean - shortest) / (longest - shortest), longest);
    return seconds + alpha * (at(first, longest) - even);
  }
  /// Every device gets the sum of all.
  [[nodiscard]] double all_reduce(double tokens) const {
    const auto n = static_cast<double>(in_.tensor_parallel);
    const double bytes = 2.0 * tokens * static_cast<double>(in_.model.hidden);
    return in_.hardware.reduce_latency + 2 * (n - 1) / n * bytes / in_.hardware.reduce_bandwidth;
  }
  /// Every device gets all logits, of which it has computed its share.
  [[nodiscard]] double gather_logits(double sequences) const {
    const auto n = static_cast<double>(in_.tensor_parallel);
    const double bytes = 2.0 * sequences * static_cast<double>(in_.model.vocab);
    return in_.hardware.reduce_latency + (n - 1) / n * bytes / in_.hardware.reduce_bandwidth;
  }

  CostInputs in_;
  Roofline roofline_;
};
static_assert(CostModel<Tabulated>);

}  // namespace quire::cost_model
