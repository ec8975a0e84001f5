#pragma once

#include <string>

#include <quire/checkpoint/load.hpp>

namespace quire::testing {

/// checkpoint::open_checkpoint, compiled once for all tests: tokenizers and file formats take some
/// three seconds in each file that calls it.
checkpoint::Checkpoint opened(const std::string& path);
/// One of tests/golden/models.
inline checkpoint::Checkpoint golden(const std::string& name) {
  return opened(QUIRE_SOURCE_DIR "/tests/golden/models/" + name);
}

}  // namespace quire::testing
