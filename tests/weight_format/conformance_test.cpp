#include <quire/weight_format/weight_format.hpp>
#include <tests/weight_format/conformance.hpp>

namespace quire::testing {
namespace {

using namespace quire::weight_format;
using House = ::testing::Types<A8<Int4ZeroPoint<32>>, A8<Q40>, Bf16W16a16, Bitmap<50>, Fp4, Fp8W8a8,
                               Int4Grouped<32>, Int4ZeroPoint<32>, Int8Grouped<128>,
                               IntPerChannel<4>, IntPerChannel<4, true>, LinearOnly<Q80>, LlmInt8,
                               Mxfp4, Nf4, Nvfp4, Q40, Q4K, Q5K, Q6K, Q80, Sparse24, W8a8>;
#ifdef QUIRE_OWN_TYPE  // tests/conforms
using Blocks = ::testing::Types<QUIRE_OWN_TYPE>;
#else
using Blocks = House;
#endif
INSTANTIATE_TYPED_TEST_SUITE_P(Blocks, WeightFormatConformance, Blocks);

}  // namespace
}  // namespace quire::testing
