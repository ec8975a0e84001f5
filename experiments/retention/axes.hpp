#pragma once

#include <quire/core/type_list.hpp>
#include <quire/retention/retention.hpp>

namespace quire::experiment {

/// Every retention policy.
using Retentions = type_list<retention::KeepAll, retention::SlidingWindow, retention::StreamingLlm,
                             retention::H2O, retention::Tova, retention::Scissorhands,
                             retention::SnapKv, retention::PyramidKv, retention::Quest>;

/// Those that the figure serves in simulated time as well.
using ServedRetentions = type_list<retention::KeepAll, retention::SlidingWindow, retention::H2O,
                                   retention::SnapKv, retention::PyramidKv, retention::Quest>;

/// What becomes of the slots of dropped tokens, under one policy.
using Compactions = type_list<retention::LeaveHoles, retention::ReuseHoles, retention::CloseHoles>;

}  // namespace quire::experiment
