#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/paged_decode/launch.cuh>

using namespace quire::manifest;
QUIRE_INSTANTIATE(PagedDecodeScalar<Bf16Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeScalar<Fp16Key<128>, Alibi>)
QUIRE_INSTANTIATE(PagedDecodeScalar<Int8Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeScalar<Fp32Key<64>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeScalar<Fp32Key<128>, SlidingWindow>)
QUIRE_INSTANTIATE(MergeStates<Bf16, 128>)
QUIRE_INSTANTIATE(MergeStates<float, 64>)
