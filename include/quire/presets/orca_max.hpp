#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/max_length.hpp>
#include <quire/scheduler/orca.hpp>

namespace quire::presets {

/// Orca with a reservation of the model's whole length, in runs from a buddy allocator.
/// \source "Orca (Max)" of Kwon et al., SOSP '23, section 6.1; Yu et al., OSDI '22.
struct OrcaMax : Vllm {
  static constexpr std::string_view name = "orca_max";
  using Reservation = reservation::MaxLength;
  using Scheduler = scheduler::Orca;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
