#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/convert/convert.cuh>
#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <quire/kernels/cub_block.cuh>
#include <quire/kernels/embedding/embedding.cuh>
#include <quire/kernels/layer_norm/layer_norm.cuh>
#include <quire/kernels/rms_norm/rms_norm.cuh>
#include <quire/kernels/sampling/sampling.cuh>
#include <quire/kernels/swiglu/swiglu.cuh>

namespace quire::manifest {
using SiluBf16 = GatedActivation<Silu, Bf16, Bf16>;
using ReluBf16 = Activation<Relu, float, Bf16>;
using ConvertHalves = Convert<Fp16, Bf16>;
using LayerNormBf16 = LayerNorm<Bf16, CubBlock<256>>;
using NormBf16 = RmsNorm<Bf16, CubBlock<256>>;
using NormPortable = RmsNorm<float, PortableBlock<256>>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(CacheWrite<Bf16Key<128>, Bf16>)
QUIRE_INSTANTIATE(CacheWrite<Int8Key<128>, Bf16>)
QUIRE_INSTANTIATE(CacheWrite<Fp32Key<64>, float>)
QUIRE_INSTANTIATE(ConvertHalves)
QUIRE_INSTANTIATE(quire::kernels::CopyBlocks)
QUIRE_INSTANTIATE(Embedding<Bf16>)
QUIRE_INSTANTIATE(LayerNormBf16)
QUIRE_INSTANTIATE(NormBf16)
QUIRE_INSTANTIATE(NormPortable)
QUIRE_INSTANTIATE(ReluBf16)
QUIRE_INSTANTIATE(Sample<CubBlock<256>>)
QUIRE_INSTANTIATE(Sample<PortableBlock<256>>)
QUIRE_INSTANTIATE(SiluBf16)
