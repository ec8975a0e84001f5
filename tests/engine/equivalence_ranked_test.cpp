#include <gtest/gtest.h>

#include <quire/offload/proactive_swap.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/scheduler/scheduler.hpp>

#include "tests/engine/equivalence.hpp"

namespace quire::engine_test {
namespace {

using RankedVariants = ::testing::Types<
    with<Swapping, set_scheduler<scheduler::Priority>>,
    with<Paged, set_scheduler<scheduler::Mlfq>, set_offload<offload::ProactiveSwap>>,
    with<Recomputing, set_scheduler<scheduler::Srpt>, set_prefix_index<prefix_index::HashChain>>,
    with<Recomputing, set_scheduler<scheduler::Vtc>>,
    with<Swapping, set_scheduler<scheduler::Sjf>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Ranked, Equivalence, RankedVariants);

}  // namespace
}  // namespace quire::engine_test
