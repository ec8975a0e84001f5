#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/mixture/expert_product.cuh>
#include <quire/kernels/mixture/grouped_experts.cuh>
#include <quire/kernels/mixture/route.cuh>

namespace quire::manifest {
using FewChoices = ExpertProduct<Bf16, 8, 8>;
using ManyChoices = ExpertProduct<Bf16, 32, 4>;
using FewChoicesFp16 = ExpertProduct<Fp16, 8, 8>;
using ExpertLoopsFp32 = ExpertLoops<float, float>;
using FewChoicesInt4 = GroupedExperts<weight_format::Int4Grouped<128>, Bf16>;
using ManyChoicesInt4 = GroupedExperts<weight_format::Int4Grouped<128>, Bf16, 16>;
using FewChoicesInt8 = GroupedExperts<weight_format::Int8Grouped<128>, Bf16>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(quire::kernels::Route)
QUIRE_INSTANTIATE(quire::kernels::ListTakers)
QUIRE_INSTANTIATE(quire::kernels::JoinExperts)
QUIRE_INSTANTIATE(FewChoices)
QUIRE_INSTANTIATE(ManyChoices)
QUIRE_INSTANTIATE(FewChoicesFp16)
QUIRE_INSTANTIATE(ExpertLoopsFp32)
QUIRE_INSTANTIATE(FewChoicesInt4)
QUIRE_INSTANTIATE(ManyChoicesInt4)
QUIRE_INSTANTIATE(FewChoicesInt8)
