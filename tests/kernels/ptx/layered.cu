// The kernels of hand_written.cu through the layer.
#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <tests/kernels/simt_kernels.hpp>

QUIRE_INSTANTIATE(quire::kernels::CopyBlocks)
QUIRE_INSTANTIATE(quire::simt::testing::BlockSum<256>)
