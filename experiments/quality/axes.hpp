#pragma once

#include <quire/core/type_list.hpp>
#include <quire/kv_format/kv_format.hpp>

namespace quire::quality {

template <unsigned bits>
using TokenGroups = kv_format::IntGrouped<bits, 32>;
template <unsigned bits>
using TokensInChannels = kv_format::ChannelGroups<bits, 32>;

/// What people serve with, and what it is compared with.
using Served =
    type_list<kv_format::Fp32, kv_format::Fp16, kv_format::Bf16, kv_format::Int8PerTokenHead,
              kv_format::Q80, kv_format::Fp8PerTokenHead, kv_format::Fp8E4m3, kv_format::Fp8E5m2,
              kv_format::Mxfp8, kv_format::Int4PerTokenHead, kv_format::Int4Grouped<32>,
              kv_format::Q40, kv_format::Nf4, kv_format::Nvfp4, kv_format::Nvfp44over6,
              kv_format::Mxfp4, kv_format::Rotated<kv_format::Int4PerTokenHead>,
              kv_format::Turboquant<4>, kv_format::Turboquant<3>, kv_format::Turboquant<2>,
              kv_format::Int3PerTokenHead, kv_format::Int2, kv_format::IntPerTokenHead<2>,
              kv_format::Rotated<kv_format::IntPerTokenHead<2>>, kv_format::Kivi<4>,
              kv_format::Kivi<2>, kv_format::Kivi<2, 32, 32>, kv_format::Kivi<2, 32, 64>,
              kv_format::SkipLayers<kv_format::Int2, kv_format::Fp16, 1, 0>,
              kv_format::SkipLayers<kv_format::Int2, kv_format::Fp16, 0, 1>,
              kv_format::Fp8PerHead<kv_format::ScaleFrom::none>,
              kv_format::Fp8PerHead<kv_format::ScaleFrom::min_max>,
              kv_format::Fp8PerHead<kv_format::ScaleFrom::percentile>,
              kv_format::Fp8PerHead<kv_format::ScaleFrom::mse>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::none>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::min_max>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::percentile>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::mse>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::min_max, E5m2>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::percentile, E5m2>,
              kv_format::Fp8PerTensor<kv_format::ScaleFrom::mse, E5m2>, kv_format::QserveKv4,
              kv_format::Kvquant<4>, kv_format::Kvquant<3>, kv_format::Kvquant<2>,
              kv_format::Gear<4>, kv_format::Gear<2>>;

/// Groups of keys and values along tokens or along channels: KIVI's 2 x 2, without a window.
template <unsigned bits>
using Grouping = type_list<
    kv_format::KeysValues<TokensInChannels<bits>, TokenGroups<bits>>,
    kv_format::KeysValues<TokenGroups<bits>, TokensInChannels<bits>>,
    kv_format::KeysValues<TokensInChannels<bits>, TokensInChannels<bits>>,
    kv_format::BeforeRotation<kv_format::KeysValues<TokensInChannels<bits>, TokenGroups<bits>>>>;

/// One side in 2 bits, the other as it is.
using Sides = type_list<kv_format::KeysValues<kv_format::Int2, kv_format::Fp32>,
                        kv_format::KeysValues<kv_format::Fp32, kv_format::Int2>,
                        kv_format::KeysValues<TokensInChannels<2>, kv_format::Fp32>,
                        kv_format::KeysValues<kv_format::Fp32, TokensInChannels<2>>>;

/// Keys rotated when they are stored; values as they come, rotated where the model's weights were.
using Folded = kv_format::KeysValues<kv_format::Rotated<kv_format::Int4PerTokenHead>,
                                     kv_format::Int4PerTokenHead>;

using KvFormats = concat_t<Served, type_list<TokenGroups<3>, Folded>, Grouping<2>, Grouping<3>,
                           Grouping<4>, Sides>;

}  // namespace quire::quality
