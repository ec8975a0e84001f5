#include "tests/engine/scripted_engines.hpp"

namespace quire {

template class BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<4>, admission::Always>;
template class BasicPagedMemory<eviction::Lru, prefix_index::HashChain, BlockSize<4>,
                                admission::Always>;
template class ControlPlane<engine_test::PagedFour, scheduler::Fcfs, offload::Recompute,
                            engine_test::Scripted::Steps>;
template class ControlPlane<engine_test::PagedFour, scheduler::Fcfs, offload::SwapToHost,
                            engine_test::Scripted::Steps>;
template class ControlPlane<engine_test::PagedFour, scheduler::Fcfs,
                            offload::RecomputeSingleSwapGroup, engine_test::Scripted::Steps>;
template class ControlPlane<engine_test::PagedFour, scheduler::ChunkedPrefill, offload::Recompute,
                            engine_test::Scripted::Steps>;
template class ControlPlane<engine_test::CachedFour, scheduler::Fcfs,
                            offload::RecomputeSingleSwapGroup, engine_test::Scripted::Steps>;

}  // namespace quire
