#pragma once

#include <quire/core/type_list.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/override.hpp>
#include <quire/presets/presets.hpp>
#include <quire/reservation/request_limit.hpp>

namespace quire::experiment {

/// How memory is given out; what else differs between the presets is the paper's own choice.
using Systems = type_list<presets::OrcaMax, presets::OrcaPow2, presets::OrcaOracle, presets::Vllm>;

/// Every reservation: those of the systems, and the limit that a request states.
using OrcaRequestLimit = with<presets::OrcaMax, set_reservation<reservation::RequestLimit>>;
static_assert(changed_slots<OrcaRequestLimit, presets::OrcaMax> == Slot::reservation);
using Reservations = type_list<presets::OrcaMax, presets::OrcaPow2, OrcaRequestLimit,
                               presets::OrcaOracle, presets::Vllm>;

}  // namespace quire::experiment
