// The CPU executor's log of a case: compiled by the host compiler, beside executor_cuda.cu.
#include <kernels/device/play.hpp>
#include <quire/executor/cpu.hpp>

namespace quire::device {

Log play_on_cpu(const std::filesystem::path& models, const Case& c) {
  return play<executor::Cpu>(models, c);
}

}  // namespace quire::device
