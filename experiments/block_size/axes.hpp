#pragma once

#include <cstdint>

#include <quire/core/type_list.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/override.hpp>
#include <quire/presets/vllm.hpp>

namespace quire::experiment {

template <std::int64_t N>
using VllmWithBlocks = with<presets::Vllm, set_block_size<BlockSize<N>>>;

using BlockSizes = type_list<VllmWithBlocks<1>, VllmWithBlocks<2>, VllmWithBlocks<4>,
                             VllmWithBlocks<8>, VllmWithBlocks<16>, VllmWithBlocks<32>,
                             VllmWithBlocks<64>, VllmWithBlocks<128>, VllmWithBlocks<256>>;
static_assert(changed_slots<VllmWithBlocks<8>, presets::Vllm> == Slot::block_size);

}  // namespace quire::experiment
