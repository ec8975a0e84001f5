#include "tests/common/checkpoints.hpp"

namespace quire::testing {

checkpoint::Checkpoint opened(const std::string& path) { return checkpoint::open_checkpoint(path); }

}  // namespace quire::testing
