#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <experiments/common/settings.hpp>
#include <quire/engine/any_engine.hpp>
#include <quire/engine/config.hpp>
#include <quire/metrics/result_row.hpp>

namespace quire::experiment {

/// One configuration that can be run, whatever runs it: an entry of a registry, with the settings
/// as its options.
struct RunVariant {
  std::string name;
  std::array<std::string, slot_count> slots{};  // policy names, in the order of slot_names
  std::string_view incompatible{};              // why it cannot run; empty when it can
  /// What the scheduler says that it reads of its limits, if it does (quire/scheduler/concepts.hpp).
  std::optional<std::span<const std::string_view>> scheduler_reads{};
  metrics::Mode mode = metrics::Mode::simulated;
  /// Makes an engine; empty when the variant cannot run. \errors usage error: settings that the
  /// executor cannot take; state and data errors: a model that does not fit or cannot be read.
  std::function<std::unique_ptr<AnyEngine>(const Settings&)> make{};
};

}  // namespace quire::experiment
