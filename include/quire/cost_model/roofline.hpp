#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/transfers.hpp>

namespace quire::cost_model {

/// Bytes and floating-point operations of a step against a device's limits, joined by a p-norm,
/// with a launch time a kernel; four constants a device. Matrix products take their weights once a
/// step; attention reads each sequence's KV once; moves between tiers as in transfers.hpp; the block
/// copies of a step are one launch. Where the device has energy constants, joules are its rest power over
/// the step, and a price for each byte and operation.
///
/// The largest errors against profiles, at 64 to 512 tokens, are steps of the real times: a product is
/// cut into output tiles of 64 to 256 rows, and tiles are dealt to multiprocessors in waves. Hardware
/// with `multiprocessors` models that; `quire calibrate` fits it.
/// \cost O(sequences) a step. \source the fit in Quire's notes on Vidur's profiles: mean error 3.2 %
/// (A100) and 5.0 % (H100) of the per-layer products; with tiles 2.9 % and 3.8 %.
class Roofline {
 public:
  static constexpr std::string_view name = "roofline";

  explicit Roofline(const CostInputs& inputs) : in_(inputs) {}

  [[nodiscard]] StepCost cost(const StepPlan& plan) const {
    StepCost total;
    const Transfers transfers = transfers_of(plan, in_);
    const double copied = static_cast<double>(plan.copies.size()) * in_.storage.kv_block_bytes;
    total.bytes_moved = static_cast<std::int64_t>(transfers.bytes + copied);
    Work work{.bytes = 2 * copied / tp()};
    double seconds = 0;
    if (copied > 0) {
      const Hardware& h = in_.hardware;
      seconds += 2 * copied / tp() / (h.bandwidth_share * h.bandwidth) + h.launch;
    }
    if (!plan.sequences.empty()) {
      const Rows rows = rows_of(plan);
      const std::int64_t sampled = rows.sampled;
      const std::int64_t tokens = (plan.batched_tokens + plan.padding).value;
      const double layers = static_cast<double>(in_.model.layers);
      const Cost& products = known(layers_, tokens, [&](Work& w) { return layer(tokens, w); });
      Work once = products.work;
      seconds += layers * (products.seconds + attention(rows, once));
      work.bytes += layers * once.bytes;
      work.flops += layers * once.flops;
      if (sampled > 0) {  // a step inside prompts alone needs no logits
        const Cost& head = known(heads_, sampled, [&](Work& w) {
          const std::int64_t in = in_.model.hidden, out = in_.model.vocab;
          return product(sampled, in, out, weights(in * out), w);
        });
        seconds += head.seconds;
        work.bytes += head.work.bytes;
        work.flops += head.work.flops;
      }
      seconds += in_.host.per_step.value +
                 in_.host.per_sequence.value * static_cast<double>(plan.sequences.size());
      if (in_.host.per_request > Seconds{0.0}) {
        seconds += in_.host.per_request.value * static_cast<double>(requests_in(plan));
      }
    }
    total.seconds = with_transfers(seconds, transfers, in_);
    const Hardware& h = in_.hardware;
    total.joules = tp() * (h.idle_watts * total.seconds.value + h.joules_per_byte * work.bytes +
                           h.joules_per_flop * work.flops);
    return total;
  }

  /// Seconds of one matrix product over `tokens` rows on one device, which moves `bytes` for it.
  [[nodiscard]] static double product_seconds(const Hardware& h, double tokens, double in,
                                              double out, double bytes) {
    const double memory = bytes / (h.bandwidth_share * h.bandwidth);
    double compute = 0;
    if (h.multiprocessors > 0) {
      compute = in_waves(h, tokens, in, out);
    } else {
      const auto tile = static_cast<double>(h.tile);
      compute = 2.0 * std::ceil(tokens / tile) * tile * in * out / (h.flops_share * h.peak_flops);
    }
    return joined(h, memory, compute) + h.launch;
  }

  /// The cost that another model found for a plan, with the joules of what the plan moves and computes.
  [[nodiscard]] StepCost with_joules(const StepPlan& plan, StepCost found) const {
    const Hardware& h = in_.hardware;
    if (!h.knows_energy()) return found;
    const StepCost own = cost(plan);
    found.joules = own.joules.value + tp() * h.idle_watts * (found.seconds - own.seconds).value;
    return found;
  }

  /// Seconds of one layer's attention over a plan.
  [[nodiscard]] double attention_seconds(const StepPlan& plan) const {
    Work none;
    return attention(rows_of(plan), none);
  }

  /// Seconds of one operator over `rows` tokens or sequences, by the names that profiles have; 0 for one
  /// that is no product and moves next to nothing, such as the sampler.
  [[nodiscard]] double operator_seconds(std::string_view op, double rows) const {
    const model::Shape& m = in_.model;
    const auto n = static_cast<std::int64_t>(rows);
    const std::int64_t query = m.heads * m.head_dim, up = (m.gated_mlp ? 2 : 1) * m.ffn;
    const std::int64_t qkv = (m.heads + 2 * m.kv_heads) * m.head_dim;
    Work none;
    const auto dense = [&](std::int64_t in, std::int64_t out) {
      return product(n, in, out, weights(in * out), none);
    };
    const auto moved = [&](std::int64_t values) {
      return roof(2 * rows * static_cast<double>(values) / tp(), 0, none) + in_.hardware.launch;
    };
    if (op == "qkv_proj") return dense(m.hidden, qkv);
    if (op == "o_proj") return dense(query, m.hidden);
    if (m.experts > 0 && op == "gate_up_proj") return mlp(n, none);  // both products of the experts
    if (m.experts > 0 && op == "down_proj") return 0;
    if (op == "gate_up_proj") return dense(m.hidden, up);
    if (op == "down_proj") return dense(m.ffn, m.hidden);
    if (op == "lm_head") return dense(m.hidden, m.vocab);
    if (op == "layernorm" || op == "final_layernorm") return moved(4 * m.hidden);
    if (op == "rotary_emb") return moved(2 * qkv);
    if (op == "act_fn") return moved(3 * m.ffn);
    return op == "embedding" ? moved(2 * m.hidden) : 0;
  }

 private:
  /// What one device moves and computes.
  struct Work {
    double bytes = 0, flops = 0;
  };
  struct Cost {
    double seconds = -1;
    Work work;
  };

  /// What `compute` gives for n rows, kept, since steps of as many rows come again and again.
  template <class Compute>
  [[nodiscard]] static const Cost& known(std::vector<Cost>& kept, std::int64_t n,
                                         Compute&& compute) {
    constexpr std::int64_t most = 1 << 16;
    const auto at = static_cast<std::size_t>(n < most ? n : most);
    if (at >= kept.size()) kept.resize(at + 1);
    Cost& cost = kept[at];
    if (cost.seconds < 0 || n >= most) {
      cost = {};
      cost.seconds = compute(cost.work);
    }
    return cost;
  }

  /// The fastest of the usual tile shapes.
  [[nodiscard]] static double in_waves(const Hardware& h, double tokens, double in, double out) {
    struct Tile {
      double rows, columns;
    };
    static constexpr Tile tiles[] = {{64, 64},   {64, 128},  {128, 64}, {64, 256},
                                     {128, 128}, {128, 256}, {256, 128}};
    constexpr double largest = 256.0 * 128 / (256 + 128);
    const auto units = static_cast<double>(h.multiprocessors);
    double best = std::numeric_limits<double>::infinity();
    for (const Tile& t : tiles) {
      const double x = t.rows * t.columns / (t.rows + t.columns);
      const double reached = x / (x + h.tile_intensity) * (largest + h.tile_intensity) / largest;
      const double filled = std::ceil(tokens / t.rows) * std::ceil(out / t.columns) / units;
      const double waves =
          std::max(h.wave_share * std::ceil(filled) + (1 - h.wave_share) * filled, 1.0);
      best = std::min(best, 2.0 * waves * units * t.rows * t.columns * in /
                                (h.flops_share * reached * h.peak_flops));
    }
    return best;
  }

  [[nodiscard]] static double joined(const Hardware& h, double memory, double compute) {
    if (memory == 0 || compute == 0) return memory + compute;
    // factored so that the powers stay in range
    const double larger = std::max(memory, compute), smaller = std::min(memory, compute);
    return larger * std::pow(1 + std::pow(smaller / larger, h.exponent), 1 / h.exponent);
  }

  [[nodiscard]] double tp() const { return static_cast<double>(in_.tensor_parallel); }
  [[nodiscard]] double weights(std::int64_t count) const {
    return static_cast<double>(count) * in_.storage.weight_bytes / tp();
  }

  [[nodiscard]] double roof(double bytes, double flops, Work& work) const {
    const Hardware& h = in_.hardware;
    work.bytes += bytes;
    work.flops += flops;
    return joined(h, bytes / (h.bandwidth_share * h.bandwidth),
                  flops / (h.flops_share * h.peak_flops));
  }

  /// One matrix product over `tokens` rows, whose weights take `bytes`; devices share its columns or rows.
  [[nodiscard]] double product(std::int64_t tokens, std::int64_t in, std::int64_t out, double bytes,
                               Work& work) const {
    const auto rows = static_cast<double>(tokens), wide = static_cast<double>(in),
               columns = static_cast<double>(out);
    const double moved = bytes + 2.0 * rows * (wide + columns) / tp();
    work.bytes += moved;
    work.flops += 2.0 * rows * wide * columns / tp();
    return product_seconds(in_.hardware, rows, wide / tp(), columns, moved);
  }

  /// Everything of one layer but attention.
  [[nodiscard]] double layer(std::int64_t tokens, Work& work) const {
    const model::Shape& m = in_.model;
    const std::int64_t query = m.heads * m.head_dim;
    const std::int64_t qkv = (m.heads + 2 * m.kv_heads) * m.head_dim;
    double seconds = product(tokens, m.hidden, qkv, weights(m.hidden * qkv), work) +
                     product(tokens, query, m.hidden, weights(query * m.hidden), work) +
                     mlp(tokens, work);
    // two norms with their residuals, rotary embedding with the cache write, the activation
    const double bytes = 2.0 * static_cast<double>(tokens) *
                         static_cast<double>(8 * m.hidden + 3 * m.ffn + 2 * qkv) / tp();
    seconds += roof(bytes, 0, work) + 4 * in_.hardware.launch;
    if (in_.tensor_parallel > 1) seconds += 2 * all_reduce(tokens);
    return seconds;
  }

  [[nodiscard]] double mlp(std::int64_t tokens, Work& work) const {
    const model::Shape& m = in_.model;
    const std::int64_t up = (m.gated_mlp ? 2 : 1) * m.ffn;
    if (m.experts == 0) {
      return product(tokens, m.hidden, up, weights(m.hidden * up), work) +
             product(tokens, m.ffn, m.hidden, weights(m.ffn * m.hidden), work);
    }
    const double chosen = static_cast<double>(m.experts_per_token) / static_cast<double>(m.experts);
    // experts that at least one token of an evenly routed batch picks
    const double active =
        static_cast<double>(m.experts) * (1 - std::pow(1 - chosen, static_cast<double>(tokens)));
    const std::int64_t routed = tokens * m.experts_per_token;
    return product(routed, m.hidden, up, active * weights(m.hidden * up), work) +
           product(routed, m.ffn, m.hidden, active * weights(m.ffn * m.hidden), work) +
           product(tokens, m.hidden, m.experts, weights(m.hidden * m.experts), work);
  }

  [[nodiscard]] double all_reduce(std::int64_t tokens) const {
    const double bytes = 2.0 * static_cast<double>(tokens) * static_cast<double>(in_.model.hidden);
    return in_.hardware.reduce_latency +
           2 * (tp() - 1) / tp() * bytes / in_.hardware.reduce_bandwidth;
  }

  /// What attention and sampling must know of a plan's rows.
  struct Rows {
    double decode_tokens = 0;  // keys that rows of one token read
    double prompt_tokens = 0;  // keys that longer rows read
    double pairs = 0;          // of queries and keys in longer rows
    bool decodes = false, prompts = false;
    std::int64_t sampled = 0;  // rows that draw
  };
  [[nodiscard]] Rows rows_of(const StepPlan& plan) const {
    Rows rows;
    for (const SequencePlan& s : plan.sequences) {
      rows.sampled += s.draws > 0;
      const Tokens cached = in_.attended(s);
      const auto context = static_cast<double>((cached + s.tokens).value);
      if (s.tokens == Tokens{1}) {
        rows.decode_tokens += context;
        rows.decodes = true;
      } else {
        const auto tokens = static_cast<double>(s.tokens.value);
        rows.pairs += tokens * (static_cast<double>(cached.value) + (tokens + 1) / 2);
        rows.prompt_tokens += context;
        rows.prompts = true;
      }
    }
    return rows;
  }

  /// Attention of one layer: sequences with one token read their KV; longer ones compute a causal
  /// tile.
  [[nodiscard]] double attention(const Rows& rows, Work& work) const {
    const model::Shape& m = in_.model;
    const Hardware& h = in_.hardware;
    const double token_bytes = in_.storage.kv_token_bytes / static_cast<double>(m.layers) / tp();
    const double flops = 4.0 * static_cast<double>(m.heads * m.head_dim) * rows.pairs / tp();
    double seconds = roof(rows.prompt_tokens * token_bytes, flops, work);
    if (rows.prompts) seconds += h.launch;
    const double decode_bytes = rows.decode_tokens * token_bytes;
    work.bytes += decode_bytes;
    if (rows.decodes) {
      seconds += decode_bytes / (h.attention_bandwidth_share * h.bandwidth) + h.launch;
    }
    return seconds;
  }

  CostInputs in_;
  mutable std::vector<Cost> layers_,
      heads_;  // by rows; an engine's own, so never shared by threads
};
static_assert(CostModel<Roofline>);

}  // namespace quire::cost_model
