#pragma once

#include <quire/core/type_list.hpp>
#include <quire/presets/presets.hpp>

namespace quire::experiment {

/// How memory is given out; what else differs between the presets is the paper's own choice.
using Systems = type_list<presets::OrcaMax, presets::OrcaPow2, presets::OrcaOracle, presets::Vllm>;

}  // namespace quire::experiment
