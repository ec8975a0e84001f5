#pragma once

#include <quire/engine/control_plane.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/vllm.hpp>

// The simulated engine that several test programs' files use; engines.cpp compiles it once.
namespace quire {

extern template class BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<16>,
                                       admission::Always>;
extern template class ControlPlane<
    BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<16>, admission::Always>,
    scheduler::Fcfs, offload::RecomputeSingleSwapGroup, executor::Simulated::Steps>;

}  // namespace quire
