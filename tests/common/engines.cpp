#include "tests/common/engines.hpp"

namespace quire {

template class BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<16>,
                                admission::Always>;
template class ControlPlane<
    BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<16>, admission::Always>,
    scheduler::Fcfs, offload::RecomputeSingleSwapGroup, executor::Simulated::Steps>;

}  // namespace quire
