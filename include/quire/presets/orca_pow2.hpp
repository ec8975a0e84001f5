#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/power_of_two.hpp>
#include <quire/scheduler/orca.hpp>

namespace quire::presets {

/// Orca with a reservation of the next power of two of the output length.
/// \source "Orca (Pow2)" of Kwon et al., SOSP '23, section 6.1; Yu et al., OSDI '22.
struct OrcaPow2 : Vllm {
  static constexpr std::string_view name = "orca_pow2";
  using Reservation = reservation::PowerOfTwo;
  using Scheduler = scheduler::Orca;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
