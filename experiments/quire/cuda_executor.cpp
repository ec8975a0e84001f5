// The registry of the CUDA executor's variants, and what it needs of the settings. Compiled by nvcc where the
// build has it, else by the host's compiler, for the emulator.
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda_variants.hpp>  // generated from the program's CUDA_LIST (quire_add_variants)

#include <experiments/common/make_run.hpp>
#include <experiments/quire/commands.hpp>
#include <experiments/quire/erased.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/engine/registry.hpp>
#include <quire/simt/device_facts.cuh>

namespace quire::experiment {
namespace {

template <class E>
[[nodiscard]] std::type_identity<E> executor_of(const std::vector<Variant<E>>&);
using OnDevice = typename decltype(executor_of(cuda_variants()))::type;

/// What the CUDA executor is told: --model is the folder of a checkpoint.
OnDevice::Options cuda_options(const Settings& s, bool) {
  OnDevice::Options options;
  options.model = checkpoint::open_checkpoint(s.model);
  take_settings(s, options);
  options.kv_memory = gib(s.kv_memory_gib);
  options.utilization = s.gpu_memory_utilization;
  return options;
}

}  // namespace

std::vector<RunVariant> variants_on_cuda() {
  return erased(cuda_variants(), metrics::Mode::measured, cuda_options);
}

DeviceSaid cuda_device() {
  const simt::DeviceFacts facts = simt::device_facts();
  return {facts.name, facts.driver, facts.runtime, facts.memory};
}

}  // namespace quire::experiment
