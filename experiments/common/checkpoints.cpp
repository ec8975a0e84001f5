#include <experiments/common/checkpoints.hpp>

namespace quire::experiment {

checkpoint::Checkpoint opened_checkpoint(const std::string& path) {
  return checkpoint::open_checkpoint(path);
}

}  // namespace quire::experiment
