#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/cascade/cascade.cuh>
#include <quire/kernels/paged_attention/paged_attention.cuh>

namespace quire::manifest {
using V1 = PagedAttention<Bf16Key<128>, Causal, 0>;
using V2 = PagedAttention<Bf16Key<128>, Causal, 512>;
using V2Alibi = PagedAttention<Fp16Key<128>, Alibi, 512>;
using V2Int8 = PagedAttention<Int8Key<128>, Causal, 512>;
using Prefix = PagedPrefill<Bf16Key<128>, Causal, prefix_tuning, true>;
using PrefixInt8 = PagedPrefill<Int8Key<128>, Causal, prefix_tuning, true>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(V1)
QUIRE_INSTANTIATE(V2)
QUIRE_INSTANTIATE(V2Alibi)
QUIRE_INSTANTIATE(V2Int8)
QUIRE_INSTANTIATE(Prefix)
QUIRE_INSTANTIATE(PrefixInt8)
