#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/grouped_product/grouped_product.cuh>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>
#include <quire/kernels/sparse_product/sparse_product.cuh>

namespace quire::manifest {
template <unsigned head_dim>
using Fp8RowKey = KernelKey<kv_format::Fp8PerTokenHead, 16, head_dim, Bf16>;
template <unsigned head_dim>
using Int4Key = KernelKey<kv_format::Int4PerTokenHead, 16, head_dim, Bf16>;
using E5m2Write = CacheWrite<KernelKey<kv_format::Fp8E5m2, 16, 128, Bf16>, Bf16>;
using W4 = GroupedProduct<weight_format::Int4Grouped<128>, Bf16, Bf16>;
using W4Many = GroupedProduct<weight_format::Int4Grouped<128>, Bf16, Bf16, 16, 16, 2>;
using W4Wide = GroupedProduct<weight_format::Int4Grouped<128>, Bf16, Bf16, 16, 8, 4>;
using W4Small = GroupedProduct<weight_format::Int4Grouped<32>, Fp16, Fp16>;
using W8 = GroupedProduct<weight_format::Int8Grouped<128>, Bf16, Bf16>;
using W8Wide = GroupedProduct<weight_format::Int8Grouped<128>, Bf16, Bf16, 16>;
using PrefixInt4 = PagedPrefill<Int4Key<128>, Causal, prefix_tuning, true>;
using Sparse = SparseProduct<Bf16, Bf16>;
using SparseWide = SparseProduct<Bf16, Bf16, 16>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(CacheWrite<E4m3Key<128>, Bf16>)
QUIRE_INSTANTIATE(CacheWrite<Fp8RowKey<128>, Bf16>)
QUIRE_INSTANTIATE(E5m2Write)
QUIRE_INSTANTIATE(CacheWrite<Int4Key<128>, Bf16>)
QUIRE_INSTANTIATE(PagedDecodePacked<Int4Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodePacked<Int4Key<64>, Sinks>)
QUIRE_INSTANTIATE(PagedPrefill<Int4Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedPrefill<Fp8RowKey<128>, Causal>)
QUIRE_INSTANTIATE(PrefixInt4)
QUIRE_INSTANTIATE(PagedDecodeMatrix<E4m3Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Fp8RowKey<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeScalar<E4m3Key<128>, Causal>)
QUIRE_INSTANTIATE(W4)
QUIRE_INSTANTIATE(W4Wide)
QUIRE_INSTANTIATE(W4Many)
QUIRE_INSTANTIATE(W4Small)
QUIRE_INSTANTIATE(W8)
QUIRE_INSTANTIATE(W8Wide)
QUIRE_INSTANTIATE(Sparse)
QUIRE_INSTANTIATE(SparseWide)
