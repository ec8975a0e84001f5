#pragma once

#include <quire/admission/always.hpp>
#include <quire/engine/control_plane.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/recompute_single_swap_group.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/scheduler/chunked_prefill.hpp>
#include <quire/scheduler/fcfs.hpp>
#include <quire/speculation/none.hpp>

#include "tests/engine/scripted.hpp"

// The control planes over Scripted that several files use; scripted_engines.cpp compiles them once.
namespace quire {

namespace engine_test {
using PagedFour =
    BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<4>, admission::Always>;
using CachedFour =
    BasicPagedMemory<eviction::Lru, prefix_index::HashChain, BlockSize<4>, admission::Always>;
}  // namespace engine_test

extern template class BasicPagedMemory<eviction::Lru, prefix_index::None, BlockSize<4>,
                                       admission::Always>;
extern template class BasicPagedMemory<eviction::Lru, prefix_index::HashChain, BlockSize<4>,
                                       admission::Always>;
extern template class ControlPlane<engine_test::PagedFour, scheduler::Fcfs, offload::Recompute,
                                   engine_test::Scripted::Steps>;
extern template class ControlPlane<engine_test::PagedFour, scheduler::Fcfs, offload::SwapToHost,
                                   engine_test::Scripted::Steps>;
extern template class ControlPlane<engine_test::PagedFour, scheduler::Fcfs,
                                   offload::RecomputeSingleSwapGroup, engine_test::Scripted::Steps>;
extern template class ControlPlane<engine_test::PagedFour, scheduler::ChunkedPrefill,
                                   offload::Recompute, engine_test::Scripted::Steps>;
extern template class ControlPlane<engine_test::CachedFour, scheduler::Fcfs,
                                   offload::RecomputeSingleSwapGroup, engine_test::Scripted::Steps>;

}  // namespace quire
