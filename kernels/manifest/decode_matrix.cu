#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/paged_decode/launch.cuh>

using namespace quire::manifest;
QUIRE_INSTANTIATE(PagedDecodeMatrix<Bf16Key<64>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Bf16Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Bf16Key<128>, SlidingWindow>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Bf16Key<256>, SoftCap>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Fp16Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Int8Key<64>, Sinks>)
QUIRE_INSTANTIATE(PagedDecodeMatrix<Int8Key<128>, Causal>)
