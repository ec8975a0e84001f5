#pragma once

// The same variant on a device, in fp32, so that its tokens are those of the processor.
#include <quire/executor/cuda.cuh>
#include <quire/executor/sized_to_device.cuh>
#include <quire/kernels/dense/device_product.cuh>

#include "tests/experiments/user_cpu_variants.hpp"

namespace lab {

using OnDevice = quire::executor::SizedToDevice<
    quire::executor::BasicCuda<float, quire::kernels::DeviceProduct, 64>>;
using CudaVariants = quire::type_list<HighestBlockOnCpu>;

}  // namespace lab
