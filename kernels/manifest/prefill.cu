#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/paged_prefill/paged_prefill.cuh>

using namespace quire::manifest;
QUIRE_INSTANTIATE(PagedPrefill<Bf16Key<64>, Causal>)
QUIRE_INSTANTIATE(PagedPrefill<Bf16Key<128>, Causal>)
QUIRE_INSTANTIATE(PagedPrefill<Int8Key<128>, Causal>)
