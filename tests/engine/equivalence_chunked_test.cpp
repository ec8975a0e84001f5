#include <gtest/gtest.h>

#include <quire/prefix_index/hash_chain.hpp>
#include <quire/scheduler/chunked_prefill.hpp>

#include "tests/engine/equivalence.hpp"

namespace quire::engine_test {
namespace {

using ChunkedSteps = with<Recomputing, set_scheduler<scheduler::ChunkedPrefill>>;
using ChunkedVariants =
    ::testing::Types<ChunkedSteps, with<Swapping, set_scheduler<scheduler::ChunkedPrefill>>,
                     with<ChunkedSteps, set_prefix_index<prefix_index::HashChain>>,
                     with<ChunkedSteps, set_block_size<BlockSize<32>>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(ChunkedSteps, Equivalence, ChunkedVariants);

}  // namespace
}  // namespace quire::engine_test
