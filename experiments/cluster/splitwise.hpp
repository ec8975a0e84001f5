#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/cluster/clusters.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/cost_model/transfers.hpp>
#include <quire/metrics/slo.hpp>
#include <quire/router/router.hpp>

// Machines of two kinds for prompts and tokens, at equal power and at equal cost (Splitwise).
namespace quire::experiment {

/// Milliseconds of a step of Llama-2-70B on one machine of eight devices: of a prompt by its tokens, and of
/// decoding by the batch. \source Mutinifni/splitwise-sim (MIT), data/perf_model.csv, medians.
struct MachineTimes {
  std::array<std::pair<double, double>, 7> prompt, token;
};
inline constexpr MachineTimes dgx_a100{
    {{{128, 65.35},
      {256, 66.76},
      {512, 93.02},
      {1024, 154.46},
      {2048, 274.22},
      {4096, 661.22},
      {8192, 1549.82}}},
    {{{1, 45.03}, {2, 44.56}, {4, 45.79}, {8, 46.47}, {16, 50.44}, {32, 53.02}, {64, 71.61}}}};
inline constexpr MachineTimes dgx_h100{
    {{{128, 58.19},
      {256, 51.66},
      {512, 53.86},
      {1024, 77.91},
      {2048, 136.80},
      {4096, 390.29},
      {8192, 844.89}}},
    {{{1, 30.56}, {2, 30.26}, {4, 31.79}, {8, 32.50}, {16, 34.17}, {32, 38.62}, {64, 50.16}}}};

/// Seconds of a step by the table: linear between its points and along its last two beyond them.
[[nodiscard]] inline double looked_up(const std::array<std::pair<double, double>, 7>& table,
                                      double x) {
  if (x <= table.front().first) return 1e-3 * table.front().second;
  std::size_t right = 1;
  while (right + 1 < table.size() && table[right].first < x) ++right;
  const auto& [x0, y0] = table[right - 1];
  const auto& [x1, y1] = table[right];
  return 1e-3 * (y0 + (y1 - y0) * (x - x0) / (x1 - x0));
}

/// The clock of Splitwise's simulator: a step with prompts takes what its tokens take as a prompt, and a
/// tenth more when sequences decode in it. \source ibid., performance_model.py.
class SplitwiseTimes {
 public:
  static constexpr std::string_view name = "splitwise";
  explicit SplitwiseTimes(const CostInputs& in)
      : in_(in), times_(in.hardware.name == hardware::h100.name ? dgx_h100 : dgx_a100) {}

  [[nodiscard]] StepCost cost(const StepPlan& plan) const {
    double prompts = 0, decodes = 0;
    for (const SequencePlan& s : plan.sequences) {
      (s.computed < s.prompt_tokens ? prompts : decodes) += static_cast<double>(s.tokens.value);
    }
    double seconds = 0;
    if (prompts > 0) {
      seconds = looked_up(times_.prompt, prompts + decodes) * (decodes > 0 ? 1.1 : 1);
    } else if (decodes > 0) {
      seconds = looked_up(times_.token, decodes);
    }
    return cost_model::cost_with_moves(plan, seconds, in_);
  }

 private:
  CostInputs in_;
  MachineTimes times_;
};
static_assert(CostModel<SplitwiseTimes>);

/// So many machines of a kind in a role.
struct Pool {
  Hardware machine;
  std::size_t count;
  Role role;
};

/// A cluster of the paper's Figures 16 and 18, a fifth of its size: at the power of 8 DGX-H100 (14
/// DGX-A100 at 1.75 times less each) or at their cost (17 DGX-A100).
struct Fleet {
  std::string_view name, equal;
  std::vector<Pool> pools;
};
[[nodiscard]] inline std::vector<Fleet> fleets() {
  const Hardware &a = hardware::a100_80gb, &h = hardware::h100;
  std::vector<Fleet> out{{"baseline_a100", "power", {{a, 14, Role::both}}},
                         {"baseline_h100", "power", {{h, 8, Role::both}}},
                         {"baseline_a100", "cost", {{a, 17, Role::both}}}};
  const auto split = [&out](std::string_view name, std::string_view equal, const Hardware& prompts,
                            std::size_t of_prompts, const Hardware& tokens, std::size_t of_tokens) {
    out.push_back(
        {name, equal, {{prompts, of_prompts, Role::prefill}, {tokens, of_tokens, Role::decode}}});
  };
  for (const std::size_t n : {4u, 6u, 8u}) split("splitwise_aa", "power", a, n, a, 14 - n);
  for (const std::size_t n : {5u, 7u, 9u}) split("splitwise_aa", "cost", a, n, a, 17 - n);
  for (const std::size_t n : {2u, 3u, 4u}) {
    split("splitwise_hh", "power", h, n, h, 8 - n);
    // 1.774 A100 machines draw what one H100 machine does
    split("splitwise_ha", "power", h, n, a,
          static_cast<std::size_t>(1.774 * static_cast<double>(8 - n)));
  }
  return out;
}

/// Whether a run keeps all nine of the paper's limits: the 50th, 90th and 99th percentile of the slowdown
/// against one DGX-A100 with nothing else to do, of the first token, between tokens, and in all.
/// \source Patel et al., ISCA '24, Table VI (quoted from memory): 2, 3, 6; 1.25, 1.5, 5; 1.25, 1.5, 5.
[[nodiscard]] inline bool keeps_nine_limits(const ClusterReport& report) {
  std::vector<double> first, gaps, whole;
  const double token = looked_up(dgx_a100.token, 1);
  for (const metrics::RequestRecord& r : report.records) {
    if (!r.completed()) return false;
    const double prompt = looked_up(dgx_a100.prompt, static_cast<double>(r.prompt_tokens.value));
    first.push_back(metrics::ttft(r).value / prompt);
    for (const double gap : metrics::inter_token_latencies(r)) gaps.push_back(gap / token);
    whole.push_back(metrics::e2el(r).value / (prompt + (r.output_length() - 1) * token));
  }
  const auto keeps = [](std::vector<double> slowdowns, double p50, double p90, double p99) {
    const metrics::Distribution d(std::move(slowdowns));
    return d.percentile(50) <= p50 && d.percentile(90) <= p90 && d.percentile(99) <= p99;
  };
  return keeps(std::move(first), 2, 3, 6) && keeps(std::move(gaps), 1.25, 1.5, 5) &&
         keeps(std::move(whole), 1.25, 1.5, 5);
}

/// The highest rate at which each fleet keeps the limits, Azure's conversations.
inline void add_splitwise(std::vector<Run>& runs, const Options& options) {
  using Clock = executor::BasicSimulated<SplitwiseTimes>;
  const double seconds = options.pick(20.0, 40.0, 300.0);
  for (const Fleet& fleet : fleets()) {
    std::size_t machines = 0, prompts = 0;
    for (const Pool& pool : fleet.pools) {
      machines += pool.count;
      if (pool.role == Role::prefill) prompts += pool.count;
    }
    const auto play_at = [=](double rate) {
      Engines engines;
      ClusterOptions o;
      for (const Pool& pool : fleet.pools) {
        for (std::size_t i = 0; i < pool.count; ++i) {
          Clock::Options one{.model = model::llama2_70b, .hardware = pool.machine};
          one.model.max_length = 16384;
          one.tensor_parallel = 8;
          // a prompt may take a step of any size; one beyond the limit would wait until nothing runs
          one.limits = {.max_batched_tokens = 16384, .max_sequences = 64};
          engines.push_back(engine<presets::Vllm, Clock>(one));
          o.roles.push_back(pool.role);
        }
      }
      o.link = {.bytes_per_second = 25e9};  // InfiniBand, 200 Gb/s
      o.kv_bytes_per_token = kv_bytes(model::llama2_70b);
      o.layers = model::llama2_70b.layers;
      const workload::Workload w = workload::azure_conversation(
          {.requests = static_cast<std::size_t>(rate * seconds), .rate = rate});
      return prompts > 0 ? play<router::Splitwise>(std::move(engines), o, w)
                         : play<router::JoinShortestQueue>(std::move(engines), o, w);
    };
    workload::Workload named;
    named.name = "azure_fitted";
    Run run = run_of("splitwise", prompts > 0 ? "splitwise" : "join_shortest_queue", named, 0, [=] {
      const metrics::RateInterval found = metrics::highest_rate_between(
          [&](double rate) { return keeps_nine_limits(play_at(rate)) ? 1.0 : 0.0; }, 1, 1, 32,
          0.05);
      return metrics::JsonObject()
          .add("highest_rate", found.attains)
          .add("highest_rate_fails_at", found.fails)
          .add("tokens_per_s_per_machine", found.attains * 211.1 / static_cast<double>(machines));
    });
    run.row.axes.add("fleet", fleet.name).add("equal", fleet.equal).add("model", "llama2_70b");
    run.row.axes.add("machines", machines).add("prompt_machines", prompts);
    runs.push_back(std::move(run));
  }
}

}  // namespace quire::experiment
