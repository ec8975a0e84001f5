// arch: sm_90a
#include <kernels/manifest/kernels.hpp>

#include <quire/attention/sinks.hpp>
#include <quire/kernels/paged_prefill/warpgroup_prefill.cuh>

using namespace quire::manifest;
QUIRE_INSTANTIATE(WarpgroupPrefill<Bf16Key<64>, Causal>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Bf16Key<128>, Causal>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Bf16Key<256>, Causal>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Fp16Key<128>, Causal>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Bf16Key<128>, SlidingWindow>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Bf16Key<64>, Sinks>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Bf16Key<128>, SoftCap>)
QUIRE_INSTANTIATE(WarpgroupPrefill<Fp16Key<128>, Alibi>)
