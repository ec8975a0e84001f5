#include "tests/scheduler/play.hpp"

namespace quire {

template class ControlPlane<
    BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<16>, admission::Always>,
    scheduler::Fcfs, offload::Recompute,
    executor::BasicSimulated<scheduler_test::OneSecond>::Steps>;

}  // namespace quire
