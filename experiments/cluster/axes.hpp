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

/// Tokens of keys and values beside the weights. \source ibid., max_num_tokens.csv.
inline constexpr std::int64_t opt_13b_kv_tokens = 66144;
/// One way between two A100 of a node. \source NVIDIA: NVLink 3, 600 GB/s both ways.
inline constexpr double nvlink = 300e9;

/// ShareGPT as DistServe measures it, from memory: 755.5 tokens in (deviation 642.8), 200.3 out (213.6);
/// drawn log-normally, pairs that OPT's 2,048 positions cannot hold again.
inline const workload::LengthDistribution distserve_input =
    workload::LogNormalLength{755.5, 0.74, 2046};
inline const workload::LengthDistribution distserve_output =
    workload::LogNormalLength{200.3, 0.87, 2046};

/// Requests a second and device. \source DistServe's artifact, continued for the split system.
inline constexpr double rates_per_gpu[] = {0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25,
                                           2.5,  3,   3.5,  4, 4.5,  5,   6,    7, 8};
inline constexpr double slo_scales[] = {0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2};
inline constexpr double slo_ttft = 0.25, slo_tpot = 0.1;

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
