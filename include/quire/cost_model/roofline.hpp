#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/transfers.hpp>

namespace quire::cost_model {

/// Bytes and floating-point operations of a step against a device's limits, joined by a p-norm,
/// with a launch time a kernel; four constants a device. Matrix products take their weights once a
/// step; attention reads each sequence's KV once; moves between tiers as in transfers.hpp; the block
/// copies of a step are one launch. \cost O(sequences) a step. \source the
/// fit in Quire's notes on Vidur's profiles: mean error 3.2 % (A100) and 4.7 % (H100) of the
/// per-layer products, worst 21 % at 64-512 tokens.
class Roofline {
 public:
  static constexpr std::string_view name = "roofline";

  explicit Roofline(const CostInputs& inputs) : in_(inputs) {}

  [[nodiscard]] StepCost cost(const StepPlan& plan) const {
    StepCost total;
    const Transfers transfers = transfers_of(plan, in_);
    const double copied = static_cast<double>(plan.copies.size()) * in_.storage.kv_block_bytes;
    total.bytes_moved = static_cast<std::int64_t>(transfers.bytes + copied);
    double seconds = 0;
    if (copied > 0) {
      const Hardware& h = in_.hardware;
      seconds += 2 * copied / tp() / (h.bandwidth_share * h.bandwidth) + h.launch;
    }
    if (!plan.sequences.empty()) {
      std::int64_t sampled = 0;
      for (const SequencePlan& s : plan.sequences) sampled += s.draws > 0;
      const std::int64_t tokens = (plan.batched_tokens + plan.padding).value;
      seconds += static_cast<double>(in_.model.layers) * (layer(tokens) + attention(plan));
      if (sampled > 0) {  // a step inside prompts alone needs no logits
        const double head = weights(in_.model.hidden * in_.model.vocab);
        seconds += product(sampled, in_.model.hidden, in_.model.vocab, head);
      }
      seconds += in_.host.per_step.value +
                 in_.host.per_sequence.value * static_cast<double>(plan.sequences.size());
    }
    total.seconds = with_transfers(seconds, transfers, in_);
    return total;
  }

 private:
  [[nodiscard]] double tp() const { return static_cast<double>(in_.tensor_parallel); }
  [[nodiscard]] double weights(std::int64_t count) const {
    return static_cast<double>(count) * in_.storage.weight_bytes / tp();
  }

  [[nodiscard]] double roof(double bytes, double flops) const {
    const Hardware& h = in_.hardware;
    const double memory = bytes / (h.bandwidth_share * h.bandwidth);
    const double compute = flops / (h.flops_share * h.peak_flops);
    if (memory == 0 || compute == 0) return memory + compute;
    // factored so that the powers stay in range
    const double larger = std::max(memory, compute), smaller = std::min(memory, compute);
    return larger * std::pow(1 + std::pow(smaller / larger, h.exponent), 1 / h.exponent);
  }

  /// One matrix product over `tokens` rows, whose weights take `bytes`.
  [[nodiscard]] double product(std::int64_t tokens, std::int64_t in, std::int64_t out,
                               double bytes) const {
    const std::int64_t rows = ceil_div(tokens, in_.hardware.tile) * in_.hardware.tile;
    const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in * out) / tp();
    const double activations =
        2.0 * static_cast<double>(tokens) * static_cast<double>(in + out) / tp();
    return roof(bytes + activations, flops) + in_.hardware.launch;
  }

  /// Everything of one layer but attention.
  [[nodiscard]] double layer(std::int64_t tokens) const {
    const model::Shape& m = in_.model;
    const std::int64_t query = m.heads * m.head_dim;
    const std::int64_t qkv = (m.heads + 2 * m.kv_heads) * m.head_dim;
    double seconds = product(tokens, m.hidden, qkv, weights(m.hidden * qkv)) +
                     product(tokens, query, m.hidden, weights(query * m.hidden)) + mlp(tokens);
    // two norms with their residuals, rotary embedding with the cache write, the activation
    const double bytes = 2.0 * static_cast<double>(tokens) *
                         static_cast<double>(8 * m.hidden + 3 * m.ffn + 2 * qkv) / tp();
    seconds += roof(bytes, 0) + 4 * in_.hardware.launch;
    if (in_.tensor_parallel > 1) seconds += 2 * all_reduce(tokens);
    return seconds;
  }

  [[nodiscard]] double mlp(std::int64_t tokens) const {
    const model::Shape& m = in_.model;
    const std::int64_t up = (m.gated_mlp ? 2 : 1) * m.ffn;
    if (m.experts == 0) {
      return product(tokens, m.hidden, up, weights(m.hidden * up)) +
             product(tokens, m.ffn, m.hidden, weights(m.ffn * m.hidden));
    }
    const double chosen = static_cast<double>(m.experts_per_token) / static_cast<double>(m.experts);
    // experts that at least one token of an evenly routed batch picks
    const double active =
        static_cast<double>(m.experts) * (1 - std::pow(1 - chosen, static_cast<double>(tokens)));
    const std::int64_t work = tokens * m.experts_per_token;
    return product(work, m.hidden, up, active * weights(m.hidden * up)) +
           product(work, m.ffn, m.hidden, active * weights(m.ffn * m.hidden)) +
           product(tokens, m.hidden, m.experts, weights(m.hidden * m.experts));
  }

  [[nodiscard]] double all_reduce(std::int64_t tokens) const {
    const double bytes = 2.0 * static_cast<double>(tokens) * static_cast<double>(in_.model.hidden);
    return in_.hardware.reduce_latency +
           2 * (tp() - 1) / tp() * bytes / in_.hardware.reduce_bandwidth;
  }

  /// Attention of one layer: sequences with one token read their KV; longer ones compute a causal
  /// tile.
  [[nodiscard]] double attention(const StepPlan& plan) const {
    const model::Shape& m = in_.model;
    const double token_bytes = in_.storage.kv_token_bytes / static_cast<double>(m.layers) / tp();
    double decode_bytes = 0, prompt_bytes = 0, prompt_flops = 0, kernels = 0;
    bool decodes = false;
    for (const SequencePlan& s : plan.sequences) {
      const double cached = static_cast<double>(in_.attended(s).value);
      const double context = cached + static_cast<double>(s.tokens.value);
      if (s.tokens == Tokens{1}) {
        decode_bytes += context * token_bytes;
        decodes = true;
      } else {
        const double tokens = static_cast<double>(s.tokens.value);
        const double pairs = tokens * (cached + (tokens + 1) / 2);
        prompt_flops += 4.0 * static_cast<double>(m.heads * m.head_dim) * pairs / tp();
        prompt_bytes += context * token_bytes;
        kernels = 1;
      }
    }
    const Hardware& h = in_.hardware;
    double seconds = roof(prompt_bytes, prompt_flops) + kernels * h.launch;
    if (decodes) seconds += decode_bytes / (h.attention_bandwidth_share * h.bandwidth) + h.launch;
    return seconds;
  }

  CostInputs in_;
};
static_assert(CostModel<Roofline>);

}  // namespace quire::cost_model
