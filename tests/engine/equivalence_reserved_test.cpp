#include <gtest/gtest.h>

#include <quire/presets/presets.hpp>

#include "tests/engine/equivalence.hpp"

namespace quire::engine_test {
namespace {

using ReservedVariants = ::testing::Types<presets::OrcaMax, presets::OrcaOracle,
                                          presets::HfTransformers, presets::FasterTransformer,
                                          with<Recomputing, set_scheduler<scheduler::StaticBatch>>,
                                          with<Swapping, set_scheduler<scheduler::DynamicBatch>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Reserved, Equivalence, ReservedVariants);

}  // namespace
}  // namespace quire::engine_test
