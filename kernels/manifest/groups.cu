#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/grouped_access.hpp>
#include <quire/kernels/move_tokens/move_tokens.cuh>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>

namespace quire::manifest {
template <unsigned head_dim>
using Mxfp4Key = KernelKey<kv_format::Mxfp4, 16, head_dim, Bf16>;
template <unsigned head_dim>
using Nvfp4Key = KernelKey<kv_format::Nvfp4, 16, head_dim, Bf16>;
template <unsigned head_dim>
using Int4GroupKey = KernelKey<kv_format::Int4Grouped<32>, 16, head_dim, Bf16>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(PagedDecodeGrouped<Mxfp4Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeGrouped<Mxfp4Key<64>, Sinks>)
QUIRE_INSTANTIATE(PagedDecodeGrouped<Nvfp4Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeGrouped<Int4GroupKey<128>, Causal>)
QUIRE_INSTANTIATE(PagedPrefill<Nvfp4Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedPrefill<Int4GroupKey<128>, Causal>)
QUIRE_INSTANTIATE(CacheWrite<Mxfp4Key<128>, Bf16>)
QUIRE_INSTANTIATE(CacheWrite<Nvfp4Key<128>, Bf16>)
QUIRE_INSTANTIATE(CacheWrite<Int4GroupKey<128>, Bf16>)
QUIRE_INSTANTIATE(MoveTokens<Mxfp4Key<128>>)
