#pragma once

#include <quire/metrics/run_provenance.hpp>

namespace quire::experiment {

/// From which sources and how this program was built.
[[nodiscard]] metrics::BuildInfo build_info();

}  // namespace quire::experiment
