#pragma once

#include <string>

#include <quire/checkpoint/load.hpp>

namespace quire::experiment {

/// checkpoint::open_checkpoint, compiled once for all experiments: tokenizers and file formats take
/// some five seconds in each file that calls it.
checkpoint::Checkpoint opened_checkpoint(const std::string& path);

}  // namespace quire::experiment
