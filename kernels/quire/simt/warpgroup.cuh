/// What sm_90a adds to the layer: tensor copies (TMA), barriers that they arrive at, and products of a
/// warpgroup (wgmma). Under a host compiler all of it is emulated: copies and products happen as late
/// as the schedule likes, read what lies in shared memory then, and sums are poison until waited for.
#pragma once

#include <quire/simt/async_layout.hpp>
#include <quire/simt/simt.cuh>

#if defined(__CUDACC__)
#include <quire/simt/cuda_warpgroup.cuh>
#else
#include <quire/simt/emulator/warpgroup.hpp>
#endif
