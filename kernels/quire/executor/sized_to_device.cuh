#pragma once

#include <algorithm>
#include <cstdint>

#include <quire/core/units.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/simt/device_facts.cuh>

namespace quire::executor {

/// A CUDA executor that takes, unless it is told how much, what the device has left beside the weights for keys
/// and values: by the plan that simulated devices have (plan_memory()). Cuda: BasicCuda<...>, or CudaAttention over one.
template <class Cuda>
struct SizedToDevice : Cuda {
  struct Options : Cuda::Options {
    /// Of the device's memory, what the engine takes where kv_memory and device_blocks are 0: weights, keys and
    /// values, and `workspace` for activations and the buffers of libraries.
    double utilization = 0.9;
    Bytes workspace = MemoryBudget{}.workspace;
  };

  /// \errors as Cuda; state, where weights leave no room
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    if (options.kv_memory > Bytes{0} || options.device_blocks > BlockCount{0}) {
      return Cuda::template geometry<C>(options);
    }
    typename Cuda::Options sized = options;
    const simt::DeviceFacts device = simt::device_facts();
    CostInputs in;
    in.model = Cuda::shape(options);
    in.hardware.name = device.name;
    // Of what others hold on the device nothing can be had, whatever share of the whole is asked for.
    in.hardware.memory_bytes =
        std::min(static_cast<double>(device.memory),
                 static_cast<double>(device.free_memory) / options.utilization);
    in.storage = storage_cost<C>(in.model);
    MemoryBeside draft;
    if (options.draft_model) {
      const model::Shape& shape = options.draft_model->config.shape;
      const StorageCost cost = storage_cost<C>(shape);
      draft = {static_cast<double>(shape.parameters()) * cost.weight_bytes, cost.kv_block_bytes};
    }
    const MemoryPlan plan = plan_memory(
        in, {.utilization = options.utilization, .workspace = options.workspace}, draft);
    sized.device_blocks = plan.device_blocks;
    return Cuda::template geometry<C>(sized);
  }
};

}  // namespace quire::executor
