#pragma once

#include <string_view>

#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/reservation/oracle.hpp>
#include <quire/scheduler/orca.hpp>

namespace quire::presets {

/// Orca with a reservation of the true length, known in replay only: the best any reservation can
/// do. \source "Orca (Oracle)" of Kwon et al., SOSP '23, section 6.1; Yu et al., OSDI '22.
struct OrcaOracle : Vllm {
  static constexpr std::string_view name = "orca_oracle";
  using Reservation = reservation::Oracle;
  using Scheduler = scheduler::Orca;
  using Offload = offload::Recompute;  // never asked: memory is reserved whole
};

}  // namespace quire::presets
