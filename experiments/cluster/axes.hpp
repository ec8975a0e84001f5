#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/core/type_list.hpp>
#include <quire/cost_model/affine_coefficients.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/router/router.hpp>
#include <quire/scheduler/arrival_order.hpp>
#include <quire/workload/lengths.hpp>

namespace quire::experiment {

// ---- prompts and generation apart: OPT-13B on A100-80GB, ShareGPT

/// Milliseconds of DistServe's profiles as seconds. \source LLMServe/DistServe,
/// simdistserve/estimators/profile_data/profiler-a100-80g.{vllm,distserve}.json (Apache-2.0).
[[nodiscard]] constexpr AffineTerms ms(double constant, double first, double second) {
  return {constant / 1e3, first / 1e3, second / 1e3};
}
inline constexpr AffineCoefficients vllm_tp1{
    .prefill = ms(22.052204789310185, 0.14050923870128956, 8.076584822611088e-06),
    .decode_small = ms(23.475041008414784, 0.000592934466077393, 0.060726861260369455),
    .decode_large = ms(20.206356173691958, 0.0004907727036234946, 0.1200031385587413)};
inline constexpr AffineCoefficients distserve_tp1{
    .prefill = ms(18.10254647486372, 0.1019122572698738, 7.122264314252114e-06),
    .decode_small = ms(19.934702624895458, 0.0006269356524350583, 0.03850697740828398),
    .decode_large = ms(7.1661889468253595, 0.0005798000403396046, 0.15831096191764046)};
inline constexpr AffineCoefficients distserve_tp2{
    .prefill = ms(14.742973695171262, 0.06857720739764, 2.4495727400243586e-06),
    .decode_small = ms(13.294796350285385, 0.00034109219700723494, 0.06296393225243659),
    .decode_large = ms(10.638741913126715, 0.00031183369638295723, 0.08562913604102729)};

/// OPT-66B: together on four devices, prompts on four, and generation on two stages of two.
inline constexpr AffineCoefficients vllm_66b_tp4{
    .prefill = ms(42.965489361973944, 0.2128658422785494, 4.601017396226869e-05),
    .decode_small = ms(39.58178936012414, 0.0006945721692406896, 0.13580868185596764),
    .decode_large = ms(40.859718006896806, 0.0004264871259058686, 0.19508372547790553)};
inline constexpr AffineCoefficients distserve_66b_tp4{
    .prefill = ms(29.441636037717455, 0.151352180625198, 8.317450765979451e-06),
    .decode_small = ms(30.760284619429587, 0.000451947603788462, 0.063284195750671),
    .decode_large = ms(27.47082137429487, 0.0004046845541646486, 0.12480667738300383)};
inline constexpr AffineCoefficients distserve_66b_tp2{
    .prefill = ms(43.05881348288936, 0.2742292870458432, 2.2478042467169447e-05),
    .decode_small = ms(48.288015489286245, 0.0009424343535737985, 0.12755020094383188),
    .decode_large = ms(28.727693993711597, 0.00047448475459061987, 0.29617792360743994)};

/// One engine of a placement: its devices, and the tokens of keys and values beside the weights there.
/// \source ibid., max_num_tokens.csv.
struct PlacedEngine {
  AffineCoefficients profile;
  std::int64_t devices, kv_tokens;
  Role role = Role::both;
  std::int64_t weights_on =
      0;  // devices, where not its own: half of a pipeline's requests need all of it
};
/// A way to use devices, and the requests a second and device on which it is tried.
struct Placement {
  std::string_view model_name, name;
  std::vector<PlacedEngine> engines;
  double slo_ttft, slo_tpot;
  std::vector<double> rates;
  std::size_t requests;  // of a run, for each device
  std::uint64_t seeds;

  [[nodiscard]] std::int64_t devices() const {
    std::int64_t sum = 0;
    for (const PlacedEngine& e : engines) sum += e.devices;
    return sum;
  }
};
/// Limits and rates: Table 1 and the artifact, continued for the split systems; the artifact's limits for
/// OPT-66B (0.4 and 0.1 s; the paper's table has 2.5 and 0.15). Two stages of a pipeline, each with half the
/// requests at hand while the other has the rest, are two engines that take a whole step's time each.
[[nodiscard]] inline std::vector<Placement> placements() {
  const std::vector<double> small{0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6};
  const std::vector<double> large{0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75};
  const PlacedEngine prompts13{distserve_tp2, 2, 163008, Role::prefill},
      tokens13{distserve_tp1, 1, 66144, Role::decode},
      prompts66{distserve_66b_tp4, 4, 78496, Role::prefill},
      tokens66{distserve_66b_tp2, 2, 78512 / 2, Role::decode, 4};
  return {{"opt_13b", "vllm", {{vllm_tp1, 1, 66144}}, 0.25, 0.1, small, 500, 6},
          {"opt_13b", "distserve", {prompts13, tokens13}, 0.25, 0.1, small, 500, 6},
          {"opt_13b", "splitwise", {prompts13, tokens13}, 0.25, 0.1, small, 500, 6},
          {"opt_66b", "vllm", {{vllm_66b_tp4, 4, 78496}}, 0.4, 0.1, large, 150, 6},
          {"opt_66b", "distserve", {prompts66, tokens66, tokens66}, 0.4, 0.1, large, 150, 6}};
}
/// One way between two A100 of a node. \source NVIDIA: NVLink 3, 600 GB/s both ways.
inline constexpr double nvlink = 300e9;

/// ShareGPT as DistServe measures it, from memory: 755.5 tokens in (deviation 642.8), 200.3 out (213.6);
/// drawn log-normally, pairs that OPT's 2,048 positions cannot hold again.
inline const workload::LengthDistribution distserve_input =
    workload::LogNormalLength{755.5, 0.74, 2046};
inline const workload::LengthDistribution distserve_output =
    workload::LogNormalLength{200.3, 0.87, 2046};

inline constexpr double slo_scales[] = {0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2};

// ---- migration: 16 instances of LLaMA-7B on A10

inline constexpr Hardware a10{.name = "a10",
                              .memory_bytes = 24 * hardware::gib,
                              .bandwidth = 600e9,
                              .peak_flops = 125e12,
                              .reduce_bandwidth = 12e9};
/// 64 Gb/s between machines, as published; halved, since a machine of four sends and receives.
inline constexpr double llumnix_network = 8e9;

/// Lengths by a power law from 24 to 6,144 tokens, of a mean. \source Sun et al., OSDI '24, "Zipf"; the
/// exponents give the means, with medians of 26, 30 and 49 (the paper's: 30 to 55).
struct PowerLaw {
  std::string_view name;
  double input, output;  // exponents
  double rates[4];       // requests a second on 16 instances
};
/// Up to where the requests at hand fill the memory of all instances: 218,000 tokens over the mean of
/// output x (input + output / 2) x 35 ms a step. The paper's rates are 0.5 to 0.7 of these.
inline constexpr double mean_128 = 1.3956, mean_256 = 1.2407, mean_512 = 1.0768;
inline constexpr PowerLaw power_laws[] = {{"128-128", mean_128, mean_128, {60, 75, 90, 105}},
                                          {"256-256", mean_256, mean_256, {15, 18, 21, 24}},
                                          {"512-512", mean_512, mean_512, {4, 4.5, 5, 5.5}},
                                          {"128-512", mean_128, mean_512, {5, 6, 7, 8}}};
inline constexpr std::size_t llumnix_instances = 16;

/// Urgent requests are admitted first and preempted last; who runs goes on running.
class UrgentFirst : public scheduler::ArrivalOrder {
 public:
  static constexpr std::string_view name = "urgent_first";
  using ArrivalOrder::ArrivalOrder;
  [[nodiscard]] double rank(const SequenceGroup& group, Seconds) const {
    return group.request.priority;
  }
  [[nodiscard]] Admission admit(const BatchState& state, const SequenceGroup& group) const {
    return has_seats(state, group) ? Admission::admit : Admission::hold;
  }
};
struct VllmByClass : presets::Vllm {
  static constexpr std::string_view name = "vllm+urgent_first";
  using Scheduler = UrgentFirst;
};
/// Tokens at hand up to which an instance decodes nearly as fast as when it has one request: what the
/// headroom leaves to instances with urgent ones. \source Sun et al., section 6.4, from memory.
inline constexpr std::int64_t ideal_tokens = 1600;
/// Requests/s of the class experiment: of 128-128, three quarters of where the paper's other runs end, as
/// there (26 of 35). One in ten is urgent.
inline constexpr double class_rate = 75;

using DispatchRouters = type_list<router::RoundRobin, router::Infaas, router::Llumnix>;

/// Moves the only request to the second instance once it generates: for the time that costs.
struct MovesAtOnce : router::RoundRobin {
  static constexpr std::string_view name = "moves_at_once";
  using RoundRobin::RoundRobin;
  [[nodiscard]] std::vector<Move> moves(const ClusterView& view) const {
    if (view.instances[0].running == 0) return {};
    return {{0, 1}};
  }
  [[nodiscard]] std::size_t chosen(std::span<const Movable>) const { return 0; }
};

// ---- prefixes: 8 instances of Llama-3-8B on A100-80GB

using PrefixRouters = type_list<router::Random, router::RoundRobin, router::LeastOutstanding,
                                router::JoinShortestQueue, router::PrefixAware>;

}  // namespace quire::experiment
