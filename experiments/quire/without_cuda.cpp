// What a program without a CUDA_LIST says when it is asked to compute on a device.
#include <vector>

#include <experiments/quire/commands.hpp>
#include <quire/core/error.hpp>

namespace quire::experiment {

std::vector<RunVariant> variants_on_cuda() {
  throw usage_error(
      "--executor cuda", "this program was compiled without variants for it",
      "a build with nvcc (cmake --preset cuda), CUDA_HEADER, CUDA_LIST and CUDA_COUNT "
      "in quire_driver(), or --executor cpu");
}

DeviceSaid cuda_device() {
  throw state_error("CUDA", "this program has no CUDA executor", "cmake --preset cuda");
}

}  // namespace quire::experiment
