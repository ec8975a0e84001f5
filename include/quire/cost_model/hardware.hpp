#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <quire/core/units.hpp>

namespace quire {

/// A device as the roofline sees it: data-sheet limits, and how much of them kernels reach.
struct Hardware {
  std::string_view name;
  // data sheet
  double memory_bytes = 0;
  double bandwidth = 0;   // bytes/s of device memory
  double peak_flops = 0;  // dense 16-bit matrix FLOP/s, accumulation in fp32
  // the four constants of the fit: time = ((bytes / (bandwidth_share * bandwidth))^p +
  // (flops / (flops_share * peak_flops))^p)^(1/p) + launch, tokens rounded up to `tile`
  double bandwidth_share = 0.80;
  double flops_share = 0.70;
  double exponent = 3;
  std::int64_t tile = 64;
  double launch = 4e-6;  // seconds a kernel
  // More than 0: products are cut into output tiles, dealt to this many multiprocessors in waves, and
  // `tile` is not used. The last wave counts in full for wave_share of the time, and as far as it is
  // filled for the rest; a tile of intensity x (rows * columns / (rows + columns)) reaches
  // x / (x + tile_intensity) of what the largest does.
  std::int64_t multiprocessors = 0;
  double wave_share = 0;
  double tile_intensity = 0;
  double attention_bandwidth_share = 0.64;  // decode attention: KV bytes at this share of bandwidth
  // host link, each way
  double link_bandwidth = 25e9;  // bytes/s
  double copy_latency = 3e-6;    // seconds a copy call
  // disk tier: one NVMe drive on PCIe 4, each way
  double disk_bandwidth = 5e9;   // bytes/s
  double disk_latency = 100e-6;  // seconds until the first byte of a step's reads
  // all-reduce between devices of one node
  double reduce_bandwidth = 160e9;  // bus bandwidth, bytes/s
  double reduce_latency = 40e-6;
  // energy of a device and its board: at rest, and for what it does; all 0: not known
  double idle_watts = 0;
  double joules_per_byte = 0;  // of device memory
  double joules_per_flop = 0;
  std::string_view energy_from{};  // what these three rest on; empty: not known

  [[nodiscard]] constexpr bool knows_energy() const {
    return idle_watts > 0 || joules_per_byte > 0 || joules_per_flop > 0;
  }
};

/// Devices by name. Limits are the vendors' data sheets; the constants of the fit come from Vidur's
/// operator profiles (A100: share .80/.70, p 3, tile 64; H100: .85/.75, p 2, tile 128; mean error
/// 3-5 %), decode attention from DistServe's A100 coefficient (1.3 of 2.04 TB/s) and BLIS's H100
/// table (85 %), all-reduce from Vidur's network profiles. A10G and RTX 4090 take the A100's
/// shares, H200 the H100's: extrapolations, not measurements.
///
/// Energy is measured for the A100 alone, in Splitwise's power table (Llama-2-70B on two of them, 400 W each):
/// 0.736 of that while decoding, at 1.27 TB/s, and all of it in a prompt of 512 tokens, at 183 TFLOP/s and
/// 0.36 TB/s; less 60 W at rest, which is an assumption, that is 184 pJ a byte and 1.5 pJ a FLOP. Of no other
/// device is there a table (Splitwise's has zeros for the H100): they get stated_energy().
namespace hardware {

inline constexpr double gib = 1024.0 * 1024.0 * 1024.0;

inline constexpr std::string_view power_table = "power table",
                                  stated_constants = "stated constants";

/// Energy of a device of which nobody has published a table: at the same share of its bandwidth and of its
/// arithmetic it takes the share of its board's limit that an A100 takes. An assumption, not a measurement.
[[nodiscard]] constexpr Hardware stated_energy(Hardware h, double board_watts) {
  constexpr double watts = 400, bandwidth = 2039e9, flops = 312e12;  // of the A100-80GB
  h.idle_watts = 60 * board_watts / watts;
  h.joules_per_byte = 184e-12 * board_watts / watts * bandwidth / h.bandwidth;
  h.joules_per_flop = 1.5e-12 * board_watts / watts * flops / h.peak_flops;
  h.energy_from = stated_constants;
  return h;
}

inline constexpr Hardware a10g = stated_energy({.name = "a10g",
                                                .memory_bytes = 24 * gib,
                                                .bandwidth = 600e9,
                                                .peak_flops = 70e12,
                                                .reduce_bandwidth = 12e9},
                                               300);
inline constexpr Hardware a100_40gb{.name = "a100_40gb",
                                    .memory_bytes = 40 * gib,
                                    .bandwidth = 1555e9,
                                    .peak_flops = 312e12,
                                    .idle_watts = 60,
                                    .joules_per_byte = 184e-12,
                                    .joules_per_flop = 1.5e-12,
                                    .energy_from = power_table};
inline constexpr Hardware a100_80gb{.name = "a100_80gb",
                                    .memory_bytes = 80 * gib,
                                    .bandwidth = 2039e9,
                                    .peak_flops = 312e12,
                                    .idle_watts = 60,
                                    .joules_per_byte = 184e-12,
                                    .joules_per_flop = 1.5e-12,
                                    .energy_from = power_table};
inline constexpr Hardware h100 = stated_energy({.name = "h100",
                                                .memory_bytes = 80 * gib,
                                                .bandwidth = 3350e9,
                                                .peak_flops = 989.5e12,
                                                .bandwidth_share = 0.85,
                                                .flops_share = 0.75,
                                                .exponent = 2,
                                                .tile = 128,
                                                .attention_bandwidth_share = 0.85,
                                                .link_bandwidth = 50e9,
                                                .reduce_bandwidth = 300e9,
                                                .reduce_latency = 35e-6},
                                               700);
inline constexpr Hardware h200 = stated_energy({.name = "h200",
                                                .memory_bytes = 141e9,
                                                .bandwidth = 4800e9,
                                                .peak_flops = 989.5e12,
                                                .bandwidth_share = 0.85,
                                                .flops_share = 0.75,
                                                .exponent = 2,
                                                .tile = 128,
                                                .attention_bandwidth_share = 0.85,
                                                .link_bandwidth = 50e9,
                                                .reduce_bandwidth = 300e9,
                                                .reduce_latency = 35e-6},
                                               700);
inline constexpr Hardware rtx4090 = stated_energy({.name = "rtx4090",
                                                   .memory_bytes = 24 * gib,
                                                   .bandwidth = 1008e9,
                                                   .peak_flops = 165e12,
                                                   .reduce_bandwidth = 12e9},
                                                  450);

/// RTX PRO 6000 Blackwell Server Edition; two of them talk over PCIe.
inline constexpr Hardware rtx_pro_6000 = stated_energy({.name = "rtx_pro_6000",
                                                        .memory_bytes = 96 * gib,
                                                        .bandwidth = 1597e9,
                                                        .peak_flops = 500e12,
                                                        .reduce_bandwidth = 16e9,
                                                        .reduce_latency = 20e-6},
                                                       600);

inline constexpr std::array all{a10g, a100_40gb, a100_80gb, h100, h200, rtx4090, rtx_pro_6000};

/// The device of that name, or nothing.
[[nodiscard]] constexpr const Hardware* find(std::string_view name) {
  for (const Hardware& h : all) {
    if (h.name == name) return &h;
  }
  return nullptr;
}

}  // namespace hardware
}  // namespace quire
